import type { Knex } from 'knex'
import type { ClientBase } from 'pg'
import { setTimeout as delay } from 'node:timers/promises'
import { DatabaseUnavailable } from '../errors.ts'
import { isConsequence, isRetryable, isUnavailable, sqlstate } from './sqlstate.ts'

/** Either a pool or a transaction: what a query runs on. */
export type Executor = Knex | Knex.Transaction

const ATTEMPTS_MAX = 5
const BACKOFF_MS = 5

/**
 * Work in a transaction. `rollback(value)` undoes all of it and makes `value` the transaction's answer. `last` takes
 * statements that are on their way and whose answer nobody needs: COMMIT is sent right behind them, and their error is the
 * transaction's.
 */
export type Work<T> = (tx: Knex.Transaction, rollback: (value: T) => never, last: Last) => Promise<T>

export type Last = (statement: Promise<unknown>) => void

class RolledBack extends Error {
  readonly value: unknown

  constructor(value: unknown) {
    super('rolled back on purpose')
    this.value = value
  }
}

function rollback(value: unknown): never {
  throw new RolledBack(value)
}

/**
 * Runs `work` in one transaction at READ COMMITTED and commits it. A deadlock or a serialisation failure runs the whole
 * of it again, at most five times; `work` must therefore be free of effects outside the database.
 *
 * @throws DatabaseUnavailable with `outcome: 'unknown'` if the connection broke while COMMIT was in flight, else `'none'`
 * @throws what `work` throws, after the rollback
 */
export async function transaction<T>(db: Knex, work: Work<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await runOnce(db, work)
    } catch (error) {
      if (!isRetryable(error) || attempt === ATTEMPTS_MAX) throw error
      // Two that deadlocked once meet again unless one of them comes later.
      await delay(Math.random() * BACKOFF_MS * 2 ** attempt)
    }
  }
}

async function runOnce<T>(db: Knex, work: Work<T>): Promise<T> {
  let committing = false
  let is_answered = false
  const sent: Sent = { connection: undefined, error: undefined }
  const trailing: Promise<unknown>[] = []
  const last: Last = (statement) => {
    trailing.push(statement)
    // Looked at below; until then it is nobody's unhandled rejection.
    statement.catch(() => undefined)
  }
  try {
    const value = await db.transaction(async (tx) => {
      sent.connection = await (tx.client as { acquireConnection(): Promise<ClientBase> }).acquireConnection()
      transactions.set(tx, sent)
      const worked = await work(tx, rollback, last)
      committing = true
      return worked
    })
    is_answered = true
    // After a statement that failed COMMIT rolls back, and calls that a success.
    await Promise.all(trailing)
    return value
  } catch (thrown) {
    const error = isConsequence(thrown) ? (sent.error ?? thrown) : thrown
    if (error instanceof RolledBack) return error.value as T
    if (error instanceof DatabaseUnavailable) throw error
    // A server error at COMMIT with a SQLSTATE of its own is a definite rollback; a broken connection is not. Nor is doubt
    // left where COMMIT was answered and a statement before it had failed.
    const is_definite = is_answered && sqlstate(error) !== undefined
    if (committing && !is_definite && (sqlstate(error) === undefined || isUnavailable(error))) {
      throw new DatabaseUnavailable('unknown', error)
    }
    if (isUnavailable(error)) throw new DatabaseUnavailable('none', error)
    throw error
  } finally {
    // What is sent from here on goes to knex, which refuses it.
    sent.connection = undefined
  }
}

/**
 * Runs a read outside a transaction, so that a lost database is one error everywhere.
 *
 * @throws DatabaseUnavailable with `outcome: 'none'`
 */
export async function reading<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (isUnavailable(error)) throw new DatabaseUnavailable('none', error)
    throw error
  }
}

/** What a transaction is sent on, and the first error that a statement of it met. */
type Sent = { connection: ClientBase | undefined; error: unknown }

/** The transactions that {@link transaction} runs. */
const transactions = new WeakMap<Executor, Sent>()

export type StatementOptions = {
  /**
   * Parsed and planned once for each connection; for statements whose plan can't depend on how large a table is, because it
   * is kept while the table grows.
   */
  prepared?: boolean
}

/**
 * The rows of a raw statement, typed by the caller that wrote it. In a transaction of {@link transaction} it is sent before
 * this returns, so statements that are not awaited one by one follow each other to the server without waiting.
 *
 * @param sql a constant, with `?` for each binding; every `?` counts, so none may stand in a text or an operator
 */
export async function rows<Row>(
  db: Executor,
  sql: string,
  bindings: readonly unknown[] = [],
  options: StatementOptions = {},
): Promise<Row[]> {
  return (await send(db, sql, bindings, options)).rows as Row[]
}

/** How many rows a raw statement wrote: for one without RETURNING, because a batch would feel it to read rows to count them. */
export async function written(
  db: Executor,
  sql: string,
  bindings: readonly unknown[] = [],
  options: StatementOptions = {},
): Promise<number> {
  return (await send(db, sql, bindings, options)).rowCount ?? 0
}

/** What both knex and pg answer. */
type StatementResult = { rows: unknown[]; rowCount: number | null }

async function send(
  db: Executor,
  sql: string,
  bindings: readonly unknown[],
  options: StatementOptions,
): Promise<StatementResult> {
  const sent = transactions.get(db)
  if (sent?.connection === undefined) return db.raw<StatementResult>(sql, bindings as Knex.RawBinding[])
  const { text, name } = numbered(sql)
  const query = { text, values: bindings as unknown[], ...(options.prepared ? { name } : {}) }
  try {
    return await sent.connection.query(query)
  } catch (error) {
    sent.error ??= error
    throw error
  }
}

/** The SQL texts that were sent so far; there are some dozens. */
const statements = new Map<string, { text: string; name: string }>()

/** The SQL with PostgreSQL's own placeholders. */
function numbered(sql: string): { text: string; name: string } {
  let statement = statements.get(sql)
  if (statement === undefined) {
    let n = 0
    statement = { text: sql.replaceAll('?', () => `$${(n += 1)}`), name: `stock_${statements.size}` }
    statements.set(sql, statement)
  }
  return statement
}
