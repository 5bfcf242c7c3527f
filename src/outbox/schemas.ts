import { Type } from 'typebox'
import type { ServiceEvent } from './read.ts'

/** The shapes of events on the wire. They validate, and they are the document. */

export const EventSchema = Type.Object(
  {
    position: Type.Integer({
      minimum: 1,
      description: 'In commit-safe order: none is ever added before one that was read.',
    }),
    id: Type.String({ description: 'Stable and unique; for telling repetitions apart.' }),
    type: Type.Unsafe<string>({
      type: 'string',
      enum: [
        'reservation.created',
        'reservation.confirmed',
        'reservation.released',
        'reservation.expired',
        'reservation.extended',
        'stock.sold_out',
        'stock.back',
        'order.created',
        'order.paid',
        'order.payment_failed',
        'order.cancelled',
        'order.expired',
        'order.refund_required',
        'order.refunded',
        'order.partially_refunded',
        'payment.failed',
      ],
    }),
    data: Type.Unsafe<Record<string, unknown>>({ type: 'object' }),
    created_at: Type.String({ format: 'date-time' }),
  },
  { title: 'Event', additionalProperties: false },
)

export const EventPage = Type.Object(
  {
    data: Type.Array(EventSchema),
    next_after: Type.Integer({
      minimum: 0,
      description: 'The `after` of the next call; the same again while nothing is new.',
    }),
  },
  { title: 'EventPage', additionalProperties: false },
)

export const After = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: 'Events behind this position; default 0, the beginning.',
})

/** An event on the wire, in the contract's order. */
export function eventView(event: ServiceEvent) {
  return {
    position: event.position,
    id: event.id,
    type: event.type,
    data: event.data,
    created_at: event.created_at,
  }
}
