import type { Knex } from 'knex'
import { rows } from '../../src/database/transaction.ts'
import { verify } from '../../src/operations/verify.ts'
import { reasons, type Suite } from './suite.ts'

/** What the database says at the end, against what clients were told. */

/** Checks all that `cli verify` checks, over the whole database. */
export async function checkVerify(suite: Suite, db: Knex, when: string): Promise<void> {
  const report = await verify(db)
  const found = report.checks.flatMap((check) =>
    check.findings.map(({ detail }) => `promise ${check.promise}: ${detail}`),
  )
  const figures = `${report.skus} SKUs, ${report.reservations} reservations, ${report.ledger_rows} ledger rows`
  suite.check(`verify is clean ${when}`, report.clean, report.clean ? figures : reasons(found))
}

/** How many deadlocks PostgreSQL has broken up in this database. */
export async function countDeadlocks(db: Knex): Promise<number> {
  const [row] = await rows<{ deadlocks: number }>(
    db,
    `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`,
  )
  return row?.deadlocks ?? 0
}

export type StoredEnd = {
  id: string
  status: string
  overdue: boolean
  idempotency_key: string | null
  expires_at: Date
  closed_at: Date | null
}

/** All reservations by id, as they are stored. */
export async function readStored(db: Knex): Promise<Map<string, StoredEnd>> {
  const found = await rows<StoredEnd>(
    db,
    `SELECT id, status, expires_at <= clock_timestamp() AS overdue, idempotency_key, expires_at, closed_at FROM reservations`,
  )
  return new Map(found.map((row) => [row.id, row]))
}

/** The value below which 99 of 100 lie. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
