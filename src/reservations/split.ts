import { splitBy, type Weighted } from '../weights.ts'
import type { ReserveRequest } from './reservation.ts'

/**
 * Splits buyers among values. Invariant: a buyer gets the same value every time, in every process and after every restart,
 * as long as the weights are the same.
 *
 * A buyer is whoever `customer_id` names; without one, an idempotency key, so that a retry meets what its first try has met;
 * without either, every reservation is somebody else.
 *
 * @param salt what is split: with different salts the same buyers are split independently
 */
export function createSplit<T>(
  weighted: readonly Weighted<T>[],
  salt: string,
): (request: ReserveRequest, id: string) => T {
  const [first] = weighted
  if (first === undefined) throw new Error('a split needs a value')
  if (weighted.length === 1) return () => first.value
  const pick = splitBy(weighted, salt)
  return (request, id) => pick(buyerOf(request, id))
}

function buyerOf({ customer_id, client, idempotency }: ReserveRequest, id: string): string {
  if (customer_id !== undefined) return `customer ${customer_id}`
  if (idempotency !== undefined) return `key ${client}\0${idempotency.key}`
  return `reservation ${id}`
}
