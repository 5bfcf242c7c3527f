import { newId } from '../../src/ids.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { counters, must, refusal, stopCores, stored } from '../factories.ts'
import { createFakeGateway, type FakeGateway } from '../payments/fake_gateway.ts'
import {
  balanceOf,
  couponFor,
  couponState,
  customer,
  eventsOf,
  onSale,
  openShop,
  ordered,
  read,
  runOut,
  wrongs,
  type TestShop,
} from '../shop.ts'

let database: TestDatabase
let shop: TestShop
let gateway: FakeGateway

beforeAll(async () => {
  database = await createTestDatabase()
  gateway = createFakeGateway()
  shop = openShop(database, { gateway })
})

afterAll(async () => {
  expect(await wrongs(database.db)).toEqual([])
  await shop.stop()
  await stopCores()
  await database.drop()
})

test('a cancelled order gives its units and its coupon back at once, and may be cancelled again', async () => {
  const sku = await onSale(shop.db)
  const customer_id = await customer(shop.db)
  const coupon_code = await couponFor(shop.db, customer_id, { percent: 50 })
  const order = await ordered(shop, [{ sku, quantity: 4 }], { customer_id, coupon_code })
  const cancelled = must(await shop.cancel(order.id))
  expect(cancelled).toMatchObject({
    status: 'cancelled',
    payments: [{ status: 'failed', failure_code: 'order_cancelled' }],
  })
  expect(must(await shop.cancel(order.id))).toEqual(cancelled)
  expect(await counters(shop.db, sku)).toBe('10/0')
  expect(await stored(shop.db, order.reservation_id)).toBe('released')
  expect(await couponState(shop.db, coupon_code)).toBe('issued')
  expect(await eventsOf(shop.db, order.id)).toEqual(['created', 'cancelled'])
})

test('an order whose hold has run out is expired, and a cancel says so', async () => {
  const order = await ordered(shop, await onSale(shop.db))
  await runOut(shop.db, order)
  expect(must(await shop.cancel(order.id)).status).toBe('expired')
})

test('a paid order is not cancelled, an unknown one not found', async () => {
  const order = await ordered(shop, await onSale(shop.db), { balance: 1000 })
  must(await shop.pay(order.id))
  expect(refusal(await shop.cancel(order.id))).toEqual({ code: 'order_already_paid', status: 'paid' })
  const id = newId()
  expect(refusal(await shop.cancel(id))).toEqual({ code: 'order_not_found', id })
})

test('a card payment that was begun is voided at the gateway', async () => {
  const order = await ordered(shop, await onSale(shop.db))
  const { payment } = must(await shop.pay(order.id, { method: 'card' }))
  must(await shop.cancel(order.id))
  await shop.finish()
  expect(gateway.book.get(payment.id)?.status).toBe('cancelled')
})

test('while authorised money is being captured there is nothing to cancel any more', async () => {
  const order = await ordered(shop, await onSale(shop.db))
  const { payment } = must(await shop.pay(order.id, { method: 'card' }))
  gateway.set(payment.id, 'authorised')
  must(await shop.tell(payment.id, { kind: 'authorised', amount: 1000, currency: 'KRW' }))
  expect(refusal(await shop.cancel(order.id))).toEqual({ code: 'payment_in_progress', payment_id: payment.id })
  await shop.finish()
  expect(await read(shop.db, order.id)).toMatchObject({ status: 'paid' })
})

test('cancelled and paid at once: one of the two, and the money agrees', async () => {
  const sku = await onSale(shop.db, { stock: 100 })
  for (let round = 0; round < 10; round++) {
    const customer_id = await customer(shop.db, 1000)
    const order = await ordered(shop, sku, { customer_id })
    const [paid, cancelled] = await Promise.all([shop.pay(order.id), shop.cancel(order.id)])
    const { status } = await read(shop.db, order.id)
    expect([paid.ok, cancelled.ok, status]).toEqual(paid.ok ? [true, false, 'paid'] : [false, true, 'cancelled'])
    expect(await balanceOf(shop.db, customer_id)).toBe(paid.ok ? 0 : 1000)
  }
})
