import { arrayOf } from '../database/array.ts'
import { rows, type Executor } from '../database/transaction.ts'
import type { NewSku, Options, Product, ProductStatus } from './product.ts'

/** A product with its SKUs and what each has available now, in the one statement that reads it. */
const PRODUCT = `
  SELECT p.id, p.name, p.description, p.image, p.status, p.created_at, p.updated_at, listed.skus
  FROM products p CROSS JOIN LATERAL (
    SELECT coalesce(json_agg(json_build_object(
        'sku', k.sku, 'options', k.options, 'price', k.price,
        'available', coalesce(s.stock - s.temp_reserved_stock, 0)
      ) ORDER BY k.place, k.sku), '[]') AS skus
    FROM product_skus k LEFT JOIN stock s ON s.sku = k.sku
    WHERE k.product_id = p.id
  ) listed`

/** One product; undefined if there is none. */
export async function selectProduct(db: Executor, id: string): Promise<Product | undefined> {
  const [product] = await rows<Product>(db, `${PRODUCT} WHERE p.id = ?::uuid`, [id])
  return product
}

/** A page of products of one status, newest first. */
export function selectProductPage(
  db: Executor,
  page: { status: ProductStatus; before_id: string | null; limit: number },
): Promise<Product[]> {
  return rows<Product>(
    db,
    `${PRODUCT} WHERE p.status = ? AND (?::uuid IS NULL OR p.id < ?::uuid) ORDER BY p.id DESC LIMIT ?`,
    [page.status, page.before_id, page.before_id, page.limit],
  )
}

export type ProductRow = {
  id: string
  name: string
  description: string | null
  image: string | null
  status: ProductStatus
  client: string
  key: string | null
  request_hash: string | null
}

/** Adds a product without SKUs and claims its key; false if the key is taken. Waits for a twin in flight. */
export async function insertProduct(db: Executor, product: ProductRow): Promise<boolean> {
  const { id, name, description, image, status, client, key, request_hash } = product
  const inserted = await rows(
    db,
    `INSERT INTO products (id, name, description, image, status, client, idempotency_key, request_hash)
     VALUES (?::uuid, ?, ?, ?, ?, ?, ?, decode(?, 'hex'))
     ON CONFLICT (client, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING RETURNING id`,
    [id, name, description, image, status, client, key, request_hash],
  )
  return inserted.length === 1
}

/** The product that a key made. */
export async function selectProductByKey(
  db: Executor,
  client: string,
  key: string,
): Promise<{ id: string; request_hash: string } | undefined> {
  const [product] = await rows<{ id: string; request_hash: string }>(
    db,
    `SELECT id, encode(request_hash, 'hex') AS request_hash FROM products WHERE client = ? AND idempotency_key = ?`,
    [client, key],
  )
  return product
}

/** Locks a product against other changes; false if there is none. */
export async function lockProduct(db: Executor, id: string): Promise<boolean> {
  return (await rows(db, `SELECT 1 FROM products WHERE id = ?::uuid FOR NO KEY UPDATE`, [id])).length === 1
}

export type ProductFields = Partial<Pick<ProductRow, 'name' | 'description' | 'image' | 'status'>>

/** Changes those fields that are given, and says that it was changed. */
export async function updateProduct(db: Executor, id: string, fields: ProductFields): Promise<void> {
  const names = (['name', 'description', 'image', 'status'] as const).filter((name) => fields[name] !== undefined)
  await rows(
    db,
    `UPDATE products SET updated_at = clock_timestamp()${names.map((name) => `, ${name} = ?`).join('')} WHERE id = ?::uuid`,
    [...names.map((name) => fields[name]), id],
  )
}

/** Sets the prices of SKUs of one product. */
export async function updatePrices(
  db: Executor,
  product_id: string,
  prices: readonly { sku: string; price: number }[],
): Promise<void> {
  await rows(
    db,
    `UPDATE product_skus k SET price = n.price
     FROM unnest(?::text[], ?::integer[]) AS n (sku, price)
     WHERE k.sku = n.sku AND k.product_id = ?::uuid`,
    [arrayOf(prices, ({ sku }) => sku), arrayOf(prices, ({ price }) => price), product_id],
  )
}

/**
 * Adds SKUs to a product, in SKU order so that two products which name the same ones don't deadlock.
 *
 * @param first_place where the first of them stands among the product's SKUs
 * @returns those that were added; the others belong to a product already
 */
export async function insertSkus(
  db: Executor,
  product_id: string,
  skus: readonly NewSku[],
  first_place: number,
): Promise<string[]> {
  const inserted = await rows<{ sku: string }>(
    db,
    `INSERT INTO product_skus (sku, product_id, options, price, place)
     SELECT sku, ?::uuid, options::jsonb, price, ?::integer + place::integer - 1
     FROM unnest(?::text[], ?::text[], ?::integer[]) WITH ORDINALITY AS n (sku, options, price, place)
     ORDER BY sku COLLATE "C"
     ON CONFLICT (sku) DO NOTHING RETURNING sku`,
    [
      product_id,
      first_place,
      arrayOf(skus, ({ sku }) => sku),
      arrayOf(skus, ({ options }) => (options === undefined ? null : JSON.stringify(options))),
      arrayOf(skus, ({ price }) => price),
    ],
  )
  return inserted.map(({ sku }) => sku)
}

/** The product that a SKU belongs to. */
export async function selectProductOf(db: Executor, sku: string): Promise<string | undefined> {
  const [row] = await rows<{ product_id: string }>(db, `SELECT product_id FROM product_skus WHERE sku = ?`, [sku])
  return row?.product_id
}

/** What a SKU is sold as, and for how much, now. */
export type PricedSku = {
  sku: string
  product_id: string
  name: string
  options: Options | null
  /** In the currency's minor unit. */
  price: number
  status: ProductStatus
  /** Units that could be reserved when this was read. */
  available: number
}

/** What those of the SKUs are sold as that belong to a product. */
export function selectPricedSkus(db: Executor, skus: readonly string[]): Promise<PricedSku[]> {
  return rows<PricedSku>(
    db,
    `SELECT k.sku, k.product_id, p.name, k.options, k.price, p.status,
            coalesce(s.stock - s.temp_reserved_stock, 0) AS available
     FROM product_skus k JOIN products p ON p.id = k.product_id LEFT JOIN stock s ON s.sku = k.sku
     WHERE k.sku = ANY (?::text[])`,
    [arrayOf(skus)],
  )
}
