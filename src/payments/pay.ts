import type { Knex } from 'knex'
import { spendIn } from '../customers/account.ts'
import { reading } from '../database/transaction.ts'
import { ok, refused, type Refusal, type Result } from '../errors.ts'
import { newId } from '../ids.ts'
import { endOrdersIn } from '../orders/end.ts'
import { lockOrderIn } from '../orders/lock.ts'
import { statusNow, type LockedOrder } from '../orders/order.ts'
import { sellIn } from '../orders/sell.ts'
import { claimKey } from '../orders/transact.ts'
import type { Idempotency } from '../reservations/reservation.ts'
import { factOf, GatewayUnavailable, type Gateway } from './gateway.ts'
import type { Payment } from './payment.ts'
import {
  cancelPaymentsOf,
  insertPayment,
  markCaptured,
  markCard,
  markFailed,
  noteAtGateway,
  selectGatewayPayment,
  selectPayment,
  selectPaymentsOf,
  selectUnchosen,
} from './queries.ts'
import { settle, type SettleDeps } from './settle.ts'

export type PayRequest = {
  order_id: string
  method: 'balance' | 'card'
  /** Where the gateway sends the buyer back to. */
  return_url?: string
  client: string
  idempotency: Idempotency
}

/** A payment, and whether its key had begun it before. */
export type Paid = { payment: Payment; replayed: boolean }

export type PayDeps = SettleDeps & {
  db: Knex
  /** Undefined for a shop that takes no cards. */
  gateway: Gateway | undefined
  /** Looks after what a payment owes its gateway, in the background. */
  pursue: (payment_id: string) => void
}

/** A payment that waits for its buyer is looked at so often, in case its webhooks are lost. */
export const LOOK_SECONDS = 30

/**
 * Pays an order. By balance all happens in one transaction: it is spent, the sale recorded, the order marked and the hold
 * confirmed; too low a balance fails the payment and lets go of the hold. By card the gateway is asked, outside of any
 * transaction, and what it makes of it is settled now or when it tells.
 *
 * @returns refused with `order_not_found`, `order_not_awaiting_payment`, `payment_in_progress`, `gateway_unavailable` (the
 *   same key goes on where this stopped), `overloaded`, `stock_conflict`, or by its key
 */
export async function payOrder(deps: PayDeps, request: PayRequest): Promise<Result<Paid>> {
  if (request.method === 'card' && deps.gateway === undefined) return NO_CARDS
  const begun = await begin(deps, request)
  if (!begun.ok) return begun
  const { payment, replayed } = begun.value
  // A gateway that has answered once has told what the browser needs; the rest it tells by itself.
  const awaits_gateway = payment.method === 'card' && payment.status === 'pending' && payment.next_action === null
  if (!awaits_gateway) return begun
  const asked = await askGateway(deps, payment)
  return asked.ok ? ok({ payment: asked.value, replayed }) : asked
}

const NO_CARDS = refused({
  code: 'invalid_request',
  errors: [{ path: '/method', message: 'must be balance: no gateway for cards is set up' }],
})

function begin(deps: PayDeps, request: PayRequest): Promise<Result<Paid>> {
  const { order_id, client, idempotency } = request
  let made_id = ''
  return deps.transact<Paid>({
    async claim(tx) {
      // The order's first payment is there already, later ones are made here.
      made_id = (await selectUnchosen(tx, order_id)) ?? newId()
      const claimed = await claimKey(tx, { client, kind: 'payment', idempotency, made_id })
      if (!claimed.ok) return claimed
      if (claimed.value === undefined) return undefined
      return ok({ payment: (await selectPayment(tx, claimed.value))!, replayed: true })
    },
    async work(tx) {
      const paid = await beginIn(tx, deps, request, made_id)
      return paid.ok ? ok({ payment: (await selectPayment(tx, made_id))!, replayed: false }) : paid
    },
    blocked: 'Another session holds a row that this payment needs.',
  })
}

async function beginIn(
  tx: Knex.Transaction,
  deps: PayDeps,
  { order_id, method, return_url }: PayRequest,
  id: string,
): Promise<Result<unknown>> {
  const locked = await lockOrderIn(tx, order_id)
  if (!locked.ok) return locked
  const order = locked.value
  if (statusNow(order) !== 'awaiting_payment') {
    return refused({ code: 'order_not_awaiting_payment', status: statusNow(order) })
  }
  const payments = await selectPaymentsOf(tx, order_id)
  const open = payments.find(({ status }) => status === 'pending' || status === 'authorised')
  if (open !== undefined && open.method !== null) return refused({ code: 'payment_in_progress', payment_id: open.id })
  // Another request chose for the payment that was found before the locks, or opened one: run again.
  if (open === undefined ? payments.some((payment) => payment.id === id) : open.id !== id) return STALE
  if (open === undefined) {
    // A failed attempt is given up for good when the buyer begins another one.
    await cancelPaymentsOf(tx, [{ order_id, code: 'attempt_replaced' }])
    await insertPayment(tx, { id, order_id, amount: order.total, currency: order.currency })
  }
  if (method === 'balance') return payByBalance(tx, deps, order, id)
  const gateway = deps.gateway!.name
  // There is nothing to ask a gateway for.
  if (order.total === 0) return sellFor(tx, deps, order, { id, method: 'card', gateway })
  await markCard(tx, { id, gateway, return_url: return_url ?? null, next_try: LOOK_SECONDS })
  return ok(undefined)
}

const STALE = refused({ code: 'stock_conflict' })

async function payByBalance(
  tx: Knex.Transaction,
  deps: PayDeps,
  order: LockedOrder,
  id: string,
): Promise<Result<unknown>> {
  const { customer_id, total: amount, reservation_id } = order
  const spent = await spendIn(tx, { customer_id, amount, payment_id: id })
  if (spent.ok) return sellFor(tx, deps, order, { id, method: 'balance', gateway: null })
  if (spent.refusal.code !== 'insufficient_balance') return spent
  await markFailed(tx, { id, method: 'balance', failure_code: 'insufficient_balance', void_owed: false })
  await endOrdersIn(tx, deps.payments, [{ order, to: 'payment_failed' }])
  return deps.reservations.releaseIn(tx, { id: reservation_id, reason: 'payment failed: insufficient_balance' })
}

/** The money is here. The hold is confirmed last: from there on the counters are locked. */
async function sellFor(
  tx: Knex.Transaction,
  { reservations }: PayDeps,
  order: LockedOrder,
  payment: { id: string; method: 'balance' | 'card'; gateway: string | null },
): Promise<Result<unknown>> {
  const { total: amount, currency, reservation_id } = order
  await markCaptured(tx, { ...payment, gateway_payment_id: null, amount, currency, owed: 0, owed_reason: null })
  await sellIn(tx, [{ order, payment_id: payment.id, reservation_id, status: 'paid' }])
  const confirmed = await reservations.confirmIn(tx, { id: reservation_id })
  if (confirmed.ok || confirmed.refusal.code !== 'reservation_expired') return confirmed
  return refused({ code: 'order_not_awaiting_payment', status: 'expired' })
}

/** Begins a card payment at its gateway, or goes on with it: the gateway knows it by its id. */
async function askGateway(deps: PayDeps, payment: Payment): Promise<Result<Payment>> {
  const { db, gateway } = deps
  const asked = await reading(() => selectGatewayPayment(db, payment.id))
  if (asked === undefined || gateway === undefined || asked.gateway !== gateway.name) return UNKNOWN
  try {
    const state = await gateway.authorise(asked)
    const { gateway_payment_id, next_action } = state
    const noted = { id: payment.id, gateway_payment_id, next_action, next_try: LOOK_SECONDS }
    await reading(() => noteAtGateway(db, noted))
    const fact = factOf(state)
    if (fact !== undefined) {
      const settled = await settle(deps, { payment_id: payment.id, gateway_payment_id, fact })
      if (!settled.ok) return settled
      deps.pursue(payment.id)
    }
  } catch (error) {
    if (error instanceof GatewayUnavailable) return UNKNOWN
    throw error
  }
  return ok((await reading(() => selectPayment(db, payment.id)))!)
}

const UNKNOWN: { ok: false; refusal: Refusal } = refused({ code: 'gateway_unavailable', outcome: 'unknown' })
