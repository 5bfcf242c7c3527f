import { rows } from '../../src/database/transaction.ts'
import { addUpSales, dayOf } from '../../src/sales/add_up.ts'
import { readPopular } from '../../src/sales/popular.ts'
import { changeProduct } from '../../src/catalog/change.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { must, stopCores } from '../factories.ts'
import { customer, onSale, openShop, ordered, wrongs, type TestShop } from '../shop.ts'

/** Sales: rows that are only added, added up per SKU and day of the shop's time zone. */

let database: TestDatabase
let shop: TestShop

beforeEach(async () => {
  database = await createTestDatabase()
  shop = openShop(database)
})

afterEach(async () => {
  expect(await wrongs(database.db)).toEqual([])
  await shop.stop()
  await stopCores()
  await database.drop()
})

const SEOUL = 'Asia/Seoul'

/** Sells units of a SKU as if at a moment. */
async function sold(sku: string, quantity: number, at: string): Promise<string> {
  const customer_id = await customer(shop.db, 1_000_000)
  const order = await ordered(shop, [{ sku, quantity }], { customer_id })
  must(await shop.pay(order.id))
  await rows(database.db, 'UPDATE orders SET paid_at = ? WHERE id = ?', [at, order.id])
  await rows(database.db, 'UPDATE sales SET sold_at = ? WHERE order_id = ?', [at, order.id])
  return order.id
}

async function days(): Promise<string[]> {
  const found = await rows<{ row: string }>(
    database.db,
    `SELECT format('%s %s %s', day, units, amount) AS row FROM sales_daily ORDER BY day, sku`,
  )
  return found.map(({ row }) => row)
}

test('a moment belongs to the day of the shop, not of the server', () => {
  const moment = new Date('2026-03-01T15:30:00Z')
  expect([dayOf(moment, 'UTC'), dayOf(moment, SEOUL), dayOf(moment, 'America/New_York')]).toEqual([
    '2026-03-01',
    '2026-03-02',
    '2026-03-01',
  ])
  expect([
    dayOf(new Date('2026-03-08T04:59:00Z'), 'America/New_York'),
    dayOf(new Date('2026-03-09T03:59:00Z'), 'America/New_York'),
  ]).toEqual(['2026-03-07', '2026-03-08'])
})

test('sales are added up once, whatever runs and however often', async () => {
  const sku = await onSale(shop.db, { price: 100, stock: 1000 })
  await sold(sku, 3, '2026-03-01T14:59:59Z')
  await sold(sku, 4, '2026-03-01T15:00:00Z')
  const counted = await Promise.all(Array.from({ length: 5 }, () => addUpSales(database.db, SEOUL)))
  expect(counted.reduce((sum, n) => sum + n, 0)).toBe(2)
  expect(await days()).toEqual(['2026-03-01 3 300', '2026-03-02 4 400'])
  await sold(sku, 1, '2026-03-01T16:00:00Z')
  await addUpSales(database.db, SEOUL)
  expect(await days()).toEqual(['2026-03-01 3 300', '2026-03-02 5 500'])
})

test('one run adds up more sales than a transaction takes', async () => {
  const sku = await onSale(shop.db, { stock: 10 })
  const order_id = await sold(sku, 1, '2026-03-01T12:00:00Z')
  await rows(
    database.db,
    `INSERT INTO sales (cause_id, sku, order_id, quantity, amount, sold_at)
     SELECT gen_random_uuid(), ?, ?, 1, 1, '2026-03-01T12:00:00Z' FROM generate_series(1, 4000)`,
    [sku, order_id],
  )
  expect(await addUpSales(database.db, SEOUL)).toBe(4001)
  expect(await days()).toEqual(['2026-03-01 4001 5000'])
  // They were sold by no order: verify would say so.
  await rows(database.db, 'DELETE FROM sales WHERE amount = 1')
  await rows(database.db, 'UPDATE sales_daily SET units = 1, amount = 1000')
})

test('sales that come to more than JavaScript can count are added up to the unit', async () => {
  const sku = await onSale(shop.db, { price: 1_999_999_999, stock: 5_000_000 })
  for (let i = 0; i < 5; i++) {
    const order = await ordered(shop, [{ sku, quantity: 999_999 }])
    must(await shop.core.reservations.confirm({ id: order.reservation_id }))
  }
  expect(await addUpSales(database.db, SEOUL)).toBe(5)
  expect((await days())[0]).toMatch(` 4999995 ${5n * 999_999n * 1_999_999_999n}`)
})

test('what comes back is taken off the day on which it was sold', async () => {
  const sku = await onSale(shop.db, { price: 100, stock: 100 })
  const id = await sold(sku, 5, '2026-03-01T03:00:00Z')
  await addUpSales(database.db, SEOUL)
  must(await shop.refund({ order_id: id, lines: [{ sku, quantity: 2 }] }))
  await addUpSales(database.db, SEOUL)
  expect(await days()).toEqual(['2026-03-01 3 300'])
})

test('best sellers of a range of days: both ends count, most units first, refunds and archived products left out', async () => {
  const [a, b, c, gone] = [
    await onSale(shop.db),
    await onSale(shop.db),
    await onSale(shop.db),
    await onSale(shop.db, { stock: 50 }),
  ]
  await sold(a, 2, '2026-02-28T15:00:00Z')
  await sold(a, 3, '2026-03-02T14:59:59Z')
  await sold(b, 4, '2026-03-01T12:00:00Z')
  await sold(b, 6, '2026-03-05T12:00:00Z')
  must(await shop.refund({ order_id: await sold(c, 7, '2026-03-01T12:00:00Z') }))
  await sold(gone, 50, '2026-03-01T12:00:00Z')
  const [product] = await rows<{ product_id: string }>(
    database.db,
    'SELECT product_id FROM product_skus WHERE sku = ?',
    [gone],
  )
  must(await changeProduct(database.db, product!.product_id, { status: 'archived' }))
  await addUpSales(database.db, SEOUL)
  const popular = await readPopular(database.db, SEOUL, { from: '2026-03-01', to: '2026-03-02', limit: 5 })
  expect(popular.products.map(({ units_sold, amount, skus }) => [skus[0]?.sku, units_sold, amount])).toEqual([
    [a, 5, 5000],
    [b, 4, 4000],
  ])
  expect(popular.products[0]!.skus).toEqual([{ sku: a, options: null, units_sold: 5, available: 5 }])
  const all = await readPopular(database.db, SEOUL, { from: '2026-03-01', to: '2026-03-31', limit: 1 })
  expect(all.products.map(({ units_sold }) => units_sold)).toEqual([10])
})

test('without days it is the week up to today', async () => {
  const sku = await onSale(shop.db)
  const today = dayOf(new Date(), SEOUL)
  await sold(sku, 1, new Date().toISOString())
  await addUpSales(database.db, SEOUL)
  const { from, to, products } = await readPopular(database.db, SEOUL, { limit: 5 })
  expect(to).toBe(today)
  expect((Date.parse(to) - Date.parse(from)) / 86_400_000).toBe(6)
  expect(products).toHaveLength(1)
})

test('buyers of one SKU do not wait for each other, nor for the job, where sales are recorded', async () => {
  const sku = await onSale(shop.db, { stock: 100 })
  await sold(sku, 1, '2026-03-01T12:00:00Z')
  const job = await database.db.transaction()
  await rows(job, 'SELECT 1 FROM sales FOR UPDATE')
  await rows(job, `INSERT INTO sales_daily VALUES ('2026-03-01', ?, 1, 1)`, [sku])
  await sold(sku, 1, '2026-03-01T12:00:00Z')
  await job.rollback()
})
