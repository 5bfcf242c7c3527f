import { signal, type Signal } from '@preact/signals'
import { ask } from '../api.ts'
import { words } from '../language.ts'
import { createLiveStock } from '../live_stock.ts'
import type { Product, ProductSku } from '../shapes.ts'
import type { ProblemFacts } from '../words.ts'
import { api } from './session.ts'

/** What is sold, with what is available of it now. */

const PRODUCTS_MAX = 100
const POPULAR_SHOWN = 3

export const products = signal<readonly Product[] | undefined>(undefined)
export const products_problem = signal<ProblemFacts | undefined>(undefined)
/** The products that sold best lately. */
export const popular = signal<ReadonlySet<string>>(new Set())
/** What has just sold out or come back, for those who do not see it. */
export const news = signal('')

/** What is available, by SKU. */
const available = new Map<string, Signal<number>>()
const names = new Map<string, string>()
const listeners = new Set<(sku: string) => void>()
const live_stock = createLiveStock('/shop/v1/streams/stock', (level) => note(level.sku, level.available))

/** Units of a SKU that can be had now; drawn again when it changes. */
export function availableOf({ sku, available: read }: Pick<ProductSku, 'sku' | 'available'>): number {
  return (available.get(sku) ?? begin(sku, read)).value
}

/** Calls back whenever what is available of a SKU has changed. */
export function onStockChange(listener: (sku: string) => void): () => void {
  listeners.add(listener)
  return () => void listeners.delete(listener)
}

export async function readProducts(): Promise<void> {
  const [listed, best] = await Promise.all([
    ask(() => api.GET('/v1/products', { params: { query: { limit: PRODUCTS_MAX } } })),
    ask(() => api.GET('/v1/products/popular', { params: { query: { limit: POPULAR_SHOWN } } })),
  ])
  products_problem.value = listed.ok ? undefined : listed.problem
  if (best.ok) popular.value = new Set(best.value.data.map(({ product_id }) => product_id))
  if (!listed.ok) return
  for (const product of listed.value.data) {
    for (const one of product.skus) {
      names.set(one.sku, nameOf(product, one))
      if (!available.has(one.sku)) begin(one.sku, one.available)
    }
  }
  products.value = listed.value.data
  live_stock.watch(listed.value.data.flatMap(({ skus }) => skus.map(({ sku }) => sku)))
}

/** Such as `Everyday T-shirt, M, black`. */
export function nameOf(product: { name: string | null }, one: { options: Record<string, unknown> | null }): string {
  const options = Object.values(one.options ?? {}).map((value) => words.value.shop.optionValue(String(value)))
  return [product.name, ...options].filter(Boolean).join(', ')
}

function begin(sku: string, units: number): Signal<number> {
  const begun = signal(units)
  available.set(sku, begun)
  return begun
}

function note(sku: string, units: number): void {
  const known = available.get(sku)
  if (known === undefined || known.value === units) return
  const before = known.value
  known.value = units
  const name = names.get(sku) ?? sku
  if (units === 0) news.value = words.value.shop.nowSoldOut(name)
  if (before === 0) news.value = words.value.shop.backInStock(name)
  for (const listener of listeners) listener(sku)
}
