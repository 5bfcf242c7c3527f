import { useSignal } from '@preact/signals'
import { words } from '../language.ts'
import { Button } from '../parts/button.tsx'
import { ProblemNotice } from '../parts/notice.tsx'
import { say } from '../parts/toasts.tsx'
import type { ProblemFacts } from '../words.ts'
import { asCustomer, cash, customer, leave, topUp, TOP_UP } from './session.ts'

/** Who shops and what they have, in the bar. */
export function Account() {
  const { login } = words.value
  const who = customer.value
  if (who === undefined) {
    return (
      <Button look="little" onPress={() => asCustomer(() => undefined)}>
        {login.loggedOut}
      </Button>
    )
  }
  return (
    <>
      <button type="button" class="button little" popovertarget="account">
        <span class="account-name">{who.name}</span>
        <span class="soft number account-balance">{cash(who.balance)}</span>
      </button>
      <div id="account" popover="auto" class="popover">
        <div class="stack">
          <h2>{login.account}</h2>
          <p class="row">
            <span>{login.balance}</span>
            <strong class="number">{cash(who.balance)}</strong>
          </p>
          <TopUp />
          <Button look="little" onPress={() => void leave()}>
            {login.leave}
          </Button>
        </div>
      </div>
    </>
  )
}

/** Adds money to the balance. */
export function TopUp() {
  const { login, moment } = words.value
  const busy = useSignal(false)
  const problem = useSignal<ProblemFacts | undefined>(undefined)
  const add = async () => {
    busy.value = true
    const answer = await topUp()
    busy.value = false
    problem.value = answer.ok ? undefined : answer.problem
    if (answer.ok) say(login.toppedUp(cash(TOP_UP)))
  }
  return (
    <>
      <Button look="little" off={busy.value} onPress={() => void add()}>
        {busy.value ? moment : login.topUp(cash(TOP_UP))}
      </Button>
      <ProblemNotice problem={problem.value} />
    </>
  )
}
