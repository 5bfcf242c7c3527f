import { useSignal } from '@preact/signals'
import { useRef } from 'preact/hooks'
import { ask, newKey } from '../api.ts'
import { count } from '../format.ts'
import { language, words } from '../language.ts'
import { Button } from '../parts/button.tsx'
import { Notice, ProblemNotice } from '../parts/notice.tsx'
import type { ProblemFacts } from '../words.ts'
import { refresh } from './search.ts'
import { api } from './session.ts'

/** Adds to or takes from the stock of a SKU. */
export function Adjust({ sku }: { sku: string }) {
  const { console: say } = words.value
  const { delta, reason, wrong, busy, done, problem, field, apply } = useAdjustment(sku)
  return (
    <form
      class="stack"
      noValidate
      onSubmit={(event) => {
        event.preventDefault()
        void apply()
      }}
    >
      <h3>{say.adjust}</h3>
      <div class="inline-form">
        <label class="field">
          <span class="label">{say.delta}</span>
          <input
            ref={field}
            class="input number"
            autocomplete="off"
            value={delta.value}
            aria-invalid={wrong.value}
            aria-describedby="delta-wrong"
            onInput={(event) => (delta.value = event.currentTarget.value)}
          />
        </label>
        <label class="field">
          <span class="label">{say.why}</span>
          <input
            class="input"
            autocomplete="off"
            maxLength={255}
            value={reason.value}
            onInput={(event) => (reason.value = event.currentTarget.value)}
          />
        </label>
        <Button submit look="first" off={busy.value}>
          {busy.value ? say.adjusting : say.apply}
        </Button>
      </div>
      <div id="delta-wrong" role="alert" class="message">
        {wrong.value ? <p class="small">{say.deltaWrong}</p> : null}
      </div>
      <ProblemNotice problem={problem.value} />
      <div role="status" class="message">
        {done.value === '' ? null : <Notice tone="good">{done.value}</Notice>}
      </div>
    </form>
  )
}

function useAdjustment(sku: string) {
  const delta = useSignal('')
  const reason = useSignal('')
  const wrong = useSignal(false)
  const busy = useSignal(false)
  const done = useSignal('')
  const problem = useSignal<ProblemFacts | undefined>(undefined)
  const field = useRef<HTMLInputElement>(null)

  const apply = async () => {
    const units = Number(delta.value.replace('−', '-'))
    done.value = ''
    problem.value = undefined
    wrong.value = !Number.isInteger(units) || units === 0
    if (wrong.value) return field.current?.focus()
    busy.value = true
    const why = reason.value.trim() === '' ? {} : { reason: reason.value.trim() }
    const body = { items: [{ sku, delta: units, ...why }], reference: 'console' }
    const header = newKey()
    const answer = await ask(() => api.POST('/v1/stock/adjustments', { params: { header }, body }))
    busy.value = false
    problem.value = answer.ok ? undefined : answer.problem
    if (!answer.ok) return
    delta.value = ''
    reason.value = ''
    done.value = words.value.console.adjusted(sku, count(answer.value.items[0]!.stock, language.value))
    await refresh()
  }
  return { delta, reason, wrong, busy, done, problem, field, apply }
}
