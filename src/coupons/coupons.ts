import type { Knex } from 'knex'
import { findCustomers } from '../customers/customers.ts'
import { doOnce, earlierOf } from '../database/keyed.ts'
import { reading, type Executor } from '../database/transaction.ts'
import { ok, refused, type Result } from '../errors.ts'
import type { Idempotency } from '../reservations/reservation.ts'
import {
  insertCoupon,
  selectCoupon,
  selectCouponByKey,
  selectIssuePage,
  type Coupon,
  type IssuedCoupon,
} from './queries.ts'

/** A coupon takes a percentage or an amount off an order, and there are so many of it. */

/** `percent`: 1–100. `amount`: 1 or more, in the currency's minor unit. */
export type Discount = { percent: number } | { amount: number }

export type NewCoupon = {
  code: string
  discount: Discount
  /** How many there are: 1–1,000,000. */
  quantity: number
  client: string
  idempotency?: Idempotency
}

export type CreatedCoupon = { coupon: Coupon; replayed: boolean }

/** Makes a coupon. Refused with `coupon_exists`, or by its key. */
export function createCoupon(db: Knex, request: NewCoupon): Promise<Result<CreatedCoupon>> {
  return doOnce<CreatedCoupon>(db, {
    claim: (tx) => claim(tx, request),
    work: async (tx) => ok({ coupon: (await selectCoupon(tx, request.code))!, replayed: false }),
    blocked: 'Another request is making this coupon.',
  })
}

async function claim(tx: Knex.Transaction, request: NewCoupon): Promise<Result<CreatedCoupon> | undefined> {
  const { code, discount, quantity, client, idempotency } = request
  const claimed = await insertCoupon(tx, {
    code,
    discount_percent: 'percent' in discount ? discount.percent : null,
    discount_amount: 'amount' in discount ? discount.amount : null,
    quantity,
    client,
    key: idempotency?.key ?? null,
    request_hash: idempotency?.request_hash ?? null,
  })
  if (claimed) return undefined
  const stored = idempotency && (await selectCouponByKey(tx, client, idempotency.key))
  // The code is taken, not the key.
  if (idempotency === undefined || stored === undefined) return refused({ code: 'coupon_exists', coupon: code })
  const earlier = earlierOf(stored, idempotency.request_hash)
  return earlier.ok ? ok({ coupon: (await selectCoupon(tx, earlier.value.code))!, replayed: true }) : earlier
}

/** A coupon, and how many of it were issued so far; undefined if there is none. */
export function readCoupon(db: Executor, code: string): Promise<Coupon | undefined> {
  return reading(() => selectCoupon(db, code))
}

/**
 * A page of a customer's coupons, by code; undefined if there is no such customer.
 *
 * @param page `limit` 1–201; `after_code` the last code of the page before
 */
export async function listCoupons(
  db: Executor,
  customer_id: string,
  page: { limit: number; after_code?: string },
): Promise<IssuedCoupon[] | undefined> {
  const { limit, after_code = null } = page
  const found = await reading(() => selectIssuePage(db, { customer_id, after_code, limit }))
  if (found.length === 0 && !(await findCustomers(db, [customer_id])).has(customer_id)) return undefined
  return found
}
