import type { Knex } from 'knex'
import { insertSales, type Sale } from './queries.ts'

/**
 * Records what was sold, in the transaction that sells it: rows are only added, so buyers never wait for each other here.
 * The same cause can't be recorded twice.
 */
export async function recordSalesIn(tx: Knex.Transaction, sales: readonly Sale[]): Promise<void> {
  if (sales.length > 0) await insertSales(tx, sales)
}
