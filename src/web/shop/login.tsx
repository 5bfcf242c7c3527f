import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { words } from '../language.ts'
import { Button } from '../parts/button.tsx'
import { Notice, ProblemNotice } from '../parts/notice.tsx'
import type { ProblemFacts } from '../words.ts'
import { asking, enter, session } from './session.ts'

/** Asks who shops, in front of whatever one was doing. */
export function Login() {
  const { login, close } = words.value
  const dialog = useRef<HTMLDialogElement>(null)
  const is_asked = asking.value !== undefined
  useEffect(() => {
    if (is_asked) dialog.current?.showModal()
    else dialog.current?.close()
  }, [is_asked])
  return (
    <dialog ref={dialog} onClose={() => (asking.value = undefined)} aria-labelledby="login">
      {is_asked ? (
        <div class="stack">
          <div class="panel-head">
            <h2 id="login">{login.title}</h2>
            <Button look="little" onPress={() => (asking.value = undefined)}>
              {close}
            </Button>
          </div>
          <p>{login.why}</p>
          {session.value?.demo_login === false ? <Notice tone="warn">{login.off}</Notice> : <Form />}
        </div>
      ) : null}
    </dialog>
  )
}

function Form() {
  const { login, moment } = words.value
  const name = useSignal('')
  const busy = useSignal(false)
  const problem = useSignal<ProblemFacts | undefined>(undefined)
  const known = session.value?.customers ?? []
  const come = async (who: Parameters<typeof enter>[0]) => {
    busy.value = true
    const answer = await enter(who)
    busy.value = false
    problem.value = answer.ok ? undefined : answer.problem
  }
  return (
    <>
      {known.length === 0 ? null : (
        <section class="stack" aria-labelledby="known">
          <h3 id="known">{login.choose}</h3>
          <div class="choices">
            {known.map((one) => (
              <Button key={one.id} look="little" off={busy.value} onPress={() => void come({ customer_id: one.id })}>
                {one.name}
              </Button>
            ))}
          </div>
        </section>
      )}
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault()
          if (name.value.trim() !== '') void come({ name: name.value.trim() })
        }}
      >
        <h3>{login.orNew}</h3>
        <div class="inline-form">
          <label class="field">
            <span class="label">{login.name}</span>
            <input
              class="input"
              required
              maxLength={255}
              autocomplete="name"
              value={name.value}
              onInput={(event) => (name.value = event.currentTarget.value)}
            />
          </label>
          <Button submit look="first" off={busy.value}>
            {busy.value ? moment : login.enter}
          </Button>
        </div>
      </form>
      <ProblemNotice problem={problem.value} />
    </>
  )
}
