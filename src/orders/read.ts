import { reading, type Executor } from '../database/transaction.ts'
import type { Order, OrderStatus } from './order.ts'
import { selectOrder, selectOrderPage } from './queries.ts'

/** One order with its lines, payments and refunds, as it is now; undefined if there is none. @param id a UUID */
export function readOrder(db: Executor, id: string): Promise<Order | undefined> {
  return reading(() => selectOrder(db, id))
}

/**
 * A page of orders, newest first.
 *
 * @param page `customer_id` a UUID; `limit` 1–201; `before_id` the last order of the page before
 */
export function listOrders(
  db: Executor,
  page: { customer_id?: string; status?: OrderStatus; before_id?: string; limit: number },
): Promise<Order[]> {
  const { customer_id = null, status = null, before_id = null, limit } = page
  return reading(() => selectOrderPage(db, { customer_id, status, before_id, limit }))
}
