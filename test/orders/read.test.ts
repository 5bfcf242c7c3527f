import type { OrderStatus } from '../../src/orders/order.ts'
import { listOrders } from '../../src/orders/read.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { must, stopCores } from '../factories.ts'
import { customer, onSale, openShop, ordered, read, runOut, wrongs, type TestShop } from '../shop.ts'

let database: TestDatabase
let shop: TestShop

beforeAll(async () => {
  database = await createTestDatabase()
  shop = openShop(database)
})

afterAll(async () => {
  expect(await wrongs(database.db)).toEqual([])
  await shop.stop()
  await stopCores()
  await database.drop()
})

/** The ids of a customer's orders of one status, or of any. */
async function listed(customer_id: string, status?: OrderStatus): Promise<string[]> {
  const orders = await listOrders(database.db, { customer_id, limit: 50, ...(status === undefined ? {} : { status }) })
  for (const order of orders) expect(order).toEqual(await read(database.db, order.id))
  return orders.map(({ id }) => id)
}

test.each(['not swept', 'swept'])(
  'an order whose hold has run out (%s) is listed as expired, and no longer among those that await payment',
  async (swept) => {
    const sku = await onSale(shop.db)
    const customer_id = await customer(shop.db, 1000)
    const [late, early, paid] = [
      await ordered(shop, sku, { customer_id }),
      await ordered(shop, sku, { customer_id }),
      await ordered(shop, sku, { customer_id }),
    ]
    must(await shop.pay(paid.id))
    await runOut(database.db, late)
    if (swept === 'swept') await shop.core.sweeper.run()
    expect(await listed(customer_id, 'expired')).toEqual([late.id])
    expect(await listed(customer_id, 'awaiting_payment')).toEqual([early.id])
    expect(await listed(customer_id, 'paid')).toEqual([paid.id])
    expect(await listed(customer_id, 'cancelled')).toEqual([])
    expect(await listed(customer_id)).toEqual([paid.id, early.id, late.id])
  },
)

test('orders are read page by page, the newest first, and none is missed', async () => {
  const sku = await onSale(shop.db)
  const [customer_id, other] = [await customer(shop.db), await customer(shop.db)]
  const made: string[] = []
  for (let i = 0; i < 5; i++) {
    made.push((await ordered(shop, sku, { customer_id })).id)
    await ordered(shop, sku, { customer_id: other })
  }
  const pages: string[][] = []
  for (let before_id: string | undefined; pages.length < 4; before_id = pages.at(-1)?.at(-1)) {
    const page = { customer_id, limit: 2, ...(before_id === undefined ? {} : { before_id }) }
    pages.push((await listOrders(database.db, page)).map(({ id }) => id))
  }
  const [a, b, c, d, e] = made
  expect(pages).toEqual([[e, d], [c, b], [a], []])
})
