import type { Knex } from 'knex'
import { doOnce, unkeyed } from '../database/keyed.ts'
import { ok, refused, type Result } from '../errors.ts'
import { applyStockChanges } from './apply.ts'
import type { Change } from './counters.ts'
import type { Level } from './levels.ts'
import { insertMissingCounters, lockLevels } from './queries.ts'

export type SetResult = { levels: Level[]; created: string[] }

/**
 * Sets the absolute stock of SKUs, creating those that are new: all of them or none. What is held stays held.
 * A SKU that already has the count is left as it is, without a ledger row.
 *
 * @param items 1–1000, each SKU once; stock 0–2,000,000,000 units
 * @param options `if_match`: the `seq` that the one SKU must have, `'*'` that it must exist
 * @returns levels in the order of the items, and which SKUs are new; refused with `stock_below_reserved` if a count would
 *   fall below what is held, with `precondition_failed` if `if_match` does not hold, with `overloaded` if another session
 *   keeps a counter locked
 */
export function setStock(
  db: Knex,
  items: readonly { sku: string; stock: number }[],
  options: { if_match?: number | '*' } = {},
): Promise<Result<SetResult>> {
  return doOnce(db, {
    claim: unkeyed,
    work: (tx) => setStockIn(tx, items, options),
    blocked: 'Another transaction holds the counter of one of these SKUs.',
  })
}

/** {@link setStock} in the caller's transaction, which must be rolled back if this is refused. */
export async function setStockIn(
  tx: Knex.Transaction,
  items: readonly { sku: string; stock: number }[],
  options: { if_match?: number | '*' } = {},
): Promise<Result<SetResult>> {
  const skus = items.map((item) => item.sku)
  const created = options.if_match === undefined ? await insertMissingCounters(tx, skus) : []
  const levels = new Map((await lockLevels(tx, skus)).map((level) => [level.sku, level]))
  const isNew = new Set(created)
  const changes: Change[] = []
  for (const { sku, stock } of items) {
    const level = levels.get(sku)
    if (level === undefined) return refused({ code: 'precondition_failed', seq: null })
    if (typeof options.if_match === 'number' && options.if_match !== level.seq) {
      return refused({ code: 'precondition_failed', seq: level.seq })
    }
    if (stock < level.temp_reserved_stock) {
      return refused({ code: 'stock_below_reserved', sku, temp_reserved_stock: level.temp_reserved_stock })
    }
    if (stock !== level.stock || isNew.has(sku)) {
      changes.push({ sku, kind: 'set', stock_delta: stock - level.stock, reserved_delta: 0 })
    }
  }
  await applyStockChanges(tx, changes, isNew)
  const after = new Map((await lockLevels(tx, skus)).map((level) => [level.sku, level]))
  return ok({ levels: skus.flatMap((sku) => after.get(sku) ?? []), created })
}
