import { rows } from '../../src/database/transaction.ts'
import { composeSweeper } from '../../src/compose.ts'
import { pino } from 'pino'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { counters, hold, makeOverdue, must, stocked, stopCores } from '../factories.ts'
import { createFakeGateway, type FakeGateway } from '../payments/fake_gateway.ts'
import {
  couponFor,
  couponState,
  customer,
  eventsOf,
  onSale,
  openShop,
  ordered,
  paymentsOf,
  read,
  runOut,
  soldOf,
  wrongs,
  type TestShop,
} from '../shop.ts'

/** An order follows its hold, whoever ends it. */

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

test('the sweeper ends a hold and its order together; others stay as they are', async () => {
  const sku = await onSale(shop.db)
  const customer_id = await customer(shop.db)
  const coupon_code = await couponFor(shop.db, customer_id, { percent: 10 })
  const late = await ordered(shop, sku, { customer_id, coupon_code })
  const early = await ordered(shop, sku)
  const before = await read(shop.db, early.id)
  await runOut(shop.db, late)
  await shop.core.sweeper.run()
  expect(await read(shop.db, late.id)).toMatchObject({
    status: 'expired',
    payments: [{ status: 'failed', failure_code: 'order_expired' }],
  })
  expect(await eventsOf(shop.db, late.id)).toEqual(['created', 'expired'])
  expect(await couponState(shop.db, coupon_code)).toBe('issued')
  expect(await read(shop.db, early.id)).toEqual(before)
  expect(await counters(shop.db, sku)).toBe('10/1')
})

test("the command line's sweeper does the same", async () => {
  const order = await ordered(shop, await onSale(shop.db))
  await runOut(shop.db, order)
  await composeSweeper({ db: database.db, log: pino({ level: 'silent' }), instance: 'cli' }).run()
  expect(await read(shop.db, order.id)).toMatchObject({ status: 'expired' })
  expect(await paymentsOf(shop.db, order.id)).toEqual(['cancelled order_expired'])
})

test('a sweep of many ends all their orders, each with one event', async () => {
  const sku = await onSale(shop.db, { stock: 100 })
  const customer_id = await customer(shop.db)
  const orders = await Promise.all(Array.from({ length: 60 }, () => ordered(shop, sku, { customer_id })))
  await makeOverdue(
    database.db,
    orders.map(({ reservation_id }) => reservation_id),
  )
  await shop.core.sweeper.run()
  for (const { id } of orders) expect(await eventsOf(shop.db, id)).toEqual(['created', 'expired'])
  expect(await counters(shop.db, sku)).toBe('100/0')
})

test('whoever releases the hold lets go of the order: it is cancelled', async () => {
  const order = await ordered(shop, await onSale(shop.db))
  for (let i = 0; i < 2; i++) must(await shop.core.reservations.release({ id: order.reservation_id }))
  expect(await read(shop.db, order.id)).toMatchObject({ status: 'cancelled' })
  expect(await eventsOf(shop.db, order.id)).toEqual(['created', 'cancelled'])
})

test('releasing a hold that has run out expires the order', async () => {
  const order = await ordered(shop, await onSale(shop.db))
  await runOut(shop.db, order)
  must(await shop.core.reservations.release({ id: order.reservation_id }))
  expect(await eventsOf(shop.db, order.id)).toEqual(['created', 'expired'])
})

test('whoever confirms the hold says that the payment succeeded: the order is paid, by an external payment', async () => {
  const sku = await onSale(shop.db, { price: 1000 })
  const order = await ordered(shop, [{ sku, quantity: 3 }])
  for (let i = 0; i < 2; i++) must(await shop.core.reservations.confirm({ id: order.reservation_id }))
  expect(await read(shop.db, order.id)).toMatchObject({
    status: 'paid',
    payments: [{ status: 'failed' }, { method: 'external', status: 'paid', amount: 3000 }],
  })
  expect(await eventsOf(shop.db, order.id)).toEqual(['created', 'paid'])
  expect(await soldOf(shop.db, order.id)).toEqual(['3 3000'])
  expect(await counters(shop.db, sku)).toBe('7/0')
})

test('a card payment that the buyer had begun is voided when somebody else confirms the hold', async () => {
  const order = await ordered(shop, await onSale(shop.db))
  const { payment } = must(await shop.pay(order.id, { method: 'card' }))
  must(await shop.core.reservations.confirm({ id: order.reservation_id }))
  await shop.finish()
  expect(gateway.book.get(payment.id)?.status).toBe('cancelled')
  expect(await paymentsOf(shop.db, order.id)).toEqual(['card cancelled paid_otherwise', 'external captured'])
})

test.each(['swept', 'not swept'])(
  'late money elsewhere: an expired hold (%s) that is confirmed with "reacquire" pays its order',
  async (swept) => {
    const sku = await onSale(shop.db, { stock: 1 })
    const order = await ordered(shop, sku)
    await runOut(shop.db, order)
    if (swept === 'swept') await shop.core.sweeper.run()
    must(await shop.core.reservations.confirm({ id: order.reservation_id, on_expired: 'reacquire' }))
    expect(await read(shop.db, order.id)).toMatchObject({ status: 'paid' })
    expect(await eventsOf(shop.db, order.id)).toEqual(
      swept === 'swept' ? ['created', 'expired', 'paid'] : ['created', 'paid'],
    )
    expect(await soldOf(shop.db, order.id)).toEqual(['1 1000'])
    expect(await counters(shop.db, sku)).toBe('0/0')
  },
)

test('an order that ended otherwise is sold too when its hold is reacquired; money that it owes it still owes', async () => {
  const sku = await onSale(shop.db, { stock: 1 })
  const customer_id = await customer(shop.db)
  const coupon_code = await couponFor(shop.db, customer_id, { amount: 100 })
  const late = await ordered(shop, sku, { customer_id, coupon_code })
  const { payment } = must(await shop.pay(late.id, { method: 'card' }))
  await runOut(shop.db, late)
  const other = await ordered(shop, sku)
  must(await shop.tell(payment.id, { kind: 'captured', amount: 900, currency: 'KRW' }))
  expect(await read(shop.db, late.id)).toMatchObject({ status: 'refund_required' })
  must(await shop.cancel(other.id))
  must(await shop.core.reservations.confirm({ id: late.reservation_id, on_expired: 'reacquire' }))
  expect(await paymentsOf(shop.db, late.id)).toEqual(['card captured sold_out 900', 'external captured'])
  expect(await soldOf(shop.db, late.id)).toEqual(['1 900'])
  expect(await couponState(shop.db, coupon_code)).toBe('used')
  expect(await read(shop.db, late.id)).toMatchObject({ status: 'refund_required' })
  must(await shop.refund({ order_id: late.id }))
  expect(await read(shop.db, late.id)).toMatchObject({ status: 'paid' })
})

test('the order of an extended hold awaits payment for as long', async () => {
  const order = await ordered(shop, await onSale(shop.db))
  const extended = must(await shop.core.reservations.extend({ id: order.reservation_id, ttl_seconds: 7200 }))
  expect((await read(shop.db, order.id)).expires_at).toEqual(extended.expires_at)
})

test('holds without an order cost no statement about orders', async () => {
  const sku = await stocked(database.db)
  const [held, ours] = [
    await hold(shop.core.reservations, sku),
    await hold(shop.core.reservations, sku, { reference: 'order-1001' }),
  ]
  const other = await database.db.transaction()
  // Whoever asks for an order now waits for this, and is heard of.
  await rows(other, 'LOCK TABLE orders IN ACCESS EXCLUSIVE MODE')
  must(await shop.core.reservations.confirm({ id: held.id }))
  must(await shop.core.reservations.release({ id: ours.id }))
  await other.rollback()
})

test("a hold that says it is an order's and is none ends like any other", async () => {
  const sku = await stocked(database.db)
  const { id } = await hold(shop.core.reservations, sku, { reference: 'order:1' })
  must(await shop.core.reservations.confirm({ id }))
  expect(await counters(database.db, sku)).toBe('9/0')
})
