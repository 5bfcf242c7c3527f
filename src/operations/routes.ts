import { answer, route, type Route } from '../http/route.ts'
import type { Metrics } from '../metrics.ts'
import { StatsSchema, statsView } from './schemas.ts'
import type { Stats } from './stats.ts'

/** What the routes need, bound to a pool. */
export type OperationRoutesDeps = {
  readStats: () => Promise<Stats>
  metrics: Pick<Metrics, 'rates'>
}

/** How the service is doing, for a dashboard. */
export function operationRoutes({ readStats, metrics }: OperationRoutesDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/stats',
      operation_id: 'getStats',
      tag: 'Operation',
      summary: 'Read how the service is doing',
      scope: 'read',
      responses: { 200: { description: 'As of now.', schema: StatsSchema } },
      handle: async () => answer(200, statsView(await readStats(), metrics.rates())),
    }),
  ]
}
