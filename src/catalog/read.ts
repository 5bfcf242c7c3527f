import { reading, type Executor } from '../database/transaction.ts'
import type { Product, ProductStatus } from './product.ts'
import { selectPricedSkus, selectProduct, selectProductPage, type PricedSku } from './queries.ts'

/**
 * A page of products of one status, newest first, with what each SKU has available now.
 *
 * @param page `limit` 1–201; `before_id` the last product of the page before
 */
export function listProducts(
  db: Executor,
  page: { status?: ProductStatus; before_id?: string; limit: number },
): Promise<Product[]> {
  const { status = 'active', before_id = null, limit } = page
  return reading(() => selectProductPage(db, { status, before_id, limit }))
}

/** One product of any status; undefined if there is none. @param id a UUID */
export function readProduct(db: Executor, id: string): Promise<Product | undefined> {
  return reading(() => selectProduct(db, id))
}

/**
 * What SKUs are sold as, and for how much, now. A SKU that belongs to no product is absent; who sells must look at `status`
 * too, because drafts and archived products are here as well.
 */
export async function priceSkusIn(db: Executor, skus: readonly string[]): Promise<Map<string, PricedSku>> {
  if (skus.length === 0) return new Map()
  const found = await reading(() => selectPricedSkus(db, skus))
  return new Map(found.map((priced) => [priced.sku, priced]))
}
