import type { Executor } from '../database/transaction.ts'
import { appendEvents, type EventDraft } from '../outbox/append.ts'
import { insertLedger, lockAndMove, type CounterTuple } from './queries.ts'

/**
 * Moves counters and writes down every step of it. Invariant: each change of a counter has one ledger row, and a
 * counter's `seq` is the number of its ledger rows. All counters of a call move, or none.
 */

export type ChangeKind = 'set' | 'adjust' | 'reserve' | 'confirm' | 'release' | 'expire'

/** One step of one SKU's counters: one ledger row. */
export type Change = {
  sku: string
  kind: ChangeKind
  stock_delta: number
  reserved_delta: number
  reservation_id?: string | undefined
  reference?: string | undefined
  reason?: string | undefined
}

/** All steps of one SKU together. `need`: the least `available` at the start with which no step goes below zero. */
export type Move = { sku: string; need: number; stock_delta: number; reserved_delta: number; changes: number }

/** Counters of one SKU. */
export type Counter = { stock: number; temp_reserved_stock: number; seq: number }

/** A change as it went into the ledger, with the counters after it. */
export type Recorded = Change & { seq: number; stock_after: number; reserved_after: number }

/**
 * `fits: false`: nothing was moved; the locks are held and `counters` are current, a missing SKU being absent. If they had
 * to be waited for they may cover the changes after all: another call, under these locks, then moves them.
 */
export type Moved =
  | { fits: true; recorded: Recorded[]; at: string; locked_at: Date }
  | { fits: false; counters: Map<string, Counter> }

/**
 * Locks the counters of all changes in SKU order and applies the changes in the order given, all or none. The caller then
 * calls {@link writeRecorded} in the same transaction. Locks are the last that a transaction takes (see the lock order).
 *
 * @param changes at least one; a SKU may appear in any number of them
 * @param as_read counters as they were read before: none moves unless the `seq` of each still is the same
 * @throws a CHECK violation of `stock_covers_reserved` if more would be given back than is held
 */
export async function moveCounters(
  db: Executor,
  changes: readonly Change[],
  as_read?: ReadonlyMap<string, Counter>,
): Promise<Moved> {
  const moves = sumMoves(changes)
  const locked = await lockAndMove(db, moves, as_read && moves.map(({ sku }) => as_read.get(sku)?.seq ?? null))
  const counters = countersOf(locked.counters)
  if (locked.moved !== moves.length) return { fits: false, counters }
  return {
    fits: true,
    recorded: changes.map((change) => step(counters, change)),
    at: locked.at,
    locked_at: new Date(locked.locked_at_ms),
  }
}

/** Counters by SKU. */
export function countersOf(tuples: readonly CounterTuple[]): Map<string, Counter> {
  const counters = new Map<string, Counter>()
  for (const [sku, stock, temp_reserved_stock, seq] of tuples) counters.set(sku, { stock, temp_reserved_stock, seq })
  return counters
}

/**
 * Writes the ledger rows of a move and the events that tell of it, both in the transaction of the move.
 *
 * @param written `at`: the move's; null for events that moved no counter
 */
export async function writeRecorded(
  db: Executor,
  written: { recorded: readonly Recorded[]; events: readonly EventDraft[]; at: string | null },
): Promise<void> {
  const { recorded, events, at } = written
  // Both are sent before either is waited for.
  await Promise.all([at === null ? undefined : insertLedger(db, recorded, at), appendEvents(db, events, at)])
}

/** `stock.sold_out` or `stock.back` if this change took the last available unit or brought the first one back. */
export function availabilityEvent(change: Recorded): EventDraft | undefined {
  const after = change.stock_after - change.reserved_after
  const before = after - change.stock_delta + change.reserved_delta
  const type = before > 0 && after <= 0 ? 'stock.sold_out' : before <= 0 && after > 0 ? 'stock.back' : undefined
  if (type === undefined) return undefined
  const { sku, seq, stock_after, reserved_after } = change
  const data = { sku, seq, stock: stock_after, temp_reserved_stock: reserved_after, available: after }
  return { type, data: JSON.stringify(data) }
}

function sumMoves(changes: readonly Change[]): Move[] {
  const moves = new Map<string, Move>()
  for (const { sku, stock_delta, reserved_delta } of changes) {
    let move = moves.get(sku)
    if (move === undefined) {
      move = { sku, need: 0, stock_delta: 0, reserved_delta: 0, changes: 0 }
      moves.set(sku, move)
    }
    move.stock_delta += stock_delta
    move.reserved_delta += reserved_delta
    move.changes += 1
    move.need = Math.max(move.need, move.reserved_delta - move.stock_delta)
  }
  return [...moves.values()]
}

function step(counters: Map<string, Counter>, change: Change): Recorded {
  const counter = counters.get(change.sku)
  if (counter === undefined) throw new Error('a change names a SKU that was not locked')
  counter.stock += change.stock_delta
  counter.temp_reserved_stock += change.reserved_delta
  counter.seq += 1
  // Field by field: spread takes longer, and this runs for every line of every hold.
  return {
    sku: change.sku,
    kind: change.kind,
    stock_delta: change.stock_delta,
    reserved_delta: change.reserved_delta,
    reservation_id: change.reservation_id,
    reference: change.reference,
    reason: change.reason,
    seq: counter.seq,
    stock_after: counter.stock,
    reserved_after: counter.temp_reserved_stock,
  }
}
