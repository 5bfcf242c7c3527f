import { Type } from 'typebox'
import { CustomerId } from '../customers/schemas.ts'
import type { Fault } from '../errors.ts'
import { NullableText, ONE_LINE, Time } from '../stock/schemas.ts'
import type { Coupon, Issue, IssuedCoupon, IssueState } from './queries.ts'

/** The shapes of coupons on the wire. They validate, and they are the document. */

const QUANTITY_MAX = 1_000_000
const AMOUNT_MAX = 1_000_000_000_000

export const Code = Type.String({
  minLength: 1,
  maxLength: 64,
  ...ONE_LINE,
  description: 'What a customer types. Case-sensitive; percent-encoded in a path.',
  examples: ['OPENING-30'],
})
const NullableInteger = Type.Unsafe<number | null>({ type: ['integer', 'null'] })
const Percent = {
  minimum: 1,
  maximum: 100,
  description: 'Off the subtotal, rounded down to the minor unit of the currency.',
}
const Amount = {
  minimum: 1,
  maximum: AMOUNT_MAX,
  description: 'Off the subtotal, in the minor unit of the currency; never more than the subtotal.',
}

export const CouponSchema = Type.Object(
  {
    code: Code,
    discount_percent: NullableInteger,
    discount_amount: NullableInteger,
    quantity: Type.Integer({ minimum: 1, description: 'How many there are.' }),
    issued: Type.Integer({ minimum: 0, description: 'How many customers have one.' }),
    remaining: Type.Integer({ minimum: 0, description: 'quantity − issued' }),
    created_at: Time,
  },
  { title: 'Coupon', additionalProperties: false },
)

export const CreateCoupon = Type.Object(
  {
    code: Code,
    discount_percent: Type.Optional(Type.Integer(Percent)),
    discount_amount: Type.Optional(Type.Integer(Amount)),
    quantity: Type.Integer({ minimum: 1, maximum: QUANTITY_MAX }),
  },
  {
    title: 'CreateCoupon',
    additionalProperties: false,
    description: 'Either `discount_percent` or `discount_amount`.',
  },
)

/** Exactly one of the two discounts. */
export function findDiscountFaults(body: { discount_percent?: number; discount_amount?: number }): Fault[] {
  const { discount_percent, discount_amount } = body
  if (discount_percent === undefined && discount_amount === undefined) {
    return [{ path: '/discount_percent', message: 'is required, unless discount_amount is given' }]
  }
  if (discount_percent === undefined || discount_amount === undefined) return []
  return [{ path: '/discount_amount', message: 'cannot be given together with discount_percent' }]
}

const ISSUE = {
  code: Code,
  number: Type.Integer({ minimum: 1, description: 'Its place in the order of arrival.' }),
  customer_id: CustomerId,
  state: Type.Unsafe<IssueState>({
    type: 'string',
    enum: ['issued', 'used'],
    description: '`used` by an order; `issued` again if that order does not get paid.',
  }),
  order_id: Type.Unsafe<string | null>({
    type: ['string', 'null'],
    format: 'uuid',
    description: 'The order that uses it.',
  }),
  issued_at: Time,
}

export const IssueSchema = Type.Object(ISSUE, { title: 'CouponIssue', additionalProperties: false })

export const IssuedCouponPage = Type.Object(
  {
    data: Type.Array(
      Type.Object(
        { ...ISSUE, discount_percent: NullableInteger, discount_amount: NullableInteger },
        { title: 'IssuedCoupon', additionalProperties: false },
      ),
    ),
    next_cursor: NullableText,
  },
  { title: 'IssuedCouponPage', additionalProperties: false },
)

export const IssueCoupon = Type.Object(
  { customer_id: CustomerId },
  { title: 'IssueCoupon', additionalProperties: false },
)

export const CouponParams = Type.Object({ code: Code }, { additionalProperties: false })

/** A coupon on the wire. */
export function couponJson({ code, discount_percent, discount_amount, quantity, issued, created_at }: Coupon): string {
  const remaining = quantity - issued
  return JSON.stringify({ code, discount_percent, discount_amount, quantity, issued, remaining, created_at })
}

/** What a customer has of a coupon, on the wire. */
export function issueJson({ code, number, customer_id, state, order_id, issued_at }: Issue): string {
  return JSON.stringify({ code, number, customer_id, state, order_id, issued_at })
}

/** The same with what it gives. */
export function issuedCouponJson(issue: IssuedCoupon): string {
  const { code, number, customer_id, state, order_id, issued_at, discount_percent, discount_amount } = issue
  return JSON.stringify({
    code,
    number,
    customer_id,
    state,
    order_id,
    issued_at,
    discount_percent,
    discount_amount,
  })
}
