import type { Knex } from 'knex'
import { useAgainIn } from '../coupons/apply.ts'
import { appendEvents } from '../outbox/append.ts'
import { recordSalesIn } from '../sales/record.ts'
import { orderEvent, type OrderRow, type OrderStatus } from './order.ts'
import { markSold, selectOrderLines } from './queries.ts'

/** An order whose money is here. `status` is `paid`, or `refund_required` while other money of it is owed. */
export type Sold = { order: OrderRow; payment_id: string; reservation_id: string; status: OrderStatus }

/**
 * Sells orders: marks them paid, records the sales and tells of it. An order that had ended unpaid takes its coupon again. The
 * caller has the orders locked, has written down the payment, and confirms the hold in the same transaction, last.
 */
export async function sellIn(tx: Knex.Transaction, sold: readonly Sold[]): Promise<void> {
  const [sold_at, lines] = await Promise.all([
    markSold(
      tx,
      sold.map(({ order, ...rest }) => ({ order_id: order.id, ...rest })),
    ),
    selectOrderLines(
      tx,
      sold.map(({ order }) => order.id),
    ),
  ])
  const payments = new Map(sold.map(({ order, payment_id }) => [order.id, payment_id]))
  const ended = sold.map(({ order }) => order).filter(({ status }) => status !== 'awaiting_payment')
  await Promise.all([
    useAgainIn(tx, ended),
    recordSalesIn(
      tx,
      lines.map(({ order_id, sku, quantity, total, discount }) => ({
        cause_id: payments.get(order_id)!,
        order_id,
        sku,
        quantity,
        amount: total - discount,
        sold_at,
      })),
    ),
    appendEvents(
      tx,
      sold.map(({ order, payment_id, reservation_id }) =>
        orderEvent({ ...order, reservation_id }, 'paid', { payment_id }),
      ),
      null,
    ),
  ])
}
