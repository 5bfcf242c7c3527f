import { reading, type Executor } from '../database/transaction.ts'
import { selectLedger, selectLevels } from './queries.ts'

/** One change of a SKU's counters. `reference` is the reservation's id, or what the adjustment was given. */
export type LedgerEntry = {
  seq: number
  kind: 'set' | 'adjust' | 'reserve' | 'confirm' | 'release' | 'expire'
  stock_delta: number
  reserved_delta: number
  stock_after: number
  reserved_after: number
  reference: string | null
  reason: string | null
  created_at: Date
}

/**
 * A page of a SKU's ledger, newest first; undefined if there is no such SKU.
 *
 * @param page `limit` 1–200; `before_seq` the last seq of the page before
 */
export async function readLedger(
  db: Executor,
  sku: string,
  page: { limit: number; before_seq?: number },
): Promise<LedgerEntry[] | undefined> {
  return reading(async () => {
    const entries = await selectLedger(db, { sku, limit: page.limit, before_seq: page.before_seq ?? null })
    if (entries.length === 0 && (await selectLevels(db, [sku])).length === 0) return undefined
    return entries
  })
}
