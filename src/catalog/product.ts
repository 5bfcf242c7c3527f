import type { Fault } from '../errors.ts'

/** What is sold. A product without options has one SKU; with options, one for each combination. */

export type ProductStatus = 'draft' | 'active' | 'archived'

/** Such as `{ size: 'M', color: 'black' }`. */
export type Options = Record<string, string>

export type ProductSku = {
  sku: string
  options: Options | null
  /** In the currency's minor unit. */
  price: number
  /** Units that can be reserved now. */
  available: number
}

export type Product = {
  /** A UUIDv7. */
  id: string
  name: string
  description: string | null
  image: string | null
  status: ProductStatus
  skus: ProductSku[]
  created_at: Date
  updated_at: Date
}

/** A SKU that is to be made, with its stock in units. */
export type NewSku = { sku: string; options?: Options; price: number; stock: number }

/** SKUs of one product at most. */
export const SKUS_MAX = 200

/**
 * What keeps SKUs from being one product: each SKU and each combination of options once, all with the same options, and
 * only a single one without any.
 *
 * @param skus those that are asked for; faults name their place, and what is undefined only takes one
 * @param known those that the product has already
 */
export function findSkuFaults(
  skus: readonly ({ sku: string; options?: Options } | undefined)[],
  known: readonly { sku: string; options: Options | null }[] = [],
): Fault[] {
  const all = [...known, ...skus.filter((sku) => sku !== undefined)]
  const seen = new Set(known.map(({ sku }) => sku))
  const combinations = new Set(known.map(({ options }) => combinationOf(options)))
  const names = namesOf(all[0]?.options)
  return skus.flatMap((asked, i) => {
    if (asked === undefined) return []
    const { sku, options } = asked
    const faults: Fault[] = []
    if (seen.has(sku)) faults.push({ path: `/skus/${i}/sku`, message: 'appears before; a SKU is one combination' })
    seen.add(sku)
    const at = `/skus/${i}/options`
    if (all.length > 1 && namesOf(options) === '') {
      faults.push({ path: at, message: 'is required: a product without options has one SKU' })
    } else if (namesOf(options) !== names) {
      faults.push({ path: at, message: `must name the same options as the product's other SKUs` })
    } else if (combinations.has(combinationOf(options))) {
      faults.push({ path: at, message: 'appears before; each combination has one SKU' })
    }
    combinations.add(combinationOf(options))
    return faults
  })
}

function namesOf(options: Options | null | undefined): string {
  return options ? JSON.stringify(Object.keys(options).toSorted()) : ''
}

/** The same text for equal options, however they are ordered. */
export function combinationOf(options: Options | null | undefined): string {
  return JSON.stringify(Object.entries(options ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
