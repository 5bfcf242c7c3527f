import { arrayOf } from '../database/array.ts'
import { rows, type Executor } from '../database/transaction.ts'

/** Units of a SKU that were sold (or, below zero, came back), and the money for them in the currency's minor unit. */
export type Sale = {
  /** The payment that sold them, or the refund that took them back. */
  cause_id: string
  order_id: string
  sku: string
  quantity: number
  amount: number
  /** When the order was paid, for a refund too. */
  sold_at: Date
}

/** Appends sales. */
export async function insertSales(db: Executor, sales: readonly Sale[]): Promise<void> {
  await rows(
    db,
    `INSERT INTO sales (cause_id, order_id, sku, quantity, amount, sold_at)
     SELECT * FROM unnest(?::uuid[], ?::uuid[], ?::text[], ?::integer[], ?::bigint[], ?::timestamptz[])`,
    [
      arrayOf(sales, ({ cause_id }) => cause_id),
      arrayOf(sales, ({ order_id }) => order_id),
      arrayOf(sales, ({ sku }) => sku),
      arrayOf(sales, ({ quantity }) => quantity),
      arrayOf(sales, ({ amount }) => amount),
      arrayOf(sales, ({ sold_at }) => sold_at.toISOString()),
    ],
  )
}

export type UncountedSale = Pick<Sale, 'cause_id' | 'sku' | 'quantity' | 'amount' | 'sold_at'>

/** Locks the oldest sales that no day counts yet; those that another job has are passed over. */
export function lockUncounted(db: Executor, limit: number): Promise<UncountedSale[]> {
  return rows<UncountedSale>(
    db,
    `SELECT cause_id, sku, quantity, amount, sold_at FROM sales WHERE day IS NULL
     ORDER BY sold_at LIMIT ? FOR NO KEY UPDATE SKIP LOCKED`,
    [limit],
  )
}

/** Writes into each sale the day that counts it. */
export async function markCounted(
  db: Executor,
  counted: readonly { cause_id: string; sku: string; day: string }[],
): Promise<void> {
  await rows(
    db,
    `UPDATE sales s SET day = n.day FROM unnest(?::uuid[], ?::text[], ?::date[]) AS n (cause_id, sku, day)
     WHERE s.cause_id = n.cause_id AND s.sku = n.sku`,
    [
      arrayOf(counted, ({ cause_id }) => cause_id),
      arrayOf(counted, ({ sku }) => sku),
      arrayOf(counted, ({ day }) => day),
    ],
  )
}

/**
 * Adds sales to what was sold on their days, by day and SKU so that two jobs don't deadlock. Summed there: what thousands of
 * sales come to may be past JavaScript's integers.
 */
export async function addToDays(
  db: Executor,
  sales: readonly (Pick<Sale, 'sku' | 'quantity' | 'amount'> & { day: string })[],
): Promise<void> {
  await rows(
    db,
    `INSERT INTO sales_daily AS d (day, sku, units, amount)
     SELECT day, sku, sum(units), sum(amount)
     FROM unnest(?::date[], ?::text[], ?::bigint[], ?::bigint[]) AS n (day, sku, units, amount)
     GROUP BY day, sku ORDER BY day, sku COLLATE "C"
     ON CONFLICT (day, sku) DO UPDATE SET units = d.units + excluded.units, amount = d.amount + excluded.amount`,
    [
      arrayOf(sales, ({ day }) => day),
      arrayOf(sales, ({ sku }) => sku),
      arrayOf(sales, ({ quantity }) => quantity),
      arrayOf(sales, ({ amount }) => amount),
    ],
  )
}

export type PopularProduct = {
  product_id: string
  name: string
  image: string | null
  units_sold: number
  /** In the currency's minor unit, after discounts and refunds. */
  amount: number
  skus: { sku: string; options: Record<string, string> | null; units_sold: number; available: number }[]
}

/** The active products of which most units were sold on these days, refunds taken off. */
export function selectPopular(
  db: Executor,
  { from, to, limit }: { from: string; to: string; limit: number },
): Promise<PopularProduct[]> {
  return rows<PopularProduct>(
    db,
    `WITH sold AS (
       SELECT sku, sum(units) AS units, sum(amount) AS amount FROM sales_daily
       WHERE day BETWEEN ?::date AND ?::date GROUP BY sku
     )
     SELECT p.id AS product_id, p.name, p.image, sum(sold.units)::bigint AS units_sold, sum(sold.amount)::bigint AS amount,
       json_agg(json_build_object('sku', k.sku, 'options', k.options, 'units_sold', sold.units,
         'available', coalesce(s.stock - s.temp_reserved_stock, 0)) ORDER BY sold.units DESC, k.place) AS skus
     FROM sold JOIN product_skus k ON k.sku = sold.sku JOIN products p ON p.id = k.product_id
     LEFT JOIN stock s ON s.sku = k.sku
     WHERE p.status = 'active'
     GROUP BY p.id HAVING sum(sold.units) > 0
     ORDER BY units_sold DESC, p.id LIMIT ?`,
    [from, to, limit],
  )
}

/** A day and SKU of which the sum is not what its sales add up to. */
export type SalesFault = {
  broken: number
  day: string
  sku: string
  units: number | null
  amount: number | null
  units_sold: number
  amount_sold: number
}

/** Sums that are off, by day and SKU; sales that were not added up yet belong to none. */
export function selectSalesOff(db: Executor, limit: number): Promise<SalesFault[]> {
  return rows<SalesFault>(
    db,
    `WITH sold AS (
       SELECT day, sku, sum(quantity) AS units, sum(amount) AS amount FROM sales WHERE day IS NOT NULL GROUP BY day, sku
     )
     SELECT count(*) OVER () AS broken, coalesce(d.day, s.day)::text AS day, coalesce(d.sku, s.sku) AS sku, d.units, d.amount,
       coalesce(s.units, 0)::bigint AS units_sold, coalesce(s.amount, 0)::bigint AS amount_sold
     FROM sales_daily d FULL JOIN sold s ON s.day = d.day AND s.sku = d.sku
     WHERE d.units IS DISTINCT FROM coalesce(s.units, 0) OR d.amount IS DISTINCT FROM coalesce(s.amount, 0)
     ORDER BY 2, 3 LIMIT ?`,
    [limit],
  )
}
