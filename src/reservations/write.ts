import type { Knex } from 'knex'
import type { EventDraft } from '../outbox/append.ts'
import {
  availabilityEvent,
  moveCounters,
  writeRecorded,
  type Counter,
  type Moved,
  type Recorded,
} from '../stock/counters.ts'
import { lockLevels } from '../stock/queries.ts'
import { reservationJson } from './json.ts'
import type { Step } from './plan.ts'
import type { Line } from './reservation.ts'

export type Fitting = { fits: true; locked_at: Date | null; recorded: readonly Recorded[] }
export type Written = Fitting | { fits: false; counters: Map<string, Counter> }

/**
 * Moves the counters of a plan's steps and writes ledger and events, last in its transaction: from here on its counters
 * are locked until COMMIT.
 *
 * @returns when the last lock was had, null if there was none to wait for; with `fits: false` the counters as they are,
 *   locked: they do not cover the steps, and nothing was moved
 */
export async function moveAndRecord(tx: Knex.Transaction, steps: readonly Step[]): Promise<Written> {
  const move = await moveFor(tx, steps)
  if (!move.fits) return move
  await recordMove(tx, steps, move)
  return move
}

/**
 * The first half of {@link moveAndRecord}; sent before this returns.
 *
 * @param as_read counters that must not have changed since: see {@link moveCounters}
 */
export function moveFor(
  tx: Knex.Transaction,
  steps: readonly Step[],
  as_read?: ReadonlyMap<string, Counter>,
): Promise<Moved | typeof UNMOVED> {
  const changes = steps.flatMap((step) => step.changes)
  return changes.length === 0 ? Promise.resolve(UNMOVED) : moveCounters(tx, changes, as_read)
}

/**
 * Locks the counters of a plan's steps, in SKU order, and moves none of them: what they hold is to be looked at first.
 *
 * @param onLocked told how long the locks took, in milliseconds
 */
export async function lockFor(
  tx: Knex.Transaction,
  steps: readonly Step[],
  onLocked?: (duration_ms: number) => void,
): Promise<Extract<Moved, { fits: false }>> {
  const started = performance.now()
  const skus = new Set(steps.flatMap((step) => step.changes.map((change) => change.sku)))
  const levels = await lockLevels(tx, [...skus])
  onLocked?.(performance.now() - started)
  return { fits: false, counters: new Map(levels.map((level) => [level.sku, level])) }
}

const UNMOVED = { fits: true, recorded: [], at: null, locked_at: null } as const

/** The second half: ledger and events. */
export function recordMove(
  tx: Knex.Transaction,
  steps: readonly Step[],
  { recorded, at }: { recorded: readonly Recorded[]; at: string | null },
): Promise<void> {
  return writeRecorded(tx, { recorded, events: stepEvents(steps, recorded), at })
}

/** The events of the steps in order, each followed by what it did to a SKU's availability. */
function stepEvents(steps: readonly Step[], recorded: readonly Recorded[]): EventDraft[] {
  const events: EventDraft[] = []
  let next = 0
  for (const { type, reservation, changes } of steps) {
    const own = recorded.slice(next, next + changes.length)
    next += changes.length
    events.push({ type, data: reservationJson(reservation, (line) => recordedLine(line, own)) })
    for (const change of own) {
      const event = availabilityEvent(change)
      if (event !== undefined) events.push(event)
    }
  }
  return events
}

/** A line with the `seq` of its ledger row: of several (reacquire has a reserve and a confirm) the last one's. */
function recordedLine({ sku, quantity }: Line, own: readonly Recorded[]): string {
  const seq = own.findLast((change) => change.sku === sku)?.seq ?? null
  return `{"sku":${JSON.stringify(sku)},"quantity":${quantity},"seq":${seq}}`
}
