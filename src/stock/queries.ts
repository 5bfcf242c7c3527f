import type { Knex } from 'knex'
import { arrayOf } from '../database/array.ts'
import { rows, type Executor } from '../database/transaction.ts'
import type { Move, Recorded } from './counters.ts'
import type { LedgerEntry } from './ledger.ts'
import type { Level } from './levels.ts'

const LEVEL = 'sku, stock, temp_reserved_stock, stock - temp_reserved_stock AS available, seq, updated_at'

/** The levels of those SKUs that exist, in no particular order. */
export function selectLevels(db: Executor, skus: readonly string[]): Promise<Level[]> {
  return rows<Level>(db, `SELECT ${LEVEL} FROM stock WHERE sku = ANY (?::text[])`, [skus])
}

/** A page of levels in SKU order, after `after`; only those with something to sell if `available`. */
export function selectLevelPage(
  db: Executor,
  page: { available: boolean; limit: number; after: string | null },
): Promise<Level[]> {
  return rows<Level>(
    db,
    `SELECT ${LEVEL} FROM stock
     WHERE sku > coalesce(?::text, '') ${page.available ? 'AND stock > temp_reserved_stock' : ''}
     ORDER BY sku LIMIT ?`,
    [page.after, page.limit],
  )
}

/** A changed level and the next horizon; `sku` is null in the one row that stands for no change. */
export type ChangedRow = { horizon: string } & (Level | { sku: null })

/**
 * Levels whose row was written by a transaction that had not ended at the horizon: the oldest one that was running when the
 * snapshot before was taken. A time can't stand in for it, because rows are committed later than they are stamped, and an
 * index can't help, because one on a column that changes would cost every buyer the heap-only update. age() keeps the
 * comparison right when transaction numbers wrap around. One statement, so that both columns rest on one snapshot.
 */
export function selectChangedLevels(db: Executor, horizon: string | null, limit: number): Promise<ChangedRow[]> {
  return rows<ChangedRow>(
    db,
    `SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS horizon, s.*
     FROM (SELECT) AS one LEFT JOIN (
       SELECT ${LEVEL} FROM stock WHERE age(xmin) <= age(coalesce(?::xid8, pg_snapshot_xmin(pg_current_snapshot()))::xid)
       LIMIT ?
     ) AS s ON true`,
    [horizon, limit],
  )
}

/** A SKU's stock, units in holds, and seq, as part of one JSON value: over a row for each pg takes twice as long or more. */
export type CounterTuple = [sku: string, stock: number, temp_reserved_stock: number, seq: number]

/** The counters of a FROM clause with the alias `c`, as {@link CounterTuple}s. */
export const COUNTER_TUPLES = `coalesce(json_agg(json_build_array(c.sku, c.stock, c.temp_reserved_stock, c.seq)), '[]')`

export type MoveResult = {
  /** How many counters were moved: all of them or none. */
  moved: number
  /** When the locks were had: text, because a Date would lose the microseconds that order events. */
  at: string
  /** The same by the clock alone, which `at` may be ahead of: a number, because pg parses a time slowly. */
  locked_at_ms: number
  /** The counters that exist, as they were when the lock was had. */
  counters: CounterTuple[]
}

/**
 * Locks the counters in SKU order and moves them if, and only if, every one of them covers its need.
 *
 * The order of the locks is what keeps two batches from deadlocking. The values come out of the locking SELECT, which
 * sees the newest version of a row that it had to wait for. The UPDATE tests each row again and its row count decides.
 * It makes that test on the statement's snapshot first, and passes over a row that did not fit there although it does now:
 * so that it can't move one SKU without the other, the verdict asks the snapshot too (`seen`).
 * Each join names the SKUs again, or the planner reads the whole table for it: 5 of 12 ms with 520 of 10,000 counters.
 * `at` never runs backwards on a SKU, even if the server's clock does: events are ordered by it.
 *
 * @param seqs one for each move: none is moved unless each counter's `seq` still is this
 */
export async function lockAndMove(
  db: Executor,
  moves: readonly Move[],
  seqs?: readonly (number | null)[],
): Promise<MoveResult> {
  const skus = arrayOf(moves, (move) => move.sku)
  const [row] = await rows<MoveResult>(db, seqs === undefined ? LOCK_AND_MOVE : LOCK_AND_MOVE_AS_READ, [
    skus,
    arrayOf(moves, (move) => move.need),
    arrayOf(moves, (move) => move.stock_delta),
    arrayOf(moves, (move) => move.reserved_delta),
    arrayOf(moves, (move) => move.changes),
    ...(seqs === undefined ? [] : [seqs]),
    skus,
    moves.length,
    skus,
    skus,
  ])
  return row!
}

const LOCK_AND_MOVE = lockAndMoveSql({ as_read: false })
const LOCK_AND_MOVE_AS_READ = lockAndMoveSql({ as_read: true })

function lockAndMoveSql({ as_read }: { as_read: boolean }): string {
  return `WITH need AS MATERIALIZED (
       SELECT * FROM unnest(?::text[], ?::bigint[], ?::integer[], ?::integer[], ?::integer[]${as_read ? ', ?::bigint[]' : ''})
         AS n (sku, need, stock_delta, reserved_delta, changes${as_read ? ', seq' : ''})
     ), locked AS MATERIALIZED (
       SELECT sku, stock, temp_reserved_stock, seq, updated_at FROM stock
       WHERE sku = ANY (?::text[]) ORDER BY sku FOR NO KEY UPDATE
     ), verdict AS MATERIALIZED (
       SELECT count(*) = ?::bigint AND bool_and(l.stock - l.temp_reserved_stock >= n.need)
                AND bool_and(seen.stock - seen.temp_reserved_stock >= n.need)
                ${as_read ? 'AND bool_and(l.seq = n.seq)' : ''} AS fits,
              greatest(clock_timestamp(), max(l.updated_at) + interval '1 microsecond') AS at,
              (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS locked_at_ms
       FROM locked l JOIN need n USING (sku) JOIN stock seen USING (sku)
       WHERE seen.sku = ANY (?::text[])
     ), moved AS (
       UPDATE stock s
       SET stock = s.stock + n.stock_delta,
           temp_reserved_stock = s.temp_reserved_stock + n.reserved_delta,
           seq = s.seq + n.changes,
           updated_at = v.at
       FROM need n, verdict v
       WHERE s.sku = n.sku AND s.sku = ANY (?::text[]) AND v.fits AND s.stock - s.temp_reserved_stock >= n.need
             ${as_read ? 'AND s.seq = n.seq' : ''}
       RETURNING s.sku
     )
     SELECT (SELECT count(*) FROM moved) AS moved, v.at::text AS at, v.locked_at_ms,
            (SELECT ${COUNTER_TUPLES} FROM locked c) AS counters
     FROM verdict v`
}

/** Appends ledger rows, all with the time `at`. */
export async function insertLedger(db: Executor, entries: readonly Recorded[], at: string): Promise<void> {
  await rows(
    db,
    `INSERT INTO stock_ledger (sku, seq, kind, stock_delta, reserved_delta, stock_after, reserved_after,
                               reservation_id, reference, reason, created_at)
     SELECT l.*, ?::timestamptz
     FROM unnest(?::text[], ?::bigint[], ?::text[], ?::integer[], ?::integer[], ?::integer[], ?::integer[],
                 ?::uuid[], ?::text[], ?::text[]) AS l`,
    [
      at,
      arrayOf(entries, (entry) => entry.sku),
      arrayOf(entries, (entry) => entry.seq),
      arrayOf(entries, (entry) => entry.kind),
      arrayOf(entries, (entry) => entry.stock_delta),
      arrayOf(entries, (entry) => entry.reserved_delta),
      arrayOf(entries, (entry) => entry.stock_after),
      arrayOf(entries, (entry) => entry.reserved_after),
      arrayOf(entries, (entry) => entry.reservation_id),
      arrayOf(entries, (entry) => entry.reference),
      arrayOf(entries, (entry) => entry.reason),
    ],
    { prepared: true },
  )
}

/** Those of the SKUs whose counter no other transaction holds at this moment; takes no lasting lock. */
export async function selectUnlockedSkus(db: Executor, skus: readonly string[]): Promise<string[]> {
  const found = await rows<{ sku: string }>(
    db,
    `SELECT sku FROM stock WHERE sku = ANY (?::text[]) ORDER BY sku FOR NO KEY UPDATE SKIP LOCKED`,
    [skus],
  )
  return found.map((row) => row.sku)
}

/** Creates counters at zero, in SKU order, for those SKUs that have none; returns the SKUs that it created. */
export async function insertMissingCounters(db: Executor, skus: readonly string[]): Promise<string[]> {
  const created = await rows<{ sku: string }>(
    db,
    `INSERT INTO stock (sku, stock)
     SELECT sku, 0 FROM unnest(?::text[]) AS n (sku) ORDER BY sku COLLATE "C"
     ON CONFLICT (sku) DO NOTHING RETURNING sku`,
    [skus],
  )
  return created.map((row) => row.sku)
}

/** Locks the counters in SKU order, then reads them in a statement of its own, so that what was waited for is seen. */
export async function lockLevels(db: Executor, skus: readonly string[]): Promise<Level[]> {
  // The second is sent right behind the first, and begins when that one has its locks.
  const [, levels] = await Promise.all([
    rows(db, `SELECT 1 FROM stock WHERE sku = ANY (?::text[]) ORDER BY sku FOR NO KEY UPDATE`, [skus]),
    selectLevels(db, skus),
  ])
  return levels
}

/** A page of a SKU's ledger, newest first. */
export function selectLedger(
  db: Executor,
  page: { sku: string; limit: number; before_seq: number | null },
): Promise<LedgerEntry[]> {
  return rows<LedgerEntry>(
    db,
    `SELECT seq, kind, stock_delta, reserved_delta, stock_after, reserved_after,
            coalesce(reservation_id::text, reference) AS reference, reason, created_at
     FROM stock_ledger
     WHERE sku = ? AND seq < coalesce(?::bigint, 9223372036854775807)
     ORDER BY seq DESC LIMIT ?`,
    [page.sku, page.before_seq, page.limit],
  )
}

export type AdjustmentKey = { id: string; client: string; key: string; request_hash: string; skus: string[] }

/** Claims an adjustment's key; false if it is taken. Waits for a twin in flight up to the lock timeout. */
export async function insertAdjustment(db: Executor, adjustment: AdjustmentKey): Promise<boolean> {
  const inserted = await rows(
    db,
    `INSERT INTO stock_adjustments (id, client, idempotency_key, request_hash, skus)
     VALUES (?, ?, ?, decode(?, 'hex'), ?::text[])
     ON CONFLICT (client, idempotency_key) DO NOTHING RETURNING id`,
    [adjustment.id, adjustment.client, adjustment.key, adjustment.request_hash, adjustment.skus],
  )
  return inserted.length === 1
}

/** The adjustment that a key made. */
export async function selectAdjustment(
  db: Executor,
  client: string,
  key: string,
): Promise<{ request_hash: string; skus: string[] } | undefined> {
  const found = await rows<{ request_hash: string; skus: string[] }>(
    db,
    `SELECT encode(request_hash, 'hex') AS request_hash, skus FROM stock_adjustments WHERE client = ? AND idempotency_key = ?`,
    [client, key],
  )
  return found[0]
}

/** A row of an imported file and the line on which it stands. */
export type StagedStock = { sku: string; stock: number; line: number }

/** A table for the rows of one import, gone with the transaction. */
export async function createStagedStock(tx: Knex.Transaction): Promise<void> {
  // A file on a slow disk may keep the transaction waiting; no counter is locked while it is read.
  await rows(tx, `SET LOCAL idle_in_transaction_session_timeout = '60s'`)
  await rows(
    tx,
    `CREATE TEMPORARY TABLE staged_stock (sku text COLLATE "C" NOT NULL, stock integer NOT NULL, line bigint NOT NULL)
     ON COMMIT DROP`,
  )
}

export async function insertStagedStock(tx: Knex.Transaction, staged: readonly StagedStock[]): Promise<void> {
  await rows(tx, `INSERT INTO staged_stock SELECT * FROM unnest(?::text[], ?::integer[], ?::bigint[])`, [
    staged.map((row) => row.sku),
    staged.map((row) => row.stock),
    staged.map((row) => row.line),
  ])
}

/**
 * Readies the staged rows for reading in SKU order.
 *
 * @returns how many differ from what is there, and the first row whose SKU an earlier one has already
 */
export async function finishStagedStock(
  tx: Knex.Transaction,
): Promise<{ changes: number; repeated: { sku: string; line: number; first_line: number } | undefined }> {
  await rows(tx, `CREATE INDEX staged_stock_by_sku ON staged_stock (sku)`)
  // A chunk then lies on a few pages: a million rows in the file's order took 28 ms to find per thousand.
  await rows(tx, `CLUSTER staged_stock USING staged_stock_by_sku`)
  // Without statistics the planner joins the whole table again for each chunk.
  await rows(tx, `ANALYZE staged_stock`)
  const [repeated] = await rows<{ sku: string; line: number; first_line: number }>(
    tx,
    `SELECT sku, line, first_line
     FROM (SELECT sku, line, min(line) OVER (PARTITION BY sku) AS first_line FROM staged_stock) AS s
     WHERE line > first_line ORDER BY line LIMIT 1`,
  )
  const [differing] = await rows<{ changes: number }>(
    tx,
    `SELECT count(*) AS changes FROM staged_stock AS n LEFT JOIN stock AS s USING (sku)
     WHERE n.stock IS DISTINCT FROM s.stock`,
  )
  return { changes: differing!.changes, repeated }
}

/**
 * The next staged rows in SKU order whose SKU has another count or does not exist. The bound stands on both sides of the
 * join: a merge join would otherwise read all counters before `after` again for each chunk.
 */
export function selectStagedChanges(
  tx: Knex.Transaction,
  page: { after: string | null; limit: number },
): Promise<StagedStock[]> {
  return rows<StagedStock>(
    tx,
    `SELECT n.sku, n.stock, n.line
     FROM staged_stock AS n LEFT JOIN stock AS s ON s.sku = n.sku AND s.sku > coalesce(?::text, '')
     WHERE n.sku > coalesce(?::text, '') AND n.stock IS DISTINCT FROM s.stock
     ORDER BY n.sku LIMIT ?`,
    [page.after, page.after, page.limit],
  )
}
