import { useSignal } from '@preact/signals'
import type { Answer } from '../api.ts'
import { words } from '../language.ts'
import { Button } from '../parts/button.tsx'
import { Notice, ProblemNotice } from '../parts/notice.tsx'
import type { Order, Payment } from '../shapes.ts'
import type { ProblemFacts } from '../words.ts'
import { TopUp } from './account.tsx'
import { cancel, lastFailureOf, openCardOf, pay, readPayment } from './orders.ts'
import { cash, customer } from './session.ts'

/** What is under way: one at a time. */
type Busy = 'balance' | 'card' | 'cancel' | undefined

/** The ways to pay an order that is held, and the way out. */
export function Pay({ order, onChange }: { order: Order; onChange: () => Promise<void> }) {
  const { order: say } = words.value
  const busy = useSignal<Busy>(undefined)
  const problem = useSignal<ProblemFacts | undefined>(undefined)
  const needs_form = useSignal(false)
  const open_card = openCardOf(order)
  const failure = lastFailureOf(order)

  const does = async (what: NonNullable<Busy>, work: () => Promise<Answer<unknown>>) => {
    busy.value = what
    const answer = await work()
    problem.value = answer.ok ? undefined : answer.problem
    await onChange()
    busy.value = undefined
  }
  const goOn = async (asked: Promise<Answer<Payment>>) => {
    const answer = await asked
    const action = answer.ok ? answer.value.next_action : null
    if (isRedirect(action)) location.assign(action.url)
    else needs_form.value = action !== null
    return answer
  }

  return (
    <>
      <p>{say.explained.awaiting_payment}</p>
      {failure === undefined ? null : <Notice tone="bad">{say.failure[failure]}</Notice>}
      {open_card === undefined ? (
        <Ways
          order={order}
          busy={busy.value}
          onBalance={() => void does('balance', () => pay(order.id, 'balance'))}
          onCard={() => void does('card', () => goOn(pay(order.id, 'card')))}
        />
      ) : (
        <>
          <Notice>{say.cardWaits}</Notice>
          <Button
            look="first"
            off={busy.value !== undefined}
            onPress={() => void does('card', () => goOn(readPayment(open_card.id)))}
          >
            {say.continueCard}
          </Button>
        </>
      )}
      {needs_form.value ? <Notice tone="warn">{say.stripe}</Notice> : null}
      <ProblemNotice problem={problem.value} />
      <Button look="plain" off={busy.value !== undefined} onPress={() => void does('cancel', () => cancel(order.id))}>
        {busy.value === 'cancel' ? say.cancelling : say.cancel}
      </Button>
    </>
  )
}

type WaysProps = { order: Order; busy: Busy; onBalance: () => void; onCard: () => void }

function Ways({ order, busy, onBalance, onCard }: WaysProps) {
  const { order: say } = words.value
  const balance = customer.value?.balance ?? 0
  const missing = order.total - balance
  return (
    <div class="stack">
      <Button look={missing > 0 ? '' : 'first'} off={busy !== undefined} onPress={onBalance} describedBy="balance-note">
        {busy === 'balance' ? say.paying : say.payBalance}
      </Button>
      <div class="row small">
        <span id="balance-note" class={missing > 0 ? 'number' : 'soft number'}>
          {say.balanceIs(cash(balance))} {missing > 0 ? say.balanceShort(cash(missing)) : ''}
        </span>
        {missing > 0 ? <TopUp /> : null}
      </div>
      <Button look={missing > 0 ? 'first' : ''} off={busy !== undefined} onPress={onCard} describedBy="card-note">
        {busy === 'card' ? say.paying : say.payCard}
      </Button>
      <p id="card-note" class="soft small">
        {say.cardNote}
      </p>
    </div>
  )
}

/** Where a gateway asks for a card; a path on this server, or an address over TLS. */
function isRedirect(action: Payment['next_action']): action is { type: 'redirect'; url: string } {
  const { type, url } = (action ?? {}) as { type?: string; url?: string }
  return type === 'redirect' && typeof url === 'string' && /^(https?:\/\/|\/(?!\/))/.test(url)
}
