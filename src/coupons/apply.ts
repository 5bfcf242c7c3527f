import type { Knex } from 'knex'
import { ok, refused, type Result } from '../errors.ts'
import { lockIssue, markIssued, markUsed, markUsedAgain, type Coupon } from './queries.ts'

/** Coupons on orders. Invariant: a coupon that was issued is used by one order at most, and an order uses one at most. */

/**
 * What a coupon takes off: a percentage is rounded down to the minor unit, an amount is never more than the subtotal. So the
 * total is never below zero, and 100 percent leave nothing.
 *
 * @param subtotal 0 or more, in the currency's minor unit
 */
export function discountOf(
  { discount_percent, discount_amount }: Pick<Coupon, 'discount_percent' | 'discount_amount'>,
  subtotal: number,
): number {
  if (discount_percent === null) return Math.min(discount_amount ?? 0, subtotal)
  // Hundreds and the rest apart: multiplied as a whole, a large subtotal would leave the integers that are exact.
  const rest = subtotal % 100
  return ((subtotal - rest) / 100) * discount_percent + Math.floor((rest * discount_percent) / 100)
}

/**
 * Uses a customer's coupon for an order, in the caller's transaction. The same order again gets the same answer.
 *
 * @param request.subtotal 0 or more, in the currency's minor unit
 * @returns refused with `unknown_coupon` if there is none under this code or the customer was not issued it, with
 *   `coupon_already_used` if another order has it
 */
export async function applyIn(
  tx: Knex.Transaction,
  request: { code: string; customer_id: string; order_id: string; subtotal: number },
): Promise<Result<{ discount: number }>> {
  const { code, customer_id, order_id, subtotal } = request
  const issue = await lockIssue(tx, code, customer_id)
  if (issue === undefined) return refused({ code: 'unknown_coupon', coupon: code })
  if (issue.order_id !== null && issue.order_id !== order_id) {
    return refused({ code: 'coupon_already_used', order_id: issue.order_id })
  }
  if (issue.order_id === null && !(await markUsed(tx, issue, order_id))) {
    throw new Error('a coupon was used under its lock')
  }
  return ok({ discount: discountOf(issue, subtotal) })
}

/**
 * Gives the coupons of orders that do not get paid back to their customers, in the caller's transaction; orders without one
 * are passed over. They stay issued: the number of coupons left does not change.
 *
 * @returns how many came back
 */
export async function giveBackIn(tx: Knex.Transaction, order_ids: readonly string[]): Promise<number> {
  return order_ids.length === 0 ? 0 : markIssued(tx, order_ids)
}

/**
 * Uses the coupons of orders again that had not been paid, had given them back and are sold after all, in the caller's
 * transaction. One that its customer has used elsewhere meanwhile stays there: the order keeps its price.
 */
export async function useAgainIn(
  tx: Knex.Transaction,
  orders: readonly { id: string; customer_id: string; coupon_code: string | null }[],
): Promise<void> {
  const wanted = orders.flatMap(({ id, customer_id, coupon_code }) =>
    coupon_code === null ? [] : [{ order_id: id, customer_id, code: coupon_code }],
  )
  if (wanted.length > 0) await markUsedAgain(tx, wanted)
}
