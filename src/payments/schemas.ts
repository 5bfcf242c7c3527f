import { Type } from 'typebox'
import type { OrderRefund } from '../orders/order.ts'
import { LINES_MAX, LineSchema } from '../reservations/schemas.ts'
import { NullableText, Time } from '../stock/schemas.ts'
import type { NextAction } from './gateway.ts'
import { statusView, type Payment } from './payment.ts'
import type { Refund } from './queries.ts'

/** The shapes of payments on the wire. They validate, and they are the document. */

const Money = Type.Integer({ minimum: 0, description: "In the currency's minor unit." })
const Id = Type.String({ format: 'uuid' })

export const PayOrder = Type.Object(
  {
    method: Type.Unsafe<'balance' | 'card'>({ type: 'string', enum: ['balance', 'card'] }),
    return_url: Type.Optional(
      Type.String({
        maxLength: 2048,
        pattern: '^(https?://|/(?![/\\\\]))[!-~]*$',
        'x-pattern-message': 'must be a URL, or a path that begins with one slash',
        description: 'Where the gateway sends the buyer back to.',
      }),
    ),
  },
  { title: 'PayOrder', additionalProperties: false },
)

const NextActionSchema = Type.Unsafe<NextAction | null>({
  type: ['object', 'null'],
  description:
    'What the browser does next: `{ type: "redirect", url }` goes there; `{ type: "stripe", client_secret, publishable_key }` ' +
    "is for Stripe's own script.",
})

export const PaymentSchema = Type.Object(
  {
    id: Id,
    order_id: Id,
    method: Type.Unsafe<Payment['method']>({
      type: ['string', 'null'],
      enum: ['balance', 'card', 'external', null],
    }),
    status: Type.Unsafe<'paid' | 'pending' | 'failed'>({
      type: 'string',
      enum: ['paid', 'pending', 'failed'],
      description: '`failed` by a declined card: the order still awaits payment until its hold ends; pay again.',
    }),
    amount: Money,
    currency: Type.String(),
    refunded_amount: Money,
    owed_amount: Type.Integer({ minimum: 0, description: 'What came in and must be given back.' }),
    failure_code: NullableText,
    next_action: NextActionSchema,
    created_at: Time,
  },
  { title: 'Payment', additionalProperties: false },
)

export const PaymentParams = Type.Object({ id: Id }, { additionalProperties: false })

export const RefundOrder = Type.Object(
  {
    lines: Type.Optional(
      Type.Array(LineSchema, {
        minItems: 1,
        maxItems: LINES_MAX,
        description: 'Absent: all that has not come back yet; of an order that is `refund_required`, what is owed.',
      }),
    ),
    restock: Type.Boolean({ description: 'Whether the units go back on the shelf.' }),
  },
  { title: 'RefundOrder', additionalProperties: false },
)

export const WebhookParams = Type.Object(
  { gateway: Type.String({ pattern: '^[a-z]{1,32}$' }) },
  { additionalProperties: false },
)

/** As its gateway writes it; the signature says that it did. */
export const WebhookBody = Type.Unsafe<Record<string, unknown>>({ type: 'object' })

export const WebhookAnswer = Type.Object(
  { outcome: Type.String({ description: 'What it came to; `repeated` if it was handled before.' }) },
  { title: 'WebhookAnswer', additionalProperties: false },
)

/** A payment as JSON, in the contract's order. */
export function paymentJson(payment: Payment): string {
  const status = statusView(payment.status)
  return JSON.stringify({
    id: payment.id,
    order_id: payment.order_id,
    method: payment.method,
    status,
    amount: payment.amount,
    currency: payment.currency,
    refunded_amount: payment.refunded_amount,
    owed_amount: payment.owed_amount,
    failure_code: payment.failure_code,
    // Nothing is left to do for the browser once the gateway has the buyer's yes.
    next_action: payment.status === 'pending' || payment.status === 'declined' ? payment.next_action : null,
    created_at: payment.created_at,
  })
}

/** A refund as JSON, as an order shows it. */
export function refundJson(refund: Refund): string {
  const view: OrderRefund = {
    id: refund.id,
    payment_id: refund.payment_id,
    status: refund.status,
    amount: refund.amount,
    lines: refund.skus.map((sku, i) => ({ sku, quantity: refund.quantities[i] ?? 0 })),
    restock: refund.restock,
    failure_code: refund.failure_code,
    created_at: refund.created_at.toISOString(),
  }
  return JSON.stringify(view)
}
