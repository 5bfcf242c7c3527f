import { newId } from '../ids.ts'
import type { Executor } from '../database/transaction.ts'
import { insertOutboxRow } from './queries.ts'

/** The events a reader can see. */
export type EventType =
  | 'reservation.created'
  | 'reservation.confirmed'
  | 'reservation.released'
  | 'reservation.expired'
  | 'reservation.extended'
  | 'stock.sold_out'
  | 'stock.back'
  | 'order.created'
  | 'order.paid'
  | 'order.payment_failed'
  | 'order.cancelled'
  | 'order.expired'
  | 'order.refund_required'
  | 'order.refunded'
  | 'order.partially_refunded'
  | 'payment.failed'

/** An event before it has its position; `data` is JSON. */
export type EventDraft = { type: EventType; data: string }

/**
 * Writes events with the change that they tell of, in its transaction, in the order given. None: writes nothing.
 *
 * @param ordered_at when the transaction had its counters locked, in PostgreSQL's text form with microseconds; null
 *   where it locks no counter: the moment of writing
 */
export async function appendEvents(
  db: Executor,
  events: readonly EventDraft[],
  ordered_at: string | null,
): Promise<void> {
  if (events.length === 0) return
  await insertOutboxRow(db, {
    id: newId(),
    ordered_at,
    events: eventsJson(events),
    event_count: events.length,
  })
}

function eventsJson(events: readonly EventDraft[]): string {
  let json = ''
  for (const { type, data } of events) json += `${json === '' ? '' : ','}{"type":"${type}","data":${data}}`
  return `[${json}]`
}
