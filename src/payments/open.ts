import { newId } from '../ids.ts'
import type { OrderPayments } from '../orders/end.ts'
import { cancelPaymentsOf, insertExternalPayments, insertPayment } from './queries.ts'

/** What orders need of payments. Every order has a payment from its first moment; how it is paid is chosen later. */
export const ORDER_PAYMENTS: OrderPayments = {
  async openIn(tx, order) {
    const id = newId()
    const created_at = await insertPayment(tx, {
      id,
      order_id: order.id,
      amount: order.total,
      currency: order.currency,
    })
    return {
      id,
      method: null,
      status: 'pending',
      amount: order.total,
      refunded_amount: 0,
      owed_amount: 0,
      owed_reason: null,
      failure_code: null,
      created_at: created_at.toISOString(),
    }
  },
  endIn: (tx, ends) => cancelPaymentsOf(tx, ends),
  async takeElsewhereIn(tx, orders) {
    await cancelPaymentsOf(
      tx,
      orders.map(({ id }) => ({ order_id: id, code: 'paid_otherwise' })),
    )
    await insertExternalPayments(
      tx,
      orders.map(({ id, payment_id, total, currency }) => ({ id: payment_id, order_id: id, amount: total, currency })),
    )
  },
}
