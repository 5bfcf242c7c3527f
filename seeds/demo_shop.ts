import type { Knex } from 'knex'
import { v7 as uuid } from 'uuid'
import { transaction } from '../src/database/transaction.ts'
import { setStockIn } from '../src/stock/set.ts'

/**
 * A small shop to try the service with: things with and without options, some sold out, some nearly. Prices are in the
 * minor unit of the currency.
 */
type Variant = { sku: string; options?: Record<string, string>; price: number; stock: number }
type Product = { name: string; description: string; picture: string; variants: Variant[] }

const SHOP: Product[] = [
  {
    name: 'Canvas tote bag',
    description: 'Natural cotton, long handles, holds a week of groceries.',
    picture: 'tote',
    variants: [{ sku: 'TOTE-NATURAL', price: 24_000, stock: 120 }],
  },
  {
    name: 'Everyday T-shirt',
    description: 'Mid-weight organic cotton. Runs true to size.',
    picture: 'tee',
    variants: ['S', 'M', 'L', 'XL'].flatMap((size, place) => [
      { sku: `TEE-BLK-${size}`, options: { size, color: 'black' }, price: 29_000, stock: [14, 40, 36, 0][place] ?? 0 },
      { sku: `TEE-WHT-${size}`, options: { size, color: 'white' }, price: 29_000, stock: [9, 25, 1, 12][place] ?? 0 },
    ]),
  },
  {
    name: 'Wool beanie',
    description: 'Merino rib knit, one size.',
    picture: 'beanie',
    variants: ['charcoal', 'rust', 'cream'].map((color, place) => ({
      sku: `BEANIE-${color.toUpperCase()}`,
      options: { color },
      price: 35_000,
      stock: [22, 3, 0][place] ?? 0,
    })),
  },
  {
    name: 'Pour-over coffee set',
    description: 'Stoneware dripper, glass server and forty filters.',
    picture: 'pourover',
    variants: [{ sku: 'COFFEE-POUROVER', price: 54_000, stock: 18 }],
  },
  {
    name: 'House blend coffee, 250 g',
    description: 'Roasted on Tuesdays. Chocolate, hazelnut, a little orange.',
    picture: 'coffee',
    variants: ['whole bean', 'filter', 'espresso'].map((grind, place) => ({
      sku: `BLEND-250-${['BEAN', 'FILTER', 'ESPRESSO'][place]}`,
      options: { grind },
      price: 14_500,
      stock: [200, 80, 60][place] ?? 0,
    })),
  },
  {
    name: 'Trail running shoes',
    description: 'Grippy, light, and happiest in mud.',
    picture: 'shoes',
    variants: ['39', '40', '41', '42', '43', '44'].map((size, place) => ({
      sku: `TRAIL-${size}`,
      options: { size },
      price: 129_000,
      stock: [4, 7, 11, 9, 2, 0][place] ?? 0,
    })),
  },
  {
    name: 'Signed poster, numbered edition',
    description: 'Risograph print, A2, edition of one hundred. One per wall, please.',
    picture: 'poster',
    variants: [{ sku: 'POSTER-SIGNED', price: 65_000, stock: 100 }],
  },
  {
    name: 'Desk lamp, last season',
    description: 'Brass and black. These are the last ones.',
    picture: 'lamp',
    variants: [{ sku: 'LAMP-BRASS', price: 89_000, stock: 2 }],
  },
]

/** A coupon to try: 10 % off, for the first hundred who ask for it. */
const COUPON = { code: 'WELCOME10', discount_percent: 10, quantity: 100, client: '' }

/** How long one instance waits for another one's seed. */
const WAIT_MS = 60_000

/**
 * Fills a database that has no products and no stock.
 *
 * @returns false, and nothing is written, if there is something already
 */
export async function seed(db: Knex): Promise<boolean> {
  return await transaction(db, async (tx) => {
    await tx.raw(`SET LOCAL lock_timeout = ${WAIT_MS}; SET LOCAL statement_timeout = 0`)
    // The second of two that seed together waits here, and then finds the first one's products.
    await tx.raw('LOCK TABLE products IN SHARE ROW EXCLUSIVE MODE')
    if ((await tx('products').first('id')) || (await tx('stock').first('sku'))) return false
    for (const product of SHOP) await insert(tx, product)
    const items = SHOP.flatMap(({ variants }) => variants.map(({ sku, stock }) => ({ sku, stock })))
    const stocked = await setStockIn(tx, items)
    await tx('coupons').insert(COUPON)
    if (!stocked.ok) throw new Error(`the demo stock was refused: ${stocked.refusal.code}`)
    return true
  })
}

async function insert(tx: Knex.Transaction, { name, description, picture, variants }: Product): Promise<void> {
  const product_id = uuid()
  await tx('products').insert({ id: product_id, name, description, image: `/shop/pictures/${picture}.svg` })
  await tx('product_skus').insert(
    variants.map(({ sku, options, price }, place) => ({ sku, product_id, options: options ?? null, price, place })),
  )
}
