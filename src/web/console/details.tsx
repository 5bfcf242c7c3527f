import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import type { LedgerEntry, Level, Reservation } from '../../client/client.ts'
import { now } from '../clock.ts'
import { count, money, when } from '../format.ts'
import { language, words } from '../language.ts'
import { Button } from '../parts/button.tsx'
import { Notice, ProblemNotice } from '../parts/notice.tsx'
import type { Order } from '../shapes.ts'
import { repeat } from './activity.ts'
import { Adjust } from './adjust.tsx'
import { linesOf, Remaining } from './holds.tsx'
import { watched } from './levels.ts'
import { Release } from './release.tsx'
import { dismiss, found, refresh, search, showOlder, type Found } from './search.ts'

/** What is shown is read again so often: others go on meanwhile. */
const FOLLOW_MS = 2000

/** What was searched for, in front of the rest. */
export function Details() {
  const dialog = useRef<HTMLDialogElement>(null)
  const shown = found.value
  useEffect(() => repeat(refresh, FOLLOW_MS), [])
  useEffect(() => {
    const element = dialog.current
    if (element === null) return
    if (shown !== undefined && !element.open) element.showModal()
    if (shown === undefined && element.open) element.close()
  }, [shown])
  return (
    <dialog ref={dialog} onClose={dismiss} aria-labelledby="found">
      {shown === undefined ? null : (
        <div class="stack">
          <div class="panel-head">
            <h2 id="found" class="code">
              {titleOf(shown)}
            </h2>
            <Button look="little" onPress={dismiss}>
              {words.value.close}
            </Button>
          </div>
          <Content shown={shown} />
        </div>
      )}
    </dialog>
  )
}

function titleOf(shown: Found): string {
  const { console: say } = words.value
  switch (shown.kind) {
    case 'sku':
      return shown.level.sku
    case 'order':
      return `${say.order} ${shown.order.id}`
    case 'reservations':
      return shown.reservations.length === 1
        ? `${say.reservation} ${shown.reservations[0]!.id}`
        : `${say.reference} ${shown.asked}`
    case 'nothing':
    case 'problem':
      return shown.asked
  }
}

function Content({ shown }: { shown: Found }) {
  const { console: say } = words.value
  switch (shown.kind) {
    case 'sku':
      return (
        <Sku
          key={shown.asked}
          level={watched.value?.get(shown.asked)?.value.level ?? shown.level}
          ledger={shown.ledger}
          has_older={shown.older !== null}
        />
      )
    case 'order':
      return <OrderFacts order={shown.order} />
    case 'reservations':
      return (
        <>
          {shown.reservations.length === 1 ? (
            <ReservationFacts reservation={shown.reservations[0]!} />
          ) : (
            shown.reservations.map((reservation) => (
              <div class="each" key={reservation.id}>
                <h3>
                  <Button look="link" onPress={() => void search(reservation.id)}>
                    {reservation.id}
                  </Button>
                </h3>
                <ReservationFacts reservation={reservation} />
              </div>
            ))
          )}
        </>
      )
    case 'problem':
      return <ProblemNotice problem={shown.problem} onRetry={() => void search(shown.asked)} />
    case 'nothing':
      return (
        <Notice>
          <span>
            {say.nothing(shown.asked)} {say.nothingNext}
          </span>
        </Notice>
      )
  }
}

function Facts({ children }: { children: ComponentChildren }) {
  return <dl class="facts">{children}</dl>
}

function Fact({ name, children, big = false }: { name: string; children: ComponentChildren; big?: boolean }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class={`number ${big ? 'big' : ''}`}>{children}</dd>
    </div>
  )
}

function Sku({ level, ledger, has_older }: { level: Level; ledger: readonly LedgerEntry[]; has_older: boolean }) {
  const { console: say } = words.value
  const number = (n: number) => count(n, language.value)
  return (
    <>
      <Facts>
        <Fact big name={say.available}>
          {number(level.available)}
        </Fact>
        <Fact big name={say.held}>
          {number(level.temp_reserved_stock)}
        </Fact>
        <Fact big name={say.onHand}>
          {number(level.stock)}
        </Fact>
      </Facts>
      <Adjust sku={level.sku} />
      <div class="panel-head">
        <h3 id="ledger">{say.ledger}</h3>
        <p class="soft small">{say.ledgerNote}</p>
      </div>
      <div class="scroll" tabIndex={0} role="region" aria-labelledby="ledger">
        <table class="table cards of-ledger">
          <thead>
            <tr>
              <th scope="col">{say.seq}</th>
              <th scope="col">{say.kind}</th>
              <th scope="col" class="right">
                {say.stockChange}
              </th>
              <th scope="col" class="right">
                {say.heldChange}
              </th>
              <th scope="col" class="right">
                {say.after}
              </th>
              <th scope="col">{say.reference}</th>
              <th scope="col">{say.time}</th>
            </tr>
          </thead>
          <tbody>
            {ledger.map((entry) => (
              <LedgerRow key={entry.seq} entry={entry} />
            ))}
          </tbody>
        </table>
      </div>
      {has_older ? (
        <Button look="little" onPress={() => void showOlder()}>
          {say.older}
        </Button>
      ) : null}
    </>
  )
}

function LedgerRow({ entry }: { entry: LedgerEntry }) {
  const { console: say } = words.value
  const number = (n: number) => count(n, language.value)
  return (
    <tr>
      <td class="number">{entry.seq}</td>
      <td>{say.kinds[entry.kind]}</td>
      <td class="right" data-label={say.stockChange}>
        {signed(entry.stock_delta)}
      </td>
      <td class="right" data-label={say.heldChange}>
        {signed(entry.reserved_delta)}
      </td>
      <td class="right" data-label={say.after}>
        {number(entry.stock_after)} / {number(entry.reserved_after)}
      </td>
      <td class="code">
        <Reference entry={entry} />
      </td>
      <td class="number">{when(entry.created_at, language.value, now.value)}</td>
    </tr>
  )
}

const OF_RESERVATIONS: readonly string[] = ['reserve', 'confirm', 'release', 'expire']

function Reference({ entry }: { entry: LedgerEntry }) {
  const { reference, reason, kind } = entry
  if (reference === null) return <>{reason ?? ''}</>
  if (!OF_RESERVATIONS.includes(kind)) return <>{[reference, reason].filter(Boolean).join(': ')}</>
  return (
    <Button look="link" label={reference} onPress={() => void search(reference)}>
      {reference.slice(-8)}
    </Button>
  )
}

function signed(delta: number): string {
  if (delta === 0) return words.value.console.none
  return delta > 0 ? `+${count(delta, language.value)}` : `−${count(-delta, language.value)}`
}

const TONES: Record<string, string> = { pending: 'warn', awaiting_payment: 'warn', confirmed: 'good', paid: 'good' }

function ReservationFacts({ reservation }: { reservation: Reservation }) {
  const { console: say } = words.value
  const { status, closed_at, reference } = reservation
  const time = (iso: string) => when(iso, language.value, now.value)
  return (
    <div class="stack">
      <Facts>
        <Fact name={say.status}>
          <span class={`chip ${TONES[status] ?? ''}`}>{say.statuses[status]}</span>
        </Fact>
        <Fact name={say.what}>{linesOf(reservation)}</Fact>
        <Fact name={say.created}>{time(reservation.created_at)}</Fact>
        <Fact name={status === 'pending' ? say.remaining : say.closed}>
          {status === 'pending' ? (
            <Remaining until={reservation.expires_at} />
          ) : (
            time(closed_at ?? reservation.expires_at)
          )}
        </Fact>
        <Fact name={say.reference}>{reference ?? say.none}</Fact>
        <Fact name={say.customer}>{reservation.customer_id ?? say.none}</Fact>
        {reservation.release_reason === null ? null : <Fact name={say.reason}>{reservation.release_reason}</Fact>}
      </Facts>
      <div class="row">
        {status === 'pending' ? <Release id={reservation.id} onReleased={() => void refresh()} /> : null}
        {reference?.startsWith('order:') ? (
          <Button look="little" onPress={() => void search(reference.slice('order:'.length))}>
            {say.order}
          </Button>
        ) : null}
      </div>
    </div>
  )
}

/** Such as `Card, failed (card_declined)`; a code as it is, for it is what the gateway is asked about. */
function paymentText({ method, status, failure_code, owed_amount }: Order['payments'][number]): string {
  const { console: say } = words.value
  if (method === null) return say.notChosen
  const what = `${say.methods[method]}, ${say.paymentStatuses[status]}`
  const why = owed_amount > 0 ? say.owed : failure_code
  return why === null ? what : `${what} (${why})`
}

function OrderFacts({ order }: { order: Order }) {
  const { console: say, order: names } = words.value
  const time = (iso: string) => when(iso, language.value, now.value)
  const cash = (amount: number) => money(amount, order.currency, language.value)
  return (
    <div class="stack">
      <Facts>
        <Fact name={say.status}>
          <span class={`chip ${TONES[order.status] ?? ''}`}>{names.status[order.status]}</span>
        </Fact>
        <Fact name={say.total}>{cash(order.total)}</Fact>
        <Fact name={say.created}>{time(order.created_at)}</Fact>
        {order.status === 'awaiting_payment' ? (
          <Fact name={say.remaining}>
            <Remaining until={order.expires_at} />
          </Fact>
        ) : (
          <Fact name={say.closed}>{time(order.closed_at ?? order.paid_at ?? order.expires_at)}</Fact>
        )}
        {order.discount === 0 ? null : (
          <Fact name={words.value.cart.discount}>
            −{cash(order.discount)} {order.coupon_code}
          </Fact>
        )}
        <Fact name={say.customer}>{order.customer_id}</Fact>
        <Fact name={say.payments}>
          {order.payments.map((payment) => (
            <span class="row" key={payment.id}>
              {paymentText(payment)}
            </span>
          ))}
        </Fact>
      </Facts>
      <ul class="stack small">
        {order.lines.map((line) => (
          <li key={line.sku} class="row">
            <span class="number">{line.quantity} ×</span>
            <Button look="link" onPress={() => void search(line.sku)}>
              {line.sku}
            </Button>
            <span class="soft number">{cash(line.total)}</span>
          </li>
        ))}
      </ul>
      <div class="row">
        <Button look="little" onPress={() => void search(order.reservation_id)}>
          {say.reservation}
        </Button>
        {order.status === 'awaiting_payment' ? (
          <Release id={order.reservation_id} onReleased={() => void refresh()} />
        ) : null}
      </div>
    </div>
  )
}
