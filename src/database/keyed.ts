import type { Knex } from 'knex'
import { ok, refused, type Result } from '../errors.ts'
import { isLockTimeout } from './sqlstate.ts'
import { transaction } from './transaction.ts'

/** How a request is done once, whatever its idempotency key: see {@link doOnce}. */
export type Steps<T> = {
  /** Claims the key: the earlier answer if it was used before, undefined if this transaction has it now. */
  claim: (tx: Knex.Transaction) => Promise<Result<T> | undefined>
  /** What is done under the key; a refusal undoes the claim too. */
  work: (tx: Knex.Transaction) => Promise<Result<T>>
  /** Told to who meets a lock that another session keeps. */
  blocked: string
}

/**
 * Claims a request's key and does its work in one transaction, so that the key stands for what was done and for nothing
 * else. Keys are the first locks that a transaction takes.
 *
 * @returns refused with `idempotency_key_in_use` while a twin is in flight for longer than the lock timeout, with
 *   `overloaded` if what the work needs is locked for as long
 */
export async function doOnce<T>(db: Knex, { claim, work, blocked }: Steps<T>): Promise<Result<T>> {
  let claiming = true
  try {
    return await transaction<Result<T>>(db, async (tx, rollback) => {
      claiming = true
      const earlier = await claim(tx)
      claiming = false
      if (earlier !== undefined) return earlier
      const result = await work(tx)
      return result.ok ? result : rollback(result)
    })
  } catch (error) {
    if (!isLockTimeout(error)) throw error
    return refused(claiming ? { code: 'idempotency_key_in_use' } : { code: 'overloaded', detail: blocked })
  }
}

/** A claim of nothing: for a verb that may be repeated and then answers the same. */
export function unkeyed(): Promise<undefined> {
  return Promise.resolve(undefined)
}

/**
 * What a key stands for, after an insert that met it.
 *
 * @returns refused with `idempotency_key_reused` if it was sent with another request
 */
export function earlierOf<Row extends { request_hash: string | null }>(
  row: Row | undefined,
  request_hash: string,
): Result<Row> {
  if (row === undefined) return refused({ code: 'idempotency_key_in_use' })
  return row.request_hash === request_hash ? ok(row) : refused({ code: 'idempotency_key_reused' })
}
