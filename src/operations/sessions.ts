import type { Knex } from 'knex'
import { reading } from '../database/transaction.ts'
import { terminateSession } from './queries.ts'

/**
 * Ends a database session that holds others up; its transaction is rolled back.
 *
 * @returns false if this database has no session with this pid
 */
export function endSession(db: Knex, pid: number): Promise<boolean> {
  return reading(() => terminateSession(db, pid))
}
