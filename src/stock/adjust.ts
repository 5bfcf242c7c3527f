import type { Knex } from 'knex'
import { newId } from '../ids.ts'
import { isLockTimeout } from '../database/sqlstate.ts'
import { transaction } from '../database/transaction.ts'
import { ok, refused, type Refusal, type Result } from '../errors.ts'
import { applyStockChanges } from './apply.ts'
import type { Change } from './counters.ts'
import { readLevels, type Level } from './levels.ts'
import { insertAdjustment, lockLevels, selectAdjustment } from './queries.ts'

const STOCK_MAX = 2_000_000_000

export type Adjustment = {
  /** 1–1000, applied in order; a SKU may appear more than once; delta in units, up or down. */
  items: readonly { sku: string; delta: number; reason?: string }[]
  reference?: string
  client: string
  /** `request_hash`: SHA-256 in hexadecimal. */
  idempotency?: { key: string; request_hash: string }
}

export type Adjusted = { levels: Level[]; replayed: boolean }

/**
 * Adds to and takes from stock: all items or none, each with its ledger row.
 *
 * @returns one level per item, as it stands after all of them; a key that was used before answers with the levels as they
 *   are now. Refused with `skus_not_found`, `stock_below_reserved` (also below zero), `stock_limit`,
 *   `idempotency_key_reused` or `idempotency_key_in_use`
 */
export async function adjustStock(db: Knex, request: Adjustment): Promise<Result<Adjusted>> {
  let claiming = false
  try {
    return await transaction<Result<Adjusted>>(db, async (tx, rollback) => {
      if (request.idempotency !== undefined) {
        claiming = true
        const earlier = await claim(tx, request, request.idempotency)
        claiming = false
        if (earlier !== undefined) return earlier
      }
      const adjusted = await adjustStockIn(tx, request)
      return adjusted.ok ? adjusted : rollback(adjusted)
    })
  } catch (error) {
    if (!isLockTimeout(error)) throw error
    return refused(
      claiming
        ? { code: 'idempotency_key_in_use' }
        : { code: 'overloaded', detail: 'Another transaction holds the counter of one of these SKUs.' },
    )
  }
}

/**
 * {@link adjustStock} without a key in the caller's transaction, which must be rolled back if this is refused. It locks
 * counters, which come last of all.
 */
export async function adjustStockIn(
  tx: Knex.Transaction,
  request: Pick<Adjustment, 'items' | 'reference'>,
): Promise<Result<Adjusted>> {
  const refusal = await apply(tx, request)
  if (refusal !== undefined) return refused(refusal)
  const levels = await readLevels(
    tx,
    request.items.map((item) => item.sku),
  )
  return ok({ levels, replayed: false })
}

async function claim(
  tx: Knex.Transaction,
  request: Adjustment,
  idempotency: { key: string; request_hash: string },
): Promise<Result<Adjusted> | undefined> {
  const { key, request_hash } = idempotency
  const skus = request.items.map((item) => item.sku)
  if (await insertAdjustment(tx, { id: newId(), client: request.client, key, request_hash, skus })) return undefined
  const earlier = await selectAdjustment(tx, request.client, key)
  if (earlier === undefined) return refused({ code: 'idempotency_key_in_use' })
  if (earlier.request_hash !== request_hash) return refused({ code: 'idempotency_key_reused' })
  return ok({ levels: await readLevels(tx, earlier.skus), replayed: true })
}

async function apply(
  tx: Knex.Transaction,
  request: Pick<Adjustment, 'items' | 'reference'>,
): Promise<Refusal | undefined> {
  const skus = [...new Set(request.items.map((item) => item.sku))]
  const levels = new Map((await lockLevels(tx, skus)).map((level) => [level.sku, level]))
  const unknown = skus.filter((sku) => !levels.has(sku))
  if (unknown.length > 0) return { code: 'skus_not_found', skus: unknown }
  const changes: Change[] = []
  const stocks = new Map([...levels].map(([sku, level]) => [sku, level.stock]))
  for (const { sku, delta, reason } of request.items) {
    const stock = (stocks.get(sku) ?? 0) + delta
    const held = levels.get(sku)?.temp_reserved_stock ?? 0
    if (stock < held) return { code: 'stock_below_reserved', sku, temp_reserved_stock: held }
    if (stock > STOCK_MAX) return { code: 'stock_limit', sku }
    stocks.set(sku, stock)
    const { reference } = request
    changes.push({
      sku,
      kind: 'adjust',
      stock_delta: delta,
      reserved_delta: 0,
      ...(reference === undefined ? {} : { reference }),
      ...(reason === undefined ? {} : { reason }),
    })
  }
  await applyStockChanges(tx, changes)
  return undefined
}
