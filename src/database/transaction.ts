import type { Knex } from 'knex'
import { setTimeout as delay } from 'node:timers/promises'
import { DatabaseUnavailable } from '../errors.ts'
import { isRetryable, isUnavailable, sqlstate } from './sqlstate.ts'

/** Either a pool or a transaction: what a query runs on. */
export type Executor = Knex | Knex.Transaction

const ATTEMPTS_MAX = 5
const BACKOFF_MS = 5

/** Work in a transaction; `rollback(value)` undoes all of it and makes `value` the transaction's answer. */
export type Work<T> = (tx: Knex.Transaction, rollback: (value: T) => never) => Promise<T>

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
  try {
    return await db.transaction(async (tx) => {
      const value = await work(tx, rollback)
      committing = true
      return value
    })
  } catch (error) {
    if (error instanceof RolledBack) return error.value as T
    if (error instanceof DatabaseUnavailable) throw error
    // A server error at COMMIT with a SQLSTATE of its own is a definite rollback; a broken connection is not.
    if (committing && (sqlstate(error) === undefined || isUnavailable(error))) {
      throw new DatabaseUnavailable('unknown', error)
    }
    if (isUnavailable(error)) throw new DatabaseUnavailable('none', error)
    throw error
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

/** The rows of a raw statement, typed by the caller that wrote it. */
export async function rows<Row>(db: Executor, sql: string, bindings: readonly unknown[] = []): Promise<Row[]> {
  const result = await db.raw<{ rows: Row[] }>(sql, bindings as Knex.RawBinding[])
  return result.rows
}
