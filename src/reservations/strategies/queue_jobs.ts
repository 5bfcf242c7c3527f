import type { Knex } from 'knex'
import type { ClientBase } from 'pg'
import type PgBoss from 'pg-boss'
import type { Logger } from 'pino'
import { describeError, isUnavailable, sqlstate } from '../../database/sqlstate.ts'
import { reading, rows, transaction, type Executor } from '../../database/transaction.ts'
import { DatabaseUnavailable, ok, refused, type Refusal } from '../../errors.ts'
import { presentReservation, type Outcome, type Reserve } from '../plan.ts'
import { selectReservations } from '../queries.ts'
import type { QueueLimits } from './queue_limits.ts'
import { CannotStart } from './strategy.ts'

/**
 * Reserves as jobs of pg-boss, in its own schema `pgboss` of the same database. Invariant: a job ends once. Whoever runs it
 * ends it only while it is theirs: `fence`, its number of retries, is tested in the statement that ends it.
 *
 * pg-boss makes the tables, adds jobs, hands them out with SKIP LOCKED, takes them back from workers that died, counts
 * retries and keeps dead letters. Its own `complete` and `cancel` look neither at who holds a job nor at whether it has
 * begun; the statements for these are here, for the schema of the version that package.json pins.
 */

export const QUEUE = 'reserve'
export const DEAD_LETTERS = 'reserve-dead-letters'

/** What nobody wants to know any more is moved and deleted once a minute, by one of all processes. */
const MAINTENANCE_SECONDS = 60
const ARCHIVE_AFTER_SECONDS = 60
const DELETE_AFTER_MINUTES = 10
/** Dead letters wait so long for somebody to look. */
const KEEP_DAYS = 7

/** How long a process waits for others that open the queue. */
const OPEN_TIMEOUT_MS = 4000
/** Any number will do; it must only be the same everywhere, and not that of the migrations. */
const OPEN_LOCK = 5_260_871_202

/** A job that was handed to this process. */
export type Job = {
  /** That of the reservation which it will make. */
  id: string
  operation: Reserve
  fence: number
  is_last_try: boolean
  /** Since the request came, by the database's clock, when it was handed out. */
  waited_ms: number
  /** `performance.now()` before it was handed out. */
  handed_at: number
}

/** How a job ended that somebody else may have run. */
export type Ended = { id: string; outcome: Outcome } | { id: string; error: Error }

export type Jobs = {
  /** Adds jobs behind all that are there, in their order. @throws DatabaseUnavailable */
  add(entries: readonly { operation: Reserve; waited_ms: number }[]): Promise<void>
  /** The oldest that nobody has, in the order in which they came; none if the database can't be asked. */
  take(limit: number): Promise<Job[]>
  /** Ends a job in a transaction. @returns false if it is no longer this process's */
  endIn(tx: Knex.Transaction, job: Job, outcome: Outcome): Promise<boolean>
  /** Ends jobs. @returns the ids of those that still were this process's */
  end(ended: readonly { job: Job; outcome: Outcome }[]): Promise<Set<string>>
  /** Hands it out again, or makes it a dead letter. */
  fail(job: Job, error: unknown): Promise<void>
  /** Takes back jobs that nobody has begun: they never will be. @returns their ids */
  withdraw(ids: readonly string[]): Promise<Set<string>>
  /** Those that have ended. */
  readEnded(ids: readonly string[]): Promise<Ended[]>
  /** Hands out again what dead workers have. */
  takeBack(): Promise<void>
  countDeadLetters(): Promise<number>
  close(): Promise<void>
}

export type JobsOptions = {
  db: Knex
  log: Logger
  limits: Pick<QueueLimits, 'expire_seconds' | 'retries_max'>
  onAsked: OnAsked
}

/** Told after every statement whether the database could be asked, and when it was. */
type OnAsked = (is_available: boolean, began: number) => void

/** @throws CannotStart if the schema can't be made or is not to be used */
export async function openJobs({ db, log, limits, onAsked }: JobsOptions): Promise<Jobs> {
  // Only this strategy pays for loading it.
  const { default: Boss } = await import('pg-boss')
  const boss = new Boss({
    db: { executeSql: (text, values) => onConnection(db, text, values, onAsked) },
    schedule: false,
    maintenanceIntervalSeconds: MAINTENANCE_SECONDS,
    archiveCompletedAfterSeconds: ARCHIVE_AFTER_SECONDS,
    archiveFailedAfterSeconds: KEEP_DAYS * 86_400,
    deleteAfterMinutes: DELETE_AFTER_MINUTES,
  })
  boss.on('error', (error) => log.error({ error: describeError(error) }, 'the job queue met an error'))
  try {
    // Processes that make the tables at the same moment wait for locks of each other's, longer than they may.
    await transaction(db, async (tx) => {
      await rows(tx, `SET LOCAL lock_timeout = ${OPEN_TIMEOUT_MS}`)
      await rows(tx, 'SELECT pg_advisory_xact_lock(?)', [OPEN_LOCK])
      await boss.start()
      await openQueues(boss, limits)
    })
  } catch (error) {
    await boss.stop({ graceful: false }).catch(() => undefined)
    throw new CannotStart(
      `the job queue could not be opened: ${describeError(error)}. It keeps its jobs in the schema "pgboss" of the same ` +
        'database, which the service must be allowed to create (GRANT CREATE ON DATABASE)',
      error,
    )
  }
  return jobsOf(boss, db, onAsked)
}

async function openQueues(boss: PgBoss, limits: JobsOptions['limits']): Promise<void> {
  const options = {
    retryLimit: limits.retries_max,
    retryDelay: 0,
    expireInSeconds: limits.expire_seconds,
    retentionMinutes: KEEP_DAYS * 24 * 60,
  }
  await boss.createQueue(DEAD_LETTERS, { name: DEAD_LETTERS, ...options })
  const queue = { name: QUEUE, ...options, deadLetter: DEAD_LETTERS }
  await boss.createQueue(QUEUE, queue)
  // One that an earlier version made has its settings.
  await boss.updateQueue(QUEUE, queue)
}

type Connections = {
  acquireConnection(): Promise<ClientBase>
  releaseConnection(connection: ClientBase): Promise<void>
}

/** pg-boss brings statements with placeholders of PostgreSQL's, and scripts of several without any. */
async function onConnection(
  db: Knex,
  text: string,
  values: readonly unknown[] | undefined,
  onAsked: OnAsked,
): Promise<{ rows: unknown[] }> {
  const began = performance.now()
  const pool = db.client as Connections
  let connection: ClientBase | undefined
  try {
    connection = await pool.acquireConnection()
    const result = await connection.query(text, values as unknown[])
    onAsked(true, began)
    return result
  } catch (error) {
    onAsked(!isUnavailable(error), began)
    // A script that failed behind its BEGIN leaves the transaction open for whoever has the connection next.
    if (values === undefined) await connection?.query('ROLLBACK').catch(() => undefined)
    throw error
  } finally {
    if (connection !== undefined) await pool.releaseConnection(connection)
  }
}

type Data = { operation: Reserve; waited_ms: number }
/** What is kept of an outcome: a reservation is read again by whoever asks, as it then is. */
type Output = { ok: true; reservation_id: string; replayed: boolean } | { ok: false; refusal: Refusal }

function jobsOf(boss: PgBoss, db: Knex, onAsked: OnAsked): Jobs {
  const noting = async <T>(work: Promise<T>): Promise<T> => {
    const began = performance.now()
    try {
      const result = await work
      onAsked(true, began)
      return result
    } catch (error) {
      onAsked(!(error instanceof DatabaseUnavailable), began)
      throw error
    }
  }
  return {
    async add(entries) {
      const jobs = entries.map((data) => ({ id: data.operation.id, name: QUEUE, data }))
      await noting(transaction(db, (tx) => boss.insert(jobs, { db: inTransaction(tx) })))
    },
    async take(limit) {
      const handed_at = performance.now()
      // By age alone: `priority` is a column that nobody here sets.
      const taken = await boss.fetch<Data>(QUEUE, { batchSize: limit, includeMetadata: true, priority: false })
      return taken.toSorted(byAge).map((job) => ({
        id: job.id,
        operation: job.data.operation,
        fence: job.retryCount,
        is_last_try: job.retryCount >= job.retryLimit,
        waited_ms: job.data.waited_ms + job.startedOn.getTime() - job.createdOn.getTime(),
        handed_at,
      }))
    },
    endIn: async (tx, job, outcome) => (await endJobs(tx, [{ job, outcome }])).size === 1,
    end: (ended) => noting(reading(() => endJobs(db, ended))),
    async fail(job, error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error))
      // Not the error itself: what PostgreSQL adds to it may hold a whole row.
      await boss.fail(QUEUE, job.id, {
        name,
        message: describeError(new Error(message)),
        code: sqlstate(error) ?? null,
      })
    },
    withdraw: (ids) => noting(reading(() => withdrawJobs(db, ids))),
    readEnded: (ids) => noting(reading(() => selectEnded(db, ids))),
    takeBack: () => boss.expire(),
    countDeadLetters: () => boss.getQueueSize(DEAD_LETTERS),
    close: () => boss.stop({ graceful: false }),
  }
}

function byAge(a: PgBoss.JobWithMetadata, b: PgBoss.JobWithMetadata): number {
  return a.createdOn.getTime() - b.createdOn.getTime() || (a.id < b.id ? -1 : 1)
}

function inTransaction(tx: Knex.Transaction): PgBoss.Db {
  return {
    async executeSql(text, values) {
      const connection = await (tx.client as Connections).acquireConnection()
      return await connection.query(text, values)
    },
  }
}

/** Neither a worker that is late nor one that was withdrawn from meanwhile ends anything. */
async function endJobs(db: Executor, ended: readonly { job: Job; outcome: Outcome }[]): Promise<Set<string>> {
  const found = await rows<{ id: string }>(
    db,
    `UPDATE pgboss.job j SET state = 'completed', completed_on = clock_timestamp(), output = e.output::jsonb
     FROM unnest(?::uuid[], ?::integer[], ?::text[]) AS e (id, fence, output)
     WHERE j.name = ? AND j.id = e.id AND j.state = 'active' AND j.retry_count = e.fence RETURNING j.id`,
    [
      ended.map(({ job }) => job.id),
      ended.map(({ job }) => job.fence),
      ended.map(({ outcome }) => JSON.stringify(outputOf(outcome))),
      QUEUE,
    ],
  )
  return new Set(found.map(({ id }) => id))
}

async function withdrawJobs(db: Executor, ids: readonly string[]): Promise<Set<string>> {
  const found = await rows<{ id: string }>(
    db,
    `UPDATE pgboss.job SET state = 'cancelled', completed_on = clock_timestamp()
     WHERE name = ? AND id = ANY (?::uuid[]) AND state < 'active' RETURNING id`,
    [QUEUE, ids],
  )
  return new Set(found.map(({ id }) => id))
}

async function selectEnded(db: Executor, ids: readonly string[]): Promise<Ended[]> {
  const found = await rows<{ id: string; state: string; output: Output | { message?: string } | null }>(
    db,
    `SELECT id, state, output FROM pgboss.job WHERE name = ? AND id = ANY (?::uuid[]) AND state >= 'completed'`,
    [QUEUE, ids],
  )
  const made = found.flatMap(({ output }) =>
    output !== null && 'reservation_id' in output ? output.reservation_id : [],
  )
  const stored = made.length === 0 ? [] : await selectReservations(db, made)
  const reservations = new Map(stored.map((reservation) => [reservation.id, presentReservation(reservation)]))
  return found.map(({ id, state, output }): Ended => {
    if (state === 'cancelled') return { id, outcome: refused({ code: 'overloaded', detail: 'This was called off.' }) }
    if (output === null || !('ok' in output))
      return { id, error: new Error(`a job failed: ${output?.message ?? state}`) }
    if (!output.ok) return { id, outcome: output }
    const reservation = reservations.get(output.reservation_id)
    if (reservation === undefined) return { id, error: new Error('a job made a reservation that is not there') }
    return { id, outcome: ok({ reservation, replayed: output.replayed }) }
  })
}

function outputOf(outcome: Outcome): Output {
  if (!outcome.ok) return outcome
  const { reservation, replayed } = outcome.value
  return { ok: true, reservation_id: reservation.id, replayed }
}
