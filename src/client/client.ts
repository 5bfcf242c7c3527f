import createFetchClient, { type Client as FetchClient } from 'openapi-fetch'
import type { components, paths } from './schema.ts'

/**
 * A typed client for the service. Paths, parameters, bodies and answers are checked by the compiler, against types that
 * are generated from the OpenAPI document.
 *
 *     const client = createClient({ base_url: 'http://127.0.0.1:3000' })
 *     const { data, error } = await client.POST('/v1/reservations', { body: { lines: [{ sku: 'A', quantity: 1 }] } })
 *     if (error) console.log(error.code, error.detail)
 *     else console.log(data.id, data.expires_at)
 */
export type Client = FetchClient<paths>

export type Reservation = components['schemas']['Reservation']
export type Level = components['schemas']['Level']
export type LedgerEntry = components['schemas']['LedgerEntry']
export type StockEvent = components['schemas']['Event']
export type Product = components['schemas']['Product']
export type Customer = components['schemas']['Customer']
export type AccountEntry = components['schemas']['AccountEntry']
export type Cart = components['schemas']['Cart']
export type Coupon = components['schemas']['Coupon']
export type CouponIssue = components['schemas']['CouponIssue']
export type Order = components['schemas']['Order']
export type Payment = components['schemas']['Payment']
export type Refund = components['schemas']['Refund']
export type Popular = components['schemas']['Popular']
export type Problem = components['schemas']['Problem']

export type ClientOptions = {
  /** Where the service is, without a path: `http://127.0.0.1:3000`. */
  base_url: string
  api_key?: string
  /** Another fetch, for tests or for a connection pool of your own. */
  fetch?: (request: Request) => Promise<globalThis.Response>
}

/** @throws nothing; what the service refuses is `error`, a {@link Problem}; a broken connection rejects the call */
export function createClient(options: ClientOptions): Client {
  return createFetchClient<paths>({
    baseUrl: options.base_url.replace(/\/+$/, ''),
    headers: options.api_key === undefined ? {} : { Authorization: `Bearer ${options.api_key}` },
    ...(options.fetch === undefined ? {} : { fetch: options.fetch }),
  })
}
