import { Type } from 'typebox'
import { Limit, LIMIT_DEFAULT } from '../http/pagination.ts'
import { answer, route, type Route } from '../http/route.ts'
import type { ServiceEvent } from './read.ts'
import { After, EventPage, eventView } from './schemas.ts'

/** What the routes need of the outbox, bound to a pool. */
export type EventRoutesDeps = {
  readEvents: (page: { after: number; limit: number }) => Promise<{ events: ServiceEvent[]; next_after: number }>
}

/** What happened, for those who poll. */
export function eventRoutes({ readEvents }: EventRoutesDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/events',
      operation_id: 'listEvents',
      tag: 'Events',
      summary: 'Read what happened',
      description:
        'Events after a position, oldest first. Keep `next_after` and send it as `after`: a reader that does never misses one.',
      scope: 'read',
      query: Type.Object({ after: Type.Optional(After), limit: Type.Optional(Limit) }, { additionalProperties: false }),
      responses: { 200: { description: 'Events, oldest first.', schema: EventPage } },
      async handle({ query }) {
        const { events, next_after } = await readEvents({
          after: query.after ?? 0,
          limit: query.limit ?? LIMIT_DEFAULT,
        })
        return answer(200, { data: events.map(eventView), next_after })
      },
    }),
  ]
}
