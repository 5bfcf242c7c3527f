import { signal, type Signal } from '@preact/signals'
import { ask } from '../api.ts'
import { words } from '../language.ts'
import { createLiveStock } from '../live_stock.ts'
import type { Product, ProductSku } from '../shapes.ts'
import type { ProblemFacts } from '../words.ts'
import { api } from './session.ts'

/** What is sold, with what is available of it now. */

/** Read at once. */
const PAGE_SIZE = 100
const POPULAR_SHOWN = 3

export const products = signal<readonly Product[] | undefined>(undefined)
export const products_problem = signal<ProblemFacts | undefined>(undefined)
/** Whether there are more to show. */
export const has_more = signal(false)
let next_cursor: string | null = null
/** The products that sold best lately. */
export const popular = signal<ReadonlySet<string>>(new Set())
/** What has just sold out or come back, for those who do not see it. */
export const news = signal('')

/** What is available, by SKU. */
const available = new Map<string, Signal<number>>()
const named = new Map<string, { product: Product; one: ProductSku }>()
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

/** Shows the first products, or after them the next. */
export async function readProducts(): Promise<void> {
  const cursor = next_cursor === null ? {} : { cursor: next_cursor }
  const [listed] = await Promise.all([
    ask(() => api.GET('/v1/products', { params: { query: { limit: PAGE_SIZE, ...cursor } } })),
    // Both before anything is shown: what comes later would move it.
    products.value === undefined ? readPopular() : undefined,
  ])
  products_problem.value = listed.ok ? undefined : listed.problem
  if (!listed.ok) return
  for (const product of listed.value.data) {
    for (const one of product.skus) {
      named.set(one.sku, { product, one })
      if (!available.has(one.sku)) begin(one.sku, one.available)
    }
  }
  const shown = products.value ?? []
  const known = new Set(shown.map(({ id }) => id))
  const all = [...shown, ...listed.value.data.filter(({ id }) => !known.has(id))]
  products.value = all
  next_cursor = listed.value.next_cursor
  has_more.value = next_cursor !== null
  live_stock.watch(all.flatMap(({ skus }) => skus.map(({ sku }) => sku)))
}

async function readPopular(): Promise<void> {
  const best = await ask(() => api.GET('/v1/products/popular', { params: { query: { limit: POPULAR_SHOWN } } }))
  if (best.ok) popular.value = new Set(best.value.data.map(({ product_id }) => product_id))
}

/** Such as `Everyday T-shirt, M, black`. */
export function nameOf(product: { name: string | null }, one: { options: Record<string, unknown> | null }): string {
  const { productText, optionValue } = words.value.shop
  const options = Object.values(one.options ?? {}).map((value) => optionValue(String(value)))
  return [productText(product.name ?? ''), ...options].filter(Boolean).join(', ')
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
  const { product, one } = named.get(sku) ?? {}
  const name = product === undefined || one === undefined ? sku : nameOf(product, one)
  if (units === 0) news.value = words.value.shop.nowSoldOut(name)
  if (before === 0) news.value = words.value.shop.backInStock(name)
  for (const listener of listeners) listener(sku)
}
