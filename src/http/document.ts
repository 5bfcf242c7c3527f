import { apiRoutes } from './app.ts'
import { openApiDocument } from './openapi.ts'

/** The longest that any configuration allows. */
const TTL_MAX_SECONDS = 31_536_000

/**
 * The OpenAPI document of no running service, for what is generated from it: routes are declared without being called,
 * so they get no rooms.
 */
export function apiDocument(): ReturnType<typeof openApiDocument> {
  const absent = undefined as never
  const empty = {} as never
  return openApiDocument(
    apiRoutes({
      reservations: { reservations: absent, ttl_max_seconds: TTL_MAX_SECONDS },
      stock: absent,
      catalog: absent,
      customers: absent,
      carts: absent,
      coupons: absent,
      orders: empty,
      payments: empty,
      sales: empty,
      events: { readEvents: absent },
      readStats: absent,
      readiness: absent,
      metrics: absent,
    }),
  )
}
