/**
 * The closed list of refusals: everything the service can say no with. A refusal is a value that a room returns; nothing
 * was written. Exceptions are for bugs and for a database that went away ({@link DatabaseUnavailable}). `http/problem.ts`
 * is the one table from a refusal to a status.
 */

/** A SKU that has too little: units asked for (all lines of it summed) and units available when it was refused. */
export type Shortage = { sku: string; requested: number; available: number }

/** One fault of a request: `path` is a JSON pointer into the body, or `query/<name>`, `path/<name>`, `header/<name>`. */
export type Fault = { path: string; message: string }

export type Refusal =
  | { code: 'invalid_request'; errors: Fault[] }
  | { code: 'malformed_json'; detail: string }
  | { code: 'unauthenticated'; detail: string }
  | { code: 'forbidden'; detail: string }
  | { code: 'not_found' }
  | { code: 'method_not_allowed'; allow: string[] }
  /** The SKU a path names: 404. */
  | { code: 'sku_not_found'; sku: string }
  /** SKUs that a body names: 422. */
  | { code: 'skus_not_found'; skus: string[] }
  | { code: 'reservation_not_found'; id: string }
  | { code: 'insufficient_stock'; shortages: Shortage[] }
  | { code: 'already_confirmed' }
  | { code: 'already_released' }
  | { code: 'reservation_expired'; expired_at: Date }
  | { code: 'extension_limit'; expires_at_max: Date }
  /** Stock would fall below what is reserved (or below zero). */
  | { code: 'stock_below_reserved'; sku: string; temp_reserved_stock: number }
  | { code: 'stock_limit'; sku: string }
  | { code: 'precondition_failed'; seq: number | null }
  | { code: 'product_not_found'; id: string }
  /** The SKU that a path names, and that no active product sells: 404. */
  | { code: 'sku_not_on_sale'; sku: string }
  /** The same for SKUs that a body names: 422. */
  | { code: 'skus_not_on_sale'; skus: string[] }
  /** The SKU has stock already, or belongs to the product named. */
  | { code: 'sku_taken'; sku: string; product_id: string | null }
  /** The customer that a path names: 404. */
  | { code: 'customer_not_found'; id: string }
  /** The customer that a body names: 422. */
  | { code: 'unknown_customer'; id: string }
  /** Money in the currency's minor unit. */
  | { code: 'insufficient_balance'; balance: number; amount: number }
  | { code: 'balance_limit' }
  | { code: 'cart_limit'; detail: string }
  /** The coupon that a path names: 404. */
  | { code: 'coupon_not_found'; coupon: string }
  /** The coupon that a body names, or one that was not issued to this customer: 422. */
  | { code: 'unknown_coupon'; coupon: string }
  | { code: 'coupon_exists'; coupon: string }
  | { code: 'coupon_exhausted'; quantity: number }
  | { code: 'coupon_already_issued'; number: number }
  | { code: 'coupon_already_used'; order_id: string }
  /** An order without lines of its own, from a cart that has none either. */
  | { code: 'cart_empty' }
  | { code: 'order_not_found'; id: string }
  /** `status` is what the order is instead. */
  | { code: 'order_not_awaiting_payment'; status: string }
  | { code: 'order_already_paid'; status: string }
  | { code: 'order_not_refundable'; status: string }
  /** More units than were bought and have not come back, or a SKU that was not bought. */
  | { code: 'refund_exceeds_paid'; lines: { sku: string; requested: number; refundable: number }[] }
  | { code: 'payment_not_found'; id: string }
  | { code: 'payment_in_progress'; payment_id: string }
  /** `unknown`: it was asked and its answer did not come, so it may or may not have done it. */
  | { code: 'gateway_unavailable'; outcome: 'none' | 'unknown' }
  | { code: 'idempotency_key_in_use' }
  | { code: 'idempotency_key_reused' }
  | { code: 'payload_too_large'; limit_bytes: number }
  | { code: 'unsupported_media_type' }
  | { code: 'rate_limited'; retry_after_seconds: number }
  /** Refused unexecuted: a queue is full, or the request waited too long for a row that another session holds. */
  | { code: 'overloaded'; detail: string }
  /** An optimistic strategy ran out of retries; nothing was written. */
  | { code: 'stock_conflict' }
  /** What a strategy needs beside the database is gone (Redis); nothing was written, and nothing will be. */
  | { code: 'strategy_unavailable'; detail: string }
  /** `unknown`: the connection broke while COMMIT was in flight, so it may or may not have been written. */
  | { code: 'database_unavailable'; outcome: 'none' | 'unknown' }
  | { code: 'internal_error' }

export type RefusalCode = Refusal['code']

/** What a verb answers: its value, or the refusal that left everything as it was. */
export type Result<T> = { ok: true; value: T } | { ok: false; refusal: Refusal }

/** A successful {@link Result}. */
export function ok<T>(value: T): Result<T> {
  return { ok: true, value }
}

/** A refused {@link Result}. */
export function refused(refusal: Refusal): { ok: false; refusal: Refusal } {
  return { ok: false, refusal }
}

/**
 * The database could not be asked, or its answer to COMMIT was lost. `outcome` says which: with `none` nothing was
 * written; with `unknown` the caller must retry under the same idempotency key, or look.
 */
export class DatabaseUnavailable extends Error {
  readonly outcome: 'none' | 'unknown'

  constructor(outcome: 'none' | 'unknown', cause: unknown) {
    super(`the database is not available (outcome: ${outcome})`, { cause })
    this.name = 'DatabaseUnavailable'
    this.outcome = outcome
  }
}
