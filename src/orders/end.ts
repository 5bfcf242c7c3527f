import type { Knex } from 'knex'
import { giveBackIn } from '../coupons/apply.ts'
import { appendEvents } from '../outbox/append.ts'
import { orderEvent, type OrderPayment, type OrderRow } from './order.ts'
import { markEnded } from './queries.ts'

/** How an order ends that is not paid. */
export type EndStatus = 'payment_failed' | 'cancelled' | 'expired'

/** What orders need of payments, which stand above them. Each is called under the orders' locks. */
export type OrderPayments = {
  /** Opens the pending payment of a new order. */
  openIn(tx: Knex.Transaction, order: Pick<OrderRow, 'id' | 'total' | 'currency'>): Promise<OrderPayment>
  /** The orders have ended: what is still open of their payments ends too, and is voided where a gateway has it. */
  endIn(tx: Knex.Transaction, ends: readonly { order_id: string; code: string }[]): Promise<void>
  /** Somebody else has the money: closes what is open and writes down a payment, of which the id is given. */
  takeElsewhereIn(
    tx: Knex.Transaction,
    orders: readonly (Pick<OrderRow, 'id' | 'total' | 'currency'> & { payment_id: string })[],
  ): Promise<void>
}

/**
 * Ends orders that await payment and will not get it, with all that follows: their payments end, their coupons come back,
 * an event tells. The caller has the orders locked, and ends or has ended their holds.
 */
export async function endOrdersIn(
  tx: Knex.Transaction,
  payments: OrderPayments,
  ends: readonly { order: OrderRow; to: EndStatus }[],
): Promise<void> {
  const with_coupon = ends.filter(({ order }) => order.coupon_code !== null).map(({ order }) => order.id)
  await Promise.all([
    markEnded(
      tx,
      ends.map(({ order, to }) => ({ order_id: order.id, status: to })),
    ),
    payments.endIn(
      tx,
      ends.map(({ order, to }) => ({ order_id: order.id, code: `order_${to}` })),
    ),
    giveBackIn(tx, with_coupon),
    appendEvents(
      tx,
      ends.map(({ order, to }) => orderEvent(order, to)),
      null,
    ),
  ])
}
