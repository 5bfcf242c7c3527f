import type { Knex } from 'knex'
import { rows } from '../database/transaction.ts'
import type { TtlVariant } from './ttl_report.ts'

/**
 * What an operator asks over all rooms. Everything here only reads, but for terminateSession.
 *
 * The verification statements each read a whole table once and return the first `limit` faults with the count of all
 * (`broken`), so that a database with ten million faults answers as shortly as one with ten.
 */

/** Ten million reservations are joined with their ledger rows on disk; more memory means fewer passes. */
const WORK_MEM = '256MB'

/** Gives the statements of this transaction that memory. */
export async function allowWorkMemory(tx: Knex.Transaction): Promise<void> {
  await rows(tx, `SET LOCAL work_mem = '${WORK_MEM}'`)
}

export type Totals = { as_of: Date; skus: number; reservations: number; ledger_rows: number }

export async function selectTotals(tx: Knex.Transaction): Promise<Totals> {
  const [totals] = await rows<Totals>(
    tx,
    `SELECT now() AS as_of, (SELECT count(*) FROM stock) AS skus,
       (SELECT count(*) FROM reservations) AS reservations, (SELECT count(*) FROM stock_ledger) AS ledger_rows`,
  )
  return totals!
}

export type CounterFault = { broken: number; sku: string; stock: number; temp_reserved_stock: number }

/** Counters outside 0 <= temp_reserved_stock <= stock <= 2,000,000,000. */
export function selectCountersOutOfBounds(tx: Knex.Transaction, limit: number): Promise<CounterFault[]> {
  return rows<CounterFault>(
    tx,
    `SELECT count(*) OVER () AS broken, sku, stock, temp_reserved_stock
     FROM stock
     WHERE NOT (0 <= temp_reserved_stock AND temp_reserved_stock <= stock AND stock <= 2000000000)
     ORDER BY sku LIMIT ?`,
    [limit],
  )
}

export type HeldFault = { broken: number; sku: string; temp_reserved_stock: number | null; held: number; holds: number }

/** SKUs whose temp_reserved_stock is not the sum of the pending lines; null where a pending line has no counter at all. */
export function selectReservedNotHeld(tx: Knex.Transaction, limit: number): Promise<HeldFault[]> {
  return rows<HeldFault>(
    tx,
    `WITH held AS (
       SELECT line.sku, sum(line.quantity) AS units, count(*) AS holds
       FROM reservations CROSS JOIN unnest(skus, quantities) AS line (sku, quantity)
       WHERE status = 'pending'
       GROUP BY line.sku
     )
     SELECT count(*) OVER () AS broken, coalesce(counter.sku, held.sku) AS sku, temp_reserved_stock,
       coalesce(units, 0) AS held, coalesce(holds, 0) AS holds
     FROM stock AS counter FULL JOIN held ON held.sku = counter.sku
     WHERE temp_reserved_stock IS DISTINCT FROM coalesce(units, 0)
     ORDER BY 2 LIMIT ?`,
    [limit],
  )
}

export type LedgerFault = {
  broken: number
  sku: string
  /** The counter: its numbers, null where the ledger tells of a SKU that has none. */
  seq: number | null
  stock: number | null
  temp_reserved_stock: number | null
  /** The ledger: how many rows, the last seq, the sums of the deltas. */
  ledger_rows: number
  last_seq: number
  stock_sum: number
  reserved_sum: number
  /** The first row whose seq is not its place in the order, and the first whose *_after is not the sum so far. */
  first_gap: number | null
  first_miscounted: number | null
}

/**
 * SKUs whose ledger has a gap, miscounts, or ends elsewhere than the counter stands. A row is right when it follows from
 * the one before; with the first following from zero, every `*_after` is the sum of the deltas so far. The primary key
 * gives the rows in this order, so nothing is sorted.
 */
export function selectLedgersOff(tx: Knex.Transaction, limit: number): Promise<LedgerFault[]> {
  return rows<LedgerFault>(
    tx,
    `WITH numbered AS (
       SELECT sku, seq, stock_delta, reserved_delta, row_number() OVER history AS place,
         stock_after = stock_delta + lag(stock_after, 1, 0) OVER history
           AND reserved_after = reserved_delta + lag(reserved_after, 1, 0) OVER history AS follows
       FROM stock_ledger
       WINDOW history AS (PARTITION BY sku ORDER BY seq)
     ), replayed AS (
       SELECT sku, count(*) AS ledger_rows, max(seq) AS last_seq,
         sum(stock_delta) AS stock_sum, sum(reserved_delta) AS reserved_sum,
         min(seq) FILTER (WHERE seq <> place) AS first_gap, min(seq) FILTER (WHERE NOT follows) AS first_miscounted
       FROM numbered
       GROUP BY sku
     )
     SELECT count(*) OVER () AS broken, coalesce(counter.sku, replayed.sku) AS sku,
       counter.seq, counter.stock, temp_reserved_stock, coalesce(ledger_rows, 0) AS ledger_rows, coalesce(last_seq, 0) AS last_seq,
       coalesce(stock_sum, 0) AS stock_sum, coalesce(reserved_sum, 0) AS reserved_sum, first_gap, first_miscounted
     FROM stock AS counter FULL JOIN replayed ON replayed.sku = counter.sku
     WHERE first_gap IS NOT NULL OR first_miscounted IS NOT NULL
       OR counter.seq IS DISTINCT FROM coalesce(last_seq, 0)
       OR counter.stock IS DISTINCT FROM coalesce(stock_sum, 0)
       OR temp_reserved_stock IS DISTINCT FROM coalesce(reserved_sum, 0)
     ORDER BY 2 LIMIT ?`,
    [limit],
  )
}

/** What one line of a hold went through, side by side with what the ledger says. */
export type LineFault = {
  /** How many lines have this same fault. */
  broken: number
  fault:
    | 'unowned'
    | 'no_reservation'
    | 'no_line'
    | 'no_lines'
    | 'sku_repeated'
    | 'no_ledger'
    | 'miscounted'
    | 'wrong_end'
    | 'closed_at_wrong'
  reservation_id: string | null
  sku: string | null
  status: string | null
  quantity: number | null
  /** The kinds of its ledger rows in order, such as `reserve,expire,reserve,confirm`. */
  history: string | null
  first_seq: number | null
}

/**
 * Lines that don't have the ledger rows that their reservation's status demands, and ledger rows that belong to no line.
 * One pass over both tables, joined on reservation and SKU.
 */
export function selectLinesOff(tx: Knex.Transaction, limit: number): Promise<LineFault[]> {
  return rows<LineFault>(
    tx,
    `WITH lines AS (
       SELECT id, status, closed_at, line.sku, line.quantity,
         cardinality(skus) > 1 AND cardinality(skus) > (SELECT count(DISTINCT sku) FROM unnest(skus) AS named (sku))
           AS repeats
       FROM reservations LEFT JOIN LATERAL unnest(skus, quantities) AS line (sku, quantity) ON true
     ), moves AS (
       SELECT reservation_id, sku, string_agg(kind, ',' ORDER BY seq) AS history, min(seq) AS first_seq,
         min(abs(reserved_delta)) AS quantity_min, max(abs(reserved_delta)) AS quantity_max,
         bool_and(CASE kind
           WHEN 'reserve' THEN reserved_delta > 0 AND stock_delta = 0
           WHEN 'confirm' THEN reserved_delta < 0 AND stock_delta = reserved_delta
           ELSE reserved_delta < 0 AND stock_delta = 0 END) AS directed
       FROM stock_ledger
       WHERE kind NOT IN ('set', 'adjust') OR reservation_id IS NOT NULL
       GROUP BY reservation_id, sku
     ), judged AS (
       SELECT CASE
           WHEN lines.id IS NULL AND moves.reservation_id IS NULL THEN 'unowned'
           WHEN lines.id IS NULL AND EXISTS (SELECT FROM reservations r WHERE r.id = moves.reservation_id) THEN 'no_line'
           WHEN lines.id IS NULL THEN 'no_reservation'
           WHEN lines.sku IS NULL THEN 'no_lines'
           WHEN repeats THEN 'sku_repeated'
           WHEN moves.history IS NULL THEN 'no_ledger'
           WHEN NOT (directed AND quantity_min = quantity AND quantity_max = quantity) THEN 'miscounted'
           WHEN (status = 'pending') <> (closed_at IS NULL) THEN 'closed_at_wrong'
           WHEN CASE status
             WHEN 'pending' THEN history = 'reserve'
             WHEN 'confirmed' THEN history IN ('reserve,confirm', 'reserve,expire,reserve,confirm')
             WHEN 'released' THEN history = 'reserve,release'
             WHEN 'expired' THEN history = 'reserve,expire'
             ELSE false END THEN NULL
           ELSE 'wrong_end' END AS fault,
         coalesce(lines.id, moves.reservation_id) AS reservation_id, coalesce(lines.sku, moves.sku) AS sku,
         status, quantity, history, first_seq
       FROM lines FULL JOIN moves ON moves.reservation_id = lines.id AND moves.sku = lines.sku
     ), counted AS (
       SELECT *, count(*) OVER (PARTITION BY fault) AS broken,
         row_number() OVER (PARTITION BY fault ORDER BY reservation_id, sku) AS place
       FROM judged
       WHERE fault IS NOT NULL
     )
     SELECT broken, fault, reservation_id, sku, status, quantity, history, first_seq
     FROM counted WHERE place <= ? ORDER BY fault, place`,
    [limit],
  )
}

export type Backlog = {
  pending: number
  overdue: number
  oldest_overdue_seconds: number
  oldest_waiting_seconds: number
  set_aside: number
}

/** Holds that are pending, overdue and set aside, each counted up to `count_max`, by reservations_overdue alone. */
export async function selectBacklog(db: Knex, count_max: number): Promise<Backlog> {
  const [backlog] = await rows<Backlog>(
    db,
    `SELECT
       (SELECT count(*) FROM (SELECT FROM reservations WHERE status = 'pending' LIMIT ?) AS p) AS pending,
       (SELECT count(*) FROM (
         SELECT FROM reservations WHERE status = 'pending' AND expires_at <= now() LIMIT ?) AS o) AS overdue,
       (SELECT count(*) FROM (SELECT FROM sweep_set_aside LIMIT ?) AS a) AS set_aside,
       coalesce((
         SELECT extract(epoch FROM now() - min(expires_at)) FROM reservations
         WHERE status = 'pending' AND expires_at <= now()), 0)::float8 AS oldest_overdue_seconds,
       coalesce((
         SELECT extract(epoch FROM now() - expires_at) FROM reservations AS r
         WHERE status = 'pending' AND expires_at <= now()
           AND NOT EXISTS (SELECT FROM sweep_set_aside AS a WHERE a.reservation_id = r.id)
         ORDER BY expires_at LIMIT 1), 0)::float8 AS oldest_waiting_seconds`,
    [count_max, count_max, count_max],
  )
  return backlog!
}

export type SweeperRun = {
  instance: string
  started_at: Date
  finished_at: Date | null
  succeeded_at: Date | null
  /** By the database's clock. */
  succeeded_seconds_ago: number | null
  expired: number
  set_aside: number
  error: string | null
  error_at: Date | null
}

/** The last run of each instance that swept within a day, the latest first. */
export function selectSweeperRuns(db: Knex): Promise<SweeperRun[]> {
  return rows<SweeperRun>(
    db,
    `SELECT instance, started_at, finished_at, succeeded_at,
       extract(epoch FROM now() - succeeded_at)::float8 AS succeeded_seconds_ago, expired, set_aside, error, error_at
     FROM sweeper_runs
     WHERE started_at > now() - interval '1 day'
     ORDER BY started_at DESC LIMIT 50`,
  )
}

export type SetAside = { reservation_id: string; failures: number; retry_at: Date; error: string; set_aside_at: Date }

/** Holds that failed to expire, those that are tried next first. */
export function selectSetAside(db: Knex, limit: number): Promise<SetAside[]> {
  return rows<SetAside>(
    db,
    `SELECT reservation_id, failures, retry_at, error, set_aside_at FROM sweep_set_aside
     ORDER BY retry_at LIMIT ?`,
    [limit],
  )
}

export type OutboxBacklog = { unpositioned: number; oldest_seconds: number }

/** Committed transactions whose events have no position yet, so that no reader has seen them. */
export async function selectOutboxBacklog(db: Knex, count_max: number): Promise<OutboxBacklog> {
  const [backlog] = await rows<OutboxBacklog>(
    db,
    `SELECT
       (SELECT count(*) FROM (SELECT FROM outbox WHERE last_position IS NULL LIMIT ?) AS o) AS unpositioned,
       coalesce((
         SELECT extract(epoch FROM now() - min(ordered_at)) FROM outbox WHERE last_position IS NULL), 0)::float8
         AS oldest_seconds`,
    [count_max],
  )
  return backlog!
}

/** A capture, a void, a refund or a look that a payment gateway did not answer, or that nobody has asked it for. */
export type Owing = {
  /** Of all such, shown or not. */
  count: number
  what: 'capture' | 'void' | 'refund' | 'look'
  order_id: string
  payment_id: string
  tries: number
  /** How long ago the next try was due; below 0 until then. */
  late_seconds: number
  last_error: string | null
}

/**
 * What is owed to payment gateways and was tried in vain or not at all, what has failed most often first. What waits for a
 * buyer comes last.
 *
 * @param filter.late_after_seconds what has been due for longer counts although it was never tried
 */
export function selectOwing(
  db: Knex,
  { limit, late_after_seconds }: { limit: number; late_after_seconds: number },
): Promise<Owing[]> {
  return rows<Owing>(
    db,
    `WITH owing AS (
       SELECT CASE WHEN status = 'authorised' THEN 'capture' WHEN status IN ('pending', 'declined') THEN 'look' ELSE 'void' END
           AS what, order_id, id AS payment_id, tries, next_try_at, last_error
       FROM payments WHERE next_try_at IS NOT NULL
       UNION ALL
       SELECT 'refund', order_id, payment_id, tries, next_try_at, last_error FROM refunds WHERE next_try_at IS NOT NULL
     )
     SELECT what, order_id, payment_id, tries, extract(epoch FROM now() - next_try_at)::float8 AS late_seconds, last_error,
       count(*) OVER () AS count
     FROM owing WHERE tries > 0 OR next_try_at < now() - ?::float8 * interval '1 second'
     ORDER BY what = 'look', tries DESC, next_try_at LIMIT ?`,
    [late_after_seconds, limit],
  )
}

/** Money that came in and must be given back: nobody but an operator does it. `count` is of all, shown or not. */
export type OwedToBuyer = {
  count: number
  order_id: string
  payment_id: string
  amount: number
  currency: string
  reason: string
}

/** Payments of which something must be given back, the oldest order first. */
export function selectOwedToBuyers(db: Knex, limit: number): Promise<OwedToBuyer[]> {
  return rows<OwedToBuyer>(
    db,
    `SELECT order_id, id AS payment_id, owed_amount AS amount, captured_currency AS currency, owed_reason AS reason,
       count(*) OVER () AS count
     FROM payments WHERE owed_amount > 0 ORDER BY order_id, id LIMIT ?`,
    [limit],
  )
}

export type Session = {
  pid: number
  application_name: string
  client: string | null
  state: string | null
  query: string
  transaction_seconds: number | null
  /** How long it has been in `state`. */
  state_seconds: number | null
  /** How long it has waited for a lock; null if it does not. */
  lock_wait_seconds: number | null
  /** Who holds or stands in line for that lock; 0 is a prepared transaction. */
  blocked_by: number[]
}

/**
 * The sessions of this database that wait for a lock or have a transaction open. A role without pg_read_all_stats sees
 * only its own sessions' queries.
 */
export function selectSessions(db: Knex): Promise<Session[]> {
  return rows<Session>(
    db,
    `SELECT pid, application_name, client_addr::text AS client, state, left(query, 500) AS query,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_seconds,
       extract(epoch FROM clock_timestamp() - state_change)::float8 AS state_seconds,
       CASE WHEN wait_event_type = 'Lock' THEN extract(epoch FROM clock_timestamp() - coalesce(
         (SELECT min(waitstart) FROM pg_locks WHERE pg_locks.pid = a.pid AND NOT granted), query_start))::float8
         END AS lock_wait_seconds,
       CASE WHEN wait_event_type = 'Lock' THEN pg_blocking_pids(pid) ELSE '{}' END AS blocked_by
     FROM pg_stat_activity AS a
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
       AND backend_type = 'client backend'
     ORDER BY lock_wait_seconds DESC NULLS LAST, xact_start`,
  )
}

/** Ends a session of this database, and the statement that it runs. @returns false if there is none with this pid */
export async function terminateSession(db: Knex, pid: number): Promise<boolean> {
  const ended = await rows(
    db,
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE pid = ? AND datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
    [pid],
  )
  return ended.length > 0
}

/**
 * What became of reservations, by the variant of their hold time.
 *
 * @param first_id only reservations with this id or a later one, which is to say made since then; null for all
 */
export function selectTtlVariants(db: Knex, first_id: string | null): Promise<TtlVariant[]> {
  return rows<TtlVariant>(
    db,
    `SELECT ttl_variant, count(*) AS holds,
       count(*) FILTER (WHERE state = 'confirmed') AS confirmed,
       count(*) FILTER (WHERE state = 'released') AS released,
       count(*) FILTER (WHERE state = 'expired') AS expired,
       count(*) FILTER (WHERE state = 'pending') AS pending,
       sum(units)::bigint AS units_held,
       coalesce(sum(units) FILTER (WHERE state = 'confirmed'), 0)::bigint AS units_sold,
       coalesce(sum(units) FILTER (WHERE state IN ('released', 'expired')), 0)::bigint AS units_returned
     FROM (
       SELECT ttl_variant,
         CASE WHEN status = 'pending' AND expires_at <= now() THEN 'expired' ELSE status END AS state,
         (SELECT sum(quantity) FROM unnest(quantities) AS quantity) AS units
       FROM reservations WHERE id >= coalesce(?::uuid, '00000000-0000-0000-0000-000000000000')
     ) AS holds
     GROUP BY ttl_variant
     ORDER BY ttl_variant IS NULL, length(ttl_variant), ttl_variant COLLATE "C"`,
    [first_id],
  )
}

/** What the server calls itself, such as `18.4`. */
export async function selectServerVersion(db: Knex): Promise<string> {
  const [server] = await rows<{ version: string }>(
    db,
    `SELECT split_part(current_setting('server_version'), ' ', 1) AS version`,
  )
  return server!.version
}

/** The database's clock. */
export async function selectClock(db: Knex): Promise<Date> {
  const [row] = await rows<{ now: Date }>(db, 'SELECT clock_timestamp() AS now')
  return row!.now
}
