import type { Knex } from 'knex'
import { availabilityEvent, moveCounters, writeRecorded, type Change } from './counters.ts'

/**
 * Moves counters that the transaction has already locked and checked, and writes ledger and events.
 *
 * @param created SKUs that did not exist before: their first stock is no comeback, so it makes no event
 * @throws if the changes do not fit after all, which the caller's locks rule out
 */
export async function applyStockChanges(
  tx: Knex.Transaction,
  changes: readonly Change[],
  created: ReadonlySet<string> = new Set(),
): Promise<void> {
  if (changes.length === 0) return
  const moved = await moveCounters(tx, changes)
  if (!moved.fits) throw new Error('counters changed under their lock')
  const events = moved.recorded
    .filter((change) => !created.has(change.sku))
    .flatMap((change) => availabilityEvent(change) ?? [])
  await writeRecorded(tx, { recorded: moved.recorded, events, at: moved.at })
}
