import type { Knex } from 'knex'
import { unkeyed } from '../database/keyed.ts'
import { ok, refused, type Result } from '../errors.ts'
import { newId } from '../ids.ts'
import { endOrdersIn, type OrderPayments } from '../orders/end.ts'
import { lockOrderIn } from '../orders/lock.ts'
import { orderEvent, referenceOf, statusNow, type LockedOrder } from '../orders/order.ts'
import { selectOrderLines, updateOrderStatus } from '../orders/queries.ts'
import { sellIn } from '../orders/sell.ts'
import type { Transact } from '../orders/transact.ts'
import { giveBackIn } from '../coupons/apply.ts'
import { appendEvents, type EventDraft } from '../outbox/append.ts'
import type { Line } from '../reservations/reservation.ts'
import type { Reservations } from '../reservations/reservations.ts'
import { adjustStockIn } from '../stock/adjust.ts'
import type { Fact } from './gateway.ts'
import { decide, type Action, type OwedReason, type Payment } from './payment.ts'
import {
  cancelPaymentsOf,
  clearVoid,
  markAuthorised,
  markCaptured,
  markDeclined,
  markFailed,
  oweVoid,
  selectPayment,
  selectPaymentsOf,
} from './queries.ts'

/**
 * Writes what a fact comes to (see {@link decide}), all of it in one transaction: the payment, its order, the hold, the
 * units. Invariant: captured money is either what an order's goods were sold for, or owed.
 */

export type SettleDeps = {
  transact: Transact
  reservations: Pick<Reservations, 'reserveIn' | 'confirmIn' | 'releaseIn' | 'release'>
  payments: OrderPayments
}

/** A fact about a payment. `gateway_payment_id` null where the gateway has told none. */
export type Told = { payment_id: string; gateway_payment_id: string | null; fact: Fact }

/** What was done, as it is written down with a webhook's event, and the payment after it. */
export type Settled = { outcome: string; payment: Payment | undefined }

/** What else is written in the same transaction: a webhook's event is claimed before and its outcome noted after. */
export type Around = {
  claim: (tx: Knex.Transaction) => Promise<Result<Settled> | undefined>
  after: (tx: Knex.Transaction, settled: Settled) => Promise<void>
}

/** A capture that is not heard of is asked about again after so long; whoever authorised it asks at once. */
const CAPTURE_SECONDS = 5

/** Nothing else is written. */
export const ALONE: Around = { claim: unkeyed, after: () => Promise.resolve() }

/**
 * Settles a fact.
 *
 * @returns refused with `overloaded`, `stock_conflict` or `database_unavailable`; told again later it is settled then
 */
export async function settle(deps: SettleDeps, told: Told, around: Around = ALONE): Promise<Result<Settled>> {
  const options: Options = { new_hold: true, overdue: undefined }
  for (;;) {
    const settled = await settleOnce(deps, told, around, options)
    if (settled.ok) return settled
    const { code } = settled.refusal
    if (code === 'reservation_expired' && options.overdue !== undefined) {
      // Units must not be given back and taken again in one transaction, or counters would not be locked last.
      const { overdue } = options
      options.overdue = undefined
      const closed = await deps.reservations.release({ id: overdue })
      if (!closed.ok) return closed
    } else if ((code === 'insufficient_stock' || code === 'skus_not_found') && options.new_hold) {
      // The units that a new hold would have needed are gone. Nothing was written; what is left is to owe the money.
      options.new_hold = false
    } else {
      return settled
    }
  }
}

/** `overdue` is left behind by a try that found its order's hold run out and not swept. */
type Options = { new_hold: boolean; overdue: string | undefined }

function settleOnce(
  deps: SettleDeps,
  told: Told,
  { claim, after }: Around,
  options: Options,
): Promise<Result<Settled>> {
  return deps.transact<Settled>({
    claim,
    async work(tx) {
      const settled = await settleIn(tx, deps, told, options)
      if (settled.ok) await after(tx, settled.value)
      return settled
    },
    blocked: 'Another session holds the order of this payment.',
  })
}

async function settleIn(
  tx: Knex.Transaction,
  deps: SettleDeps,
  { payment_id, gateway_payment_id, fact }: Told,
  options: Options,
): Promise<Result<Settled>> {
  const order_id = (await selectPayment(tx, payment_id))?.order_id
  if (order_id === undefined) return ok({ outcome: 'unknown_payment', payment: undefined })
  const locked = await lockOrderIn(tx, order_id)
  if (!locked.ok) return locked
  const order = locked.value
  const payments = await selectPaymentsOf(tx, order_id)
  const payment = payments.find(({ id }) => id === payment_id)!
  const matches = !('amount' in fact) || (fact.amount === payment.amount && fact.currency === payment.currency)
  const decided = decide(fact, {
    payment: payment.status,
    matches,
    order: statusNow(order),
    sold: order.payment_id !== null,
    hold: order.hold,
  })
  const action: Action = decided.do === 'sell_again' && !options.new_hold ? { do: 'owe', reason: 'sold_out' } : decided
  if (action.do === 'sell_again' && order.hold === 'overdue') {
    options.overdue = order.reservation_id
    return refused({ code: 'reservation_expired', expired_at: new Date() })
  }
  const done = await act(tx, deps, action, {
    order,
    payments,
    payment: { ...payment, gateway_payment_id: payment.gateway_payment_id ?? gateway_payment_id },
    money: 'amount' in fact ? { amount: fact.amount, currency: fact.currency } : undefined,
  })
  if (!done.ok) return done
  return ok({ outcome: outcomeOf(action), payment: await selectPayment(tx, payment_id) })
}

function outcomeOf(action: Action): string {
  if (action.do === 'owe') return `owe:${action.reason}`
  return 'code' in action ? `${action.do}:${action.code}` : action.do
}

/** What an action needs to know. */
type Scene = {
  order: LockedOrder
  payments: readonly Payment[]
  payment: Payment
  /** Where the fact tells of money: how much. */
  money: { amount: number; currency: string } | undefined
}

type Done = Result<unknown>
const DONE: Done = ok(undefined)

async function act(tx: Knex.Transaction, deps: SettleDeps, action: Action, scene: Scene): Promise<Done> {
  const { order, payment } = scene
  const { id, gateway_payment_id } = payment
  switch (action.do) {
    case 'nothing':
      return DONE
    case 'hold':
      return holdFor(tx, deps, scene)
    case 'void':
      if (payment.status === 'pending' || payment.status === 'declined') {
        await failPayment(tx, scene, action.code)
      }
      await oweVoid(tx, id, gateway_payment_id)
      return DONE
    case 'sell':
      return sell(tx, deps, scene, action)
    case 'sell_again':
      return sellAgain(tx, deps, scene)
    case 'owe':
      return owe(tx, deps, scene, action.reason)
    case 'fail_attempt':
      await Promise.all([
        markDeclined(tx, id, action.code),
        appendEvents(tx, [paymentFailed(scene, { code: action.code, retryable: true })], null),
      ])
      return DONE
    case 'close':
      await failPayment(tx, scene, action.code)
      return DONE
    case 'fail_order':
      await failPayment(tx, scene, action.code)
      await endOrdersIn(tx, deps.payments, [{ order, to: 'payment_failed' }])
      return deps.reservations.releaseIn(tx, { id: order.reservation_id, reason: `payment failed: ${action.code}` })
    case 'cancel_order':
      await failPayment(tx, scene, 'cancelled_by_buyer')
      await endOrdersIn(tx, deps.payments, [{ order, to: 'cancelled' }])
      return deps.reservations.releaseIn(tx, { id: order.reservation_id, reason: 'cancelled by the buyer' })
    case 'return_stock':
      await failPayment(tx, scene, action.code)
      await endOrdersIn(tx, deps.payments, [{ order, to: 'payment_failed' }])
      return returnUnits(tx, order.id, await linesOf(tx, order.id))
    case 'voided':
      await clearVoid(tx, id)
      return DONE
  }
}

/** Ends a payment of which the gateway may still have something to give up, and tells of it. */
async function failPayment(tx: Knex.Transaction, scene: Scene, code: string): Promise<void> {
  await Promise.all([
    markFailed(tx, { id: scene.payment.id, method: 'card', failure_code: code, void_owed: true }),
    appendEvents(tx, [paymentFailed(scene, { code, retryable: false })], null),
  ])
}

function paymentFailed({ order, payment }: Scene, failure: { code: string; retryable: boolean }): EventDraft {
  const { id, method, amount, currency } = payment
  const data = {
    id,
    order_id: order.id,
    method,
    amount,
    currency,
    failure_code: failure.code,
    retryable: failure.retryable,
  }
  return { type: 'payment.failed', data: JSON.stringify(data) }
}

/** Authorised: the hold is confirmed, and only then is the money taken. */
async function holdFor(tx: Knex.Transaction, { reservations }: SettleDeps, { order, payment }: Scene): Promise<Done> {
  const { id, gateway_payment_id } = payment
  // Another one may be open beside a declined attempt that succeeded after all.
  await cancelPaymentsOf(tx, [{ order_id: order.id, code: 'paid_otherwise' }], { except: id })
  await markAuthorised(tx, { id, gateway_payment_id, next_try: CAPTURE_SECONDS })
  return confirm(tx, reservations, order.reservation_id)
}

/** Confirms a hold, last of all. One that ran out while a counter was waited for is a conflict: the next try sees it. */
async function confirm(
  tx: Knex.Transaction,
  reservations: Pick<Reservations, 'confirmIn'>,
  reservation_id: string,
): Promise<Done> {
  const confirmed = await reservations.confirmIn(tx, { id: reservation_id })
  if (confirmed.ok || confirmed.refusal.code !== 'reservation_expired') return confirmed
  return refused({ code: 'stock_conflict' })
}

async function sell(
  tx: Knex.Transaction,
  { reservations }: SettleDeps,
  scene: Scene,
  options: { confirm: boolean },
): Promise<Done> {
  await sellFor(tx, scene, scene.order.reservation_id)
  return options.confirm ? confirm(tx, reservations, scene.order.reservation_id) : DONE
}

/** Takes a new hold for money that came when the first one was gone. Refused with `insufficient_stock` if units are, too. */
async function sellAgain(tx: Knex.Transaction, { reservations }: SettleDeps, scene: Scene): Promise<Done> {
  const { order } = scene
  const reservation_id = newId()
  const lines = await linesOf(tx, order.id)
  await sellFor(tx, scene, reservation_id)
  const reserved = await reservations.reserveIn(tx, {
    id: reservation_id,
    lines,
    customer_id: order.customer_id,
    reference: referenceOf(order.id),
    client: '',
  })
  return reserved.ok ? confirm(tx, reservations, reservation_id) : reserved
}

async function sellFor(tx: Knex.Transaction, scene: Scene, reservation_id: string): Promise<void> {
  const { order, payment, payments } = scene
  await cancelPaymentsOf(tx, [{ order_id: order.id, code: 'paid_otherwise' }], { except: payment.id, authorised: true })
  await capture(tx, scene, null)
  const owed = payments.some(({ owed_amount }) => owed_amount > 0)
  await sellIn(tx, [{ order, payment_id: payment.id, reservation_id, status: owed ? 'refund_required' : 'paid' }])
}

async function capture(tx: Knex.Transaction, scene: Scene, owed_reason: OwedReason | null): Promise<void> {
  const { payment, money = { amount: payment.amount, currency: payment.currency } } = scene
  await markCaptured(tx, {
    id: payment.id,
    method: 'card',
    gateway: payment.gateway,
    gateway_payment_id: payment.gateway_payment_id,
    ...money,
    owed: owed_reason === null ? 0 : money.amount,
    owed_reason,
  })
}

/** Money that nothing can be sold for. An order that awaited it gets no other: its units are available again. */
async function owe(tx: Knex.Transaction, deps: SettleDeps, scene: Scene, reason: OwedReason): Promise<Done> {
  const { order, payment, payments, money } = scene
  const was_authorised = payment.status === 'authorised'
  await capture(tx, scene, reason)
  const event = orderEvent(order, 'refund_required', { payment_id: payment.id, ...money, reason })
  // Another payment has confirmed the hold and is about to pay: the order stays its own until then.
  const is_anothers = payments.some(({ id, status }) => id !== payment.id && status === 'authorised')
  if (order.status === 'awaiting_payment' && !is_anothers) {
    await cancelPaymentsOf(tx, [{ order_id: order.id, code: 'order_closed' }])
    await updateOrderStatus(tx, order.id, 'refund_required')
    await giveBackIn(tx, [order.id])
    await appendEvents(tx, [event], null)
    if (was_authorised) return returnUnits(tx, order.id, await linesOf(tx, order.id))
    return deps.reservations.releaseIn(tx, { id: order.reservation_id, reason: `refund required: ${reason}` })
  }
  if (!is_anothers) await updateOrderStatus(tx, order.id, 'refund_required')
  await appendEvents(tx, [event], null)
  return DONE
}

async function linesOf(tx: Knex.Transaction, order_id: string): Promise<Line[]> {
  return (await selectOrderLines(tx, [order_id])).map(({ sku, quantity }) => ({ sku, quantity }))
}

/** Puts units that were confirmed back on the shelf. */
export function returnUnits(tx: Knex.Transaction, order_id: string, lines: readonly Line[]): Promise<Done> {
  return adjustStockIn(tx, {
    items: lines.map(({ sku, quantity }) => ({ sku, delta: quantity, reason: 'order not paid or refunded' })),
    reference: referenceOf(order_id),
  })
}
