import { arrayOf } from '../database/array.ts'
import { rows, written, type Executor } from '../database/transaction.ts'
import { isoTime } from '../iso_time.ts'
import { COUNTER_TUPLES, type CounterTuple } from '../stock/queries.ts'
import type { Reservation, ReserveRequest, Status } from './reservation.ts'

/** A reservation as it is stored: `status` may say pending although its time has run out. */
export type StoredReservation = {
  id: string
  status: Status
  skus: string[]
  quantities: number[]
  customer_id: string | null
  reference: string | null
  metadata: Record<string, unknown> | null
  created_at: Date
  expires_at: Date
  closed_at: Date | null
  release_reason: string | null
  strategy: string
  ttl_variant: string | null
  /** Whether `expires_at` had come, by the database's clock, when this was read. */
  overdue: boolean
}

const COLUMNS = `r.id, r.status, r.skus, r.quantities, r.customer_id, r.reference, r.metadata, r.created_at, r.expires_at,
  r.closed_at, r.release_reason, r.strategy, r.ttl_variant, r.expires_at <= clock_timestamp() AS overdue`

/** The database's clock, in whole milliseconds so that what a client is told is exact. */
export async function selectNow(db: Executor): Promise<Date> {
  const [row] = await rows<{ now: Date }>(db, `SELECT date_trunc('milliseconds', clock_timestamp()) AS now`)
  if (row === undefined) throw new Error('SELECT returned no row')
  return row.now
}

/** The clock, and the counters of those SKUs that exist. `now_ms` is a number because pg parses a time slowly. */
export async function selectCounters(
  db: Executor,
  skus: readonly string[],
): Promise<{ now_ms: number; counters: CounterTuple[] }> {
  const [row] = await rows<{ now_ms: number; counters: CounterTuple[] }>(
    db,
    `SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms,
            (SELECT ${COUNTER_TUPLES} FROM stock c WHERE c.sku = ANY (?::text[])) AS counters`,
    [skus],
  )
  return row!
}

/** Those of the reservations that exist, in no particular order; read as one JSON value, because pg parses rows slowly. */
export async function selectReservations(db: Executor, ids: readonly string[]): Promise<StoredReservation[]> {
  const [row] = await rows<{ found: JsonOf<StoredReservation>[] }>(
    db,
    `SELECT coalesce(json_agg(f), '[]') AS found FROM (
       SELECT ${COLUMNS} FROM reservations r WHERE r.id = ANY (?::uuid[])
     ) AS f`,
    [arrayOf(ids)],
  )
  return row!.found.map((found) => ({
    ...found,
    created_at: new Date(found.created_at),
    expires_at: new Date(found.expires_at),
    closed_at: found.closed_at === null ? null : new Date(found.closed_at),
  }))
}

/** A row as PostgreSQL's JSON, in which times are ISO 8601. */
type JsonOf<Row> = {
  [Column in keyof Row]: Row[Column] extends Date | null ? string | Extract<Row[Column], null> : Row[Column]
}

export type KeyedReservation = StoredReservation & { client: string; idempotency_key: string; request_hash: string }

/** The reservations that these keys made. The two arrays are parallel. */
export function selectByKeys(
  db: Executor,
  clients: readonly string[],
  keys: readonly string[],
): Promise<KeyedReservation[]> {
  return rows<KeyedReservation>(
    db,
    `SELECT ${COLUMNS}, r.client, r.idempotency_key, encode(r.request_hash, 'hex') AS request_hash
     FROM unnest(?::text[], ?::text[]) AS k (client, idempotency_key)
     JOIN reservations r ON r.client = k.client AND r.idempotency_key = k.idempotency_key`,
    [clients, keys],
  )
}

/** A reservation that is to be stored, and the request that it answers. */
export type ReservationInsert = { reservation: Reservation; request: Pick<ReserveRequest, 'client' | 'idempotency'> }

/**
 * Adds pending reservations and returns how many went in: one whose key is taken does not. Keys are claimed in
 * sorted order, or two batches that share two keys deadlock; a key in flight elsewhere is waited for up to the lock
 * timeout.
 */
export async function insertReservations(db: Executor, inserts: readonly ReservationInsert[]): Promise<number> {
  return written(
    db,
    `INSERT INTO reservations (id, status, skus, quantities, customer_id, reference, metadata, created_at, expires_at,
                               strategy, ttl_variant, client, idempotency_key, request_hash)
     SELECT n.id, 'pending', n.skus::text[], n.quantities::integer[], n.customer_id, n.reference, n.metadata::jsonb,
            n.created_at, n.expires_at, n.strategy, n.ttl_variant, n.client, n.idempotency_key, decode(n.request_hash, 'hex')
     FROM unnest(?::uuid[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::timestamptz[], ?::timestamptz[],
                 ?::text[], ?::text[], ?::text[], ?::text[], ?::text[])
       AS n (id, skus, quantities, customer_id, reference, metadata, created_at, expires_at, strategy, ttl_variant,
             client, idempotency_key, request_hash)
     ORDER BY n.client COLLATE "C", n.idempotency_key COLLATE "C"
     ON CONFLICT (client, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING`,
    [
      arrayOf(inserts, ({ reservation }) => reservation.id),
      arrayOf(inserts, ({ reservation }) => arrayOf(reservation.lines, (line) => line.sku)),
      arrayOf(inserts, ({ reservation }) => arrayOf(reservation.lines, (line) => line.quantity)),
      arrayOf(inserts, ({ reservation }) => reservation.customer_id),
      arrayOf(inserts, ({ reservation }) => reservation.reference),
      arrayOf(inserts, ({ reservation }) => reservation.metadata && JSON.stringify(reservation.metadata)),
      arrayOf(inserts, ({ reservation }) => isoTime(reservation.created_at)),
      arrayOf(inserts, ({ reservation }) => isoTime(reservation.expires_at)),
      arrayOf(inserts, ({ reservation }) => reservation.strategy),
      arrayOf(inserts, ({ reservation }) => reservation.ttl_variant),
      arrayOf(inserts, ({ request }) => request.client),
      arrayOf(inserts, ({ request }) => request.idempotency?.key),
      arrayOf(inserts, ({ request }) => request.idempotency?.request_hash),
    ],
    { prepared: true },
  )
}

/** Takes back reservations that this transaction inserted and found no stock for. */
export async function deleteInserted(db: Executor, ids: readonly string[]): Promise<void> {
  await rows(db, `DELETE FROM reservations WHERE id = ANY (?::uuid[])`, [ids])
}

/** Locks reservations in id order; what was waited for is seen by the next statement. */
export async function lockReservations(db: Executor, ids: readonly string[]): Promise<void> {
  await rows(db, `SELECT 1 FROM reservations WHERE id = ANY (?::uuid[]) ORDER BY id FOR UPDATE`, [ids])
}

/** Those of the reservations that no other transaction holds at this moment; takes no lasting lock. */
export async function selectUnlockedIds(db: Executor, ids: readonly string[]): Promise<string[]> {
  const found = await rows<{ id: string }>(
    db,
    `SELECT id FROM reservations WHERE id = ANY (?::uuid[]) ORDER BY id FOR UPDATE SKIP LOCKED`,
    [ids],
  )
  return found.map((row) => row.id)
}

/** A change of one reservation, and the stored state, `expires_at` and side of it that it was decided on. */
export type Transition = {
  id: string
  from: Status
  from_overdue: boolean
  from_expires_at: Date
  to: Status
  expires_at: Date
  closed_at: Date | null
  release_reason: string | null
}

/**
 * Applies transitions to reservations that {@link lockReservations} has locked: all of them if each still is as it was
 * decided on, else none. Returns how many were applied.
 *
 * The clock is read here, in the statement after the one that may have waited: a confirm that waited past
 * `expires_at` finds itself on the other side of it. `now()` would be the transaction's start and let it pass.
 */
export async function applyTransitions(db: Executor, transitions: readonly Transition[]): Promise<number> {
  return written(
    db,
    `WITH change AS MATERIALIZED (
       SELECT * FROM unnest(?::uuid[], ?::text[], ?::boolean[], ?::timestamptz[], ?::text[], ?::timestamptz[],
                            ?::timestamptz[], ?::text[])
         AS c (id, from_status, from_overdue, from_expires_at, to_status, expires_at, closed_at, release_reason)
     ), same AS MATERIALIZED (
       SELECT count(*) AS rows FROM change c JOIN reservations r USING (id)
       WHERE r.status = c.from_status AND (r.expires_at <= clock_timestamp()) = c.from_overdue
         AND date_trunc('milliseconds', r.expires_at) = c.from_expires_at
     )
     UPDATE reservations r
     SET status = c.to_status, expires_at = c.expires_at, closed_at = c.closed_at, release_reason = c.release_reason
     FROM change c
     WHERE r.id = c.id AND r.status = c.from_status AND (SELECT rows FROM same) = ?::bigint`,
    [
      arrayOf(transitions, (change) => change.id),
      arrayOf(transitions, (change) => change.from),
      arrayOf(transitions, (change) => `${change.from_overdue}`),
      arrayOf(transitions, (change) => isoTime(change.from_expires_at)),
      arrayOf(transitions, (change) => change.to),
      arrayOf(transitions, (change) => isoTime(change.expires_at)),
      arrayOf(transitions, (change) => change.closed_at && isoTime(change.closed_at)),
      arrayOf(transitions, (change) => change.release_reason),
      transitions.length,
    ],
  )
}

/** Which overdue holds: at most `limit`; with `skus` only those that have one of them. */
export type Take = {
  limit: number
  skus: readonly string[] | null
  /** Holds with one of these are left out, and so are these holds. */
  except_skus: readonly string[]
  except_ids: readonly string[]
}

/**
 * Marks overdue holds as expired at their `expires_at`, the oldest first; those that another transaction has locked are
 * skipped. One statement, because to lock them first and to mark them then reads each of them twice.
 */
export async function expireOldest(db: Executor, take: Take): Promise<StoredReservation[]> {
  const { where, bindings } = overdue(take)
  const expired = await rows<StoredReservation>(
    db,
    `WITH taken AS MATERIALIZED (
       SELECT r.id FROM reservations r WHERE ${where} ORDER BY r.expires_at LIMIT ? FOR UPDATE OF r SKIP LOCKED
     )
     UPDATE reservations r SET status = 'expired', closed_at = r.expires_at FROM taken WHERE r.id = taken.id
     RETURNING ${COLUMNS}`,
    [...bindings, take.limit],
  )
  return expired.toSorted((a, b) => a.expires_at.getTime() - b.expires_at.getTime())
}

/** The holds that {@link expireOldest} would take, without locking or skipping any. */
export function peekOverdue(db: Executor, take: Take): Promise<{ id: string; skus: string[] }[]> {
  const { where, bindings } = overdue(take)
  return rows(db, `SELECT r.id, r.skus FROM reservations r WHERE ${where} ORDER BY r.expires_at LIMIT ?`, [
    ...bindings,
    take.limit,
  ])
}

/**
 * What is available of SKUs, and whether there are overdue holds to be taken, both as of one moment: read one after the
 * other they may miss a sweep in between, by which the units of a hold are neither overdue nor available.
 */
export function selectAvailableAndOverdue(
  db: Executor,
  skus: readonly string[],
  take: Take,
): Promise<{ sku: string; available: number; overdue: boolean }[]> {
  const { where, bindings } = overdue(take)
  return rows(
    db,
    `SELECT s.sku, s.stock - s.temp_reserved_stock AS available,
            EXISTS (SELECT 1 FROM reservations r WHERE ${where}) AS overdue
     FROM stock s WHERE s.sku = ANY (?::text[])`,
    [...bindings, skus],
  )
}

/** {@link expireOldest} for one hold: none if it is not overdue or another transaction has it locked. */
export function expireOne(db: Executor, id: string): Promise<StoredReservation[]> {
  return rows<StoredReservation>(
    db,
    `WITH taken AS MATERIALIZED (
       SELECT r.id FROM reservations r
       WHERE r.id = ?::uuid AND r.status = 'pending' AND r.expires_at <= statement_timestamp() FOR UPDATE SKIP LOCKED
     )
     UPDATE reservations r SET status = 'expired', closed_at = r.expires_at FROM taken WHERE r.id = taken.id
     RETURNING ${COLUMNS}`,
    [id],
  )
}

function overdue(take: Take): { where: string; bindings: unknown[] } {
  // Not clock_timestamp(): only a stable function can bound the scan of the partial index. Not now(): in a transaction that
  // waited for its counters that is the past, and what ran out meanwhile would be missed.
  const conditions = [
    `r.status = 'pending' AND r.expires_at <= statement_timestamp()`,
    'NOT EXISTS (SELECT 1 FROM sweep_set_aside a WHERE a.reservation_id = r.id AND a.retry_at > statement_timestamp())',
  ]
  const bindings: unknown[] = []
  const where = (sql: string, value: unknown) => {
    conditions.push(sql)
    bindings.push(value)
  }
  if (take.skus !== null) where('r.skus && ?::text[]', take.skus)
  if (take.except_skus.length > 0) where('NOT r.skus && ?::text[]', take.except_skus)
  if (take.except_ids.length > 0) where('NOT r.id = ANY (?::uuid[])', take.except_ids)
  return { where: conditions.join(' AND '), bindings }
}

/**
 * Sets a hold aside that failed alone: the next try comes after 30 s, twice that after each further failure, at most an
 * hour. Returns how often it has failed.
 */
export async function setAside(db: Executor, id: string, error: string): Promise<number> {
  const [row] = await rows<{ failures: number }>(
    db,
    `INSERT INTO sweep_set_aside AS a (reservation_id, failures, retry_at, error, set_aside_at)
     VALUES (?::uuid, 1, clock_timestamp() + interval '30 seconds', ?, clock_timestamp())
     ON CONFLICT (reservation_id) DO UPDATE
       SET failures = a.failures + 1, error = excluded.error,
           retry_at = clock_timestamp() + least(interval '30 seconds' * power(2, least(a.failures, 10)), interval '1 hour')
     RETURNING failures`,
    [id, error],
  )
  return row?.failures ?? 1
}

/** Forgets holds that were set aside and are pending no more. */
export async function forgetSetAside(db: Executor): Promise<void> {
  await rows(
    db,
    `DELETE FROM sweep_set_aside a
     WHERE NOT EXISTS (SELECT 1 FROM reservations r WHERE r.id = a.reservation_id AND r.status = 'pending')`,
  )
}

/** Notes that an instance's sweep began. */
export async function noteSweepStarted(db: Executor, instance: string): Promise<void> {
  await rows(
    db,
    `INSERT INTO sweeper_runs (instance, started_at) VALUES (?, clock_timestamp())
     ON CONFLICT (instance) DO UPDATE SET started_at = excluded.started_at, finished_at = NULL`,
    [instance],
  )
}

/** Notes how an instance's sweep ended; `error` null is a success. Forgets instances unheard of for a day. */
export async function noteSweepFinished(
  db: Executor,
  run: { instance: string; expired: number; set_aside: number; error: string | null },
): Promise<void> {
  await rows(
    db,
    `UPDATE sweeper_runs
     SET finished_at = clock_timestamp(), expired = ?, set_aside = ?,
         succeeded_at = CASE WHEN ?::text IS NULL THEN clock_timestamp() ELSE succeeded_at END,
         error = coalesce(?::text, error),
         error_at = CASE WHEN ?::text IS NULL THEN error_at ELSE clock_timestamp() END
     WHERE instance = ?`,
    [run.expired, run.set_aside, run.error, run.error, run.error, run.instance],
  )
  await rows(db, `DELETE FROM sweeper_runs WHERE started_at < clock_timestamp() - interval '1 day'`)
}

export type ListQuery = {
  status: Status | null
  sku: string | null
  customer_id: string | null
  reference: string | null
  client: string | null
  idempotency_key: string | null
  expires_before: Date | null
  before_id: string | null
  before_seq: number | null
  limit: number
}

/** The condition that makes a stored status the true one at the moment of reading. */
const STATUS_NOW = {
  pending: `r.status = 'pending' AND r.expires_at > now()`,
  expired: `(r.status = 'expired' OR (r.status = 'pending' AND r.expires_at <= now()))`,
  confirmed: `r.status = 'confirmed'`,
  released: `r.status = 'released'`,
} as const

/**
 * A page of reservations, newest first. With a SKU the ledger leads, which names every hold of it in order; `seq` is then
 * where the page ended. A reacquired hold has two reserve rows there; it is listed at the later one.
 */
export function selectReservationPage(
  db: Executor,
  query: ListQuery,
): Promise<(StoredReservation & { seq: number | null })[]> {
  const conditions: string[] = []
  const bindings: unknown[] = []
  const where = (sql: string, ...values: unknown[]) => {
    conditions.push(sql)
    bindings.push(...values)
  }
  if (query.status !== null) where(STATUS_NOW[query.status])
  if (query.customer_id !== null) where('r.customer_id = ?', query.customer_id)
  if (query.reference !== null) where('r.reference = ?', query.reference)
  if (query.idempotency_key !== null) {
    where('r.client = ? AND r.idempotency_key = ?', query.client, query.idempotency_key)
  }
  if (query.expires_before !== null) where('r.expires_at < ?::timestamptz', query.expires_before.toISOString())
  if (query.sku === null) {
    if (query.before_id !== null) where('r.id < ?::uuid', query.before_id)
    return rows(
      db,
      `SELECT ${COLUMNS}, NULL::bigint AS seq FROM reservations r
       ${conditions.length > 0 ? `WHERE ${conditions.join(' AND ')}` : ''} ORDER BY r.id DESC LIMIT ?`,
      [...bindings, query.limit],
    )
  }
  where(`l.sku = ? AND l.kind = 'reserve'`, query.sku)
  where(`NOT (r.status = 'confirmed' AND r.closed_at >= r.expires_at AND l.created_at < r.expires_at)`)
  if (query.before_seq !== null) where('l.seq < ?', query.before_seq)
  return rows(
    db,
    `SELECT ${COLUMNS}, l.seq FROM stock_ledger l JOIN reservations r ON r.id = l.reservation_id
     WHERE ${conditions.join(' AND ')} ORDER BY l.seq DESC LIMIT ?`,
    [...bindings, query.limit],
  )
}
