import type { OrderPayment, OrderStatus, HoldState } from '../orders/order.ts'
import type { Fact, NextAction } from './gateway.ts'

/**
 * What becomes of a payment, and of its order, when something came to be at the gateway. Pure, and the only place that
 * decides it: webhooks come twice, late and in any order, and answers get lost, so each fact is judged by how things
 * stand and never by what should have come before it.
 */

/**
 * `pending` waits for the buyer or the gateway. `declined` is a failed attempt that may still succeed. `authorised` has
 * confirmed its order's hold, and its capture is owed. `captured` is money. `failed` and `cancelled` are over.
 */
export type PaymentStatus = 'pending' | 'declined' | 'authorised' | 'captured' | 'failed' | 'cancelled'

export type Payment = {
  id: string
  order_id: string
  /** Null until the buyer has chosen. */
  method: 'balance' | 'card' | 'external' | null
  gateway: string | null
  status: PaymentStatus
  amount: number
  currency: string
  captured_amount: number
  captured_currency: string | null
  refunded_amount: number
  /** What came in and must be given back, and why. */
  owed_amount: number
  owed_reason: OwedReason | null
  failure_code: string | null
  gateway_payment_id: string | null
  next_action: NextAction | null
  return_url: string | null
  /** When what is owed to the gateway is tried next; null if nothing is. */
  next_try_at: Date | null
  tries: number
  created_at: Date
}

/** Why money that came in must be given back. */
export type OwedReason =
  | 'amount_mismatch'
  | 'paid_twice'
  | 'order_cancelled'
  | 'sold_out'
  /** It was to be given back, and the gateway refused. */
  | 'refund_failed'

/** How things stand when a fact arrives. */
export type Standing = {
  payment: PaymentStatus
  /** Whether the fact tells of the payment's amount and currency; true where it tells of neither. */
  matches: boolean
  order: OrderStatus
  /** Whether some payment has paid for the goods. */
  sold: boolean
  hold: HoldState
}

export type Action =
  | { do: 'nothing' }
  /** Confirm the hold: the capture is owed. */
  | { do: 'hold' }
  /** Give the payment up; the order stays as it is. */
  | { do: 'void'; code: string }
  /** The money is here: sell for it. `confirm`: the hold is still to be confirmed. */
  | { do: 'sell'; confirm: boolean }
  /** The money is here, the hold is not: take a new one if stock remains, else it is owed. */
  | { do: 'sell_again' }
  | { do: 'owe'; reason: OwedReason }
  /** A failed attempt; the hold stays until it ends. */
  | { do: 'fail_attempt'; code: string }
  /** Ends the payment and, with it, the order: its hold is released at once. */
  | { do: 'fail_order'; code: string }
  | { do: 'cancel_order' }
  /** Ends the payment alone. */
  | { do: 'close'; code: string }
  /** What was authorised can't be had: the units that were confirmed for it go back on the shelf. */
  | { do: 'return_stock'; code: string }
  /** The gateway knows now that nobody wants the payment. */
  | { do: 'voided' }

const NOTHING: Action = { do: 'nothing' }

/** Decides what a fact comes to. */
export function decide(fact: Fact, standing: Standing): Action {
  switch (fact.kind) {
    case 'authorised':
      return whenAuthorised(standing)
    case 'captured':
      return whenCaptured(standing)
    case 'declined':
      return whenDeclined(fact, standing)
    case 'cancelled':
      return whenCancelled(fact, standing)
    case 'capture_refused':
      return standing.payment === 'authorised' ? { do: 'return_stock', code: fact.code } : NOTHING
  }
}

function isOpen(payment: PaymentStatus): boolean {
  return payment === 'pending' || payment === 'declined'
}

function awaits({ order, hold }: Standing): boolean {
  return order === 'awaiting_payment' && hold === 'live'
}

// Authorised money has not moved: what can't be sold for it any more is voided, so nobody pays for what is gone.
function whenAuthorised(standing: Standing): Action {
  const { payment, matches, order, hold } = standing
  if (payment === 'authorised' || payment === 'captured') return NOTHING
  if (!isOpen(payment)) return { do: 'void', code: 'payment_closed' }
  if (!matches) return { do: 'void', code: 'amount_mismatch' }
  if (awaits(standing)) return { do: 'hold' }
  return { do: 'void', code: order === 'awaiting_payment' && hold === 'overdue' ? 'order_expired' : `order_${order}` }
}

// Captured money has moved: it is sold for, or it is owed.
function whenCaptured(standing: Standing): Action {
  const { payment, matches, order, sold, hold } = standing
  if (payment === 'captured') return NOTHING
  if (!matches) return { do: 'owe', reason: 'amount_mismatch' }
  if (sold) return { do: 'owe', reason: 'paid_twice' }
  if (order === 'awaiting_payment' && hold !== 'gone') return { do: 'sell', confirm: hold !== 'confirmed' }
  const has_run_out = order === 'awaiting_payment' || order === 'expired' || order === 'payment_failed'
  return has_run_out ? { do: 'sell_again' } : { do: 'owe', reason: 'order_cancelled' }
}

// Only an open payment can be declined: after an authorisation this tells of an attempt before it, and came late.
function whenDeclined({ code, retryable }: { code: string; retryable: boolean }, standing: Standing): Action {
  if (!isOpen(standing.payment)) return NOTHING
  if (retryable) return { do: 'fail_attempt', code }
  return awaits(standing) ? { do: 'fail_order', code } : { do: 'close', code }
}

function whenCancelled({ by_buyer }: { by_buyer: boolean }, standing: Standing): Action {
  const code = by_buyer ? 'cancelled_by_buyer' : 'cancelled_by_gateway'
  switch (standing.payment) {
    case 'pending':
    case 'declined':
      if (!awaits(standing)) return { do: 'close', code }
      return by_buyer ? { do: 'cancel_order' } : { do: 'fail_order', code }
    case 'authorised':
      return { do: 'return_stock', code }
    case 'captured':
      return NOTHING
    case 'failed':
    case 'cancelled':
      return { do: 'voided' }
  }
}

/** What an order is once money came for it: owed money first, then how many of the units that were sold came back. */
export function statusByMoney(
  order: { payment_id: string | null },
  payments: readonly Pick<Payment, 'owed_amount'>[],
  units_back: 'none' | 'some' | 'all',
): 'paid' | 'partially_refunded' | 'refunded' | 'refund_required' {
  if (payments.some(({ owed_amount }) => owed_amount > 0)) return 'refund_required'
  if (order.payment_id === null || units_back === 'all') return 'refunded'
  return units_back === 'some' ? 'partially_refunded' : 'paid'
}

/** Whether the gateway is to be asked for something at once: a capture, or a void. */
export function owesGateway({ status, next_try_at }: Pick<Payment, 'status' | 'next_try_at'>): boolean {
  return next_try_at !== null && (status === 'authorised' || status === 'failed' || status === 'cancelled')
}

/** What the contract calls a payment's status. */
export function statusView(status: PaymentStatus): OrderPayment['status'] {
  if (status === 'captured') return 'paid'
  return status === 'pending' || status === 'authorised' ? 'pending' : 'failed'
}
