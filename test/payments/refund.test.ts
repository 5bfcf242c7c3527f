import { rows } from '../../src/database/transaction.ts'
import { setStock } from '../../src/stock/set.ts'
import { newId } from '../../src/ids.ts'
import type { RefundFact } from '../../src/payments/gateway.ts'
import { settleRefund } from '../../src/payments/settle_refund.ts'
import { receiveWebhook } from '../../src/payments/webhooks.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { counters, ledger, must, refusal, stopCores } from '../factories.ts'
import {
  balanceOf,
  couponFor,
  customer,
  eventsOf,
  keyOf,
  onSale,
  openShop,
  ordered,
  paymentsOf,
  read,
  soldOf,
  wrongs,
  type TestShop,
} from '../shop.ts'
import { createFakeGateway, type FakeGateway } from './fake_gateway.ts'

/** Money back: never more than was paid, and units back on the shelf or not. */

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

/** A paid order of three units of one SKU and two of another, 7,000 less a discount of 500. */
async function paid(method: 'balance' | 'card' = 'balance') {
  const [a, b] = [await onSale(shop.db, { price: 1000 }), await onSale(shop.db, { price: 2000 })]
  const customer_id = await customer(shop.db, 10_000)
  const coupon_code = await couponFor(shop.db, customer_id, { amount: 500 })
  const lines = [
    { sku: a, quantity: 3 },
    { sku: b, quantity: 2 },
  ]
  const order = await ordered(shop, lines, { customer_id, coupon_code })
  const { payment } = must(await shop.pay(order.id, { method }))
  if (method === 'card') must(await shop.tell(payment.id, { kind: 'captured', amount: 6500, currency: 'KRW' }))
  return { a, b, id: order.id, customer_id, payment_id: payment.id }
}

const statusOf = async (id: string) => (await read(shop.db, id)).status

test('a whole refund gives all the money back, and the units to the shelf', async () => {
  const { a, b, id, customer_id } = await paid()
  const { refund } = must(await shop.refund({ order_id: id }))
  expect(refund).toMatchObject({ status: 'succeeded', amount: 6500, skus: [a, b], quantities: [3, 2], restock: true })
  expect(await balanceOf(shop.db, customer_id)).toBe(10_000)
  expect([await counters(shop.db, a), await counters(shop.db, b)]).toEqual(['10/0', '10/0'])
  expect((await ledger(shop.db, a)).slice(-2)).toEqual(['confirm -3 -3', 'adjust 3 0'])
  expect(await statusOf(id)).toBe('refunded')
  expect(await soldOf(shop.db, id)).toEqual(['0 0', '0 0'])
  expect(await eventsOf(shop.db, id)).toEqual(['created', 'paid', 'refunded'])
  expect(refusal(await shop.refund({ order_id: id }))).toEqual({ code: 'order_not_refundable', status: 'refunded' })
})

test('without restock the money goes back and the units do not', async () => {
  const { a, id, customer_id } = await paid()
  must(await shop.refund({ order_id: id, restock: false }))
  expect(await balanceOf(shop.db, customer_id)).toBe(10_000)
  expect(await counters(shop.db, a)).toBe('7/0')
})

test('line by line it is what was paid for each, and all of it together what was paid', async () => {
  const { a, b, id, customer_id } = await paid()
  const amounts: number[] = []
  for (const lines of [
    [{ sku: a, quantity: 1 }],
    [
      { sku: a, quantity: 1 },
      { sku: a, quantity: 1 },
    ],
    [{ sku: b, quantity: 1 }],
  ]) {
    amounts.push(must(await shop.refund({ order_id: id, lines })).refund.amount)
    expect(await statusOf(id)).toBe('partially_refunded')
  }
  amounts.push(must(await shop.refund({ order_id: id })).refund.amount)
  expect(await statusOf(id)).toBe('refunded')
  expect(amounts.reduce((sum, amount) => sum + amount, 0)).toBe(6500)
  expect(await balanceOf(shop.db, customer_id)).toBe(10_000)
  expect(await eventsOf(shop.db, id)).toEqual([
    'created',
    'paid',
    ...Array.from({ length: 3 }, () => 'partially_refunded'),
    'refunded',
  ])
})

test('more units than were bought, or of another SKU, are refused with what can come back', async () => {
  const { a, id } = await paid()
  must(await shop.refund({ order_id: id, lines: [{ sku: a, quantity: 2 }] }))
  const lines = [
    { sku: a, quantity: 2 },
    { sku: 'another', quantity: 1 },
  ]
  expect(refusal(await shop.refund({ order_id: id, lines }))).toEqual({
    code: 'refund_exceeds_paid',
    lines: [
      { sku: a, requested: 2, refundable: 1 },
      { sku: 'another', requested: 1, refundable: 0 },
    ],
  })
})

test('one key refunds once, also for ten requests at once', async () => {
  const { a, id, customer_id } = await paid()
  const request = { order_id: id, lines: [{ sku: a, quantity: 1 }], idempotency: keyOf('refund once') }
  const answers = (await Promise.all(Array.from({ length: 10 }, () => shop.refund(request)))).map(must)
  expect(new Set(answers.map(({ refund }) => refund.id)).size).toBe(1)
  expect(await balanceOf(shop.db, customer_id)).toBe(3500 + answers[0]!.refund.amount)
  expect(refusal(await shop.refund({ ...request, idempotency: keyOf('refund once', 'else') }))).toEqual({
    code: 'idempotency_key_reused',
  })
})

test('ten refunds of the whole at once give it back once', async () => {
  const { a, id, customer_id } = await paid()
  const results = await Promise.all(Array.from({ length: 10 }, () => shop.refund({ order_id: id })))
  expect(results.filter(({ ok }) => ok)).toHaveLength(1)
  expect(await balanceOf(shop.db, customer_id)).toBe(10_000)
  expect(await counters(shop.db, a)).toBe('10/0')
})

test('refunds of single units race with one of the whole: no unit and no money comes back twice', async () => {
  const { a, b, id, customer_id } = await paid()
  const unit = (sku: string) => shop.refund({ order_id: id, lines: [{ sku, quantity: 1 }] })
  await Promise.all([unit(a), unit(b), unit(a), shop.refund({ order_id: id }), unit(b), unit(a), unit(a)])
  await shop.refund({ order_id: id })
  expect(await statusOf(id)).toBe('refunded')
  expect(await balanceOf(shop.db, customer_id)).toBe(10_000)
  expect([await counters(shop.db, a), await counters(shop.db, b)]).toEqual(['10/0', '10/0'])
})

test('an order that was not paid has nothing to give back', async () => {
  const order = await ordered(shop, await onSale(shop.db))
  expect(refusal(await shop.refund({ order_id: order.id }))).toEqual({
    code: 'order_not_refundable',
    status: 'awaiting_payment',
  })
  const id = newId()
  expect(refusal(await shop.refund({ order_id: id }))).toEqual({ code: 'order_not_found', id })
})

test('a shelf that is too full refuses the refund with all of it', async () => {
  const { a, id, customer_id } = await paid()
  must(await setStock(shop.db, [{ sku: a, stock: 2_000_000_000 }]))
  expect(refusal(await shop.refund({ order_id: id }))).toMatchObject({ code: 'stock_limit', sku: a })
  expect(await balanceOf(shop.db, customer_id)).toBe(3500)
  expect(await statusOf(id)).toBe('paid')
  must(await setStock(shop.db, [{ sku: a, stock: 7 }]))
})

test('the database itself keeps more from going back than came in', async () => {
  const { payment_id } = await paid()
  await expect(
    rows(database.db, 'UPDATE payments SET refunded_amount = 6501 WHERE id = ?', [payment_id]),
  ).rejects.toMatchObject({
    constraint: 'payments_refunds_within_captured',
  })
})

describe('by card', () => {
  test("the gateway is asked after it was written down, under the refund's id", async () => {
    const { id, payment_id } = await paid('card')
    const { refund } = must(await shop.refund({ order_id: id }))
    expect(refund.status).toBe('pending')
    await shop.finish()
    expect(gateway.refunds.get(refund.id)).toEqual({ payment_id, amount: 6500 })
    expect(await read(shop.db, id)).toMatchObject({ status: 'refunded', refunds: [{ status: 'succeeded' }] })
  })

  test('one whose answer was lost is asked for again and given back once', async () => {
    const { id, a } = await paid('card')
    const { refund } = must(await shop.refund({ order_id: id, lines: [{ sku: a, quantity: 1 }] }))
    gateway.lose.add('refund')
    await shop.finish()
    await shop.finish()
    expect(await read(shop.db, id)).toMatchObject({ refunds: [{ id: refund.id, status: 'succeeded' }] })
  })

  test('one that the gateway refuses is owed again, and may be given back by another', async () => {
    const { id, a } = await paid('card')
    const { refund } = must(await shop.refund({ order_id: id }))
    const told = {
      refund_id: refund.id,
      gateway_refund_id: 're',
      fact: { kind: 'refund_failed', code: 'closed_account' },
    } as const
    for (let i = 0; i < 2; i++) must(await settleRefund(shop.paying, told))
    expect(await read(shop.db, id)).toMatchObject({
      status: 'refund_required',
      refunds: [{ status: 'failed', failure_code: 'closed_account' }],
    })
    expect(await paymentsOf(shop.db, id)).toEqual(['card captured refund_failed 6500'])
    expect(await eventsOf(shop.db, id)).toEqual(['created', 'paid', 'refunded', 'refund_required refund_failed 6500'])
    const again = must(await shop.refund({ order_id: id })).refund
    expect(again).toMatchObject({ amount: 6500, skus: [] })
    await shop.finish()
    expect(await statusOf(id)).toBe('refunded')
    expect(await counters(shop.db, a)).toBe('10/0')
  })

  test('one that fails after all is told by a webhook, and owed once however often that comes', async () => {
    const { id, payment_id } = await paid('card')
    const { refund } = must(await shop.refund({ order_id: id }))
    await shop.finish()
    const tell = async (event_id: string, fact: RefundFact): Promise<string> => {
      const about = { refund_id: refund.id, fact }
      const readWebhook = () => ({ ok: true, event_id, type: 'refund', about }) as const
      const deps = { ...shop.paying, gateway: { ...gateway, readWebhook } }
      return must(await receiveWebhook(deps, 'fake', { headers: {}, body: Buffer.of() })).outcome
    }
    const failed = { kind: 'refund_failed', code: 'closed_account' } as const
    expect(await tell('early', { kind: 'refund_succeeded' })).toBe('nothing')
    const outcomes = await Promise.all(Array.from({ length: 5 }, () => tell('late', failed)))
    expect(outcomes.toSorted()).toEqual(['owe:refund_failed', ...Array.from({ length: 4 }, () => 'repeated')])
    expect(await tell('later', failed)).toBe('nothing')
    expect(await paymentsOf(shop.db, id)).toEqual(['card captured refund_failed 6500'])
    expect(await eventsOf(shop.db, id)).toEqual(['created', 'paid', 'refunded', 'refund_required refund_failed 6500'])
    const noted = await rows(
      database.db,
      'SELECT event_id, outcome FROM webhook_events WHERE payment_id = ? ORDER BY 1',
      [payment_id],
    )
    expect(noted).toEqual([
      { event_id: 'early', outcome: 'nothing' },
      { event_id: 'late', outcome: 'owe:refund_failed' },
      { event_id: 'later', outcome: 'nothing' },
    ])
    must(await shop.refund({ order_id: id }))
    await shop.finish()
  })
})

test('money that others have taken is written down, and given back by them', async () => {
  const sku = await onSale(shop.db)
  const order = await ordered(shop, sku)
  must(await shop.core.reservations.confirm({ id: order.reservation_id }))
  expect(must(await shop.refund({ order_id: order.id })).refund).toMatchObject({ status: 'succeeded', amount: 1000 })
  expect(await statusOf(order.id)).toBe('refunded')
  expect(await counters(shop.db, sku)).toBe('10/0')
})
