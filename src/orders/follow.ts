import type { Knex } from 'knex'
import { newId } from '../ids.ts'
import type { OnClosed } from '../reservations/hooks.ts'
import type { Closed } from '../reservations/reservation.ts'
import { endOrdersIn, type EndStatus, type OrderPayments } from './end.ts'
import { isOrderReference, type OrderRow } from './order.ts'
import { lockUnsoldOrders, type UnsoldOrder } from './queries.ts'
import { sellIn } from './sell.ts'

/**
 * An order follows its hold, in the transaction that ends the hold: whoever ends it, the sweeper, a reserve that takes back
 * what is overdue, or somebody at /v1/reservations. Those who end holds for an order's sake (a payment, a cancel) have
 * moved the order before, so that nothing is left to do for it here.
 *
 * expired → the order is expired. released → it is cancelled: whoever released the hold has let go of it. confirmed → it
 * is paid: at that door a confirm says that the payment succeeded, so a payment by the method `external` is written down;
 * whoever has that money gives it back if it must come back. With `reacquire` that is true of an order that has ended as well.
 */
export function followHolds(payments: OrderPayments): OnClosed {
  const follow = async (tx: Knex.Transaction, closed: readonly Closed[]): Promise<void> => {
    const statuses = new Map(closed.map(({ id, status }) => [id, status]))
    const orders = await lockUnsoldOrders(tx, [...statuses.keys()])
    const ends: { order: OrderRow; to: EndStatus }[] = []
    const paid: UnsoldOrder[] = []
    for (const order of orders) {
      const status = statuses.get(order.reservation_id)
      if (status === 'confirmed') {
        if (!order.authorised) paid.push(order)
      } else if (order.status === 'awaiting_payment') {
        ends.push({ order, to: status === 'released' ? 'cancelled' : 'expired' })
      }
    }
    if (paid.length > 0) await sellElsewhereIn(tx, payments, paid)
    if (ends.length > 0) await endOrdersIn(tx, payments, ends)
  }
  return Object.assign(follow, { concerns: ({ reference }: Closed) => isOrderReference(reference) })
}

async function sellElsewhereIn(
  tx: Knex.Transaction,
  payments: OrderPayments,
  orders: readonly UnsoldOrder[],
): Promise<void> {
  const taken = orders.map((order) => ({ order, payment_id: newId() }))
  await payments.takeElsewhereIn(
    tx,
    taken.map(({ order, payment_id }) => ({ ...order, payment_id })),
  )
  await sellIn(
    tx,
    taken.map(({ order, payment_id }) => ({
      order,
      payment_id,
      reservation_id: order.reservation_id,
      status: order.owes ? ('refund_required' as const) : ('paid' as const),
    })),
  )
}
