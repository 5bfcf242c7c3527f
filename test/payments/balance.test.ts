import { rows } from '../../src/database/transaction.ts'
import { newId } from '../../src/ids.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { begin, counters, must, refusal, stopCores, stored, untilWaiting } from '../factories.ts'
import {
  balanceOf,
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

/** Paying by balance: all of it in one transaction, or nothing. */

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

test('a payment spends, sells, marks the order and confirms the hold', async () => {
  const sku = await onSale(shop.db, { price: 1200 })
  const customer_id = await customer(shop.db, 5000)
  const coupon_code = await couponFor(shop.db, customer_id, { percent: 50 })
  const order = await ordered(shop, [{ sku, quantity: 2 }], { customer_id, coupon_code })
  const { payment } = must(await shop.pay(order.id))
  expect(payment).toMatchObject({
    id: order.payments[0]!.id,
    method: 'balance',
    status: 'captured',
    captured_amount: 1200,
  })
  expect(await balanceOf(shop.db, customer_id)).toBe(3800)
  expect(await counters(shop.db, sku)).toBe('8/0')
  expect(await stored(shop.db, order.reservation_id)).toBe('confirmed')
  expect(await soldOf(shop.db, order.id)).toEqual(['2 1200'])
  expect(await eventsOf(shop.db, order.id)).toEqual(['created', 'paid'])
  expect(await couponState(shop.db, coupon_code)).toBe('used')
  expect(await read(shop.db, order.id)).toMatchObject({ status: 'paid', payments: [{ status: 'paid' }] })
})

test('too low a balance fails the payment and lets go of the hold at once', async () => {
  const sku = await onSale(shop.db)
  const customer_id = await customer(shop.db, 999)
  const coupon_code = await couponFor(shop.db, customer_id, { amount: 1 })
  const order = await ordered(shop, [{ sku, quantity: 2 }], { customer_id, coupon_code })
  const { payment } = must(await shop.pay(order.id))
  expect(payment).toMatchObject({ status: 'failed', failure_code: 'insufficient_balance' })
  expect(await balanceOf(shop.db, customer_id)).toBe(999)
  expect(await counters(shop.db, sku)).toBe('10/0')
  expect(await couponState(shop.db, coupon_code)).toBe('issued')
  expect(await eventsOf(shop.db, order.id)).toEqual(['created', 'payment_failed'])
  expect(refusal(await shop.pay(order.id))).toEqual({ code: 'order_not_awaiting_payment', status: 'payment_failed' })
})

test('an order that costs nothing is paid without money', async () => {
  const sku = await onSale(shop.db)
  const customer_id = await customer(shop.db)
  const coupon_code = await couponFor(shop.db, customer_id, { percent: 100 })
  const order = await ordered(shop, sku, { customer_id, coupon_code })
  must(await shop.pay(order.id))
  expect(await read(shop.db, order.id)).toMatchObject({ status: 'paid', total: 0 })
  must(await shop.refund({ order_id: order.id }))
  expect(await read(shop.db, order.id)).toMatchObject({ status: 'refunded' })
  expect(await counters(shop.db, sku)).toBe('10/0')
})

test('ten identical payments at once spend once, and all get the same answer', async () => {
  const sku = await onSale(shop.db)
  const customer_id = await customer(shop.db, 10_000)
  const order = await ordered(shop, sku, { customer_id })
  const answers = (await Promise.all(Array.from({ length: 10 }, () => shop.pay(order.id, { key: 'ten' })))).map(must)
  expect(new Set(answers.map(({ payment }) => payment.id)).size).toBe(1)
  expect(answers.map(({ payment }) => payment.status)).toEqual(Array.from({ length: 10 }, () => 'captured'))
  expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1)
  expect(await balanceOf(shop.db, customer_id)).toBe(9000)
})

test('ten payments at once under keys of their own spend once; the others are told that it is paid', async () => {
  const sku = await onSale(shop.db)
  const customer_id = await customer(shop.db, 10_000)
  const order = await ordered(shop, sku, { customer_id })
  const results = await Promise.all(Array.from({ length: 10 }, () => shop.pay(order.id)))
  expect(results.filter(({ ok }) => ok)).toHaveLength(1)
  for (const result of results.filter(({ ok }) => !ok)) {
    expect(refusal(result)).toEqual({ code: 'order_not_awaiting_payment', status: 'paid' })
  }
  expect(await balanceOf(shop.db, customer_id)).toBe(9000)
})

test('one customer pays ten orders at once with money for four: four are paid', async () => {
  const sku = await onSale(shop.db)
  const customer_id = await customer(shop.db, 4500)
  const orders = await Promise.all(Array.from({ length: 10 }, () => ordered(shop, sku, { customer_id })))
  const paid = (await Promise.all(orders.map(({ id }) => shop.pay(id)))).map(must)
  expect(paid.filter(({ payment }) => payment.status === 'captured')).toHaveLength(4)
  expect(await balanceOf(shop.db, customer_id)).toBe(500)
  expect(await counters(shop.db, sku)).toBe('6/0')
})

test('an order whose hold has run out takes no money, swept or not', async () => {
  const customer_id = await customer(shop.db, 1000)
  const order = await ordered(shop, await onSale(shop.db), { customer_id })
  await runOut(shop.db, order)
  for (let i = 0; i < 2; i++) {
    expect(refusal(await shop.pay(order.id))).toEqual({ code: 'order_not_awaiting_payment', status: 'expired' })
    await shop.core.sweeper.run()
  }
  expect(await balanceOf(shop.db, customer_id)).toBe(1000)
})

test('a payment whose hold runs out while it waits for the counter takes no money', async () => {
  const sku = await onSale(shop.db)
  const patient = openShop(database, { lock_timeout_ms: 3000 })
  const customer_id = await customer(shop.db, 1000)
  const order = await ordered(patient, sku, { customer_id })
  await rows(
    database.db,
    `UPDATE reservations SET expires_at = clock_timestamp() + interval '300 milliseconds' WHERE id = ?`,
    [order.reservation_id],
  )
  const other = await begin(database.db)
  await rows(other, 'SELECT 1 FROM stock WHERE sku = ? FOR NO KEY UPDATE', [sku])
  const paying = patient.pay(order.id)
  await untilWaiting(database.db)
  await rows(other, `SELECT pg_sleep(0.5)`)
  await other.commit()
  expect(refusal(await paying)).toEqual({ code: 'order_not_awaiting_payment', status: 'expired' })
  expect(await balanceOf(shop.db, customer_id)).toBe(1000)
  expect(await paymentsOf(shop.db, order.id)).toEqual(['pending'])
  await patient.stop()
})

test('paid and swept at once: one of the two, and money and stock agree', async () => {
  const sku = await onSale(shop.db, { stock: 100 })
  let paid = 0
  for (let round = 0; round < 20; round++) {
    const customer_id = await customer(shop.db, 1000)
    const order = await ordered(shop, sku, { customer_id })
    await rows(
      database.db,
      `UPDATE reservations SET expires_at = clock_timestamp() + interval '4 milliseconds' WHERE id = ?`,
      [order.reservation_id],
    )
    const [payment] = await Promise.all([
      shop.pay(order.id),
      (async () => {
        for (let i = 0; i < 5; i++) await shop.core.sweeper.run()
      })(),
    ])
    await shop.core.sweeper.run()
    paid += payment.ok ? 1 : 0
    expect((await read(shop.db, order.id)).status).toBe(payment.ok ? 'paid' : 'expired')
    expect(await balanceOf(shop.db, customer_id)).toBe(payment.ok ? 0 : 1000)
  }
  expect(await counters(shop.db, sku)).toBe(`${100 - paid}/0`)
})

test('an unknown order, and a key that was used for another one, are refused', async () => {
  const id = newId()
  expect(refusal(await shop.pay(id))).toEqual({ code: 'order_not_found', id })
  const sku = await onSale(shop.db)
  const customer_id = await customer(shop.db, 2000)
  const [a, b] = [await ordered(shop, sku, { customer_id }), await ordered(shop, sku, { customer_id })]
  must(await shop.pay(a.id, { key: 'shared' }))
  expect(refusal(await shop.pay(b.id, { key: 'shared' }))).toEqual({ code: 'idempotency_key_reused' })
})

test('cards are refused where no gateway is set up', async () => {
  const order = await ordered(shop, await onSale(shop.db))
  expect(refusal(await shop.pay(order.id, { method: 'card' }))).toMatchObject({ code: 'invalid_request' })
})
