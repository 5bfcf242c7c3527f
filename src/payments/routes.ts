import type { Refusal, Result } from '../errors.ts'
import { idempotencyOf } from '../http/idempotency.ts'
import { answer, bodyBytesOf, created, refuseWith, REPLAYED_HEADER, route, type Route } from '../http/route.ts'
import { noSuchOrder, ORDERS_TAG } from '../orders/routes.ts'
import { OrderParams, RefundSchema } from '../orders/schemas.ts'
import { findExcess } from '../reservations/schemas.ts'
import type { WebhookRequest } from './gateway.ts'
import type { Paid, PayRequest } from './pay.ts'
import type { Payment } from './payment.ts'
import type { Refunded, RefundRequest } from './refund.ts'
import {
  paymentJson,
  PaymentParams,
  PaymentSchema,
  PayOrder,
  refundJson,
  RefundOrder,
  WebhookAnswer,
  WebhookBody,
  WebhookParams,
} from './schemas.ts'
import type { Received } from './webhooks.ts'

/** What the routes need of payments, bound to pools and a gateway. */
export type PaymentRoutesDeps = {
  payOrder: (request: PayRequest) => Promise<Result<Paid>>
  refundOrder: (request: RefundRequest) => Promise<Result<Refunded>>
  readPayment: (id: string) => Promise<Payment | undefined>
  receiveWebhook: (gateway: string, request: WebhookRequest) => Promise<Result<Received>>
  hasRoom: () => boolean
}

/** Money: in, back, and what gateways tell of it. */
export function paymentRoutes(deps: PaymentRoutesDeps): Route[] {
  return [pay(deps), refund(deps), readOne(deps), webhook(deps)]
}

const TAG = 'Payments'

function pay({ payOrder, hasRoom }: PaymentRoutesDeps): Route {
  return route({
    method: 'POST',
    path: '/v1/orders/{id}/payments',
    operation_id: 'payOrder',
    tag: ORDERS_TAG,
    summary: 'Pay an order',
    description:
      'By balance it is done with the answer: `paid`, or `failed` with `insufficient_balance`, which lets go of the hold. By card ' +
      '`next_action` says what the browser does; the gateway then tells how it went. Nobody is charged twice for one Idempotency-Key.',
    scope: 'reserve',
    params: OrderParams,
    impossible: noSuchOrder,
    body: PayOrder,
    idempotency: 'required',
    hasRoom,
    responses: {
      201: {
        description: 'Paid, pending or failed. With `Idempotent-Replayed: true` it was begun before.',
        schema: PaymentSchema,
        headers: REPLAYED_HEADER,
      },
    },
    refusals: [
      'order_not_found',
      'order_not_awaiting_payment',
      'payment_in_progress',
      'gateway_unavailable',
      'idempotency_key_in_use',
      'idempotency_key_reused',
      'overloaded',
      'stock_conflict',
    ],
    async handle({ params, body, client, idempotency_key }) {
      const order_id = params.id.toLowerCase()
      const { idempotency } = idempotencyOf(idempotency_key, 'POST', `/v1/orders/${order_id}/payments`, body)
      const result = await payOrder({ ...body, order_id, client, idempotency: idempotency! })
      if (!result.ok) return refuseWith(result.refusal)
      const { payment, replayed } = result.value
      return created(paymentJson(payment), { replayed })
    },
  })
}

function refund({ refundOrder, hasRoom }: PaymentRoutesDeps): Route {
  return route({
    method: 'POST',
    path: '/v1/orders/{id}/refunds',
    operation_id: 'refundOrder',
    tag: ORDERS_TAG,
    summary: 'Give money back',
    description:
      'The whole order or some of its lines, back to the balance or through the gateway, never more than was paid. Of an order ' +
      'that is `refund_required` the money that is owed goes back first, without lines.',
    scope: 'admin',
    params: OrderParams,
    impossible: noSuchOrder,
    body: RefundOrder,
    idempotency: 'accepted',
    hasRoom,
    check: ({ body }) => (body.lines === undefined ? [] : findExcess(body.lines, '')),
    responses: {
      201: {
        description: 'Given back, or on its way through the gateway (`pending`).',
        schema: RefundSchema,
        headers: REPLAYED_HEADER,
      },
    },
    refusals: [
      'order_not_found',
      'order_not_refundable',
      'refund_exceeds_paid',
      'balance_limit',
      'stock_limit',
      'idempotency_key_in_use',
      'idempotency_key_reused',
      'overloaded',
      'stock_conflict',
    ],
    async handle({ params, body, client, idempotency_key }) {
      const order_id = params.id.toLowerCase()
      const idempotency = idempotencyOf(idempotency_key, 'POST', `/v1/orders/${order_id}/refunds`, body)
      const result = await refundOrder({ ...body, order_id, client, ...idempotency })
      if (!result.ok) return refuseWith(result.refusal)
      const { refund: made, replayed } = result.value
      return created(refundJson(made), { replayed })
    },
  })
}

function readOne({ readPayment }: PaymentRoutesDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/payments/{id}',
    operation_id: 'getPayment',
    tag: TAG,
    summary: 'Read one payment',
    description: 'For a browser that has come back from the gateway: its payment may still be `pending` for a moment.',
    scope: 'read',
    params: PaymentParams,
    impossible: noSuchPayment,
    responses: { 200: { description: 'As it is now.', schema: PaymentSchema } },
    refusals: ['payment_not_found'],
    async handle({ params }) {
      const id = params.id.toLowerCase()
      const payment = await readPayment(id)
      return payment === undefined ? refuseWith(noSuchPayment(params)) : answer(200, paymentJson(payment))
    },
  })
}

function noSuchPayment(params: Record<string, string>): Refusal {
  return { code: 'payment_not_found', id: params.id ?? '' }
}

function webhook({ receiveWebhook, hasRoom }: PaymentRoutesDeps): Route {
  return route({
    method: 'POST',
    path: '/v1/payments/webhooks/{gateway}',
    operation_id: 'receiveWebhook',
    tag: TAG,
    summary: 'For gateways: tell what became of a payment',
    description:
      'Signed by the gateway. Each event is handled once, in whatever order they come; anything but 200 asks for it again.',
    scope: 'open',
    params: WebhookParams,
    impossible: () => ({ code: 'not_found' }),
    body: WebhookBody,
    bulk: true,
    keeps_bytes: true,
    hasRoom,
    responses: { 200: { description: 'Handled, now or before, or nothing to this service.', schema: WebhookAnswer } },
    refusals: [
      'unauthenticated',
      'not_found',
      'idempotency_key_in_use',
      'overloaded',
      'stock_conflict',
      'database_unavailable',
    ],
    async handle(call) {
      const { headers } = call.ctx.req
      const result = await receiveWebhook(call.params.gateway, { headers, body: bodyBytesOf(call) })
      return result.ok ? answer(200, result.value) : refuseWith(result.refusal)
    },
  })
}
