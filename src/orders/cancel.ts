import type { Knex } from 'knex'
import { unkeyed } from '../database/keyed.ts'
import { ok, refused, type Result } from '../errors.ts'
import type { Reservations } from '../reservations/reservations.ts'
import { lockOrderIn } from './lock.ts'
import type { LockedOrder, Order } from './order.ts'
import { selectAuthorisedPayment, selectOrder } from './queries.ts'
import type { Transact } from './transact.ts'

export type CancelDeps = { transact: Transact; reservations: Pick<Reservations, 'releaseIn'> }

/** What a hold that a cancelled order let go of says about it. */
const REASON = 'order cancelled'

/**
 * Cancels an order that awaits payment: its units are available at once, and what comes of a payment that the buyer has begun
 * is voided. An order that ended unpaid is answered as it is, so that this may be repeated.
 *
 * @returns refused with `order_not_found`; with `order_already_paid`: it is refunded instead; with `payment_in_progress`
 *   while authorised money is being captured; with `overloaded` or `stock_conflict`
 */
export function cancelOrder({ transact, reservations }: CancelDeps, id: string): Promise<Result<Order>> {
  return transact<Order>({
    claim: unkeyed,
    async work(tx) {
      const locked = await lockOrderIn(tx, id)
      if (!locked.ok) return locked
      const cancelled = await cancelIn(tx, reservations, locked.value)
      return cancelled.ok ? ok((await selectOrder(tx, id))!) : cancelled
    },
    blocked: 'Another session holds this order.',
  })
}

async function cancelIn(
  tx: Knex.Transaction,
  reservations: CancelDeps['reservations'],
  order: LockedOrder,
): Promise<Result<unknown>> {
  if (order.status !== 'awaiting_payment') {
    return order.payment_id === null ? ok(undefined) : refused({ code: 'order_already_paid', status: order.status })
  }
  // Confirmed by a payment that is about to be captured: from here on the order can be paid or fail, but not be cancelled.
  if (order.hold === 'confirmed') {
    return refused({ code: 'payment_in_progress', payment_id: await selectAuthorisedPayment(tx, order.id) })
  }
  // The order follows its hold: cancelled, or expired if the hold's time has run out.
  return reservations.releaseIn(tx, { id: order.reservation_id, reason: REASON })
}
