import { Type } from 'typebox'
import { Code } from '../coupons/schemas.ts'
import { CustomerId } from '../customers/schemas.ts'
import { LINES_MAX, LineSchema, ReservationParams } from '../reservations/schemas.ts'
import { NullableText, NullableTime, Sku, Time } from '../stock/schemas.ts'
import type { Order, OrderStatus } from './order.ts'

/** The shapes of orders on the wire. They validate, and they are the document. */

const Money = Type.Integer({ minimum: 0, description: "In the currency's minor unit." })
const Id = Type.String({ format: 'uuid' })

const STATUSES: OrderStatus[] = [
  'awaiting_payment',
  'paid',
  'payment_failed',
  'cancelled',
  'expired',
  'refund_required',
  'refunded',
  'partially_refunded',
]

const OrderStatusSchema = Type.Unsafe<OrderStatus>({
  type: 'string',
  enum: STATUSES,
  description:
    'As of the moment of reading: an order that awaits payment reads `expired` from `expires_at` on. `refund_required`: ' +
    'money came in that must be given back.',
})

const OrderLineSchema = Type.Object(
  {
    sku: Sku,
    product_id: Id,
    name: Type.String({ description: 'As it was when the order was made, like options and price.' }),
    options: Type.Unsafe<Record<string, string> | null>({ type: ['object', 'null'] }),
    quantity: Type.Integer({ minimum: 1 }),
    unit_price: Money,
    total: Money,
    discount: Type.Integer({ minimum: 0, description: "This line's part of the order's discount." }),
    refunded_quantity: Type.Integer({ minimum: 0 }),
  },
  { title: 'OrderLine', additionalProperties: false },
)

const OrderPaymentSchema = Type.Object(
  {
    id: Id,
    method: Type.Unsafe<'balance' | 'card' | 'external' | null>({
      type: ['string', 'null'],
      enum: ['balance', 'card', 'external', null],
      description: 'Null until it is chosen; `external`: the hold was confirmed by whoever has the money.',
    }),
    status: Type.Unsafe<'paid' | 'pending' | 'failed'>({ type: 'string', enum: ['paid', 'pending', 'failed'] }),
    amount: Money,
    refunded_amount: Money,
    owed_amount: Type.Integer({ minimum: 0, description: 'What came in and must be given back.' }),
    owed_reason: NullableText,
    failure_code: NullableText,
    created_at: Time,
  },
  { title: 'OrderPayment', additionalProperties: false },
)

export const RefundSchema = Type.Object(
  {
    id: Id,
    payment_id: Id,
    status: Type.Unsafe<'pending' | 'succeeded' | 'failed'>({
      type: 'string',
      enum: ['pending', 'succeeded', 'failed'],
      description: '`pending`: the gateway has not answered yet. `failed`: it refused, and the money is owed.',
    }),
    amount: Money,
    lines: Type.Array(LineSchema, { description: 'The units that came back; none where money was owed.' }),
    restock: Type.Boolean({ description: 'Whether the units went back on the shelf.' }),
    failure_code: NullableText,
    created_at: Time,
  },
  { title: 'Refund', additionalProperties: false },
)

export const OrderSchema = Type.Object(
  {
    id: Type.String({ format: 'uuid', description: 'A UUIDv7.' }),
    status: OrderStatusSchema,
    customer_id: CustomerId,
    lines: Type.Array(OrderLineSchema),
    currency: Type.String(),
    subtotal: Money,
    discount: Money,
    total: Money,
    coupon_code: NullableText,
    reservation_id: Type.String({ format: 'uuid', description: 'The hold; another one if late money took a new one.' }),
    expires_at: Type.String({ format: 'date-time', description: "The hold's end." }),
    created_at: Time,
    paid_at: NullableTime,
    closed_at: NullableTime,
    payments: Type.Array(OrderPaymentSchema, { description: 'The oldest first.' }),
    refunds: Type.Array(RefundSchema, { description: 'The oldest first.' }),
  },
  { title: 'Order', additionalProperties: false },
)

export const OrderPage = Type.Object(
  { data: Type.Array(OrderSchema), next_cursor: NullableText },
  { title: 'OrderPage', additionalProperties: false },
)

export const OrderParams = ReservationParams

export const CreateOrder = Type.Object(
  {
    customer_id: CustomerId,
    lines: Type.Optional(
      Type.Array(LineSchema, {
        minItems: 1,
        maxItems: LINES_MAX,
        description: 'Absent: what the cart holds, which is emptied. Lines of one SKU are summed.',
      }),
    ),
    coupon_code: Type.Optional(Code),
  },
  { title: 'CreateOrder', additionalProperties: false },
)

export const OrderFilters = { customer_id: Type.Optional(CustomerId), status: Type.Optional(OrderStatusSchema) }

/** An order as JSON, in the contract's order. */
export function orderJson(order: Order): string {
  return JSON.stringify({
    id: order.id,
    status: order.status,
    customer_id: order.customer_id,
    lines: order.lines.map((line) => ({
      sku: line.sku,
      product_id: line.product_id,
      name: line.name,
      options: line.options,
      quantity: line.quantity,
      unit_price: line.unit_price,
      total: line.total,
      discount: line.discount,
      refunded_quantity: line.refunded_quantity,
    })),
    currency: order.currency,
    subtotal: order.subtotal,
    discount: order.discount,
    total: order.total,
    coupon_code: order.coupon_code,
    reservation_id: order.reservation_id,
    expires_at: order.expires_at,
    created_at: order.created_at,
    paid_at: order.paid_at,
    closed_at: order.closed_at,
    payments: order.payments,
    refunds: order.refunds,
  })
}
