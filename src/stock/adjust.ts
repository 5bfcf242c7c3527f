import type { Knex } from 'knex'
import { newId } from '../ids.ts'
import { doOnce, earlierOf } from '../database/keyed.ts'
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
export function adjustStock(db: Knex, request: Adjustment): Promise<Result<Adjusted>> {
  return doOnce(db, {
    claim: (tx) => claim(tx, request),
    work: (tx) => adjustStockIn(tx, request),
    blocked: 'Another transaction holds the counter of one of these SKUs.',
  })
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
  { items, client, idempotency }: Adjustment,
): Promise<Result<Adjusted> | undefined> {
  if (idempotency === undefined) return undefined
  const { key, request_hash } = idempotency
  const skus = items.map((item) => item.sku)
  if (await insertAdjustment(tx, { id: newId(), client, key, request_hash, skus })) return undefined
  const earlier = earlierOf(await selectAdjustment(tx, client, key), request_hash)
  return earlier.ok ? ok({ levels: await readLevels(tx, earlier.value.skus), replayed: true }) : earlier
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
