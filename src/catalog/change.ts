import type { Knex } from 'knex'
import { doOnce, unkeyed } from '../database/keyed.ts'
import { ok, refused, type Fault, type Result } from '../errors.ts'
import { addSkusIn } from './create.ts'
import { combinationOf, findSkuFaults, SKUS_MAX, type NewSku, type Options, type Product } from './product.ts'
import { lockProduct, selectProduct, updatePrices, updateProduct, type ProductFields } from './queries.ts'

/** A SKU that the product has: its new price. One that it has not: all of a new SKU. */
export type SkuChange = { sku: string; options?: Options; price?: number; stock?: number }

export type ProductChange = ProductFields & { skus?: readonly SkuChange[] }

/**
 * Changes a product: its texts, image and status, the prices of its SKUs, and SKUs that it gains. What is not named stays. A
 * SKU keeps its name, its product and its options, because orders and stock rest on them; its stock is changed by the stock
 * room alone; and none is ever taken away: archive the product.
 *
 * @returns refused with `product_not_found`, `sku_taken`, or `invalid_request` naming what can't change
 */
export function changeProduct(db: Knex, id: string, change: ProductChange): Promise<Result<Product>> {
  return doOnce(db, {
    claim: unkeyed,
    work: (tx) => changeIn(tx, id, change),
    blocked: 'Another request is changing this product or one of these SKUs.',
  })
}

async function changeIn(tx: Knex.Transaction, id: string, change: ProductChange): Promise<Result<Product>> {
  if (!(await lockProduct(tx, id))) return refused({ code: 'product_not_found', id })
  const { skus: known } = (await selectProduct(tx, id))!
  const { skus = [], ...fields } = change
  const faults = findChangeFaults(skus, known)
  if (faults.length > 0) return refused({ code: 'invalid_request', errors: faults.slice(0, 20) })
  await updateProduct(tx, id, fields)
  const priced = skus.flatMap(({ sku, price }) => (has(known, sku) && price !== undefined ? [{ sku, price }] : []))
  if (priced.length > 0) await updatePrices(tx, id, priced)
  // Complete, as findChangeFaults has seen.
  const added = skus.filter(({ sku }) => !has(known, sku)) as NewSku[]
  const refusal = added.length > 0 ? await addSkusIn(tx, id, added, known.length) : undefined
  return refusal === undefined ? ok((await selectProduct(tx, id))!) : refused(refusal)
}

type Known = Product['skus']

function has(known: Known, sku: string): boolean {
  return known.some((own) => own.sku === sku)
}

function findChangeFaults(skus: readonly SkuChange[], known: Known): Fault[] {
  if (known.length + skus.filter(({ sku }) => !has(known, sku)).length > SKUS_MAX) {
    return [{ path: '/skus', message: `must not give the product more than ${SKUS_MAX} SKUs` }]
  }
  const seen = new Set<string>()
  const faults = skus.flatMap((change, i) => {
    const own = known.find(({ sku }) => sku === change.sku)
    if (own === undefined) return findMissing(change, i)
    if (seen.has(change.sku)) return [{ path: `/skus/${i}/sku`, message: 'appears before' }]
    seen.add(change.sku)
    return findFixed(change, own, i)
  })
  if (faults.length > 0) return faults
  return findSkuFaults(
    skus.map((change) => (has(known, change.sku) ? undefined : change)),
    known,
  )
}

function findMissing({ price, stock }: SkuChange, i: number): Fault[] {
  const missing = [...(price === undefined ? ['price'] : []), ...(stock === undefined ? ['stock'] : [])]
  return missing.map((name) => ({
    path: `/skus/${i}/${name}`,
    message: 'is required for a SKU that the product gains',
  }))
}

function findFixed({ options, stock }: SkuChange, own: Known[number], i: number): Fault[] {
  return [
    ...(stock === undefined
      ? []
      : [{ path: `/skus/${i}/stock`, message: 'cannot be changed here: PUT /v1/stock/{sku} sets it' }]),
    ...(options === undefined || combinationOf(options) === combinationOf(own.options)
      ? []
      : [{ path: `/skus/${i}/options`, message: 'cannot be changed: the SKU stands for them; add another SKU' }]),
  ]
}
