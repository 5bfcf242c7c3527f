import { rows } from '../../src/database/transaction.ts'
import type { Finding } from '../../src/operations/finding.ts'
import { verify } from '../../src/operations/verify.ts'
import { addUpSales } from '../../src/sales/add_up.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { must, stopCores } from '../factories.ts'
import { createFakeGateway } from '../payments/fake_gateway.ts'
import { couponFor, customer, onSale, openShop, ordered, runOut, wrongs, type TestShop } from '../shop.ts'
import { keepClean } from './clean_tables.ts'

/** Orders, money and sales that were written past the service are named, and nothing else is. */

let database: TestDatabase
let restore: () => Promise<void>
/** Ids of orders by what became of them. */
let orders: Record<'sold' | 'awaits' | 'expired' | 'owed', string>

const TABLES = [
  'orders',
  'order_lines',
  'payments',
  'refunds',
  'sales',
  'sales_daily',
  'reservations',
  'coupon_issues',
  'account_entries',
]

/** Built once and put back after each test: every test breaks it in another way. */
beforeAll(async () => {
  database = await createTestDatabase()
  const shop = openShop(database, { gateway: createFakeGateway() })
  orders = {
    sold: await sell(shop),
    awaits: (await withCoupon(shop)).id,
    expired: await expire(shop),
    owed: await owe(shop),
  }
  await addUpSales(database.db, 'UTC')
  await shop.stop()
  await stopCores()
  expect(await wrongs(database.db)).toEqual([])
  await rows(database.db, `UPDATE sales SET day = '2026-03-01' WHERE day IS NOT NULL`)
  await rows(database.db, `UPDATE sales_daily SET day = '2026-03-01'`)
  restore = await keepClean(database.db, TABLES)
})

afterEach(() => restore())

afterAll(() => database.drop())

/** An order of three units for 3,000 less 500. */
async function withCoupon(shop: TestShop) {
  const customer_id = await customer(shop.db, 10_000)
  const coupon_code = await couponFor(shop.db, customer_id, { amount: 500 })
  return ordered(shop, [{ sku: await onSale(shop.db), quantity: 3 }], { customer_id, coupon_code })
}

/** Paid from the balance; one unit came back, for 833. */
async function sell(shop: TestShop): Promise<string> {
  const { id, lines } = await withCoupon(shop)
  must(await shop.pay(id))
  must(await shop.refund({ order_id: id, lines: [{ sku: lines[0]!.sku, quantity: 1 }] }))
  return id
}

async function expire(shop: TestShop): Promise<string> {
  const order = await withCoupon(shop)
  await runOut(database.db, order)
  await shop.core.sweeper.run()
  return order.id
}

/** A card paid 7, which is not what the order costs. */
async function owe(shop: TestShop): Promise<string> {
  const { id } = await ordered(shop, await onSale(shop.db))
  const { payment } = must(await shop.pay(id, { method: 'card' }))
  must(await shop.tell(payment.id, { kind: 'captured', amount: 7, currency: 'KRW' }))
  return id
}

/** What verify says of orders, money and sales after a statement: of whom, and what. */
async function after(statement: string): Promise<{ about: string; detail: string }[]> {
  const named = statement.replaceAll(/\$(\w+)/g, (_, name) => `'${orders[name as keyof typeof orders]}'`)
  await rows(database.db, named)
  const { checks } = await verify(database.db)
  return checks
    .filter(({ promise }) => promise >= 16)
    .flatMap(({ promise, broken, findings }) => {
      expect(broken).toBe(findings.length)
      return findings.map((finding) => ({ about: `${promise} ${nameOf(finding)}`, detail: finding.detail }))
    })
}

function nameOf({ order_id, next_step }: Finding): string {
  expect(next_step.length).toBeGreaterThan(20)
  const [name] = Object.entries(orders).find(([, id]) => id === order_id) ?? []
  return name ?? 'a day'
}

const HOLD_OF = (order: string) => `id = (SELECT reservation_id FROM orders WHERE id = ${order})`

test('what the service wrote is clean', async () => {
  expect(await after('SELECT 1')).toEqual([])
})

/** A circumstance, the statement that makes it, and of whom verify then says what, among other things. */
const CASES: [string, string, Record<string, string>][] = [
  [
    'an order whose hold was deleted',
    `DELETE FROM reservations WHERE ${HOLD_OF('$sold')}`,
    { '16 sold': 'its hold missing: it has no hold' },
  ],
  [
    'a hold of other units than were ordered',
    `UPDATE reservations SET quantities = '{2}' WHERE ${HOLD_OF('$sold')}`,
    { '16 sold': 'its hold has other lines' },
  ],
  [
    'an order that was paid although its hold was released',
    `UPDATE reservations SET status = 'released' WHERE ${HOLD_OF('$sold')}`,
    { '16 sold': 'its hold is released' },
  ],
  [
    'an order that awaits payment although its hold has ended',
    `UPDATE reservations SET status = 'expired' WHERE ${HOLD_OF('$awaits')}`,
    { '16 awaits': 'its hold is expired' },
  ],
  [
    'an order that was not paid although its hold is confirmed and its units did not come back',
    `UPDATE reservations SET status = 'confirmed' WHERE ${HOLD_OF('$expired')}`,
    { '16 expired': 'its hold confirmed' },
  ],
  [
    'a line that was made dearer',
    `UPDATE order_lines SET total = total + 1 WHERE order_id = $awaits`,
    { '16 awaits': 'its lines do not add up to it' },
  ],
  [
    'a line whose part of the discount was changed',
    `UPDATE order_lines SET discount = 400 WHERE order_id = $awaits`,
    { '16 awaits': 'its lines do not add up to it' },
  ],
  [
    'a sale that was taken away',
    `DELETE FROM sales WHERE order_id = $sold AND quantity < 0`,
    {
      '16 sold': 'its sales are not its units and money',
      '18 a day': '2026-03-01: the sum says 2 units for 1667, its sales say 3 for 2500',
    },
  ],
  [
    'a sale of an order that was not paid',
    `INSERT INTO sales SELECT gen_random_uuid(), sku, order_id, 1, 1, now(), NULL FROM order_lines WHERE order_id = $expired`,
    { '16 expired': 'its sales are not its units and money' },
  ],
  [
    'a sale for less than was paid',
    `UPDATE sales SET amount = 2400, day = NULL WHERE order_id = $sold AND quantity > 0`,
    { '16 sold': 'its sales are not its units and money', '18 a day': 'its sales say -1 for -833' },
  ],
  [
    'units that came back in the order alone',
    `UPDATE order_lines SET refunded_quantity = 3 WHERE order_id = $sold`,
    { '16 sold': 'its units came back otherwise' },
  ],
  [
    'an order that was paid by nothing',
    `UPDATE payments SET status = 'failed', captured_amount = 0, refunded_amount = 0 WHERE order_id = $sold`,
    { '16 sold': 'its payment is not there or not its total', '17 sold': 'the account spent for it' },
  ],
  [
    'money in another currency',
    `UPDATE payments SET captured_currency = 'JPY' WHERE order_id = $sold`,
    { '16 sold': 'its payment is not there or not its total' },
  ],
  [
    'money that is owed by an order that does not say so',
    `UPDATE payments SET owed_amount = 5 WHERE order_id = $sold`,
    { '16 sold': 'it owes 5' },
  ],
  [
    'money that came in, bought nothing and is not owed',
    `UPDATE payments SET owed_amount = 0 WHERE order_id = $owed`,
    {
      '16 owed': 'it owes 0',
      '17 owed': 'captured 7, given back 0, owed 0: money was kept for which nothing was sold',
    },
  ],
  [
    'an order that owes money and awaits more',
    `UPDATE payments SET status = 'captured', captured_amount = 5, owed_amount = 5 WHERE order_id = $awaits`,
    { '16 awaits': 'it owes 5 and awaits more' },
  ],
  [
    'a payment that is open on an order that has ended',
    `UPDATE payments SET status = 'pending' WHERE order_id = $expired`,
    { '16 expired': 'a payment of it is still open' },
  ],
  [
    'a coupon that took something off and is not used',
    `UPDATE coupon_issues SET state = 'issued', order_id = NULL WHERE order_id = $awaits`,
    { '16 awaits': 'its coupon is not used by it' },
  ],
  [
    'a coupon that did not come back',
    `UPDATE coupon_issues SET state = 'used', order_id = $expired
     WHERE code = (SELECT coupon_code FROM orders WHERE id = $expired)`,
    { '16 expired': 'its coupon did not come back' },
  ],
  ['a refund that was deleted', `DELETE FROM refunds`, { '17 sold': 'its refunds add up to 0' }],
  [
    'an account that paid less',
    `UPDATE account_entries SET amount = -2400 WHERE kind = 'payment'`,
    { '17 sold': 'the account says 2400 spent, 833 returned' },
  ],
  [
    'a sum that was raised',
    `UPDATE sales_daily SET units = units + 1`,
    { '18 a day': '2026-03-01: the sum says 3 units for 1667, its sales say 2 for 1667' },
  ],
  ['a sum that was deleted', `DELETE FROM sales_daily`, { '18 a day': 'no sum, its sales say 2 for 1667' }],
]

test.each(CASES)('%s is named', async (_, statement, said) => {
  const found = await after(statement)
  for (const [about, detail] of Object.entries(said)) {
    expect(found).toContainEqual({ about, detail: expect.stringContaining(detail) as string })
  }
  // Nobody else is: of what is said, all is about the same order or the day.
  const names = new Set(Object.keys(said).map((about) => about.slice(3)))
  expect(found.filter(({ about }) => !names.has(about.slice(3)))).toEqual([])
})
