import { setTimeout as delay } from 'node:timers/promises'
import type { Knex } from 'knex'
import { createProduct } from '../../src/catalog/create.ts'
import { rows } from '../../src/database/transaction.ts'
import { makeOverdue, manyCustomers, must } from '../factories.ts'
import { startFakeStripe, WEBHOOK_SECRET, type FakeStripe, type StripeEvent } from '../payments/fake_stripe.ts'
import { setStock } from '../../src/stock/set.ts'
import { checkVerify } from './audit.ts'
import { openDatabase, openServer } from './database.ts'
import { checkErrors, createClient, startService, type Client, type Reply } from './service.ts'
import { reasons, runSuite, type Suite } from './suite.ts'

/**
 * Webhooks repeated, turned around and late, a thousand payments of each: every order ends right, none is paid without
 * stock, and no money is kept without goods or a refund that is required.
 */

const PAYMENTS = 1000
const COPIES = 3
const PRICE = 500
const CONNECTIONS = 40
const SETTLE_MS_MAX = 180_000
/** Several jobs run in each second: two stalls of the machine may make so many late. */
const LATE_MAX = 10

type Shop = {
  suite: Suite
  db: Knex
  stripe: FakeStripe
  client: Client
  customer_id: string
  /** What the service has logged. */
  errors: () => unknown[]
}
type Begun = { order_id: string; payment_id: string; intent_id: string; reservation_id: string }

async function main(suite: Suite): Promise<void> {
  const server = await openServer(suite)
  const { url, db } = await openDatabase(suite, server)
  const stripe = await startFakeStripe()
  suite.onEnd(() => stripe.close())
  const service = await startService({
    DATABASE_URL: url,
    PAYMENT_GATEWAY: 'stripe',
    STRIPE_SECRET_KEY: 'sk_test_of_the_suite',
    STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET,
    STRIPE_API_URL: stripe.url,
    PAYMENTS_CRON: '* * * * * *',
    SALES_CRON: '* * * * * *',
  })
  const client = createClient(service.base, CONNECTIONS)
  const [customer_id] = await manyCustomers(db, 1)
  const shop = { suite, db, stripe, client, customer_id: customer_id!, errors: () => service.errors() }
  await repeated(shop)
  await turnedAround(shop)
  await late(shop)
  await client.close()
  checkErrors(suite, [service], { late_max: LATE_MAX })
  await service.stop()
  await checkVerify(suite, db, 'after all webhooks')
}

/** Each event of a payment several times, all at once. */
async function repeated(shop: Shop): Promise<void> {
  const begun = await begin(shop, 'REPEATED', PAYMENTS)
  await inLines(begun, async ({ intent_id }) => {
    const events = shop.stripe.pay(intent_id)
    await sendAll(shop, copies(events))
  })
  await settled(shop, begun)
  await inLines(begun, ({ intent_id }) => sendAll(shop, copies([captured(shop, intent_id)])))
  await checkEnds(shop, 'repeated', begun, { paid: PAYMENTS })
}

/** The capture is told before the authorisation, and the decline before both comes last. */
async function turnedAround(shop: Shop): Promise<void> {
  const begun = await begin(shop, 'REVERSED', PAYMENTS)
  await inLines(begun, async ({ intent_id }) => {
    const { stripe } = shop
    const declined = stripe.decline(intent_id, 'insufficient_funds')
    const authorised = stripe.pay(intent_id)
    takeByItself(shop, intent_id)
    for (const event of [captured(shop, intent_id), ...authorised, ...declined]) await sendAll(shop, copies([event]))
  })
  await checkEnds(shop, 'turned around', begun, { paid: PAYMENTS })
}

/**
 * All holds have run out. A third is authorised now: voided. A third was taken by the gateway itself while stock remains: a
 * new hold. A third likewise when it is sold out: owed. Half of all orders have been swept.
 */
async function late(shop: Shop): Promise<void> {
  const begun = await begin(shop, 'LATE', PAYMENTS)
  const third = Math.floor(PAYMENTS / 3)
  const [voided, sold, owed] = [begun.slice(0, third), begun.slice(third, 2 * third), begun.slice(2 * third)]
  await makeOverdue(
    shop.db,
    begun.map(({ reservation_id }) => reservation_id),
  )
  await inLines(voided, async ({ intent_id }) => sendAll(shop, copies(shop.stripe.pay(intent_id))))
  await inLines(sold, async ({ intent_id }) => {
    const authorised = shop.stripe.pay(intent_id)
    takeByItself(shop, intent_id)
    await sendAll(shop, copies([captured(shop, intent_id), ...authorised]))
  })
  // All that is left was sold to somebody else.
  await until(async () => (await reserved(shop, 'LATE')) === 0)
  must(await setStock(shop.db, [{ sku: 'LATE', stock: 0 }]))
  await inLines(owed, async ({ intent_id }) => {
    shop.stripe.pay(intent_id)
    takeByItself(shop, intent_id)
    await sendAll(shop, copies([captured(shop, intent_id)]))
  })
  await settled(shop, begun)
  await checkEnds(shop, 'late', begun, { expired: voided.length, paid: sold.length, refund_required: owed.length })
}

/** Orders of one unit each, whose buyers have begun to pay by card. */
async function begin(shop: Shop, sku: string, count: number): Promise<Begun[]> {
  const { db, customer_id, stripe } = shop
  must(
    await createProduct(db, { name: sku, status: 'active', skus: [{ sku, price: PRICE, stock: count }], client: '' }),
  )
  const begun: Begun[] = []
  await inLines(
    Array.from({ length: count }, (_, i) => i),
    async (i) => {
      const key = { 'idempotency-key': `${sku} ${i}` }
      const order = await ask(shop, '/v1/orders', { customer_id, lines: [{ sku, quantity: 1 }] }, key)
      const payment = await ask(shop, `/v1/orders/${order.body.id}/payments`, { method: 'card' }, key)
      const { client_secret } = payment.body['next_action'] as { client_secret: string }
      begun.push({
        order_id: order.body.id!,
        payment_id: payment.body.id!,
        intent_id: client_secret.replace('_secret', ''),
        reservation_id: String(order.body['reservation_id']),
      })
    },
  )
  if ([...stripe.intents.values()].length < begun.length) throw new Error('not every payment reached the gateway')
  return begun
}

/** Asks until there is an answer: a busy machine says 503, and under the same key it goes on. */
async function ask({ client, errors }: Shop, path: string, body: unknown, key: Record<string, string>): Promise<Reply> {
  const deadline = Date.now() + SETTLE_MS_MAX
  for (;;) {
    const reply = await client.send('POST', path, body, key)
    if (reply.status === 201) return reply
    const is_busy = reply.status === 503 || reply.body.code === 'idempotency_key_in_use'
    if (!is_busy || Date.now() > deadline)
      throw new Error(`${path} was answered ${reply.status} ${reply.body.code}: ${reasons(errors())}`)
    await delay(100)
  }
}

/** The gateway takes the money without being asked to. */
function takeByItself({ stripe }: Shop, intent_id: string): void {
  const intent = stripe.intents.get(intent_id)!
  Object.assign(intent, { status: 'succeeded', amount_received: intent.amount, amount_capturable: 0 })
}

function captured({ stripe }: Shop, intent_id: string): StripeEvent {
  return stripe.event('payment_intent.succeeded', stripe.intents.get(intent_id))
}

function copies(events: readonly StripeEvent[]): StripeEvent[] {
  return events.flatMap((event) => Array.from({ length: COPIES }, () => event))
}

let sent = 0

/** Sends events at once; one that is not taken is sent again, as a gateway does. */
async function sendAll({ client, stripe, errors }: Shop, events: readonly StripeEvent[]): Promise<void> {
  await Promise.all(
    events.map(async (event) => {
      const deadline = Date.now() + SETTLE_MS_MAX
      for (;;) {
        const { body, headers } = stripe.sign(event)
        const reply = await client.send('POST', '/v1/payments/webhooks/stripe', JSON.parse(body), headers)
        if (reply.status === 200) break
        if ((reply.status !== 503 && reply.status !== 409) || Date.now() > deadline)
          throw new Error(`a webhook was answered ${reply.status} ${reply.body.code}: ${reasons(errors())}`)
        await delay(20)
      }
      sent += 1
    }),
  )
}

async function inLines<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items]
  await Promise.all(
    Array.from({ length: CONNECTIONS / 2 }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item)
    }),
  )
}

/** Waits until nothing is owed to the gateway for these payments, and no hold is overdue. */
async function settled({ db }: Shop, begun: readonly Begun[]): Promise<void> {
  const ids = begun.map(({ payment_id }) => payment_id)
  await until(async () => {
    const [left] = await rows<{ left: number }>(
      db,
      `SELECT count(*) AS left FROM payments WHERE id = ANY (?) AND next_try_at IS NOT NULL`,
      [ids],
    )
    return left?.left === 0
  })
}

async function reserved({ db }: Shop, sku: string): Promise<number> {
  const [row] = await rows<{ held: number }>(db, 'SELECT temp_reserved_stock AS held FROM stock WHERE sku = ?', [sku])
  return row!.held
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + SETTLE_MS_MAX
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('it did not settle in time')
    await delay(100)
  }
}

/** Orders by their end, and each against what the gateway took. */
async function checkEnds(
  shop: Shop,
  name: string,
  begun: readonly Begun[],
  expected: Record<string, number>,
): Promise<void> {
  const { db, stripe, suite } = shop
  const ends = await rows<{ id: string; status: string; captured: number; owed: number; hold: string }>(
    db,
    `SELECT o.id, o.status, p.captured_amount AS captured, p.owed_amount AS owed, r.status AS hold
     FROM orders o JOIN payments p ON p.order_id = o.id JOIN reservations r ON r.id = o.reservation_id
     WHERE o.id = ANY (?)`,
    [begun.map(({ order_id }) => order_id)],
  )
  const counts: Record<string, number> = {}
  for (const { status } of ends) counts[status] = (counts[status] ?? 0) + 1
  const intents = new Map(begun.map(({ order_id, intent_id }) => [order_id, stripe.intents.get(intent_id)!]))
  const wrong = ends.flatMap(({ id, status, captured: money, owed, hold }) => {
    const { status: at, amount_received } = intents.get(id)!
    const took = at === 'succeeded' ? amount_received : 0
    const found = `order ${status}, hold ${hold}, captured ${money}, owed ${owed}, the gateway ${at} ${took}`
    const agrees =
      money === took &&
      (status === 'paid' ? hold === 'confirmed' && took === PRICE && owed === 0 : took === owed) &&
      at !== 'requires_capture'
    return agrees ? [] : [found]
  })
  const right =
    JSON.stringify(Object.entries(counts).toSorted()) === JSON.stringify(Object.entries(expected).toSorted())
  const figures = `${JSON.stringify(counts)}, ${sent} webhooks so far`
  suite.check(
    `${name}: every order of ${begun.length} ends right`,
    right,
    right ? figures : `${figures}, not ${JSON.stringify(expected)}`,
  )
  suite.check(`${name}: what the gateway took has paid for goods or is owed`, wrong.length === 0, reasons(wrong))
}

await runSuite(main)
