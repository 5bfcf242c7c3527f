import type { Knex } from 'knex'
import { rows } from '../../database/transaction.ts'

/** What PostgreSQL itself counts of a database's statements, by pg_stat_statements. */

/** To be preloaded by the server. */
export const STATEMENTS_LIBRARY = 'pg_stat_statements'

/** Statements so far, and the time that they took, waiting for locks included; a COMMIT's durable write is not. */
export type Statements = { calls: number; duration_ms: number }

export async function countStatements(admin: Knex): Promise<void> {
  await rows(admin, `CREATE EXTENSION IF NOT EXISTS ${STATEMENTS_LIBRARY}`)
}

export async function readStatements(admin: Knex, database: string): Promise<Statements> {
  const [read] = await rows<Statements>(
    admin,
    `SELECT coalesce(sum(calls), 0)::bigint AS calls, coalesce(sum(total_exec_time), 0)::float8 AS duration_ms
     FROM pg_stat_statements JOIN pg_database ON oid = dbid WHERE datname = ?`,
    [database],
  )
  return read!
}
