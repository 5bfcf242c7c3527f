import { describeStatus } from '../../src/cli/status.ts'
import { rows } from '../../src/database/transaction.ts'
import { readStatus, type StatusReport } from '../../src/operations/status.ts'
import { GatewayUnavailable } from '../../src/payments/gateway.ts'
import { retryNow } from '../../src/payments/pursue.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { must, stopCores } from '../factories.ts'
import { createFakeGateway, type FakeGateway } from '../payments/fake_gateway.ts'
import { onSale, openShop, ordered, type TestShop } from '../shop.ts'

/** What `cli status` says at 2 a.m. of money that is stuck or must be given back. */

let database: TestDatabase
let shop: TestShop
let gateway: FakeGateway

const MONEY = { amount: 1000, currency: 'KRW' }

beforeEach(async () => {
  database = await createTestDatabase()
  gateway = createFakeGateway()
  shop = openShop(database, { gateway })
})

afterEach(async () => {
  await shop.stop()
  await stopCores()
  await database.drop()
})

function status(): Promise<StatusReport> {
  return readStatus({
    database: { description: 'test', embedded: false, db: database.db },
    service_url: 'http://127.0.0.1:1',
    stalled_after_seconds: 60,
  })
}

/** What to do about money: neither that no service runs here nor that it needs no key. */
async function steps(): Promise<string[]> {
  return (await status()).next_steps.filter((step) => !/No service answers|keys create/.test(step))
}

/** An order of one unit whose buyer has begun to pay by card. */
async function begun(): Promise<{ id: string; payment_id: string }> {
  const order = await ordered(shop, await onSale(shop.db))
  const { payment } = must(await shop.pay(order.id, { method: 'card' }))
  return { id: order.id, payment_id: payment.id }
}

/** The same, and the buyer has approved: the capture is owed. */
async function authorised(): Promise<{ id: string; payment_id: string }> {
  const order = await begun()
  gateway.set(order.payment_id, 'authorised')
  must(await shop.tell(order.payment_id, { kind: 'authorised', ...MONEY }))
  return order
}

function gatewayIsDown(): void {
  const fail = () => {
    throw new GatewayUnavailable(new Error('connect ECONNREFUSED 203.0.113.7:443'))
  }
  gateway.before = { capture: fail, void: fail, refund: fail, look: fail }
}

test('a buyer who has not paid yet is nothing to do', async () => {
  await begun()
  expect((await status()).database).toMatchObject({ owing: [], owed: [] })
  expect(await steps()).toEqual([])
})

test('a capture that the gateway does not take is named with its order, its error and what to do', async () => {
  const { id, payment_id } = await authorised()
  gatewayIsDown()
  await shop.finish()
  const report = await status()
  expect(report.database).toMatchObject({
    owing: [
      { what: 'capture', order_id: id, payment_id, tries: 1, last_error: expect.stringContaining('ECONNREFUSED') },
    ],
  })
  expect(describeStatus(report)).toMatch(
    new RegExp(
      `^Money\n  capture of payment ${payment_id}, order ${id}: tried 1 times, next try in \\d s: .*ECONNREFUSED`,
      'm',
    ),
  )
  expect(await steps()).toEqual([expect.stringMatching(/1 request to the payment gateway could not.*payments retry/)])
})

test('what was put off is tried at once when somebody says so, and what waits for a buyer is left', async () => {
  const [stuck, waiting] = [await authorised(), await begun()]
  gatewayIsDown()
  await rows(database.db, `UPDATE payments SET next_try_at = now() WHERE id = ?`, [stuck.payment_id])
  await shop.pursuer.run()
  await shop.pursuer.run()
  expect(gateway.book.get(stuck.payment_id)?.status).not.toBe('captured')

  expect(await retryNow(database.db)).toBe(1)
  expect(await shop.pursuer.run()).toBe(1)
  expect(gateway.book.get(stuck.payment_id)?.status).toBe('captured')
  expect(gateway.calls).not.toContain(`look ${waiting.payment_id}`)
  expect(await steps()).toEqual([])
  expect(await retryNow(database.db)).toBe(0)
})

test('what is due and nobody takes points at PAYMENTS_CRON', async () => {
  const { payment_id } = await authorised()
  await rows(database.db, `UPDATE payments SET next_try_at = now() - interval '5 minutes' WHERE id = ?`, [payment_id])
  expect(await steps()).toEqual([expect.stringMatching(/1 request to the payment gateway should have.*PAYMENTS_CRON/)])
})

test('money that must be given back is named with its order and how to do it, until it is done', async () => {
  const { id, payment_id } = await begun()
  must(await shop.cancel(id))
  must(await shop.tell(payment_id, { kind: 'captured', ...MONEY }))
  const report = await status()
  expect(report.database).toMatchObject({
    owed: [{ order_id: id, payment_id, amount: 1000, currency: 'KRW', reason: 'order_cancelled' }],
  })
  expect(describeStatus(report)).toContain(
    `order ${id} owes its buyer 1000 KRW of payment ${payment_id}: order_cancelled`,
  )
  expect(await steps()).toEqual([expect.stringContaining(`POST /v1/orders/${id}/refunds`)])

  must(await shop.refund({ order_id: id, restock: false }))
  gatewayIsDown()
  await shop.finish()
  expect(await steps()).toEqual([expect.stringContaining('1 request to the payment gateway')])
  await shop.finish()
  expect(await steps()).toEqual([])
})

test('of many only the first are shown, and all are counted', async () => {
  for (let i = 0; i < 22; i++) await begun()
  await rows(
    database.db,
    `UPDATE payments SET next_try_at = now() + interval '1 minute', tries = 3, last_error = 'gone'`,
  )
  const report = await status()
  expect(report.database.owing).toHaveLength(20)
  expect(describeStatus(report)).toContain('\n  and 2 more\n')
  expect(await steps()).toEqual([expect.stringContaining('22 requests')])
})
