import type { Knex } from 'knex'
import { doOnce, earlierOf } from '../database/keyed.ts'
import { ok, refused, type Refusal, type Result } from '../errors.ts'
import { newId } from '../ids.ts'
import type { Idempotency } from '../reservations/reservation.ts'
import { readLevels } from '../stock/levels.ts'
import { setStockIn } from '../stock/set.ts'
import type { NewSku, Product, ProductStatus } from './product.ts'
import { insertProduct, insertSkus, selectProduct, selectProductByKey, selectProductOf } from './queries.ts'

export type NewProduct = {
  name: string
  description?: string
  image?: string
  /** `active` unless said otherwise. */
  status?: ProductStatus
  /** 1–200, by the rules of `findSkuFaults`. */
  skus: readonly NewSku[]
  client: string
  idempotency?: Idempotency
}

export type CreatedProduct = { product: Product; replayed: boolean }

/**
 * Makes a product and the stock of its SKUs, together or not at all.
 *
 * @returns refused with `sku_taken` if a SKU has stock already or belongs to another product, and with
 *   `idempotency_key_reused` or `idempotency_key_in_use`
 */
export function createProduct(db: Knex, request: NewProduct): Promise<Result<CreatedProduct>> {
  const id = newId()
  return doOnce<CreatedProduct>(db, {
    claim: (tx) => claim(tx, id, request),
    async work(tx) {
      const refusal = await addSkusIn(tx, id, request.skus, 0)
      if (refusal !== undefined) return refused(refusal)
      return ok({ product: (await selectProduct(tx, id))!, replayed: false })
    },
    blocked: 'Another request is making one of these SKUs.',
  })
}

async function claim(
  tx: Knex.Transaction,
  id: string,
  { name, description, image, status = 'active', client, idempotency }: NewProduct,
): Promise<Result<CreatedProduct> | undefined> {
  const claimed = await insertProduct(tx, {
    id,
    name,
    description: description ?? null,
    image: image ?? null,
    status,
    client,
    key: idempotency?.key ?? null,
    request_hash: idempotency?.request_hash ?? null,
  })
  if (claimed || idempotency === undefined) return undefined
  const earlier = earlierOf(await selectProductByKey(tx, client, idempotency.key), idempotency.request_hash)
  if (!earlier.ok) return earlier
  return ok({ product: (await selectProduct(tx, earlier.value.id))!, replayed: true })
}

/**
 * Adds SKUs to a product that this transaction has made or locked, with their first stock.
 *
 * @returns why not; the transaction must then be rolled back
 */
export async function addSkusIn(
  tx: Knex.Transaction,
  product_id: string,
  skus: readonly NewSku[],
  first_place: number,
): Promise<Refusal | undefined> {
  const names = skus.map(({ sku }) => sku)
  const added = new Set(await insertSkus(tx, product_id, skus, first_place))
  const owned = names.find((sku) => !added.has(sku))
  if (owned !== undefined) {
    return { code: 'sku_taken', sku: owned, product_id: (await selectProductOf(tx, owned)) ?? null }
  }
  const [counted] = await readLevels(tx, names)
  if (counted !== undefined) return { code: 'sku_taken', sku: counted.sku, product_id: null }
  const stocked = await setStockIn(
    tx,
    skus.map(({ sku, stock }) => ({ sku, stock })),
  )
  if (!stocked.ok) return stocked.refusal
  // Somebody made the counter since it was looked for: its stock is not ours to set.
  const made = new Set(stocked.value.created)
  const late = names.find((sku) => !made.has(sku))
  return late === undefined ? undefined : { code: 'sku_taken', sku: late, product_id: null }
}
