import { noSuchCustomer } from '../customers/routes.ts'
import { CustomerParams } from '../customers/schemas.ts'
import type { Refusal, Result } from '../errors.ts'
import { idempotencyOf } from '../http/idempotency.ts'
import { answer, created, refuseWith, REPLAYED_HEADER, route, type Answer, type Route } from '../http/route.ts'
import { isUuid } from '../ids.ts'
import type { Idempotency } from '../reservations/reservation.ts'
import type { Cart, CartAnswer } from './carts.ts'
import { AddToCart, cartJson, CartLineParams, CartSchema, SetInCart } from './schemas.ts'

/** The carts' functions, bound to a pool. */
export type CartRoutesDeps = {
  addToCart: (request: {
    customer_id: string
    sku: string
    quantity: number
    client: string
    idempotency?: Idempotency
  }) => Promise<Result<CartAnswer>>
  setInCart: (line: { customer_id: string; sku: string; quantity: number }) => Promise<Result<Cart>>
  removeFromCart: (line: { customer_id: string; sku: string }) => Promise<Result<Cart>>
  readCart: (customer_id: string) => Promise<Result<Cart>>
  /** Whether one more change would be taken; asked before a body is read. */
  hasRoom: () => boolean
}

/** A customer's cart: it holds no stock, and every answer is the whole cart with prices and availability as of now. */
export function cartRoutes(carts: CartRoutesDeps): Route[] {
  return [add(carts), read(carts), set(carts), remove(carts)]
}

const TAG = 'Carts'
const PATH = '/v1/customers/{id}/cart'
const CART = { description: 'The cart as it is now.', schema: CartSchema }
const COMMON = { path: PATH, tag: TAG, params: CustomerParams, impossible: noSuchCustomer }
const ON_LINE = { path: `${PATH}/{sku}`, tag: TAG, params: CartLineParams, impossible: ofNobody }

function add(carts: CartRoutesDeps): Route {
  return route({
    ...COMMON,
    method: 'POST',
    operation_id: 'addToCart',
    summary: 'Add units to a cart',
    description:
      'What the cart has of the SKU already counts: refused, with what is available, if the sum is more than that.',
    scope: 'reserve',
    body: AddToCart,
    idempotency: 'accepted',
    hasRoom: () => carts.hasRoom(),
    responses: {
      201: { ...CART, headers: REPLAYED_HEADER },
    },
    refusals: [
      'customer_not_found',
      'skus_not_on_sale',
      'insufficient_stock',
      'cart_limit',
      'idempotency_key_in_use',
      'idempotency_key_reused',
      'overloaded',
    ],
    async handle({ params, body, client, idempotency_key }) {
      const customer_id = params.id.toLowerCase()
      const idempotency = idempotencyOf(idempotency_key, 'POST', `/v1/customers/${customer_id}/cart`, body)
      const result = await carts.addToCart({ ...body, customer_id, client, ...idempotency })
      if (!result.ok) return refuseWith(result.refusal)
      const { cart, replayed } = result.value
      return created(cartJson(cart), { replayed })
    },
  })
}

function read(carts: CartRoutesDeps): Route {
  return route({
    ...COMMON,
    method: 'GET',
    operation_id: 'getCart',
    summary: 'Read a cart',
    description: 'With prices as of now, and with a `problem` for each line that is no longer available.',
    scope: 'read',
    responses: { 200: CART },
    refusals: ['customer_not_found'],
    handle: async ({ params }) => whole(await carts.readCart(params.id.toLowerCase())),
  })
}

function set(carts: CartRoutesDeps): Route {
  return route({
    ...ON_LINE,
    method: 'PUT',
    operation_id: 'setInCart',
    summary: 'Set how many units of a SKU a cart has',
    scope: 'reserve',
    body: SetInCart,
    idempotency: 'ignored',
    hasRoom: () => carts.hasRoom(),
    responses: { 200: CART },
    refusals: ['customer_not_found', 'sku_not_on_sale', 'insufficient_stock', 'cart_limit', 'overloaded'],
    async handle({ params, body }) {
      const { sku } = params
      const result = await carts.setInCart({ ...body, sku, customer_id: params.id.toLowerCase() })
      // Here the path names the SKU.
      if (!result.ok && result.refusal.code === 'skus_not_on_sale') return refuseWith({ code: 'sku_not_on_sale', sku })
      return whole(result)
    },
  })
}

function remove(carts: CartRoutesDeps): Route {
  return route({
    ...ON_LINE,
    method: 'DELETE',
    operation_id: 'removeFromCart',
    summary: 'Take a SKU out of a cart',
    description: 'Where it is not in the cart, nothing changes.',
    scope: 'reserve',
    idempotency: 'ignored',
    hasRoom: () => carts.hasRoom(),
    responses: { 200: CART },
    refusals: ['customer_not_found', 'overloaded'],
    handle: async ({ params }) =>
      whole(await carts.removeFromCart({ sku: params.sku, customer_id: params.id.toLowerCase() })),
  })
}

function whole(result: Result<Cart>): Answer {
  return result.ok ? answer(200, cartJson(result.value)) : refuseWith(result.refusal)
}

/** What else is wrong with a path than its customer (a SKU that can't be one) is told as it is. */
function ofNobody(params: Record<string, string>): Refusal | undefined {
  return isUuid(params.id) ? undefined : noSuchCustomer(params)
}
