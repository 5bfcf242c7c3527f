import { Type } from 'typebox'
import type { Refusal, Result } from '../errors.ts'
import { idempotencyOf } from '../http/idempotency.ts'
import { decodeCursor, LIMIT_DEFAULT, pageJson, PageQuery } from '../http/pagination.ts'
import { answer, created, refuseWith, REPLAYED_HEADER, route, type Answer, type Route } from '../http/route.ts'
import { isUuid } from '../ids.ts'
import { findExcess } from '../reservations/schemas.ts'
import type { NewOrder, Ordered } from './create.ts'
import type { Order, OrderStatus } from './order.ts'
import { CreateOrder, OrderFilters, orderJson, OrderPage, OrderParams, OrderSchema } from './schemas.ts'

/** What the routes need of orders, bound to pools. */
export type OrderRoutesDeps = {
  createOrder: (request: NewOrder) => Promise<Result<Ordered>>
  cancelOrder: (id: string) => Promise<Result<Order>>
  readOrder: (id: string) => Promise<Order | undefined>
  listOrders: (page: {
    customer_id?: string
    status?: OrderStatus
    before_id?: string
    limit: number
  }) => Promise<Order[]>
  hasRoom: () => boolean
}

/** Orders: made, cancelled and read. How they are paid stands with the payments. */
export function orderRoutes(deps: OrderRoutesDeps): Route[] {
  return [create(deps), list(deps), readOne(deps), cancel(deps)]
}

export const ORDERS_TAG = 'Orders'
const PATH = '/v1/orders'

function create({ createOrder, hasRoom }: OrderRoutesDeps): Route {
  return route({
    method: 'POST',
    path: PATH,
    operation_id: 'createOrder',
    tag: ORDERS_TAG,
    summary: 'Order: hold the stock and settle the prices',
    description:
      'Every line is held or none. The order awaits payment until `expires_at`; if it is not paid by then, the units come back by themselves.',
    scope: 'reserve',
    body: CreateOrder,
    idempotency: 'accepted',
    hasRoom,
    check: ({ body }) => (body.lines === undefined ? [] : findExcess(body.lines, '')),
    responses: {
      201: {
        description: 'Ordered. With `Idempotent-Replayed: true` it was before, and is shown as it is now.',
        schema: OrderSchema,
        headers: { Location: 'Where to read it.', ...REPLAYED_HEADER },
      },
    },
    refusals: [
      'insufficient_stock',
      'cart_empty',
      'skus_not_on_sale',
      'skus_not_found',
      'unknown_customer',
      'unknown_coupon',
      'coupon_already_used',
      'idempotency_key_in_use',
      'idempotency_key_reused',
      'overloaded',
      'stock_conflict',
    ],
    async handle({ body, client, idempotency_key }) {
      const idempotency = idempotencyOf(idempotency_key, 'POST', PATH, body)
      const customer_id = body.customer_id.toLowerCase()
      const result = await createOrder({ ...body, customer_id, client, ...idempotency })
      if (!result.ok) return refuseWith(result.refusal)
      const { order, replayed } = result.value
      return created(orderJson(order), { replayed, location: `${PATH}/${order.id}` })
    },
  })
}

function list({ listOrders }: OrderRoutesDeps): Route {
  return route({
    method: 'GET',
    path: PATH,
    operation_id: 'listOrders',
    tag: ORDERS_TAG,
    summary: 'Find orders',
    description: 'Newest first.',
    scope: 'read',
    query: Type.Object({ ...OrderFilters, ...PageQuery }, { additionalProperties: false }),
    responses: { 200: { description: 'Orders, newest first.', schema: OrderPage } },
    async handle({ query }) {
      const { cursor, limit = LIMIT_DEFAULT, ...filter } = query
      const before = decodeCursor(cursor, isUuid)
      if (!before.ok) return refuseWith(before.refusal)
      const before_id = before.value === undefined ? {} : { before_id: before.value }
      const orders = await listOrders({ ...filter, ...before_id, limit: limit + 1 })
      return answer(200, pageJson(orders, { limit, toJson: orderJson, cursorOf: (order) => order.id }))
    },
  })
}

function readOne({ readOrder }: OrderRoutesDeps): Route {
  return route({
    ...onOne,
    method: 'GET',
    path: `${PATH}/{id}`,
    operation_id: 'getOrder',
    summary: 'Read one order',
    scope: 'read',
    responses: { 200: { description: 'As it is now.', schema: OrderSchema } },
    refusals: ['order_not_found'],
    async handle({ params }) {
      const id = params.id.toLowerCase()
      const order = await readOrder(id)
      return order === undefined ? refuseWith({ code: 'order_not_found', id }) : answer(200, orderJson(order))
    },
  })
}

function cancel({ cancelOrder, hasRoom }: OrderRoutesDeps): Route {
  return route({
    ...onOne,
    method: 'POST',
    path: `${PATH}/{id}/cancel`,
    operation_id: 'cancelOrder',
    summary: 'Cancel an order that awaits payment',
    description:
      'Its units are available at once. An order that ended unpaid is answered as it is; the same again answers the same.',
    scope: 'reserve',
    idempotency: 'ignored',
    hasRoom,
    responses: { 200: { description: 'Cancelled, or ended before.', schema: OrderSchema } },
    refusals: ['order_not_found', 'order_already_paid', 'payment_in_progress', 'overloaded', 'stock_conflict'],
    handle: async ({ params }) => one(await cancelOrder(params.id.toLowerCase())),
  })
}

function one(result: Result<Order>): Answer {
  return result.ok ? answer(200, orderJson(result.value)) : refuseWith(result.refusal)
}

/** What is no UUID can't be the id of an order. */
export function noSuchOrder(params: Record<string, string>): Refusal {
  return { code: 'order_not_found', id: params.id ?? '' }
}

const onOne = { tag: ORDERS_TAG, params: OrderParams, impossible: noSuchOrder }
