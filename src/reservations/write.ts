import type { Knex } from 'knex'
import type { EventDraft } from '../outbox/append.ts'
import { availabilityEvent, moveCounters, writeRecorded, type Counter, type Recorded } from '../stock/counters.ts'
import type { Step } from './plan.ts'

/**
 * Moves the counters of a plan's steps and writes ledger and events, last in its transaction: from here on its counters
 * are locked until COMMIT.
 *
 * @returns undefined when done; the counters as they are, locked, if they do not cover the steps: nothing was moved
 */
export async function moveAndRecord(
  tx: Knex.Transaction,
  steps: readonly Step[],
): Promise<Map<string, Counter> | undefined> {
  const changes = steps.flatMap((step) => step.changes)
  if (changes.length === 0) {
    await writeRecorded(tx, { recorded: [], events: stepEvents(steps, []), at: null })
    return undefined
  }
  const moved = await moveCounters(tx, changes)
  if (!moved.fits) return moved.counters
  await writeRecorded(tx, { recorded: moved.recorded, events: stepEvents(steps, moved.recorded), at: moved.at })
  return undefined
}

/** The events of the steps in order, each followed by what it did to a SKU's availability. */
function stepEvents(steps: readonly Step[], recorded: readonly Recorded[]): EventDraft[] {
  const events: EventDraft[] = []
  let next = 0
  for (const { type, reservation, changes } of steps) {
    const own = recorded.slice(next, next + changes.length)
    next += changes.length
    // Of several rows of one SKU (reacquire has a reserve and a confirm) the last one's seq stands for the event.
    const seqs = new Map(own.map((change) => [change.sku, change.seq]))
    const lines = reservation.lines.map((line) => ({ ...line, seq: seqs.get(line.sku) ?? null }))
    events.push({ type, data: { ...reservation, lines } })
    for (const change of own) {
      const event = availabilityEvent(change)
      if (event !== undefined) events.push(event)
    }
  }
  return events
}
