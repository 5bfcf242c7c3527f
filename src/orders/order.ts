import type { EventDraft, EventType } from '../outbox/append.ts'
import type { Line } from '../reservations/reservation.ts'

/** What an order is, in the words of the contract. Money is in the currency's minor unit. Each function here is pure. */

export type OrderStatus =
  | 'awaiting_payment'
  | 'paid'
  | 'payment_failed'
  | 'cancelled'
  | 'expired'
  | 'refund_required'
  | 'refunded'
  | 'partially_refunded'

/** A line with name, options and price as they were when the order was made. */
export type OrderLine = {
  sku: string
  product_id: string
  name: string
  options: Record<string, string> | null
  quantity: number
  unit_price: number
  /** `quantity` times `unit_price`. */
  total: number
  /** This line's part of the order's discount. */
  discount: number
  refunded_quantity: number
}

/** An order as it is stored; one that is read says `expired` from its hold's end on. */
export type OrderRow = {
  id: string
  status: OrderStatus
  customer_id: string
  currency: string
  subtotal: number
  discount: number
  total: number
  coupon_code: string | null
  reservation_id: string
  /** The payment that the goods are sold for. */
  payment_id: string | null
  created_at: Date
  paid_at: Date | null
  closed_at: Date | null
}

/** How the hold of a locked order stands: `live` can be confirmed, `overdue` has run out and was not swept yet. */
export type HoldState = 'live' | 'overdue' | 'confirmed' | 'gone'

/** An order that this transaction has locked, together with its hold. */
export type LockedOrder = OrderRow & { hold: HoldState }

/** A payment as an order shows it. */
export type OrderPayment = {
  id: string
  method: 'balance' | 'card' | 'external' | null
  status: 'paid' | 'pending' | 'failed'
  amount: number
  refunded_amount: number
  /** What came in and must be given back. */
  owed_amount: number
  owed_reason: string | null
  failure_code: string | null
  created_at: string
}

export type OrderRefund = {
  id: string
  payment_id: string
  status: 'pending' | 'succeeded' | 'failed'
  amount: number
  lines: Line[]
  restock: boolean
  failure_code: string | null
  created_at: string
}

/** An order as it is at the moment of reading. */
export type Order = Omit<OrderRow, 'payment_id'> & {
  lines: OrderLine[]
  /** When the hold ends; a shop may extend it with the reservation. */
  expires_at: Date
  payments: OrderPayment[]
  refunds: OrderRefund[]
}

/** What stands before an order's id in the `reference` of its holds. */
export const REFERENCE_PREFIX = 'order:'

/** Why units are put back on the shelf for an order, in the ledger. */
export const RETURN_REASON = 'order not paid or refunded'

/** The `reference` of an order's holds and of what it puts back on the shelf. */
export function referenceOf(order_id: string): string {
  return `${REFERENCE_PREFIX}${order_id}`
}

/** Whether a hold with this reference may be an order's. */
export function isOrderReference(reference: string | null): boolean {
  return reference !== null && reference.startsWith(REFERENCE_PREFIX)
}

/** What an order that awaits payment is in truth: `expired` from its hold's end on, swept or not. */
export function statusNow({ status, hold }: Pick<LockedOrder, 'status' | 'hold'>): OrderStatus {
  return status === 'awaiting_payment' && hold === 'overdue' ? 'expired' : status
}

/**
 * Divides a discount among lines in proportion to their totals. What rounding down leaves goes, a unit each, to the lines
 * that lost most by it, so that the parts add up to the discount.
 *
 * @param totals each 0 or more
 * @param discount 0 to the sum of the totals
 */
export function divideDiscount(totals: readonly number[], discount: number): number[] {
  const sum = totals.reduce((a, b) => a + BigInt(b), 0n)
  if (sum === 0n || discount === 0) return totals.map(() => 0)
  const parts = totals.map((total, place) => {
    const share = BigInt(total) * BigInt(discount)
    return { place, part: Number(share / sum), lost: share % sum }
  })
  let left = discount - parts.reduce((a, { part }) => a + part, 0)
  for (const one of parts.toSorted((a, b) => (a.lost === b.lost ? a.place - b.place : a.lost > b.lost ? -1 : 1))) {
    if (left === 0) break
    one.part += 1
    left -= 1
  }
  return parts.map(({ part }) => part)
}

/**
 * What so many more units of a line give back. Computed from what all of them together give back, so that a line which is
 * refunded unit by unit gives back what was paid for it, to the unit.
 */
export function refundOfLine(
  line: Pick<OrderLine, 'quantity' | 'total' | 'discount' | 'refunded_quantity'>,
  units: number,
): number {
  const paid = BigInt(line.total - line.discount)
  const upTo = (count: number) => Number((paid * BigInt(count)) / BigInt(line.quantity))
  return upTo(line.refunded_quantity + units) - upTo(line.refunded_quantity)
}

/** An order's event: what it became, with what `more` there is to say. */
export function orderEvent(order: OrderRow, status: OrderStatus, more: Record<string, unknown> = {}): EventDraft {
  const type: EventType = status === 'awaiting_payment' ? 'order.created' : `order.${status}`
  const { id, customer_id, reservation_id, currency, subtotal, discount, total, coupon_code } = order
  const data = { id, status, customer_id, reservation_id, currency, subtotal, discount, total, coupon_code, ...more }
  return { type, data: JSON.stringify(data) }
}
