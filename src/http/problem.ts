import type { Context } from 'koa'
import { Type, type Static } from 'typebox'
import { DatabaseUnavailable, type Refusal } from '../errors.ts'
import { send } from './send.ts'

/**
 * The one table from a refusal to an answer: RFC 9457 problem details. Every `detail` says what to do next, and every 503
 * says whether anything may have been written.
 */

type Code = Refusal['code']
type Of<C extends Code> = Extract<Refusal, { code: C }>

type Problem<C extends Code> = {
  status: number
  title: string
  /** What the documentation says about the code in general; `detail` where nothing more can be said. */
  about: string
  detail: (refusal: Of<C>) => string
  /** The word in the contract, where one of ours stands for a finer case. */
  code?: string
  members?: (refusal: Of<C>) => Record<string, unknown>
  /** For how long a client should wait before it tries again. */
  retry_after_seconds?: (refusal: Of<C>) => number
}

const PROBLEM_JSON = 'application/problem+json; charset=utf-8'
const NOTHING_WRITTEN = () => ({ outcome: 'none' })

const PROBLEMS: { [C in Code]: Problem<C> } = {
  invalid_request: {
    status: 400,
    title: 'The request is not valid',
    about: 'Something in the path, query, headers or body is outside its stated bounds. Correct what `errors` names.',
    detail: () => 'Correct what errors names, and send the request again.',
    members: ({ errors }) => ({ errors }),
  },
  malformed_json: {
    status: 400,
    title: 'The body is not JSON',
    about: 'The body is empty where one is needed, is not UTF-8, or is not JSON.',
    detail: ({ detail }) => `Send a JSON body in UTF-8: ${detail}.`,
  },
  unauthenticated: {
    status: 401,
    title: 'No valid API key',
    about: 'The API key is missing, unknown, revoked or replaced. Send `Authorization: Bearer <api key>`.',
    detail: ({ detail }) => sentence(detail),
  },
  forbidden: {
    status: 403,
    title: 'Not allowed',
    about:
      'The API key lacks the scope that this call needs, or the service has no keys yet and serves this machine only.',
    detail: ({ detail }) => sentence(detail),
  },
  not_found: {
    status: 404,
    title: 'No such path',
    about: 'Nothing is served under this path.',
    detail: () => 'Nothing is served under this path; /docs lists what is.',
  },
  method_not_allowed: {
    status: 405,
    title: 'Method not allowed',
    about: 'The path exists, but not for this method. `Allow` lists the methods.',
    detail: ({ allow }) => `Use one of ${allow.join(', ')}.`,
  },
  sku_not_found: {
    status: 404,
    title: 'No such SKU',
    about: 'The SKU has no stock record: 404 when the path names it, 422 with `skus` when the body does.',
    detail: () => 'Check the SKU (it is case-sensitive), or create it with PUT /v1/stock/{sku}.',
  },
  skus_not_found: {
    status: 422,
    code: 'sku_not_found',
    title: 'No such SKU',
    about: 'SKUs that the body names have no stock record; `skus` lists them.',
    detail: () => 'Check the SKUs in skus (they are case-sensitive), or create them with PUT /v1/stock.',
    members: ({ skus }) => ({ skus }),
  },
  reservation_not_found: {
    status: 404,
    title: 'No such reservation',
    about: 'There is no reservation with this id.',
    detail: () => 'Check the id; POST /v1/reservations answers with it, GET /v1/reservations finds it.',
  },
  insufficient_stock: {
    status: 409,
    title: 'Not enough stock',
    about:
      'At least one SKU has too little available; nothing was held. `shortages` says what was asked for and what is left.',
    detail: () =>
      'Nothing was held. Ask for no more than shortages says is available, or try again when stock returns.',
    members: ({ shortages }) => ({ shortages }),
  },
  already_confirmed: {
    status: 409,
    title: 'Already confirmed',
    about: 'The reservation was confirmed, which is final: its units are sold.',
    detail: () => 'The units are sold. Undo the sale with POST /v1/stock/adjustments if they came back.',
  },
  already_released: {
    status: 409,
    title: 'Already released',
    about: 'The reservation was released, which is final: its units are available again.',
    detail: () => 'Its units are available to others again. Make a new reservation.',
  },
  reservation_expired: {
    status: 410,
    title: 'The reservation has expired',
    about: 'The hold ended before this request. Reserve again, or confirm with `on_expired: "reacquire"`.',
    detail: ({ expired_at }) =>
      `It expired at ${expired_at.toISOString()}. Reserve again; if money was taken, confirm with "on_expired": "reacquire".`,
    members: ({ expired_at }) => ({ expired_at }),
  },
  extension_limit: {
    status: 422,
    title: 'Cannot be extended that far',
    about: 'No reservation lives longer than `RESERVATION_TTL_MAX_SECONDS` from its creation.',
    detail: ({ expires_at_max }) => `Ask for an end no later than ${expires_at_max.toISOString()}.`,
    members: ({ expires_at_max }) => ({ expires_at_max }),
  },
  stock_below_reserved: {
    status: 409,
    title: 'Stock would fall below what is reserved',
    about: 'Units that customers hold cannot be taken away, and stock cannot fall below zero.',
    detail: ({ temp_reserved_stock }) =>
      `Keep at least ${temp_reserved_stock} units, or release reservations of this SKU first.`,
    members: ({ sku, temp_reserved_stock }) => ({ sku, temp_reserved_stock }),
  },
  stock_limit: {
    status: 409,
    title: 'Too much stock',
    about: 'A SKU counts up to 2,000,000,000 units.',
    detail: () => 'A SKU counts up to 2,000,000,000 units; add less.',
    members: ({ sku }) => ({ sku }),
  },
  precondition_failed: {
    status: 412,
    title: 'The stock record has changed',
    about: '`If-Match` names another version than the current one; nothing was written.',
    detail: () => 'Read the SKU again, decide anew, and send its ETag in If-Match.',
    members: ({ seq }) => ({ seq }),
  },
  product_not_found: {
    status: 404,
    title: 'No such product',
    about: 'There is no product with this id, or it is a draft that this API key may not see.',
    detail: () => 'Check the id; GET /v1/products lists what is on sale.',
  },
  sku_not_on_sale: {
    status: 404,
    code: 'sku_not_found',
    title: 'Not on sale',
    about: 'No active product sells the SKU that the path names.',
    detail: () => 'Check the SKU (it is case-sensitive); GET /v1/products lists what is on sale.',
  },
  skus_not_on_sale: {
    status: 422,
    code: 'sku_not_found',
    title: 'Not on sale',
    about: 'No active product sells the SKUs that the body names; `skus` lists them.',
    detail: () => 'Check the SKUs in skus (they are case-sensitive); GET /v1/products lists what is on sale.',
    members: ({ skus }) => ({ skus }),
  },
  sku_taken: {
    status: 409,
    title: 'The SKU is taken',
    about: 'A new SKU must have no stock yet and belong to no other product; nothing was made. `sku` names it.',
    detail: ({ product_id }) =>
      product_id === null
        ? 'This SKU has a stock record already, and history with it. Give the product a SKU of its own.'
        : 'This SKU belongs to the product in product_id. Give the product a SKU of its own.',
    members: ({ sku, product_id }) => ({ sku, product_id }),
  },
  customer_not_found: {
    status: 404,
    title: 'No such customer',
    about: 'There is no customer with this id: 404 when the path names it, 422 when the body does.',
    detail: () => 'Check the id; POST /v1/customers answers with it.',
  },
  unknown_customer: {
    status: 422,
    code: 'customer_not_found',
    title: 'No such customer',
    about: 'The body names a customer that does not exist.',
    detail: () => 'Check customer_id; POST /v1/customers answers with it.',
  },
  insufficient_balance: {
    status: 409,
    title: 'The balance is too low',
    about: 'The account has less than the payment needs; nothing was spent. `balance` is what it has.',
    detail: ({ balance, amount }) => `Charge the account with ${amount - balance} more, or pay in another way.`,
    members: ({ balance, amount }) => ({ balance, amount }),
  },
  balance_limit: {
    status: 409,
    title: 'Too much money',
    about: 'An account holds up to 9,007,199,254,740,991 in the minor unit of the currency.',
    detail: () => 'An account holds up to 9,007,199,254,740,991 in the minor unit of the currency; charge less.',
  },
  cart_limit: {
    status: 409,
    title: 'The cart is full',
    about: 'A cart has at most 100 lines, and a line at most 1,000,000 units.',
    detail: ({ detail }) => sentence(detail),
  },
  coupon_not_found: {
    status: 404,
    title: 'No such coupon',
    about: 'There is no coupon with this code: 404 when the path names it, 422 when the body does.',
    detail: () => 'Check the code; it is case-sensitive.',
  },
  unknown_coupon: {
    status: 422,
    code: 'coupon_not_found',
    title: 'No such coupon',
    about: 'The body names a coupon that does not exist or that this customer was not issued.',
    detail: () => 'Check coupon_code (it is case-sensitive), and get it first: POST /v1/coupons/{code}/issues.',
  },
  coupon_exists: {
    status: 409,
    title: 'The code is taken',
    about: 'Another coupon has this code.',
    detail: () => 'Choose another code; what was issued under this one stays as it is.',
  },
  coupon_exhausted: {
    status: 409,
    title: 'All are gone',
    about: 'All coupons of this code were issued before this request.',
    detail: ({ quantity }) => `All ${quantity} were issued before this request. There will be no more.`,
  },
  coupon_already_issued: {
    status: 409,
    title: 'One per customer',
    about: 'The customer has this coupon already.',
    detail: () => 'The customer has this coupon already; GET /v1/customers/{id}/coupons shows it.',
    members: ({ number }) => ({ number }),
  },
  coupon_already_used: {
    status: 409,
    title: 'The coupon was used',
    about: 'The customer has used this coupon for another order.',
    detail: () => 'The order in order_id has it. Order without it, or cancel that order while it is not paid.',
    members: ({ order_id }) => ({ order_id }),
  },
  cart_empty: {
    status: 409,
    title: 'The cart is empty',
    about: 'An order without `lines` is made from the cart, and the cart has none.',
    detail: () => 'Put something into the cart first, or send lines with the order.',
  },
  order_not_found: {
    status: 404,
    title: 'No such order',
    about: 'There is no order with this id.',
    detail: () => 'Check the id; POST /v1/orders answers with it, GET /v1/orders finds it.',
  },
  order_not_awaiting_payment: {
    status: 409,
    title: 'The order awaits no payment',
    about: 'The order is paid, or its hold has ended: `status` says which. Nothing was charged.',
    detail: ({ status }) =>
      status === 'paid'
        ? 'It is paid already; nothing was charged.'
        : 'Its units are available again. Make a new order.',
    members: ({ status }) => ({ order_status: status }),
  },
  order_already_paid: {
    status: 409,
    title: 'The order is paid',
    about: 'A paid order is not cancelled but refunded.',
    detail: () => 'Refund it with POST /v1/orders/{id}/refunds.',
    members: ({ status }) => ({ order_status: status }),
  },
  order_not_refundable: {
    status: 409,
    title: 'Nothing to refund',
    about: 'No money of this order is left that could be given back, or not by line while money is owed.',
    detail: ({ status }) =>
      status === 'refund_required'
        ? 'Give back what is owed first: send the refund without lines.'
        : 'No money of this order is left that could be given back.',
    members: ({ status }) => ({ order_status: status }),
  },
  refund_exceeds_paid: {
    status: 409,
    title: 'More than was bought',
    about: 'A refund names more units than were bought and have not come back yet. `lines` says how many can.',
    detail: () => 'Name no more units of a SKU than lines says are refundable.',
    members: ({ lines }) => ({ lines }),
  },
  payment_not_found: {
    status: 404,
    title: 'No such payment',
    about: 'There is no payment with this id.',
    detail: () => 'Check the id; POST /v1/orders/{id}/payments answers with it.',
  },
  payment_in_progress: {
    status: 409,
    title: 'A payment is under way',
    about: 'An order has one open payment at a time; `payment_id` names it.',
    detail: () => 'Let the payment in payment_id end, or cancel the order while the buyer has not approved it.',
    members: ({ payment_id }) => ({ payment_id }),
  },
  gateway_unavailable: {
    status: 503,
    title: 'The payment gateway does not answer',
    about: 'The payment was begun and stays open. With the same Idempotency-Key it is continued where it stopped.',
    detail: () =>
      'Send the same request again after Retry-After: with the same Idempotency-Key nothing is charged twice.',
    members: ({ outcome }) => ({ outcome }),
    retry_after_seconds: () => 5,
  },
  idempotency_key_in_use: {
    status: 409,
    title: 'A request with this key is in flight',
    about: 'Another request with the same Idempotency-Key has not ended yet. Send it again after `Retry-After`.',
    detail: () => 'Send the same request again after Retry-After; it then gets the answer of the first.',
    retry_after_seconds: () => 1,
  },
  idempotency_key_reused: {
    status: 422,
    title: 'The key stands for another request',
    about: 'The Idempotency-Key was used before with another body. Nothing was done.',
    detail: () => 'Use a new Idempotency-Key for a new request, or repeat the first body exactly.',
  },
  payload_too_large: {
    status: 413,
    title: 'The body is too large',
    about: 'Bodies have at most 64 KiB, on bulk routes 1 MiB.',
    detail: ({ limit_bytes }) => `Send at most ${limit_bytes} bytes; split what is larger.`,
    members: ({ limit_bytes }) => ({ limit_bytes }),
  },
  unsupported_media_type: {
    status: 415,
    title: 'Not a JSON body',
    about: 'Bodies are `application/json` in UTF-8, without a content encoding.',
    detail: () => 'Send "Content-Type: application/json", in UTF-8 and without Content-Encoding.',
  },
  rate_limited: {
    status: 429,
    title: 'Too many failed attempts',
    about: 'Too many requests without a valid API key came from this address.',
    detail: () => 'Wait for Retry-After, and check the API key.',
    retry_after_seconds: ({ retry_after_seconds }) => retry_after_seconds,
  },
  overloaded: {
    status: 503,
    title: 'Too busy',
    about: 'The service refused the request before it did anything. Send it again after `Retry-After`.',
    detail: ({ detail }) => `${sentence(detail)} Nothing was written; try again after Retry-After.`,
    members: NOTHING_WRITTEN,
    retry_after_seconds: () => 1,
  },
  stock_conflict: {
    status: 503,
    title: 'Too many at once',
    about: 'Others changed the same SKU with every try. Nothing was written.',
    detail: () => 'Others changed the same SKU with every try. Nothing was written; try again after Retry-After.',
    members: NOTHING_WRITTEN,
    retry_after_seconds: () => 1,
  },
  database_unavailable: {
    status: 503,
    title: 'The database is not available',
    about:
      'With `outcome: "none"` nothing was written. With `"unknown"` the connection broke at COMMIT: retry with the same ' +
      'Idempotency-Key, or look with `GET /v1/reservations?idempotency_key=`.',
    detail: ({ outcome }) =>
      outcome === 'none'
        ? 'Nothing was written; try again after Retry-After.'
        : 'It may or may not have been written. Retry with the same Idempotency-Key, or look whether it exists.',
    members: ({ outcome }) => ({ outcome }),
    retry_after_seconds: () => 2,
  },
  strategy_unavailable: {
    // To a client it is the same whether the database or what stands before it is gone.
    code: 'database_unavailable',
    status: 503,
    title: 'What stands before the database is not available',
    about: 'What this way of reserving needs beside the database (Redis) does not answer. Nothing was written.',
    detail: ({ detail }) => `${sentence(detail)} Nothing was written; try again after Retry-After.`,
    members: NOTHING_WRITTEN,
    retry_after_seconds: () => 2,
  },
  internal_error: {
    status: 500,
    title: 'A fault of the service',
    about: 'Something went wrong that the client did not cause. The log has the details under the `request_id`.',
    detail: () => 'This is not your fault. Report the request_id; a retry with the same Idempotency-Key is safe.',
  },
}

/** Problem details as the document describes them; members beyond these depend on the code. */
export const ProblemSchema = Type.Object(
  {
    type: Type.String({ description: 'Where the code is documented.' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'What to do next.' }),
    code: Type.String({ description: 'The stable word that a program switches on.' }),
    request_id: Type.String(),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          path: Type.String({ description: 'A JSON pointer into the body, or `query/…`, `path/…`, `header/…`.' }),
          message: Type.String(),
        }),
        { description: 'With `invalid_request`: what is wrong, at most 20.' },
      ),
    ),
    shortages: Type.Optional(
      Type.Array(Type.Object({ sku: Type.String(), requested: Type.Integer(), available: Type.Integer() }), {
        description: 'With `insufficient_stock`.',
      }),
    ),
    skus: Type.Optional(Type.Array(Type.String(), { description: 'With `sku_not_found`, where the body names them.' })),
    outcome: Type.Optional(
      Type.Unsafe<'none' | 'unknown'>({
        type: 'string',
        enum: ['none', 'unknown'],
        description: 'With every 503: whether anything may have been written.',
      }),
    ),
  },
  { title: 'Problem', additionalProperties: true },
)

/** What a client reads. */
export type ProblemBody = Static<typeof ProblemSchema>

/** A refusal as problem details, without the headers. */
export function problem(refusal: Refusal, request_id: string): ProblemBody {
  const entry = PROBLEMS[refusal.code] as Problem<Code>
  const code = entry.code ?? refusal.code
  return {
    type: `/docs/errors#${code}`,
    title: entry.title,
    status: entry.status,
    detail: entry.detail(refusal as never),
    code,
    request_id,
    ...entry.members?.(refusal as never),
  }
}

/** Answers a request with a refusal. */
export function refuse(ctx: Context, refusal: Refusal): void {
  const body = problem(refusal, ctx.state.request_id as string)
  const retry_after_seconds = PROBLEMS[refusal.code].retry_after_seconds?.(refusal as never)
  const headers: string[] = []
  if (retry_after_seconds !== undefined) headers.push('Retry-After', String(retry_after_seconds))
  if (refusal.code === 'unauthenticated') headers.push('WWW-Authenticate', 'Bearer realm="stock"')
  if (refusal.code === 'method_not_allowed') headers.push('Allow', refusal.allow.join(', '))
  ctx.state.code = body.code
  send(ctx, { status: body.status, type: PROBLEM_JSON, text: JSON.stringify(body), headers })
}

/** Answers a request with a refusal in place of what would come next. */
export function stop(ctx: Context, refusal: Refusal): Promise<void> {
  refuse(ctx, refusal)
  return Promise.resolve()
}

/** The refusal that an exception amounts to; undefined for a bug. */
export function refusalOf(error: unknown): Refusal | undefined {
  if (error instanceof DatabaseUnavailable) return { code: 'database_unavailable', outcome: error.outcome }
  return undefined
}

/** What the documentation says about a refusal. */
export function problemOf(refusal: Code): { code: string; status: number; title: string; about: string } {
  const { code = refusal, status, title, about } = PROBLEMS[refusal] as Problem<Code>
  return { code, status, title, about }
}

/** All codes with what to know about each, for the documentation. */
export function documentedProblems(): ReturnType<typeof problemOf>[] {
  return Object.keys(PROBLEMS).map((refusal) => problemOf(refusal as Code))
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`
}
