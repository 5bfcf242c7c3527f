import type { Knex } from 'knex'
import type { EventDraft } from '../outbox/append.ts'
import { availabilityEvent, moveCounters, writeRecorded, type Counter, type Recorded } from '../stock/counters.ts'
import type { Step } from './plan.ts'

export type Written = { fits: true; locked_at: Date | null } | { fits: false; counters: Map<string, Counter> }

/**
 * Moves the counters of a plan's steps and writes ledger and events, last in its transaction: from here on its counters
 * are locked until COMMIT.
 *
 * @returns when the last lock was had, null if there was none to wait for; with `fits: false` the counters as they are,
 *   locked: they do not cover the steps, and nothing was moved
 */
export async function moveAndRecord(tx: Knex.Transaction, steps: readonly Step[]): Promise<Written> {
  const changes = steps.flatMap((step) => step.changes)
  if (changes.length === 0) {
    await writeRecorded(tx, { recorded: [], events: stepEvents(steps, []), at: null })
    return { fits: true, locked_at: null }
  }
  const moved = await moveCounters(tx, changes)
  if (!moved.fits) return moved
  await writeRecorded(tx, { recorded: moved.recorded, events: stepEvents(steps, moved.recorded), at: moved.at })
  return { fits: true, locked_at: moved.locked_at }
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
