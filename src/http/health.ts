import { Type } from 'typebox'
import type { Metrics } from '../metrics.ts'
import type { Readiness } from '../operations/readiness.ts'
import type { Refusal } from '../errors.ts'
import { answer, refuseWith, route, type Route } from './route.ts'

export type HealthDeps = {
  readiness: () => Promise<Readiness>
  metrics: Pick<Metrics, 'text' | 'registry'>
}

/** What a supervisor, a load balancer and Prometheus ask. */
export function healthRoutes(deps: HealthDeps): Route[] {
  return [health(), ready(deps), exposition(deps)]
}

const TAG = 'Operation'

function health(): Route {
  return route({
    method: 'GET',
    path: '/healthz',
    operation_id: 'getHealth',
    tag: TAG,
    summary: 'Whether the process lives',
    scope: 'open',
    responses: {
      200: {
        description: 'It does.',
        schema: Type.Object({ status: Type.Literal('ok') }, { additionalProperties: false }),
      },
    },
    handle: () => answer(200, { status: 'ok' }),
  })
}

function ready({ readiness }: HealthDeps): Route {
  return route({
    method: 'GET',
    path: '/readyz',
    operation_id: 'getReadiness',
    tag: TAG,
    summary: 'Whether to send traffic here',
    description: '503 while the database is away, the schema is older than the code, or the service is stopping.',
    scope: 'open',
    responses: {
      200: {
        description: 'Yes. `degraded` names what works less well than it should.',
        schema: Type.Object(
          {
            status: Type.Literal('ready'),
            degraded: Type.Array(Type.Unsafe<'sweeper'>({ type: 'string', enum: ['sweeper'] })),
          },
          { title: 'Readiness', additionalProperties: false },
        ),
      },
    },
    refusals: ['overloaded', 'database_unavailable'],
    async handle() {
      const { unready, degraded } = await readiness()
      return unready[0] === undefined ? answer(200, { status: 'ready', degraded }) : refuseWith(NOT_READY[unready[0]])
    },
  })
}

const NOT_READY: Record<Readiness['unready'][number], Refusal> = {
  draining: { code: 'overloaded', detail: 'this instance is stopping; another one serves' },
  schema: { code: 'overloaded', detail: 'the schema is older than this code; run "npm run migrate"' },
  database: { code: 'database_unavailable', outcome: 'none' },
}

function exposition({ metrics }: HealthDeps): Route {
  return route({
    method: 'GET',
    path: '/metrics',
    operation_id: 'getMetrics',
    tag: TAG,
    summary: 'Metrics for Prometheus',
    description: 'Open on this machine; from elsewhere it needs a key that may read.',
    scope: 'read',
    open_locally: true,
    responses: {
      200: { description: 'The exposition.', schema: Type.String(), content_type: 'text/plain' },
    },
    handle: async () => answer(200, await metrics.text(), { 'Content-Type': metrics.registry.contentType }),
  })
}
