import { rows } from '../src/database/transaction.ts'
import { until } from './factories.ts'
import { call, serveService, type ServingService } from './http/serving.ts'
import { customer, onSale, read, wrongs } from './shop.ts'

/** What the wiring alone makes happen, without anybody asking for it. */

let serving: ServingService

beforeAll(async () => {
  serving = await serveService({}, { PAYMENTS_CRON: '* * * * * *', SALES_CRON: '* * * * * *' })
})

afterAll(async () => {
  expect(await wrongs(serving.database.db)).toEqual([])
  await serving.close()
})

const gateway = () => serving.service.shop.routes.development_gateway!

/** An order whose buyer is at the gateway's page. */
async function begun(): Promise<{ id: string; payment_id: string }> {
  const { db } = serving.database
  const body = { customer_id: await customer(db), lines: [{ sku: await onSale(db), quantity: 1 }] }
  const id = String((await call(serving, 'POST', '/v1/orders', { body })).body.id)
  const payment = await call(serving, 'POST', `/v1/orders/${id}/payments`, {
    body: { method: 'card' },
    headers: { 'Idempotency-Key': id },
  })
  return { id, payment_id: String(payment.body.id) }
}

test('a cancel lets the gateway know at once, before any job runs', async () => {
  const { id, payment_id } = await begun()
  expect(await call(serving, 'POST', `/v1/orders/${id}/cancel`)).toMatchObject({ status: 200 })
  await until(async () => (await gateway().read(payment_id))?.status === 'cancelled')
})

test('once started, a payment of which nothing was heard is found paid and its sale is counted', async () => {
  const { db } = serving.database
  const { id, payment_id } = await begun()
  // Its webhooks are never sent.
  await gateway().choose(payment_id, 'approve', { webhook_copies: 0 })
  await rows(db, 'UPDATE payments SET next_try_at = clock_timestamp() WHERE id = ?', [payment_id])
  serving.service.start()
  await until(async () => (await read(db, id)).status === 'paid')
  await until(async () => (await rows(db, 'SELECT 1 FROM sales_daily')).length === 1)
})
