import { setTimeout as delay } from 'node:timers/promises'
import type { Knex } from 'knex'
import { createProduct } from '../../src/catalog/create.ts'
import { createCoupon } from '../../src/coupons/coupons.ts'
import { createCouponIssuer } from '../../src/coupons/issue.ts'
import { chargeBalance } from '../../src/customers/charge.ts'
import { rows } from '../../src/database/transaction.ts'
import { newId } from '../../src/ids.ts'
import { adjustStock } from '../../src/stock/adjust.ts'
import { keyed, manyCustomers, must } from '../factories.ts'
import { checkVerify, countDeadlocks } from './audit.ts'
import { startCuttingProxy } from './cutting_proxy.ts'
import { openDatabase, openServer } from './database.ts'
import { startService, type Reply, type RunningService } from './service.ts'
import { reasons, runSuite, type Suite } from './suite.ts'

/**
 * Buyers of a few scarce SKUs do everything that can be done to an order, at random, at once, twice and through two processes
 * that are killed again and again, over connections of which some break at COMMIT: order from the cart or not, with a coupon
 * or not, pay by balance and by card, approve, decline, cancel, refund; others release, confirm and reacquire their holds;
 * holds run out after seconds; the gateway's webhooks are late, repeated and turned around, its answers get lost, it takes
 * other amounts and refuses captures and refunds. In the end money, stock, coupons and sales agree with each other and with
 * the gateway's books.
 */

const BUYERS = 24
const ROUNDS = 12
const ROUND_MS = 2500
const HOLD_SECONDS = 2
const SKUS = ['FEW-A', 'FEW-B', 'FEW-C', 'FEW-D']
const STOCK = 60
const PRICE = 1000
const DELIVERED = 15
const SETTLE_MS_MAX = 180_000
/** Each fiftieth COMMIT is never heard of. */
const CUT_EACH = 50
const SECRET = `whsec_${Buffer.from('a secret of the long tests, long enough').toString('base64')}`

type Services = [RunningService, RunningService]
type Buyer = { customer_id: string; coupons: string[]; orders: string[] }

async function main(suite: Suite): Promise<void> {
  const server = await openServer(suite)
  const { url, db } = await openDatabase(suite, server)
  const proxy = await startCuttingProxy(url)
  suite.onEnd(() => proxy.close())
  const env = {
    DATABASE_URL: proxy.url,
    PAYMENT_GATEWAY: 'development',
    DEVELOPMENT_GATEWAY_SECRET: SECRET,
    RESERVATION_TTL_SECONDS: String(HOLD_SECONDS),
    EXPIRY_CRON: '* * * * * *',
    PAYMENTS_CRON: '* * * * * *',
    SALES_CRON: '* * * * * *',
    LOG_LEVEL: 'error',
  }
  const start = () => startService(env, { connections: BUYERS * 4 })
  const services: Services = [await start(), await start()]
  const market = new Market(db, services, await openMarket(db))
  for (let round = 0; round < ROUNDS; round++) {
    proxy.cutEach(CUT_EACH)
    market.start()
    await delay(ROUND_MS * (0.5 + Math.random()))
    await services[round % 2]!.kill()
    await delay(200)
    proxy.cutEach(0)
    await market.pause()
    await deliver(db)
    services[round % 2] = await start()
  }
  suite.check('COMMITs were cut', proxy.count() > 0, `${proxy.count()}`)
  // One of the last processes had COMMITs cut in the last round, and has said so.
  const said = services.map((service) => service.errors().length)
  const left = await settled(db)
  suite.check(
    'what is owed to the gateway is finished, and every hold that ran out is back',
    left.length === 0,
    reasons(left),
  )
  suite.check(
    'who was told that it is paid was told the truth, and nothing was answered that no document tells of',
    market.odd.length === 0,
    market.odd.length === 0 ? market.figures() : reasons(market.odd),
  )
  const ends = await rows<{ end: string }>(
    db,
    `SELECT status || ' ' || count(*) AS end FROM orders GROUP BY status ORDER BY 1`,
  )
  suite.note(ends.map(({ end }) => end).join(', '))
  const books = await compareBooks(db)
  suite.check("every payment is what the gateway's books say", books.length === 0, reasons(books))
  const errors = services.flatMap((service, i) =>
    service
      .errors()
      .slice(said[i])
      .map(({ msg, err }) => `${msg} ${JSON.stringify(err)}`),
  )
  suite.check('when nothing breaks any more no process logs an error', errors.length === 0, reasons(errors))
  suite.note(`${await countDeadlocks(db)} deadlocks`)
  await Promise.all(services.map((service) => service.stop()))
  await checkVerify(suite, db, `after ${ROUNDS} kills and ${proxy.count()} lost COMMITs`)
}

async function openMarket(db: Knex): Promise<Buyer[]> {
  for (const sku of SKUS) {
    must(
      await createProduct(db, { name: sku, status: 'active', skus: [{ sku, price: PRICE, stock: STOCK }], client: '' }),
    )
  }
  const codes = Array.from({ length: 6 }, (_, i) => `OFF-${i}`)
  for (const [i, code] of codes.entries()) {
    const discount = i === 0 ? { percent: 100 } : { percent: 7 * i }
    must(await createCoupon(db, { code, discount, quantity: BUYERS, client: '' }))
  }
  const issuer = createCouponIssuer({ db })
  const buyers: Buyer[] = []
  for (const customer_id of await manyCustomers(db, BUYERS)) {
    must(await chargeBalance(db, { customer_id, amount: 30_000, client: '', ...keyed(customer_id) }))
    for (const code of codes) must(await issuer.issue({ code, customer_id, client: '' }))
    buyers.push({ customer_id, coupons: codes, orders: [] })
  }
  await issuer.stop()
  return buyers
}

/** More units come in. */
async function deliver(db: Knex): Promise<void> {
  must(await adjustStock(db, { items: SKUS.map((sku) => ({ sku, delta: DELIVERED })), client: '' }))
}

const chance = (share: number) => Math.random() < share
const oneOf = <T>(all: readonly T[]): T => all[Math.floor(Math.random() * all.length)]!

class Market {
  readonly odd: string[] = []
  readonly #db: Knex
  readonly #services: Services
  readonly #buyers: Buyer[]
  readonly #answers = new Map<string, number>()
  #running = false
  #working: Promise<void>[] = []

  constructor(db: Knex, services: Services, buyers: Buyer[]) {
    this.#db = db
    this.#services = services
    this.#buyers = buyers
  }

  start(): void {
    this.#running = true
    this.#working = this.#buyers.map(async (buyer) => {
      while (this.#running) await this.#order(buyer)
    })
  }

  async pause(): Promise<void> {
    this.#running = false
    await Promise.all(this.#working)
  }

  figures(): string {
    return [...this.#answers].map(([answer, count]) => `${count} ${answer}`).join(', ')
  }

  /** Sends a request, one in five of them twice at once, to either process. The last answer that is one. */
  async #send(method: 'POST' | 'PUT', path: string, body?: unknown): Promise<Reply> {
    const key = method === 'POST' ? { 'idempotency-key': newId() } : {}
    const times = chance(0.2) ? 2 : 1
    const replies = await Promise.all(
      Array.from({ length: times }, () => oneOf(this.#services).send(method, path, body, key)),
    )
    const reply = replies.find(({ status }) => status === 201) ?? replies.at(-1)!
    const what = `${reply.status} ${reply.body.code ?? ''}`.trim()
    this.#answers.set(what, (this.#answers.get(what) ?? 0) + 1)
    if (reply.status === 500 || reply.status === 400) this.odd.push(`${method} ${path}: ${JSON.stringify(reply.body)}`)
    const [one, two] = replies.filter(({ status }) => status === 201)
    if (two !== undefined && one!.body.id !== two.body.id)
      this.odd.push(`${path}: one key made ${one!.body.id} and ${two.body.id}`)
    return reply
  }

  async #order(buyer: Buyer): Promise<void> {
    const { customer_id, coupons, orders } = buyer
    const lines = [{ sku: oneOf(SKUS), quantity: 1 }]
    if (chance(0.4)) lines.push({ sku: oneOf(SKUS), quantity: 2 })
    const from_cart = chance(0.3)
    if (from_cart) await Promise.all(lines.map((line) => this.#send('POST', `/v1/customers/${customer_id}/cart`, line)))
    const coupon = chance(0.25) ? { coupon_code: oneOf(coupons) } : {}
    const order = await this.#send('POST', '/v1/orders', { customer_id, ...(from_cart ? {} : { lines }), ...coupon })
    if (order.status !== 201) return delay(20)
    orders.push(order.body.id!)
    const deeds = [
      () => this.#pay(order),
      () => this.#pay(order),
      () => this.#meddle(order),
      () => this.#meddleOld(buyer),
    ]
    await Promise.all(deeds.filter((_, i) => i === 0 || chance(0.3)).map((deed) => deed()))
    if (chance(0.1)) await delay(HOLD_SECONDS * 1000)
    if (chance(0.3)) await this.#refund(order.body.id!)
  }

  async #pay({ body: { id } }: Reply): Promise<void> {
    const method = chance(0.3) ? 'balance' : 'card'
    const payment = await this.#send('POST', `/v1/orders/${id}/payments`, { method })
    if (payment.status === 201 && payment.body.status === 'paid') await this.#checkPaid(String(payment.body.id))
    const action = payment.body['next_action'] as { url: string } | null | undefined
    if (!action) return
    // The gateway and we mean different sums.
    if (chance(0.05)) {
      await rows(
        this.#db,
        `UPDATE development_gateway_payments SET amount = amount + 1 WHERE payment_id = ? AND status = 'requires_action'`,
        [payment.body.id],
      )
    }
    if (chance(0.2)) await this.#choose(action.url, 'decline')
    if (chance(0.1)) await delay(Math.random() * HOLD_SECONDS * 1500)
    await this.#choose(action.url, oneOf(['approve', 'approve', 'approve', 'approve', 'approve', 'fail', 'cancel']))
  }

  async #checkPaid(payment_id: string): Promise<void> {
    const [payment] = await rows<{ status: string }>(this.#db, 'SELECT status FROM payments WHERE id = ?', [payment_id])
    if (payment?.status !== 'captured') this.odd.push(`told that it is paid, is ${payment?.status}`)
  }

  async #choose(page: string, choice: string): Promise<void> {
    const form = new URLSearchParams({
      choice,
      webhook_delay_ms: String(chance(0.3) ? Math.floor(Math.random() * HOLD_SECONDS * 2000) : 0),
      webhook_copies: oneOf(['0', '1', '1', '3']),
      webhooks_reversed: String(chance(0.4)),
      captures_itself: String(chance(0.4)),
      capture: oneOf(['done', 'done', 'refused', 'answer_lost']),
      refund: oneOf(['done', 'done', 'refused', 'answer_lost']),
    })
    await fetch(oneOf(this.#services).base + page, { method: 'POST', body: form, redirect: 'manual' }).catch(
      () => undefined,
    )
  }

  /** What others do to an order that is being paid. */
  async #meddle({ body }: Reply): Promise<void> {
    const hold = `/v1/reservations/${String(body['reservation_id'])}`
    if (chance(0.5)) await delay(Math.random() * 200)
    const deeds = [
      () => this.#send('POST', `/v1/orders/${body.id}/cancel`),
      () => this.#send('POST', `${hold}/release`),
      () => this.#send('POST', `${hold}/confirm`),
      () => this.#send('POST', `${hold}/extend`, { ttl_seconds: 1 }),
      () => this.#refund(body.id!),
    ]
    await oneOf(deeds)()
  }

  /** The same to one that has come to some end. */
  async #meddleOld({ orders }: Buyer): Promise<void> {
    const id = oneOf(orders)
    const { body } = await oneOf(this.#services).send('GET', `/v1/orders/${id}`)
    const hold = body['reservation_id'] as string | undefined
    if (hold === undefined) return
    if (chance(0.5)) await this.#send('POST', `/v1/reservations/${hold}/confirm`, { on_expired: 'reacquire' })
    else await this.#refund(id)
  }

  async #refund(id: string): Promise<void> {
    const lines = chance(0.5) ? { lines: [{ sku: oneOf(SKUS), quantity: 1 }] } : {}
    await this.#send('POST', `/v1/orders/${id}/refunds`, { ...lines, restock: chance(0.7) })
  }
}

/** Waits until nothing moves by itself any more. @returns what still is to be done, if it takes too long */
async function settled(db: Knex): Promise<string[]> {
  const deadline = Date.now() + SETTLE_MS_MAX
  for (;;) {
    // What was put off by tries that failed is tried at once: how long that takes is not what is shown here.
    for (const table of ['payments', 'refunds']) {
      await rows(
        db,
        `UPDATE ${table} SET next_try_at = clock_timestamp() WHERE next_try_at > clock_timestamp() + interval '31 seconds'`,
      )
    }
    const left = await rows<{ row: string }>(
      db,
      `SELECT concat_ws(' ', 'payment', status, tries, last_error) AS row FROM payments
       WHERE next_try_at IS NOT NULL AND status IN ('authorised', 'failed', 'cancelled')
       UNION ALL SELECT concat_ws(' ', 'refund', status, tries, last_error) FROM refunds WHERE next_try_at IS NOT NULL
       UNION ALL SELECT 'hold' FROM reservations WHERE status = 'pending'
       UNION ALL SELECT 'webhook' FROM development_gateway_webhooks WHERE delivered_at IS NULL AND tries < 20
       UNION ALL SELECT 'sale' FROM sales WHERE day IS NULL`,
    )
    if (left.length === 0 || Date.now() > deadline) return left.map(({ row }) => row)
    await delay(300)
  }
}

/** What the gateway took and gave back against what we wrote down. */
async function compareBooks(db: Knex): Promise<string[]> {
  const off = await rows<{ row: string }>(
    db,
    `SELECT jsonb_build_object('here', p.status, 'captured', p.captured_amount, 'refunded', p.refunded_amount, 'owed', p.owed_amount,
       'there', g.status, 'took', g.captured_amount, 'gave', gave.amount, 'order', o.status, 'sold', o.payment_id = p.id)::text AS row
     FROM development_gateway_payments g JOIN payments p ON p.id = g.payment_id JOIN orders o ON o.id = p.order_id
     CROSS JOIN LATERAL (SELECT coalesce(sum(value::bigint), 0) AS amount FROM jsonb_each_text(g.refunds)) AS gave
     WHERE p.captured_amount <> g.captured_amount OR p.refunded_amount <> gave.amount OR g.status = 'authorised'
       OR (p.status = 'captured') <> (g.status = 'captured')
       OR (p.captured_amount - p.refunded_amount - p.owed_amount > 0 AND o.payment_id IS DISTINCT FROM p.id)`,
  )
  return off.map(({ row }) => row)
}

await runSuite(main)
