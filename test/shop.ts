import type { Knex } from 'knex'
import { createHash } from 'node:crypto'
import { pino } from 'pino'
import { createProduct } from '../src/catalog/create.ts'
import { createCoupon } from '../src/coupons/coupons.ts'
import { chargeBalance } from '../src/customers/charge.ts'
import { createCustomer, readCustomer } from '../src/customers/customers.ts'
import { createPool } from '../src/database/pool.ts'
import { rows, type Executor } from '../src/database/transaction.ts'
import { createTurns } from '../src/database/turns.ts'
import type { Result } from '../src/errors.ts'
import { verify } from '../src/operations/verify.ts'
import { cancelOrder } from '../src/orders/cancel.ts'
import { createOrder, type NewOrder, type Ordered } from '../src/orders/create.ts'
import { followHolds } from '../src/orders/follow.ts'
import type { Order } from '../src/orders/order.ts'
import { readOrder } from '../src/orders/read.ts'
import { createTransact } from '../src/orders/transact.ts'
import type { Fact, Gateway } from '../src/payments/gateway.ts'
import { ORDER_PAYMENTS } from '../src/payments/open.ts'
import { payOrder, type Paid, type PayDeps } from '../src/payments/pay.ts'
import { createPursuer, type Pursuer } from '../src/payments/pursue.ts'
import { refundOrder, type Refunded, type RefundRequest } from '../src/payments/refund.ts'
import { settle, type Settled } from '../src/payments/settle.ts'
import { chainHooks } from '../src/reservations/hooks.ts'
import type { Line } from '../src/reservations/reservation.ts'
import type { TestDatabase } from './database.ts'
import { makeOverdue, must, openCore, PATIENT_MS, type Core } from './factories.ts'

/** The storefront without HTTP, wired as the service wires it, over one core. */
export type TestShop = {
  core: Core
  db: Knex
  pursuer: Pursuer
  paying: PayDeps
  order(request: Omit<NewOrder, 'client'>): Promise<Result<Ordered>>
  /** By balance unless said otherwise; each with a key of its own unless one is given. */
  pay(order_id: string, more?: { method?: 'balance' | 'card'; key?: string }): Promise<Result<Paid>>
  cancel(order_id: string): Promise<Result<Order>>
  refund(request: Partial<RefundRequest> & { order_id: string }): Promise<Result<Refunded>>
  /** Something that came to be at the gateway, told to the service. */
  tell(payment_id: string, fact: Fact): Promise<Result<Settled>>
  /** Looks after all that is owed to the gateway, due or not. */
  finish(): Promise<void>
  stop(): Promise<void>
}

type ShopOptions = {
  gateway?: Gateway
  strategy?: 'batched' | 'conditional'
  connections?: number
  /** As a slow machine needs it, unless a test is about not getting a lock. */
  lock_timeout_ms?: number
}

export function openShop(database: TestDatabase, options: ShopOptions = {}): TestShop {
  const { gateway, strategy = 'batched', connections = 6, lock_timeout_ms = 2000 } = options
  const onClosed = chainHooks([followHolds(ORDER_PAYMENTS)])
  const core = openCore(database, { onClosed, strategy })
  const db = createPool({
    url: database.url,
    max: connections,
    lock_timeout_ms,
    statement_timeout_ms: 5000,
    application_name: 'test shop',
    acquire_timeout_ms: PATIENT_MS,
  })
  const { reservations } = core
  const turns = createTurns({ at_once_max: connections - 1 })
  const transact = createTransact({ db, turns })
  const log = pino({ level: 'silent' })
  const settling = { transact, reservations, payments: ORDER_PAYMENTS }
  const pursuer = createPursuer({ ...settling, db, gateway, log })
  // What a test wants pursued it pursues itself.
  const paying: PayDeps = { ...settling, db, gateway, pursue: () => undefined }
  return {
    core,
    db,
    pursuer,
    paying,
    order: (request) =>
      createOrder(
        { db, transact, reservations, payments: ORDER_PAYMENTS, currency: 'KRW' },
        { client: '', ...request },
      ),
    pay: (order_id, { method = 'balance', key = nextKey() } = {}) =>
      payOrder(paying, { order_id, method, client: '', idempotency: keyOf(key, `${order_id} ${method}`) }),
    cancel: (order_id) => cancelOrder({ transact, reservations }, order_id),
    refund: (request) =>
      refundOrder({ transact, pursueRefund: () => undefined }, { restock: true, client: '', ...request }),
    tell: (payment_id, fact) => settle(paying, { payment_id, gateway_payment_id: `pay_${payment_id}`, fact }),
    async finish() {
      for (const table of ['payments', 'refunds']) {
        await rows(database.db, `UPDATE ${table} SET next_try_at = clock_timestamp() WHERE next_try_at IS NOT NULL`)
      }
      await pursuer.run()
    },
    async stop() {
      await pursuer.stop()
      await turns.stop()
      await core.stop()
      await db.destroy()
    },
  }
}

let keys = 0

function nextKey(): string {
  return `key ${++keys}`
}

/** A key, and the hash of what it stands for. */
export function keyOf(key: string, request = ''): { key: string; request_hash: string } {
  return { key, request_hash: createHash('sha256').update(request).digest('hex') }
}

let made = 0

/** A product that is on sale, with one SKU and so many units of it. */
export async function onSale(
  db: Knex,
  { price = 1000, stock = 10 }: { price?: number; stock?: number } = {},
): Promise<string> {
  const sku = `item-${++made}`
  must(await createProduct(db, { name: `Item ${made}`, status: 'active', skus: [{ sku, price, stock }], client: '' }))
  return sku
}

/** A customer with so much to spend. */
export async function customer(db: Knex, balance = 0): Promise<string> {
  const { id } = must(await createCustomer(db, { name: `Customer ${++made}`, client: '' })).customer
  if (balance > 0) {
    must(await chargeBalance(db, { customer_id: id, amount: balance, client: '', idempotency: keyOf(`charge ${id}`) }))
  }
  return id
}

export async function balanceOf(db: Executor, id: string): Promise<number | undefined> {
  return (await readCustomer(db, id))?.balance
}

/** A coupon that was issued to a customer. */
export async function couponFor(
  db: Knex,
  customer_id: string,
  discount: { percent: number } | { amount: number },
): Promise<string> {
  const code = `COUPON-${++made}`
  must(await createCoupon(db, { code, quantity: 1, client: '', discount }))
  await rows(db, `INSERT INTO coupon_issues (code, number, customer_id, client) VALUES (?, 1, ?, '')`, [
    code,
    customer_id,
  ])
  await rows(db, 'UPDATE coupons SET issued = 1 WHERE code = ?', [code])
  return code
}

/** Whether an issue is `issued` or `used`. */
export async function couponState(db: Executor, code: string): Promise<string | undefined> {
  const [issue] = await rows<{ state: string }>(db, 'SELECT state FROM coupon_issues WHERE code = ?', [code])
  return issue?.state
}

/** An order of lines (or of one unit of a SKU) by a customer who must get it. */
export async function ordered(
  shop: TestShop,
  lines: Line[] | string,
  more: { customer_id?: string; coupon_code?: string; balance?: number } = {},
): Promise<Order> {
  const { balance, customer_id = await customer(shop.db, balance), ...rest } = more
  const wanted = typeof lines === 'string' ? [{ sku: lines, quantity: 1 }] : lines
  return must(await shop.order({ customer_id, lines: wanted, ...rest })).order
}

/** An order as it is now; it must exist. */
export async function read(db: Executor, id: string): Promise<Order> {
  const order = await readOrder(db, id)
  if (order === undefined) throw new Error(`there is no order ${id}`)
  return order
}

/** The hold's time runs out. */
export async function runOut(db: Executor, order: Pick<Order, 'reservation_id'>): Promise<void> {
  await makeOverdue(db, order.reservation_id)
}

/** How payments of an order are stored, the oldest first: `method status failure_code owed`, what is not there left out. */
export async function paymentsOf(db: Executor, order_id: string): Promise<string[]> {
  const found = await rows<{ row: string }>(
    db,
    `SELECT concat_ws(' ', method, status, failure_code, CASE WHEN owed_amount > 0 THEN owed_reason || ' ' || owed_amount END) AS row
     FROM payments WHERE order_id = ? ORDER BY id`,
    [order_id],
  )
  return found.map(({ row }) => row)
}

/** An order's events in order, without `order.`; with a reason `refund_required sold_out 1000`. */
export async function eventsOf(db: Executor, order_id: string): Promise<string[]> {
  const found = await rows<{ row: string }>(
    db,
    `SELECT concat_ws(' ', replace(e.event->>'type', 'order.', ''), e.event->'data'->>'reason',
       CASE WHEN e.event->'data'->>'reason' IS NOT NULL THEN e.event->'data'->>'amount' END) AS row
     FROM outbox o, json_array_elements(o.events) WITH ORDINALITY AS e (event, place)
     WHERE e.event->>'type' LIKE 'order.%' AND e.event->'data'->>'id' = ?
     ORDER BY o.ordered_at, o.id, e.place`,
    [order_id],
  )
  return found.map(({ row }) => row)
}

/** Units and money of an order in the sales: `units amount` by SKU, what was sold less what came back. */
export async function soldOf(db: Executor, order_id: string): Promise<string[]> {
  const found = await rows<{ row: string }>(
    db,
    `SELECT concat_ws(' ', sum(quantity), sum(amount)) AS row FROM sales WHERE order_id = ? GROUP BY sku ORDER BY sku`,
    [order_id],
  )
  return found.map(({ row }) => row)
}

/** What verify finds wrong; nothing, it is hoped. */
export async function wrongs(db: Knex): Promise<string[]> {
  const report = await verify(db)
  return report.checks.flatMap(({ promise, findings }) => findings.map(({ detail }) => `${promise}: ${detail}`))
}
