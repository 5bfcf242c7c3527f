import { useSignal } from '@preact/signals'
import { words } from '../language.ts'
import { Button } from '../parts/button.tsx'
import { ProblemNotice } from '../parts/notice.tsx'
import type { ProblemFacts } from '../words.ts'
import { enter } from './session.ts'

/** Asks for an API key with the scope `admin`. */
export function Login() {
  const { console: say } = words.value
  const key = useSignal('')
  const busy = useSignal(false)
  const problem = useSignal<ProblemFacts | undefined>(undefined)
  const submit = async () => {
    busy.value = true
    const answer = await enter(key.value.trim())
    busy.value = false
    problem.value = answer.ok ? undefined : answer.problem
  }
  return (
    <form
      class="panel narrow"
      onSubmit={(event) => {
        event.preventDefault()
        void submit()
      }}
    >
      <h1>{say.login}</h1>
      <p>{say.loginWhy}</p>
      <label class="field">
        <span class="label">{say.key}</span>
        <input
          class="input code"
          type="password"
          autocomplete="current-password"
          required
          value={key.value}
          onInput={(event) => (key.value = event.currentTarget.value)}
        />
      </label>
      <Button submit look="first" off={busy.value}>
        {busy.value ? words.value.moment : say.enter}
      </Button>
      <ProblemNotice problem={problem.value} />
    </form>
  )
}
