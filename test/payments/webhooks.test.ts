import { Webhook } from 'standardwebhooks'
import { rows } from '../../src/database/transaction.ts'
import { newId } from '../../src/ids.ts'
import { counters, makeOverdue, until } from '../factories.ts'
import { call, serveService, type Answered, type ServingService } from '../http/serving.ts'
import { balanceOf, customer, eventsOf, onSale, paymentsOf, read, wrongs } from '../shop.ts'

/** What gateways tell, over HTTP: signed, repeated, turned around and late. With the development gateway, as a shop has it. */

const SECRET = `whsec_${Buffer.from('a secret of the tests, long enough').toString('base64')}`
const webhook = new Webhook(SECRET)

let serving: ServingService

beforeAll(async () => {
  serving = await serveService({}, { DEVELOPMENT_GATEWAY_SECRET: SECRET })
})

afterAll(async () => {
  expect(await wrongs(serving.database.db)).toEqual([])
  await serving.close()
})

const gateway = () => serving.service.shop.routes.development_gateway!

type Told = { type: string; data: Record<string, unknown> }

function send(
  told: Told,
  options: { id?: string; secret?: Webhook; at?: Date; body?: string } = {},
): Promise<Answered> {
  const { id = newId(), secret = webhook, at = new Date() } = options
  const body = JSON.stringify(told)
  const headers = {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': secret.sign(id, at, body),
  }
  return call(serving, 'POST', '/v1/payments/webhooks/development', { body: options.body ?? body, headers })
}

/** An order of one unit whose buyer is at the gateway's page. */
async function begun(): Promise<{ sku: string; id: string; payment_id: string; page: string; reservation_id: string }> {
  const { db } = serving.database
  const sku = await onSale(db)
  const order = await call(serving, 'POST', '/v1/orders', {
    body: { customer_id: await customer(db), lines: [{ sku, quantity: 1 }] },
  })
  expect(order.status).toBe(201)
  const id = String(order.body.id)
  const payment = await call(serving, 'POST', `/v1/orders/${id}/payments`, {
    body: { method: 'card', return_url: '/shop/thanks' },
    headers: { 'Idempotency-Key': id },
  })
  expect(payment.body).toMatchObject({ status: 'pending', next_action: { type: 'redirect' } })
  const page = (payment.body.next_action as { url: string }).url
  return { sku, id, payment_id: String(payment.body.id), page, reservation_id: String(order.body.reservation_id) }
}

const told = (type: string, payment_id: string, more: Record<string, unknown> = {}): Told => ({
  type,
  data: { gateway_payment_id: `dev_${payment_id}`, amount: 1000, currency: 'KRW', ...more },
})

const statusOf = async (id: string) => (await read(serving.database.db, id)).status
const untilStatus = (id: string, status: string) => until(async () => (await statusOf(id)) === status)

function choose(page: string, form: Record<string, string>): Promise<Response> {
  return fetch(serving.url + page, { method: 'POST', body: new URLSearchParams(form), redirect: 'manual' })
}

test('a buyer approves at the gateway, comes back to the shop, and the order is paid', async () => {
  const { sku, id, page, payment_id } = await begun()
  const shown = await fetch(serving.url + page)
  expect(shown.headers.get('content-security-policy')).toContain("default-src 'none'")
  expect(await shown.text()).toContain('₩1,000')
  const answer = await choose(page, { choice: 'approve' })
  expect([answer.status, answer.headers.get('location')]).toEqual([303, '/shop/thanks'])
  expect(await gateway().deliver()).toBeGreaterThan(0)
  await untilStatus(id, 'paid')
  expect((await call(serving, 'GET', `/v1/payments/${payment_id}`)).body).toMatchObject({
    status: 'paid',
    next_action: null,
  })
  expect(await counters(serving.database.db, sku)).toBe('9/0')
})

test('a declined buyer stays at the page and may try again', async () => {
  const { id, page } = await begun()
  const answer = await choose(page, { choice: 'decline' })
  expect(answer.headers.get('location')).toBe(page)
  expect(await (await fetch(serving.url + page)).text()).toContain('declined')
  await gateway().deliver()
  expect((await read(serving.database.db, id)).payments).toMatchObject([
    { status: 'failed', failure_code: 'card_declined' },
  ])
  await choose(page, { choice: 'approve' })
  await gateway().deliver()
  await untilStatus(id, 'paid')
})

test.each([
  ['fail', 'payment_failed'],
  ['cancel', 'cancelled'],
])('a buyer whose choice is %s: the order is %s and the units are back', async (choice, status) => {
  const { sku, id, page } = await begun()
  await choose(page, { choice })
  await gateway().deliver()
  expect(await statusOf(id)).toBe(status)
  expect(await counters(serving.database.db, sku)).toBe('10/0')
})

test('copies, a turned-around pair and a gateway that takes the money by itself: the order is paid once', async () => {
  const { sku, id, page } = await begun()
  await choose(page, { choice: 'approve', captures_itself: 'true', webhooks_reversed: 'true', webhook_copies: '5' })
  await gateway().deliver()
  expect(await statusOf(id)).toBe('paid')
  await rows(serving.database.db, `UPDATE development_gateway_webhooks SET due_at = now() WHERE delivered_at IS NULL`)
  await gateway().deliver()
  expect(await eventsOf(serving.database.db, id)).toEqual(['created', 'paid'])
  expect(await counters(serving.database.db, sku)).toBe('9/0')
})

test("an approval whose webhook comes after the hold's end is voided at the gateway", async () => {
  const { id, page, payment_id, reservation_id } = await begun()
  await choose(page, { choice: 'approve', webhook_delay_ms: '60000' })
  await makeOverdue(serving.database.db, reservation_id)
  await rows(serving.database.db, `UPDATE development_gateway_webhooks SET due_at = now() WHERE delivered_at IS NULL`)
  await gateway().deliver()
  await until(async () => (await gateway().read(payment_id))?.status === 'cancelled')
  expect(await statusOf(id)).toBe('expired')
})

test('a capture that is refused at the gateway fails the order, one whose answer is lost does not', async () => {
  const refused = await begun()
  await choose(refused.page, { choice: 'approve', capture: 'refused' })
  await gateway().deliver()
  await untilStatus(refused.id, 'payment_failed')
  expect(await counters(serving.database.db, refused.sku)).toBe('10/0')
  const lost = await begun()
  await choose(lost.page, { choice: 'approve', capture: 'answer_lost', webhook_copies: '1' })
  await gateway().deliver()
  await until(async () => (await gateway().read(lost.payment_id))?.status === 'captured')
  // Whoever lost the answer puts the next try off, and may do so after it was made due here.
  await until(async () => {
    await rows(
      serving.database.db,
      `UPDATE payments SET next_try_at = now() WHERE next_try_at IS NOT NULL AND status = 'authorised'`,
    )
    await serving.service.shop.pursueDue()
    return (await statusOf(lost.id)) === 'paid'
  })
})

test('a refund that the gateway has refused stays refused, however often it is asked for', async () => {
  const { id, payment_id, page } = await begun()
  await choose(page, { choice: 'approve', refund: 'refused' })
  await gateway().deliver()
  await untilStatus(id, 'paid')
  const { gateway: port } = gateway()
  const payment = {
    id: payment_id,
    order_id: id,
    customer_id: newId(),
    amount: 1000,
    currency: 'KRW',
    gateway_payment_id: null,
    return_url: null,
  }
  const refund = { id: newId(), amount: 1000, currency: 'KRW' }
  for (let i = 0; i < 2; i++) {
    expect(await port.refund(payment, refund)).toMatchObject({ status: 'failed', failure_code: 'refund_refused' })
  }
  expect(await port.refund(payment, { ...refund, id: newId() })).toMatchObject({ status: 'succeeded' })
})

test('an event is handled once, whatever number of times it comes at once', async () => {
  const { sku, id, payment_id } = await begun()
  const event_id = newId()
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => send(told('payment.captured', payment_id), { id: event_id })),
  )
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200))
  expect(answers.map(({ body }) => body.outcome).toSorted()).toEqual([
    ...Array.from({ length: 9 }, () => 'repeated'),
    'sell',
  ])
  expect(await counters(serving.database.db, sku)).toBe('9/0')
  expect(await paymentsOf(serving.database.db, id)).toEqual(['card captured'])
})

test('amount and currency are checked: what does not match sells nothing', async () => {
  const { id, payment_id, sku } = await begun()
  expect((await send(told('payment.captured', payment_id, { amount: 10 }))).body.outcome).toBe('owe:amount_mismatch')
  expect(await statusOf(id)).toBe('refund_required')
  expect(await counters(serving.database.db, sku)).toBe('10/0')
})

test('whatever is sent to the page of a payment is answered with what to do, and decides nothing', async () => {
  const { id, page, payment_id } = await begun()
  const nobodys = page.replace(payment_id, newId())
  const post = (path: string, body: string) => call(serving, 'POST', path, { body })
  const answers = [
    await call(serving, 'GET', nobodys),
    await call(serving, 'GET', `${page}'`),
    await post(nobodys, 'choice=approve'),
    await post(page, ''),
    await post(page, 'choice=constructor'),
    await post(page, `choice=approve&x=${'x'.repeat(5000)}`),
  ]
  expect(answers.map(({ status, body }) => [status, body.code])).toEqual([
    [404, 'payment_not_found'],
    [404, 'payment_not_found'],
    [404, 'payment_not_found'],
    [400, 'invalid_request'],
    [400, 'invalid_request'],
    [413, 'payload_too_large'],
  ])
  expect(await statusOf(id)).toBe('awaiting_payment')
  expect((await gateway().read(payment_id))?.status).toBe('requires_action')
})

test('without the right signature nothing is believed', async () => {
  const { id, payment_id } = await begun()
  const paid = told('payment.captured', payment_id)
  const forged = new Webhook(`whsec_${Buffer.from('another secret, just as long as it').toString('base64')}`)
  const old = new Date(Date.now() - 600_000)
  const answers = [
    await send(paid, { secret: forged }),
    await send(paid, { at: old }),
    await send(paid, { body: JSON.stringify(told('payment.captured', payment_id, { amount: 1 })) }),
    await call(serving, 'POST', '/v1/payments/webhooks/development', { body: paid }),
  ]
  for (const answer of answers) expect(answer).toMatchObject({ status: 401, body: { code: 'unauthenticated' } })
  expect(await statusOf(id)).toBe('awaiting_payment')
})

test('a gateway that is not set up is not found; a payment that is unknown, and an event that is nothing, are taken', async () => {
  expect(await call(serving, 'POST', '/v1/payments/webhooks/stripe', { body: {} })).toMatchObject({ status: 404 })
  expect(await call(serving, 'POST', '/v1/payments/webhooks/no%20such', { body: {} })).toMatchObject({ status: 404 })
  expect((await send(told('payment.captured', newId()))).body).toEqual({ outcome: 'unknown_payment' })
  expect((await send(told('payment.captured', 'nonsense'))).body).toEqual({ outcome: 'unknown_payment' })
  for (const type of ['weather.changed', 'constructor']) {
    expect((await send(told(type, newId()))).body).toEqual({ outcome: 'ignored' })
    expect((await send({ type, data: null as never })).body).toEqual({ outcome: 'ignored' })
  }
})

test('paid, refunded and looked at over HTTP, with every key that is asked for', async () => {
  const { db } = serving.database
  const sku = await onSale(db, { price: 2000 })
  const customer_id = await customer(db, 5000)
  const { body: order } = await call(serving, 'POST', '/v1/orders', {
    body: { customer_id, lines: [{ sku, quantity: 2 }] },
  })
  const path = `/v1/orders/${String(order.id)}`
  expect(await call(serving, 'POST', `${path}/payments`, { body: { method: 'balance' } })).toMatchObject({
    status: 400,
    body: { errors: [{ path: 'header/Idempotency-Key' }] },
  })
  const pay = () =>
    call(serving, 'POST', `${path}/payments`, { body: { method: 'balance' }, headers: { 'Idempotency-Key': 'p' } })
  const [first, second] = [await pay(), await pay()]
  expect(first).toMatchObject({ status: 201, body: { status: 'paid', amount: 4000 } })
  expect([second.body, second.headers.get('idempotent-replayed')]).toEqual([first.body, 'true'])
  expect(await call(serving, 'POST', `${path}/cancel`)).toMatchObject({
    status: 409,
    body: { code: 'order_already_paid' },
  })
  const refund = await call(serving, 'POST', `${path}/refunds`, {
    body: { lines: [{ sku, quantity: 1 }], restock: true },
  })
  expect(refund).toMatchObject({
    status: 201,
    body: { status: 'succeeded', amount: 2000, lines: [{ sku, quantity: 1 }], restock: true },
  })
  expect((await call(serving, 'GET', path)).body).toMatchObject({
    status: 'partially_refunded',
    payments: [{ status: 'paid', refunded_amount: 2000 }],
    refunds: [refund.body],
  })
  expect(await balanceOf(db, customer_id)).toBe(3000)
  const list = await call(serving, 'GET', `/v1/orders?customer_id=${customer_id}&status=partially_refunded&limit=1`)
  expect(list.body).toMatchObject({ data: [{ id: order.id }], next_cursor: null })
  expect((await call(serving, 'GET', `/v1/orders?status=paid&customer_id=${customer_id}`)).body).toMatchObject({
    data: [],
  })
  await serving.service.shop.addUpSales()
  const popular = await call(serving, 'GET', '/v1/products/popular?limit=100')
  expect(popular.body.data).toContainEqual(
    expect.objectContaining({ units_sold: 1, amount: 2000, skus: [expect.objectContaining({ sku })] }),
  )
  expect(await call(serving, 'GET', '/v1/products/popular?from=2026-02-02&to=2026-02-01')).toMatchObject({
    status: 400,
  })
})
