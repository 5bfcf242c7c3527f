import { Type } from 'typebox'
import { noSuchCustomer } from '../customers/routes.ts'
import { CustomerParams } from '../customers/schemas.ts'
import type { Result } from '../errors.ts'
import { idempotencyOf } from '../http/idempotency.ts'
import { findBadText } from '../http/json.ts'
import { decodeCursor, LIMIT_DEFAULT, pageJson, PageQuery } from '../http/pagination.ts'
import { answer, created, refuseWith, REPLAYED_HEADER, route, signalOf, type Route } from '../http/route.ts'
import type { CreatedCoupon, NewCoupon } from './coupons.ts'
import type { CouponIssuer } from './issue.ts'
import type { Coupon, IssuedCoupon } from './queries.ts'
import {
  CouponParams,
  couponJson,
  CouponSchema,
  CreateCoupon,
  findDiscountFaults,
  IssueCoupon,
  IssuedCouponPage,
  issuedCouponJson,
  issueJson,
  IssueSchema,
} from './schemas.ts'

/** The coupons' functions, bound to a pool. */
export type CouponRoutesDeps = {
  createCoupon: (request: NewCoupon) => Promise<Result<CreatedCoupon>>
  readCoupon: (code: string) => Promise<Coupon | undefined>
  listCoupons: (
    customer_id: string,
    page: { limit: number; after_code?: string },
  ) => Promise<IssuedCoupon[] | undefined>
  issuer: Pick<CouponIssuer, 'issue' | 'hasRoom'>
}

/** Coupons: made, read, given to customers, and listed for one. */
export function couponRoutes(coupons: CouponRoutesDeps): Route[] {
  return [create(coupons), readOne(coupons), issue(coupons), listOfCustomer(coupons)]
}

const TAG = 'Coupons'
const PATH = '/v1/coupons'

function create(coupons: CouponRoutesDeps): Route {
  return route({
    method: 'POST',
    path: PATH,
    operation_id: 'createCoupon',
    tag: TAG,
    summary: 'Make a coupon',
    description: 'It takes a percentage or an amount off an order, and there are `quantity` of it.',
    scope: 'admin',
    body: CreateCoupon,
    idempotency: 'accepted',
    check: ({ body }) => findDiscountFaults(body),
    responses: {
      201: {
        description: 'Made. With `Idempotent-Replayed: true` it was made before, and is shown as it is now.',
        schema: CouponSchema,
        headers: { Location: 'Where to read it.', ...REPLAYED_HEADER },
      },
    },
    refusals: ['coupon_exists', 'idempotency_key_in_use', 'idempotency_key_reused', 'overloaded'],
    async handle({ body, client, idempotency_key }) {
      const { code, quantity, discount_percent, discount_amount } = body
      // One of the two is there, as the check has seen.
      const discount = discount_percent === undefined ? { amount: discount_amount! } : { percent: discount_percent }
      const idempotency = idempotencyOf(idempotency_key, 'POST', PATH, body)
      const result = await coupons.createCoupon({ code, discount, quantity, client, ...idempotency })
      if (!result.ok) return refuseWith(result.refusal)
      const { coupon, replayed } = result.value
      return created(couponJson(coupon), { replayed, location: `${PATH}/${encodeURIComponent(coupon.code)}` })
    },
  })
}

function readOne(coupons: CouponRoutesDeps): Route {
  return route({
    method: 'GET',
    path: `${PATH}/{code}`,
    operation_id: 'getCoupon',
    tag: TAG,
    summary: 'Read a coupon and how many are left',
    scope: 'read',
    params: CouponParams,
    responses: { 200: { description: 'As it is now.', schema: CouponSchema } },
    refusals: ['coupon_not_found'],
    async handle({ params: { code } }) {
      const coupon = await coupons.readCoupon(code)
      return coupon ? answer(200, couponJson(coupon)) : refuseWith({ code: 'coupon_not_found', coupon: code })
    },
  })
}

function issue(coupons: CouponRoutesDeps): Route {
  return route({
    method: 'POST',
    path: `${PATH}/{code}/issues`,
    operation_id: 'issueCoupon',
    tag: TAG,
    summary: 'Give a coupon to a customer',
    description: 'First come, first served, exactly as many as there are, one per customer.',
    scope: 'reserve',
    params: CouponParams,
    body: IssueCoupon,
    idempotency: 'accepted',
    hasRoom: () => coupons.issuer.hasRoom(),
    responses: {
      201: {
        description:
          'The customer has it. With `Idempotent-Replayed: true` it was given before, and is shown as it is now.',
        schema: IssueSchema,
        headers: REPLAYED_HEADER,
      },
    },
    refusals: [
      'coupon_not_found',
      'coupon_exhausted',
      'coupon_already_issued',
      'unknown_customer',
      'idempotency_key_reused',
      'overloaded',
    ],
    async handle(call) {
      const { body, client, idempotency_key } = call
      const { code } = call.params
      const customer_id = body.customer_id.toLowerCase()
      const path = `${PATH}/${encodeURIComponent(code)}/issues`
      const idempotency = idempotencyOf(idempotency_key, 'POST', path, { customer_id })
      const result = await coupons.issuer.issue({ code, customer_id, client, ...idempotency }, signalOf(call))
      if (!result.ok) return refuseWith(result.refusal)
      const { issue: given, replayed } = result.value
      return created(issueJson(given), { replayed })
    },
  })
}

function listOfCustomer(coupons: CouponRoutesDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/customers/{id}/coupons',
    operation_id: 'listCustomerCoupons',
    tag: TAG,
    summary: "List a customer's coupons",
    description: 'Used ones too, by code.',
    scope: 'read',
    params: CustomerParams,
    impossible: noSuchCustomer,
    query: Type.Object(PageQuery, { additionalProperties: false }),
    responses: { 200: { description: 'Coupons, by code.', schema: IssuedCouponPage } },
    refusals: ['customer_not_found'],
    async handle({ params, query }) {
      const after = decodeCursor(query.cursor, isText)
      if (!after.ok) return refuseWith(after.refusal)
      const limit = query.limit ?? LIMIT_DEFAULT
      const found = await coupons.listCoupons(params.id, {
        limit: limit + 1,
        ...(after.value === undefined ? {} : { after_code: after.value }),
      })
      if (found === undefined) return refuseWith(noSuchCustomer(params))
      return answer(200, pageJson(found, { limit, toJson: issuedCouponJson, cursorOf: ({ code }) => code }))
    },
  })
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && findBadText(value, '') === undefined
}
