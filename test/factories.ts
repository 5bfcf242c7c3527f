import { setTimeout as delay } from 'node:timers/promises'
import type { Knex } from 'knex'
import { pino } from 'pino'
import { createProduct, type NewProduct } from '../src/catalog/create.ts'
import { chargeBalance } from '../src/customers/charge.ts'
import { createCustomer } from '../src/customers/customers.ts'
import { createPool } from '../src/database/pool.ts'
import { rows, transaction, type Executor } from '../src/database/transaction.ts'
import type { Refusal, Result } from '../src/errors.ts'
import { createMetrics, type Metrics } from '../src/metrics.ts'
import type { Finding } from '../src/operations/finding.ts'
import { verify } from '../src/operations/verify.ts'
import type { Line, Reservation, Reserved, ReserveRequest } from '../src/reservations/reservation.ts'
import { createReservations, type Reservations, type ReservationsDeps } from '../src/reservations/reservations.ts'
import type { StrategySettings } from '../src/reservations/strategies/strategy.ts'
import { createSweeper, type Sweeper } from '../src/reservations/sweeper.ts'
import { setStock } from '../src/stock/set.ts'
import type { TestDatabase } from './database.ts'

/** One process of the service, as far as the core goes, and what it logged. */
export type Core = {
  reservations: Reservations
  sweeper: Sweeper
  /** The core's own connections. */
  pool: Knex
  /** Connections of everybody else: a caller's transaction must not take those that the core needs to answer it. */
  callers: Knex
  logged: Record<string, unknown>[]
  metrics: Metrics
  stop(): Promise<void>
}

/** The statement that reads the counters a batch is planned on. */
export const LOOK = /FROM stock c WHERE c\.sku = ANY/

/** What a test may want otherwise. */
export type CoreOptions = Partial<Omit<ReservationsDeps, 'core' | 'reads' | 'metrics' | 'log' | 'settings'>> & {
  instance?: string
  connections?: number
  lock_timeout_ms?: number
  /** What the sweeper takes for the presence of buyers. */
  isBusy?: () => boolean
  /** Runs after a statement that matches, the first time (or so many times) that the core runs one outside a transaction. */
  after?: { statement: RegExp; happens: () => Promise<unknown>; times?: number }
  settings?: Partial<StrategySettings>
}

/** So long a connection or a batch may be waited for: a machine may stall for seconds. Who tests a bound sets it. */
export const PATIENT_MS = 12_000

/** Wires the core onto a test database, with a pool of its own. */
export function openCore(database: TestDatabase, options: CoreOptions = {}): Core {
  const { instance = 'test', connections = 6, lock_timeout_ms = 250, after, isBusy, settings, ...deps } = options
  const pool = createPool({
    url: database.url,
    max: connections,
    lock_timeout_ms,
    statement_timeout_ms: 5000,
    application_name: instance,
    acquire_timeout_ms: PATIENT_MS,
  })
  const logged: Record<string, unknown>[] = []
  const log = pino({ level: 'debug' }, { write: (line) => void logged.push(JSON.parse(line) as never) })
  const metrics = createMetrics({ process_metrics: false })
  const { onClosed } = deps
  const interrupted = after === undefined ? undefined : interrupt(pool, after)
  const reservations = createReservations({
    strategy: 'batched',
    ttl_seconds: 1800,
    ttl_max_seconds: 86_400,
    ...deps,
    limits: { wait_ms_max: PATIENT_MS, answer_ms_max: 2 * PATIENT_MS, ...deps.limits },
    settings: { ...settingsOf(database.url), ...settings },
    onClosed,
    core: interrupted?.pool ?? pool,
    reads: database.db,
    metrics,
    log,
  })
  const sweeper = createSweeper({
    db: pool,
    onClosed,
    onMoved: reservations.noteMoved,
    metrics,
    log,
    instance,
    ...(isBusy === undefined ? {} : { isBusy }),
  })
  const core: Core = {
    reservations,
    sweeper,
    pool,
    callers: database.db,
    logged,
    metrics,
    async stop() {
      running.delete(core)
      await Promise.all([sweeper.stop(), reservations.stop()])
      await pool.destroy()
      if (interrupted?.happened() === false) throw new Error(`no statement was like ${after!.statement}`)
    },
  }
  running.add(core)
  return core
}

/** What strategies are told where a test says nothing else. */
export function settingsOf(database_url: string): StrategySettings {
  return {
    database_url,
    redis_url: undefined,
    redis_urls: [],
    redis_sync_interval_seconds: 60,
    queue_workers: 2,
    optimistic_retries_max: 3,
    optimistic_backoff_ms: 100,
  }
}

const running = new Set<Core>()
const begun = new Set<Knex.Transaction>()

/** Another session's transaction, which the test ends. */
export async function begin(db: Knex): Promise<Knex.Transaction> {
  const tx = await db.transaction()
  begun.add(tx)
  return tx
}

/** Ends all that {@link openCore} and {@link begin} have opened in this file and that a failed test left open. */
export async function stopCores(): Promise<void> {
  for (const tx of begun) if (!tx.isCompleted()) await tx.rollback()
  begun.clear()
  await Promise.all(Array.from(running, (core) => core.stop()))
}

/** The same pool, but the first statements that match are followed by something else before their answer is seen. */
function interrupt(
  pool: Knex,
  { statement, happens, times = 1 }: NonNullable<CoreOptions['after']>,
): { pool: Knex; happened: () => boolean } {
  let left = times
  const raw = async (sql: string, bindings: Knex.RawBinding[]): Promise<unknown> => {
    const result: unknown = await pool.raw(sql, bindings)
    if (left === 0 || !statement.test(sql)) return result
    left -= 1
    await happens()
    return result
  }
  return {
    pool: new Proxy(pool, { get: (target, name) => (name === 'raw' ? raw : (Reflect.get(target, name) as unknown)) }),
    happened: () => left < times,
  }
}

/** The verbs, by whichever way they reach the core. */
export type Door = Pick<Reservations, 'reserve' | 'confirm' | 'release' | 'extend'>

export const DOORS = ['the queue', 'the conditional strategy', "a caller's transaction"] as const

/** The verbs through one of the {@link DOORS}. */
export function doorOf(core: { batched: Core; conditional: Core }, name: (typeof DOORS)[number]): Door {
  if (name === 'the queue') return core.batched.reservations
  if (name === 'the conditional strategy') return core.conditional.reservations
  const { reservations, callers } = core.batched
  return {
    reserve: (request) => inTransaction(callers, (tx) => reservations.reserveIn(tx, request)),
    confirm: (request) => inTransaction(callers, (tx) => reservations.confirmIn(tx, request)),
    release: (request) => inTransaction(callers, (tx) => reservations.releaseIn(tx, request)),
    extend: (request) => inTransaction(callers, (tx) => reservations.extendIn(tx, request)),
  }
}

/** A caller's transaction as callers should write it: a refusal rolls back. */
export function inTransaction<T>(db: Knex, verb: (tx: Knex.Transaction) => Promise<Result<T>>): Promise<Result<T>> {
  return transaction<Result<T>>(db, async (tx, rollback) => {
    const result = await verb(tx)
    return result.ok ? result : rollback(result)
  })
}

let skus = 0

/** A SKU that no other test has, with so much stock. */
export async function stocked(db: Knex, stock = 10): Promise<string> {
  const sku = `sku-${++skus}`
  must(await setStock(db, [{ sku, stock }]))
  return sku
}

/** A reserve request by somebody without an API key. */
export function wants(lines: Line[] | string, more: Partial<ReserveRequest> = {}): ReserveRequest {
  return { client: '', lines: typeof lines === 'string' ? [{ sku: lines, quantity: 1 }] : lines, ...more }
}

/** So often a buyer comes again, and after so many milliseconds if the strategy can't be had. */
const TRIES_MAX = 50
const PAUSE_MS = 100

/** Asks again where a slow machine let a buyer wait for too long, for a turn, a lock or a connection: nothing was written. */
export async function insist({ reservations }: Core, request: ReserveRequest): Promise<Result<Reserved>> {
  for (let tries = 1; ; tries++) {
    const answer = await reservations.reserve(request)
    if (answer.ok || tries === TRIES_MAX || !isTooLate(answer.refusal)) return answer
    if (answer.refusal.code === 'strategy_unavailable') await delay(PAUSE_MS)
  }
}

function isTooLate(refused: Refusal): boolean {
  if (refused.code === 'database_unavailable') return refused.outcome === 'none'
  return refused.code === 'overloaded' || refused.code === 'strategy_unavailable'
}

/** A key and the hash of what it was sent with. */
export function keyed(key: string, body = 'the body'): { idempotency: { key: string; request_hash: string } } {
  return { idempotency: { key, request_hash: Buffer.from(body.padEnd(32)).toString('hex') } }
}

/** Reserves and expects to get it. */
export async function hold(
  door: Door,
  lines: Line[] | string,
  more: Partial<ReserveRequest> = {},
): Promise<Reservation> {
  return must(await door.reserve(wants(lines, more))).reservation
}

/** The value of a result that must not be refused. */
export function must<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`refused: ${JSON.stringify(result.refusal)}`)
  return result.value
}

/** The refusal of a result that must be one. */
export function refusal<T>(result: Result<T>): Refusal {
  if (result.ok) throw new Error(`not refused: ${JSON.stringify(result.value)}`)
  return result.refusal
}

/** Backdates holds, with the history that they have, so that they expired so many seconds ago. */
export async function makeOverdue(db: Executor, ids: string | readonly string[], seconds_ago = 1): Promise<void> {
  const list = typeof ids === 'string' ? [ids] : ids
  await rows(
    db,
    `WITH shift AS (
       SELECT id, expires_at - date_trunc('milliseconds', clock_timestamp()) + ? * interval '1 second' AS by
       FROM reservations WHERE id = ANY (?::uuid[])
     ), history AS (
       UPDATE stock_ledger l SET created_at = l.created_at - s.by FROM shift s WHERE l.reservation_id = s.id
     )
     UPDATE reservations r SET created_at = r.created_at - s.by, expires_at = r.expires_at - s.by FROM shift s WHERE r.id = s.id`,
    [seconds_ago, list],
  )
}

/** Empties what a test may have left, for tests that look at all there is. */
export async function clear(db: Executor): Promise<void> {
  const tables = [
    'stock',
    'stock_ledger',
    'stock_adjustments',
    'reservations',
    'outbox',
    'sweep_set_aside',
    'sweeper_runs',
  ]
  for (const table of tables) await rows(db, `DELETE FROM ${table}`)
}

/** Backdates everything there is: to the service it looks as if so much time had passed. */
export async function timePasses(db: Executor, seconds: number): Promise<void> {
  const columns = {
    stock: ['updated_at'],
    stock_ledger: ['created_at'],
    reservations: ['created_at', 'expires_at', 'closed_at'],
    outbox: ['ordered_at'],
    sweep_set_aside: ['retry_at', 'set_aside_at'],
    sweeper_runs: ['started_at', 'finished_at', 'succeeded_at', 'error_at'],
  }
  for (const [table, names] of Object.entries(columns)) {
    const shifts = names.map((name) => `${name} = ${name} - ${seconds} * interval '1 second'`)
    await rows(db, `UPDATE ${table} SET ${shifts.join(', ')}`)
  }
}

/** `stock/temp_reserved_stock` of a SKU. */
export async function counters(db: Executor, sku: string): Promise<string> {
  const [row] = await rows<{ stock: number; temp_reserved_stock: number }>(
    db,
    'SELECT stock, temp_reserved_stock FROM stock WHERE sku = ?',
    [sku],
  )
  return `${row?.stock}/${row?.temp_reserved_stock}`
}

/** A SKU's ledger, oldest first, each row as `kind stock_delta reserved_delta`. */
export async function ledger(db: Executor, sku: string): Promise<string[]> {
  const found = await rows<{ row: string }>(
    db,
    `SELECT format('%s %s %s', kind, stock_delta, reserved_delta) AS row FROM stock_ledger WHERE sku = ? ORDER BY seq`,
    [sku],
  )
  return found.map(({ row }) => row)
}

/** How a reservation is stored, whatever the time. */
export async function stored(db: Executor, id: string): Promise<string | undefined> {
  const [row] = await rows<{ status: string }>(db, 'SELECT status FROM reservations WHERE id = ?', [id])
  return row?.status
}

/** Every row of every table that a reservation touches, to be compared with itself later. */
export async function snapshot(db: Executor, ids: readonly string[], named: readonly string[]): Promise<unknown> {
  return Promise.all([
    rows(db, 'SELECT * FROM reservations WHERE id = ANY (?::uuid[]) ORDER BY id', [ids]),
    rows(db, 'SELECT * FROM stock WHERE sku = ANY (?::text[]) ORDER BY sku', [named]),
    rows(db, 'SELECT * FROM stock_ledger WHERE sku = ANY (?::text[]) ORDER BY sku, seq', [named]),
  ])
}

/** Names every SKU that breaks one of the promises 1 to 3. */
export function findBroken(db: Executor): Promise<unknown[]> {
  return rows(
    db,
    `WITH held AS (
       SELECT l.sku, sum(l.quantity) AS units
       FROM reservations r, unnest(r.skus, r.quantities) AS l (sku, quantity) WHERE r.status = 'pending' GROUP BY l.sku
     ), replayed AS (
       SELECT sku, count(*) AS rows, min(seq) AS first, max(seq) AS last,
              sum(stock_delta) AS stock, sum(reserved_delta) AS reserved,
              bool_and(stock_after = stock_so_far AND reserved_after = reserved_so_far) AS agrees
       FROM (SELECT *, sum(stock_delta) OVER (PARTITION BY sku ORDER BY seq) AS stock_so_far,
                       sum(reserved_delta) OVER (PARTITION BY sku ORDER BY seq) AS reserved_so_far
             FROM stock_ledger) AS steps
       GROUP BY sku
     )
     SELECT s.*, h.units AS pending_units, l.rows AS ledger_rows, l.stock AS ledger_stock, l.reserved AS ledger_reserved
     FROM stock s LEFT JOIN held h USING (sku) LEFT JOIN replayed l USING (sku)
     WHERE s.temp_reserved_stock < 0 OR s.temp_reserved_stock > s.stock
        OR s.temp_reserved_stock <> coalesce(h.units, 0)
        OR l.first IS DISTINCT FROM 1 OR l.last <> s.seq OR l.rows <> s.seq
        OR l.stock <> s.stock OR l.reserved <> s.temp_reserved_stock OR NOT l.agrees
     UNION ALL
     SELECT h.sku, NULL, NULL, NULL, NULL, h.units, NULL, NULL, NULL FROM held h
     WHERE NOT EXISTS (SELECT 1 FROM stock s WHERE s.sku = h.sku)`,
  )
}

/** Makes a hold claim more units than its counter holds for it, so that nothing can give it back. */
export async function poison(db: Executor, id: string): Promise<void> {
  await rows(
    db,
    `UPDATE reservations SET quantities = array_fill(1000000, ARRAY[cardinality(quantities)]) WHERE id = ?`,
    [id],
  )
}

/** Undoes {@link poison}. */
export async function cure(db: Executor, { id, lines }: Reservation): Promise<void> {
  await rows(db, 'UPDATE reservations SET quantities = ?::integer[] WHERE id = ?', [
    lines.map((line) => line.quantity),
    id,
  ])
}

/** A promise and the function that settles it. */
export function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => undefined
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open }
}

/** How many deadlocks the server has broken up in this database: sessions report them at the latest when they end. */
export async function countDeadlocks(db: Executor): Promise<number | undefined> {
  const [row] = await rows<{ deadlocks: number }>(
    db,
    'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
  )
  return row?.deadlocks
}

/** How many deadlocks were broken up while something worked over ten sessions of its own, which have reported them then. */
export async function deadlocksOf({ url, db }: TestDatabase, work: (own: Knex) => Promise<void>): Promise<number> {
  const before = (await countDeadlocks(db)) ?? 0
  const own = createPool({ url, max: 10, lock_timeout_ms: 5000, statement_timeout_ms: 8000, application_name: 'own' })
  await work(own).finally(() => own.destroy())
  return ((await countDeadlocks(db)) ?? 0) - before
}

/** Resolves when so many sessions of this database wait for a lock. */
export async function untilWaiting(db: Executor, sessions = 1): Promise<void> {
  await until(async () => {
    const [row] = await rows<{ waiting: number }>(
      db,
      `SELECT count(*) AS waiting FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    )
    return (row?.waiting ?? 0) >= sessions
  })
}

/** Resolves when the condition holds; it is asked again and again, each time after the event loop has turned. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENT_MS
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('what was waited for did not come')
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** A customer with so much money, in the currency's minor unit, who was charged for it. */
export async function customerWith(db: Knex, balance = 0): Promise<string> {
  const { customer } = must(await createCustomer(db, { name: 'Kim', client: '' }))
  if (balance > 0) {
    must(await chargeBalance(db, { customer_id: customer.id, amount: balance, client: '', ...keyed(customer.id) }))
  }
  return customer.id
}

/** So many customers without money, in one statement. */
export async function manyCustomers(db: Executor, count: number): Promise<string[]> {
  const made = await rows<{ id: string }>(
    db,
    `INSERT INTO customers (id, name, client) SELECT gen_random_uuid(), 'Kim', '' FROM generate_series(1, ?) RETURNING id`,
    [count],
  )
  return made.map(({ id }) => id)
}

/** A product that is on sale: a SKU for each stock, with sizes if there are several. Their SKUs, in that order. */
export async function onSale(
  db: Knex,
  stocks: number | readonly number[],
  more: Partial<Pick<NewProduct, 'name' | 'status'>> & { price?: number } = {},
): Promise<{ id: string; skus: string[] }> {
  const { price = 1000, ...product } = more
  const named = [stocks].flat().map((stock) => ({ sku: `sku-${++skus}`, price, stock }))
  const asked = named.length === 1 ? named : named.map((sku, i) => ({ ...sku, options: { size: `${i}` } }))
  const { product: made } = must(await createProduct(db, { name: 'Thing', client: '', skus: asked, ...product }))
  return { id: made.id, skus: made.skus.map(({ sku }) => sku) }
}

/** What breaks a promise of any room, as `cli verify` finds it. */
export async function findAllBroken(db: Knex): Promise<Finding[]> {
  return (await verify(db)).checks.flatMap(({ findings }) => findings)
}
