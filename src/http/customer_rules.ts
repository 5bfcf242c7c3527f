import type { Refusal } from '../errors.ts'
import type { Call, Route } from './route.ts'
import type { Owners } from './visitors.ts'

/**
 * All that a customer's session may do, route by route. What does not stand here is for API keys; what does is for the
 * customer's own things only, and nobody learns of others' whether they exist.
 */
export type CustomerRule =
  /** Without a session too. */
  | 'anybody'
  /** The same, but only of SKUs that are named: to be told of all costs too much to be given away. */
  | 'anybody by name'
  /** Answers why not. */
  | ((call: Call<{}, {}, unknown>, customer_id: string, owners: Owners) => Refused | Promise<Refused>)

type Refused = Refusal | undefined

/** By method and path, as the route declares them. */
const RULES: Record<string, CustomerRule> = {
  'GET /v1/products': 'anybody',
  'GET /v1/products/{id}': 'anybody',
  'GET /v1/products/popular': 'anybody',
  'GET /v1/streams/stock': 'anybody by name',
  'GET /v1/customers/{id}': inPath,
  'GET /v1/customers/{id}/ledger': inPath,
  // Money out of nothing, which goes with logging in by name: both are a demonstration's.
  'POST /v1/customers/{id}/charges': inPath,
  'GET /v1/customers/{id}/cart': inPath,
  'POST /v1/customers/{id}/cart': inPath,
  'PUT /v1/customers/{id}/cart/{sku}': inPath,
  'DELETE /v1/customers/{id}/cart/{sku}': inPath,
  'GET /v1/customers/{id}/coupons': inPath,
  'POST /v1/coupons/{code}/issues': inBody,
  'GET /v1/orders': inQuery,
  'POST /v1/orders': inBody,
  'GET /v1/orders/{id}': ofOrder,
  'POST /v1/orders/{id}/payments': payOwn,
  'POST /v1/orders/{id}/cancel': ofOrder,
  'GET /v1/payments/{id}': ofPayment,
}

/** The rule for customers; undefined where they may not go. */
export function customerRuleOf({ method, path }: Pick<Route, 'method' | 'path'>): CustomerRule | undefined {
  return RULES[`${method} ${path}`]
}

/** Whether no session is needed. */
export function isForAnybody(rule: CustomerRule): rule is 'anybody' | 'anybody by name' {
  return typeof rule === 'string'
}

/** Why an answer about everything is not for anybody; undefined where SKUs are named. */
export function whyNotAll({ query }: Call<{}, {}, unknown>): Refused {
  if ((query as { sku?: readonly string[] }).sku !== undefined) return undefined
  return { code: 'invalid_request', errors: [{ path: '/sku', message: 'must name at least one SKU' }] }
}

/** The routes that have a rule, for a test that they exist. */
export function ruledRoutes(): string[] {
  return Object.keys(RULES)
}

const NOT_YOURS: Refusal = {
  code: 'forbidden',
  detail: 'a customer can name no other customer than the one who is logged in',
}

function isOwn(given: string | undefined, customer_id: string): boolean {
  return given?.toLowerCase() === customer_id
}

function inPath({ params }: Call<{}, {}, unknown>, customer_id: string): Refused {
  const { id = '' } = params as { id?: string }
  return isOwn(id, customer_id) ? undefined : { code: 'customer_not_found', id }
}

function inBody({ body }: Call<{}, {}, unknown>, customer_id: string): Refused {
  return isOwn((body as { customer_id?: string }).customer_id, customer_id) ? undefined : NOT_YOURS
}

function inQuery({ query }: Call<{}, {}, unknown>, customer_id: string): Refused {
  return isOwn((query as { customer_id?: string }).customer_id, customer_id) ? undefined : NOT_YOURS
}

async function ofOrder(
  { params }: Call<{}, {}, unknown>,
  customer_id: string,
  { customerOfOrder }: Owners,
): Promise<Refused> {
  const { id = '' } = params as { id?: string }
  return isOwn(await customerOfOrder(id), customer_id) ? undefined : { code: 'order_not_found', id }
}

/** A gateway sends the buyer on to where the payment says: to this shop alone, or customers could send others anywhere. */
function payOwn(call: Call<{}, {}, unknown>, customer_id: string, owners: Owners): Refused | Promise<Refused> {
  const { return_url = '/' } = call.body as { return_url?: string }
  return return_url.startsWith('/') ? ofOrder(call, customer_id, owners) : ELSEWHERE
}

const ELSEWHERE: Refusal = {
  code: 'invalid_request',
  errors: [{ path: '/return_url', message: 'must be a path of this shop' }],
}

async function ofPayment(
  { params }: Call<{}, {}, unknown>,
  customer_id: string,
  { customerOfPayment }: Owners,
): Promise<Refused> {
  const { id = '' } = params as { id?: string }
  return isOwn(await customerOfPayment(id), customer_id) ? undefined : { code: 'payment_not_found', id }
}
