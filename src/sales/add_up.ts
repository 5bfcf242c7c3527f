import type { Knex } from 'knex'
import { DateTime } from 'luxon'
import { transaction } from '../database/transaction.ts'
import { addToDays, lockUncounted, markCounted } from './queries.ts'

/** Sales counted by one transaction, and transactions of one run: what is left is the next one's. */
const SALES_PER_BATCH = 2000
const BATCHES_MAX = 100

/**
 * Adds sales up per SKU and day. Invariant: each sale is counted once, because the transaction that counts it writes the day
 * into it. Any number of these may run.
 *
 * @param time_zone whose days; what was counted under another one stays where it was counted
 * @returns how many sales were counted
 */
export async function addUpSales(db: Knex, time_zone: string): Promise<number> {
  let total = 0
  for (let batch = 0; batch < BATCHES_MAX; batch++) {
    const counted = await addUpBatch(db, time_zone)
    total += counted
    if (counted < SALES_PER_BATCH) break
  }
  return total
}

function addUpBatch(db: Knex, time_zone: string): Promise<number> {
  return transaction(db, async (tx) => {
    const sales = await lockUncounted(tx, SALES_PER_BATCH)
    if (sales.length === 0) return 0
    const counted = sales.map((sale) => ({ ...sale, day: dayOf(sale.sold_at, time_zone) }))
    await Promise.all([addToDays(tx, counted), markCounted(tx, counted)])
    return sales.length
  })
}

/** The day of a time zone on which a moment lies, such as `2026-11-21`. */
export function dayOf(moment: Date, time_zone: string): string {
  return DateTime.fromJSDate(moment, { zone: time_zone }).toISODate()!
}
