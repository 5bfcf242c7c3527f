import type { Knex } from 'knex'
import { ok, refused, type Result } from '../errors.ts'
import { lockReservations } from '../reservations/queries.ts'
import type { LockedOrder } from './order.ts'
import { lockOrder, selectLockedOrder, selectReservationOf } from './queries.ts'

/**
 * Locks an order behind its hold, and reads both as they are under the locks. Whoever changes an order or its payments does
 * so under these two locks, the hold first, because whoever ends a hold has that one when it comes to the order.
 *
 * @returns refused with `order_not_found`; with `stock_conflict` if the order got another hold meanwhile: run again
 */
export async function lockOrderIn(tx: Knex.Transaction, order_id: string): Promise<Result<LockedOrder>> {
  const reservation_id = await selectReservationOf(tx, order_id)
  if (reservation_id === undefined) return refused({ code: 'order_not_found', id: order_id })
  // Sent behind each other; the last one has a snapshot of its own, taken under the locks.
  const [, , order] = await Promise.all([
    lockReservations(tx, [reservation_id]),
    lockOrder(tx, order_id),
    selectLockedOrder(tx, order_id),
  ])
  if (order?.reservation_id !== reservation_id) return refused({ code: 'stock_conflict' })
  return ok(order)
}
