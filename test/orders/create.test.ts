import { rows } from '../../src/database/transaction.ts'
import { setInCart, readCart } from '../../src/carts/carts.ts'
import { changeProduct } from '../../src/catalog/change.ts'
import { newId } from '../../src/ids.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { begin, counters, makeOverdue, must, refusal, stopCores, stored, untilWaiting } from '../factories.ts'
import {
  couponFor,
  couponState,
  customer,
  eventsOf,
  keyOf,
  onSale,
  openShop,
  ordered,
  paymentsOf,
  read,
  runOut,
  wrongs,
  type TestShop,
} from '../shop.ts'

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

test('an order holds its lines, keeps name and price as they are, and awaits payment until the hold ends', async () => {
  const [a, b] = [await onSale(shop.db, { price: 1500 }), await onSale(shop.db, { price: 700 })]
  const customer_id = await customer(shop.db)
  const lines = [
    { sku: a, quantity: 2 },
    { sku: b, quantity: 1 },
    { sku: a, quantity: 1 },
  ]
  const { order, replayed } = must(await shop.order({ customer_id, lines }))
  expect(replayed).toBe(false)
  expect(order).toMatchObject({
    status: 'awaiting_payment',
    customer_id,
    currency: 'KRW',
    subtotal: 5200,
    discount: 0,
    total: 5200,
    lines: [
      { sku: a, quantity: 3, unit_price: 1500, total: 4500, discount: 0, options: null },
      { sku: b, quantity: 1, unit_price: 700, total: 700, discount: 0 },
    ],
    payments: [{ method: null, status: 'pending', amount: 5200 }],
  })
  expect(order.expires_at.getTime() - order.created_at.getTime()).toBeGreaterThan(1_799_000)
  expect(await counters(shop.db, a)).toBe('10/3')
  const reservation = await shop.core.reservations.read(order.reservation_id)
  expect(reservation).toMatchObject({
    status: 'pending',
    customer_id,
    reference: `order:${order.id}`,
    expires_at: order.expires_at,
  })
  const product_id = order.lines[0]!.product_id
  must(await changeProduct(shop.db, product_id, { name: 'Renamed', status: 'archived', skus: [{ sku: a, price: 1 }] }))
  expect(await read(shop.db, order.id)).toEqual(order)
  expect(await eventsOf(shop.db, order.id)).toEqual(['created'])
})

test('without lines the cart is ordered and emptied of them, also by two requests at once', async () => {
  const [a, b] = [await onSale(shop.db), await onSale(shop.db)]
  const customer_id = await customer(shop.db)
  must(await setInCart(shop.db, { customer_id, sku: b, quantity: 2 }))
  must(await setInCart(shop.db, { customer_id, sku: a, quantity: 1 }))
  const results = await Promise.all([shop.order({ customer_id }), shop.order({ customer_id })])
  const [won, ...others] = results.toSorted((x, y) => Number(y.ok) - Number(x.ok))
  expect(must(won!).order.lines.map(({ sku, quantity }) => [sku, quantity])).toEqual([
    [b, 2],
    [a, 1],
  ])
  expect(others.map(refusal)).toEqual([{ code: 'cart_empty' }])
  expect(must(await readCart(shop.db, customer_id)).lines).toEqual([])
})

test('a refused order leaves everything as it was: stock, cart, coupon, key', async () => {
  const [plenty, few] = [await onSale(shop.db), await onSale(shop.db, { stock: 1 })]
  const customer_id = await customer(shop.db)
  const coupon_code = await couponFor(shop.db, customer_id, { percent: 10 })
  must(await setInCart(shop.db, { customer_id, sku: plenty, quantity: 1 }))
  must(await setInCart(shop.db, { customer_id, sku: few, quantity: 1 }))
  await ordered(shop, few)
  const idempotency = keyOf('refused')
  expect(refusal(await shop.order({ customer_id, coupon_code, idempotency }))).toEqual({
    code: 'insufficient_stock',
    shortages: [{ sku: few, requested: 1, available: 0 }],
  })
  expect(await counters(shop.db, plenty)).toBe('10/0')
  expect(must(await readCart(shop.db, customer_id)).lines).toHaveLength(2)
  expect(await couponState(shop.db, coupon_code)).toBe('issued')
  const lines = [{ sku: plenty, quantity: 1 }]
  expect(must(await shop.order({ customer_id, lines, coupon_code, idempotency })).order.discount).toBe(100)
})

test("what is not on sale, unknown, or not the customer's is refused by name", async () => {
  const sku = await onSale(shop.db)
  const customer_id = await customer(shop.db)
  const lines = [{ sku, quantity: 1 }]
  const stranger = newId()
  expect(refusal(await shop.order({ customer_id: stranger, lines }))).toEqual({
    code: 'unknown_customer',
    id: stranger,
  })
  expect(refusal(await shop.order({ customer_id, lines: [...lines, { sku: 'nothing', quantity: 1 }] }))).toEqual({
    code: 'skus_not_on_sale',
    skus: ['nothing'],
  })
  const others = await couponFor(shop.db, await customer(shop.db), { percent: 10 })
  expect(refusal(await shop.order({ customer_id, lines, coupon_code: others }))).toEqual({
    code: 'unknown_coupon',
    coupon: others,
  })
  const order = await ordered(shop, sku)
  const product_id = order.lines[0]!.product_id
  must(await changeProduct(shop.db, product_id, { status: 'archived' }))
  expect(refusal(await shop.order({ customer_id, lines }))).toEqual({ code: 'skus_not_on_sale', skus: [sku] })
})

test('a coupon takes its part off every line, and is used by this order alone', async () => {
  const [a, b] = [await onSale(shop.db, { price: 333 }), await onSale(shop.db, { price: 1000 })]
  const customer_id = await customer(shop.db)
  const coupon_code = await couponFor(shop.db, customer_id, { amount: 500 })
  const lines = [
    { sku: a, quantity: 1 },
    { sku: b, quantity: 1 },
  ]
  const order = await ordered(shop, lines, { customer_id, coupon_code })
  expect(order).toMatchObject({ subtotal: 1333, discount: 500, total: 833, coupon_code })
  expect(order.lines.map(({ discount }) => discount)).toEqual([125, 375])
  expect(await read(shop.db, order.id)).toEqual(order)
  expect(refusal(await shop.order({ customer_id, lines, coupon_code }))).toEqual({
    code: 'coupon_already_used',
    order_id: order.id,
  })
})

test('one key orders once, also for ten requests at once; with another body it is refused', async () => {
  const sku = await onSale(shop.db)
  const customer_id = await customer(shop.db)
  const request = { customer_id, lines: [{ sku, quantity: 1 }], idempotency: keyOf('once', 'a') }
  const answers = (await Promise.all(Array.from({ length: 10 }, () => shop.order(request)))).map(must)
  expect(new Set(answers.map(({ order }) => order.id)).size).toBe(1)
  expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1)
  expect(await counters(shop.db, sku)).toBe('10/1')
  expect(refusal(await shop.order({ ...request, idempotency: keyOf('once', 'b') }))).toEqual({
    code: 'idempotency_key_reused',
  })
  must(await shop.cancel(answers[0]!.order.id))
  expect(must(await shop.order(request))).toMatchObject({ replayed: true, order: { status: 'cancelled' } })
})

test('a twin that is in flight for longer than the lock timeout is told so', async () => {
  const sku = await onSale(shop.db)
  const customer_id = await customer(shop.db)
  const idempotency = keyOf('in flight')
  const other = await begin(database.db)
  await rows(other, `INSERT INTO order_keys VALUES ('', 'order', 'in flight', '\\x00', ?)`, [newId()])
  expect(refusal(await shop.order({ customer_id, lines: [{ sku, quantity: 1 }], idempotency }))).toEqual({
    code: 'idempotency_key_in_use',
  })
  await other.rollback()
})

test('forty customers want the last five: five get an order, and what the others are told is true', async () => {
  const sku = await onSale(shop.db, { stock: 5 })
  const customers = await Promise.all(Array.from({ length: 40 }, () => customer(shop.db)))
  const results = await Promise.all(
    customers.map((customer_id) => shop.order({ customer_id, lines: [{ sku, quantity: 1 }] })),
  )
  expect(results.filter(({ ok }) => ok)).toHaveLength(5)
  for (const result of results.filter(({ ok }) => !ok)) expect(refusal(result).code).toBe('insufficient_stock')
  expect(await counters(shop.db, sku)).toBe('5/5')
})

test('an order takes back holds that have run out, whose orders expire with them', async () => {
  const sku = await onSale(shop.db, { stock: 1 })
  const first = await ordered(shop, sku)
  await runOut(shop.db, first)
  const second = await ordered(shop, sku)
  expect(await read(shop.db, first.id)).toMatchObject({ status: 'expired' })
  expect(await stored(shop.db, first.reservation_id)).toBe('expired')
  expect(second.status).toBe('awaiting_payment')
  expect(await eventsOf(shop.db, first.id)).toEqual(['created', 'expired'])
  expect(await paymentsOf(shop.db, first.id)).toEqual(['cancelled order_expired'])
})

test('a counter that another session keeps locked refuses the order, and nothing is left of it', async () => {
  const sku = await onSale(shop.db)
  const customer_id = await customer(shop.db)
  const other = await begin(database.db)
  await rows(other, 'SELECT 1 FROM stock WHERE sku = ? FOR NO KEY UPDATE', [sku])
  const waiting = shop.order({ customer_id, lines: [{ sku, quantity: 1 }] })
  await untilWaiting(database.db)
  expect(refusal(await waiting).code).toBe('overloaded')
  await other.rollback()
  expect(await rows(database.db, 'SELECT 1 FROM orders WHERE customer_id = ?', [customer_id])).toEqual([])
  expect(await counters(shop.db, sku)).toBe('10/0')
})

test('orders of the same SKUs in opposite directions do not deadlock', async () => {
  const [a, b] = [await onSale(shop.db, { stock: 100 }), await onSale(shop.db, { stock: 100 })]
  const customer_id = await customer(shop.db)
  const lines = [
    { sku: a, quantity: 1 },
    { sku: b, quantity: 1 },
  ]
  const results = await Promise.all(
    Array.from({ length: 40 }, (_, i) => shop.order({ customer_id, lines: i % 2 ? lines : lines.toReversed() })),
  )
  expect(results.filter(({ ok }) => ok)).toHaveLength(40)
  expect([await counters(shop.db, a), await counters(shop.db, b)]).toEqual(['100/40', '100/40'])
})

test('an order that was never swept reads expired from its end on', async () => {
  const order = await ordered(shop, await onSale(shop.db))
  await makeOverdue(shop.db, order.reservation_id)
  const now = await read(shop.db, order.id)
  expect(now).toMatchObject({ status: 'expired', closed_at: now.expires_at })
})
