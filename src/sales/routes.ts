import type { Fault } from '../errors.ts'
import { answer, route, type Route } from '../http/route.ts'
import type { Popular } from './popular.ts'
import { PopularQuery, PopularSchema, popularView } from './schemas.ts'

/** What the routes need of sales, bound to a pool and a time zone. */
export type SalesRoutesDeps = {
  readPopular: (asked: { from?: string; to?: string; limit: number }) => Promise<Popular>
}

const LIMIT_DEFAULT = 5

/** What sold best. It stands before `/v1/products/{id}`, of which it would be one. */
export function salesRoutes({ readPopular }: SalesRoutesDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/products/popular',
      operation_id: 'listPopularProducts',
      tag: 'Products',
      summary: 'Read what sold best',
      description:
        'By units sold on days of `SHOP_TIME_ZONE`, refunds taken off; sales count some seconds after they were made.',
      scope: 'read',
      query: PopularQuery,
      check: ({ query: { from, to } }) => findBadRange(from, to),
      responses: { 200: { description: 'Products, most units first.', schema: PopularSchema } },
      async handle({ query }) {
        const { limit = LIMIT_DEFAULT, ...days } = query
        return answer(200, popularView(await readPopular({ ...days, limit })))
      },
    }),
  ]
}

function findBadRange(from: string | undefined, to: string | undefined): Fault[] {
  if (from === undefined || to === undefined || from <= to) return []
  return [{ path: 'query/from', message: 'must not be after to' }]
}
