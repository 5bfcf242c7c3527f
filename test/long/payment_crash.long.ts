import { setTimeout as delay } from 'node:timers/promises'
import type { Knex } from 'knex'
import { createProduct } from '../../src/catalog/create.ts'
import { rows } from '../../src/database/transaction.ts'
import { newId } from '../../src/ids.ts'
import { manyCustomers, must } from '../factories.ts'
import { startFakeStripe, WEBHOOK_SECRET, type FakeStripe, type StripeEvent } from '../payments/fake_stripe.ts'
import { checkVerify } from './audit.ts'
import { openDatabase, openServer } from './database.ts'
import { startService, type Reply, type RunningService } from './service.ts'
import { reasons, runSuite, type Suite } from './suite.ts'

/**
 * The service is killed with SIGKILL at every point of a payment: before and after each call to the gateway, while it waits
 * for a counter, amid webhooks, amid payments by balance, amid refunds. After the restart money and stock agree, without
 * anybody's help: what the gateway took has paid for goods, is owed, or was given back.
 */

const BUYERS = 24
const SKUS = ['CRASH-A', 'CRASH-B', 'CRASH-C']
const STOCK = 5000
const PRICE = 700
const BALANCE = 1_000_000
const RECOVERY_MS_MAX = 120_000
/** A point that is not come to by itself is not waited for longer than this. */
const POINT_MS_MAX = 60_000

/** Where the service is killed: at a request to the gateway, before or after it was done; or after so long, whatever it does. */
type Point = { name: string; path?: RegExp; done?: boolean; after_ms?: number; locked?: boolean }

const POINTS: Point[] = [
  { name: 'before a payment is begun at the gateway', path: /^POST \/v1\/payment_intents$/, done: false },
  { name: 'after it was begun, before the answer', path: /^POST \/v1\/payment_intents$/, done: true },
  { name: 'before a capture', path: /\/capture$/, done: false },
  { name: 'after a capture, before the answer', path: /\/capture$/, done: true },
  { name: 'before a void', path: /\/cancel$/, done: false },
  { name: 'after a void, before the answer', path: /\/cancel$/, done: true },
  { name: 'before a refund', path: /^POST \/v1\/refunds$/, done: false },
  { name: 'after a refund, before the answer', path: /^POST \/v1\/refunds$/, done: true },
  { name: 'while payments wait for a counter', locked: true },
  ...[150, 400, 700, 1000, 1300, 1700].map((after_ms) => ({ name: `after ${after_ms} ms`, after_ms })),
]

async function main(suite: Suite): Promise<void> {
  const server = await openServer(suite)
  const { url, db } = await openDatabase(suite, server)
  const stripe = await startFakeStripe()
  suite.onEnd(() => stripe.close())
  const shop = new Shop(db, stripe, await open(db))
  const settings = {
    DATABASE_URL: url,
    PAYMENT_GATEWAY: 'stripe',
    STRIPE_SECRET_KEY: 'sk_test_of_the_suite',
    STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET,
    STRIPE_API_URL: stripe.url,
    PAYMENTS_CRON: '* * * * * *',
    SALES_CRON: '* * * * * *',
    EXPIRY_CRON: '* * * * * *',
  }
  const missed: string[] = []
  for (const point of POINTS) {
    const service = await startService(settings, { connections: BUYERS * 2 })
    if (!(await killAt(shop, service, point))) missed.push(point.name)
  }
  const last = await startService(settings, { connections: BUYERS * 2 })
  await shop.redeliver(last)
  await shop.retry(last)
  const left = await recover(shop)
  await last.stop()
  suite.check(
    `killed at ${POINTS.length} points of a payment`,
    missed.length === 0,
    missed.length === 0 ? shop.figures() : reasons(missed),
  )
  suite.check('after the restart nothing is owed to the gateway for long', left.length === 0, reasons(left))
  const wrong = await shop.audit()
  suite.check(
    'what the gateway took has paid for goods, is owed or went back, for each payment',
    wrong.length === 0,
    reasons(wrong),
  )
  const balances = await shop.auditBalances()
  suite.check('every balance is what was not spent', balances.length === 0, reasons(balances))
  const answers = shop.odd
  suite.check('who was told that it is paid, or given back, was told the truth', answers.length === 0, reasons(answers))
  await checkVerify(suite, db, 'after all kills')
}

async function open(db: Knex): Promise<string[]> {
  for (const sku of SKUS) {
    must(
      await createProduct(db, { name: sku, status: 'active', skus: [{ sku, price: PRICE, stock: STOCK }], client: '' }),
    )
  }
  const customers = await manyCustomers(db, BUYERS)
  await rows(
    db,
    `WITH charged AS (
       INSERT INTO charges (id, customer_id, amount, client, idempotency_key, request_hash)
       SELECT gen_random_uuid(), id, ?, '', 'fund ' || id, '\\x00' FROM customers RETURNING id, customer_id, amount
     ), entered AS (
       INSERT INTO account_entries (customer_id, seq, kind, amount, balance_after, charge_id)
       SELECT customer_id, 1, 'charge', amount, amount, id FROM charged
     )
     UPDATE customers SET balance = ?, seq = 1`,
    [BALANCE, BALANCE],
  )
  return customers
}

/** Buys on until the point is come to, and kills the service there. @returns whether it was come to */
async function killAt(shop: Shop, service: RunningService, point: Point): Promise<boolean> {
  let killed: Promise<void> | undefined
  const kill = () => (killed ??= service.kill())
  shop.stripe.onRequest = async ({ path, done }) => {
    if (point.path?.test(path) !== true || done !== point.done) return undefined
    await kill()
    return 'drop'
  }
  await shop.redeliver(service)
  shop.start(service)
  if (point.after_ms !== undefined) await delay(point.after_ms)
  if (point.locked === true) await waitWithLock(shop.db)
  if (point.path === undefined) await kill()
  const deadline = Date.now() + POINT_MS_MAX
  const isKilled = () => killed !== undefined
  while (!isKilled() && Date.now() < deadline) await delay(20)
  const come_to = isKilled()
  await kill()
  shop.stripe.onRequest = undefined
  await shop.pause()
  return come_to
}

/** Keeps a counter locked until payments wait for it, so that the kill finds their transactions open. */
async function waitWithLock(db: Knex): Promise<void> {
  await delay(300)
  await db.transaction(async (tx) => {
    await rows(tx, 'SELECT 1 FROM stock ORDER BY sku FOR UPDATE')
    await delay(150)
  })
}

/** What one buyer did with one order, and what it was told. */
type Deed = {
  customer_id: string
  kind: 'balance' | 'card' | 'card, cancelled' | 'card, declined'
  key: string
  sku: string
  order_id?: string
  payment: Reply | undefined
  wants_refund: boolean
  refund: Reply | undefined
}

class Shop {
  readonly db: Knex
  readonly stripe: FakeStripe
  readonly odd: string[] = []
  readonly #customers: string[]
  readonly #deeds: Deed[] = []
  /** Events that were not taken yet; a gateway sends them again. */
  readonly #events = new Set<StripeEvent>()
  #running = false
  #buyers: Promise<void>[] = []

  constructor(db: Knex, stripe: FakeStripe, customers: string[]) {
    this.db = db
    this.stripe = stripe
    this.#customers = customers
  }

  start(service: RunningService): void {
    this.#running = true
    this.#buyers = this.#customers.map(async (customer_id, i) => {
      while (this.#running) {
        const deed = this.#nextDeed(customer_id, i)
        this.#deeds.push(deed)
        await this.#do(deed, service)
        await delay(Math.random() * 20)
      }
    })
  }

  async pause(): Promise<void> {
    this.#running = false
    await Promise.all(this.#buyers)
  }

  /** Whoever was told nothing asks again under the same key. */
  async retry(service: RunningService): Promise<void> {
    const left = this.#deeds.filter(
      ({ payment, wants_refund, refund }) => payment === undefined || (wants_refund && refund === undefined),
    )
    for (let i = 0; i < left.length; i += BUYERS) {
      await Promise.all(left.slice(i, i + BUYERS).map((deed) => this.#do(deed, service)))
    }
  }

  figures(): string {
    return `${this.#deeds.length} orders, ${this.stripe.intents.size} card payments, ${this.stripe.refunds.size} card refunds`
  }

  #nextDeed(customer_id: string, i: number): Deed {
    const kinds = ['balance', 'card', 'card', 'card, cancelled', 'card, declined'] as const
    return {
      customer_id,
      kind: kinds[(this.#deeds.length + i) % kinds.length]!,
      key: newId(),
      sku: SKUS[Math.floor(Math.random() * SKUS.length)]!,
      payment: undefined,
      wants_refund: Math.random() < 0.4,
      refund: undefined,
    }
  }

  async #do(deed: Deed, service: RunningService): Promise<void> {
    const key = { 'idempotency-key': deed.key }
    const lines = [{ sku: deed.sku, quantity: 1 }]
    const order = await service.send('POST', '/v1/orders', { customer_id: deed.customer_id, lines }, key)
    if (order.status !== 201) return
    deed.order_id = order.body.id!
    const path = `/v1/orders/${deed.order_id}`
    const method = deed.kind === 'balance' ? 'balance' : 'card'
    const payment = await service.send('POST', `${path}/payments`, { method }, key)
    if (payment.status === 0 || payment.status === 503) return
    if (payment.status === 201) await this.#atGateway(deed, payment, service)
    deed.payment = payment
    if (!deed.wants_refund) return
    const refund = await service.send('POST', `${path}/refunds`, { restock: true }, key)
    if (refund.status !== 0 && refund.status !== 503) deed.refund = refund
  }

  /** What the buyer does in the browser, what the gateway tells of it, and a cancel in between. */
  async #atGateway(deed: Deed, payment: Reply, service: RunningService): Promise<void> {
    if (deed.kind === 'balance') return
    const intent = [...this.stripe.intents.values()].find(({ metadata }) => metadata.payment_id === payment.body.id)
    if (intent === undefined) return
    if (deed.kind === 'card, cancelled') {
      await Promise.all([
        service.send('POST', `/v1/orders/${deed.order_id}/cancel`),
        this.#tell(this.stripe.pay(intent.id), service),
      ])
      return
    }
    if (deed.kind === 'card, declined') await this.#tell(this.stripe.decline(intent.id, 'stolen_card'), service)
    else await this.#tell(this.stripe.pay(intent.id), service)
    if (deed.wants_refund) await this.#untilPaid(deed, service)
  }

  async #untilPaid(deed: Deed, service: RunningService): Promise<void> {
    for (let i = 0; i < 20; i++) {
      const { status, body } = await service.send('GET', `/v1/orders/${deed.order_id}`)
      if (status === 0 || body.status !== 'awaiting_payment') return
      await delay(20)
    }
  }

  async #tell(events: readonly StripeEvent[], service: RunningService): Promise<void> {
    for (const event of events) {
      this.#events.add(event)
      await this.#deliver(event, service)
    }
  }

  async #deliver(event: StripeEvent, service: RunningService): Promise<void> {
    const { body, headers } = this.stripe.sign(event)
    const { status } = await service.send('POST', '/v1/payments/webhooks/stripe', JSON.parse(body), headers)
    if (status === 200) this.#events.delete(event)
  }

  async redeliver(service: RunningService): Promise<void> {
    for (let i = 0; i < 5 && this.#events.size > 0; i++) {
      for (const event of this.#events) await this.#deliver(event, service)
    }
  }

  /** Each card payment at the gateway against the order that it is for, and what clients were told against both. */
  async audit(): Promise<string[]> {
    const stored = await rows<{
      id: string
      order: string
      status: string
      captured: number
      refunded: number
      owed: number
      hold: string
      sold: boolean
    }>(
      this.db,
      `SELECT p.id, o.status AS order, p.status, p.captured_amount AS captured, p.refunded_amount AS refunded, p.owed_amount AS owed,
         r.status AS hold, o.payment_id = p.id AS sold
       FROM payments p JOIN orders o ON o.id = p.order_id JOIN reservations r ON r.id = o.reservation_id`,
    )
    const payments = new Map(stored.map((payment) => [payment.id, payment]))
    const wrong: string[] = []
    for (const intent of this.stripe.intents.values()) {
      const payment = payments.get(intent.metadata.payment_id!)
      const back = [...this.stripe.refunds.values()]
        .filter(({ payment_intent }) => payment_intent === intent.id)
        .reduce((sum, { amount }) => sum + amount, 0)
      const took = intent.status === 'succeeded' ? intent.amount_received : 0
      const agrees =
        payment !== undefined &&
        payment.captured === took &&
        payment.refunded === back &&
        intent.status !== 'requires_capture' &&
        (took === 0 || payment.owed + back === took || (payment.sold && payment.hold === 'confirmed'))
      if (!agrees)
        wrong.push(`the gateway ${intent.status}, took ${took}, gave back ${back}; here ${JSON.stringify(payment)}`)
    }
    for (const { payment, refund, kind } of this.#deeds) {
      const now = payments.get(String(payment?.body.id))
      if (payment?.body.status === 'paid' && now?.captured !== PRICE)
        this.odd.push(`${kind}: told paid, is ${JSON.stringify(now)}`)
      if (refund?.status === 201 && now !== undefined && now.refunded !== PRICE)
        this.odd.push(`${kind}: told refunded, is ${JSON.stringify(now)}`)
    }
    return wrong
  }

  async auditBalances(): Promise<string[]> {
    const found = await rows<{ id: string; balance: number; right: number }>(
      this.db,
      `SELECT c.id, c.balance, ? - coalesce(sum(p.captured_amount - p.refunded_amount) FILTER (WHERE p.method = 'balance'), 0)::bigint AS "right"
       FROM customers c LEFT JOIN orders o ON o.customer_id = c.id LEFT JOIN payments p ON p.order_id = o.id GROUP BY c.id`,
      [BALANCE],
    )
    return found.filter(({ balance, right }) => balance !== right).map((row) => JSON.stringify(row))
  }
}

/** Waits until nothing is owed to the gateway. @returns what still is, if it takes too long */
async function recover({ db }: Shop): Promise<string[]> {
  const deadline = Date.now() + RECOVERY_MS_MAX
  for (;;) {
    const owed = await rows<{ row: string }>(
      db,
      `SELECT concat_ws(' ', 'payment', status, tries, last_error) AS row FROM payments
       WHERE next_try_at IS NOT NULL AND status IN ('authorised', 'failed', 'cancelled')
       UNION ALL SELECT concat_ws(' ', 'refund', status, tries, last_error) FROM refunds WHERE next_try_at IS NOT NULL`,
    )
    if (owed.length === 0 || Date.now() > deadline) return owed.map(({ row }) => row)
    await delay(200)
  }
}

await runSuite(main)
