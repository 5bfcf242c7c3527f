import { rows } from '../../src/database/transaction.ts'
import { verify } from '../../src/operations/verify.ts'
import { addUpSales } from '../../src/sales/add_up.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { must, stopCores } from '../factories.ts'
import { createFakeGateway, type FakeGateway } from '../payments/fake_gateway.ts'
import { couponFor, customer, onSale, openShop, ordered, runOut, type TestShop } from '../shop.ts'
import { keepClean } from './clean_tables.ts'

/** Orders, payments and sales that were written past the service are named, and nothing else is. */

let database: TestDatabase
let shop: TestShop
let restore: () => Promise<void>
/** The orders by what became of them, their payments as `<name>_payment`, and what else statements name. */
const names: Record<string, string> = {}

const TABLES = [
  'customers',
  'account_entries',
  'coupons',
  'coupon_issues',
  'orders',
  'order_lines',
  'payments',
  'refunds',
  'sales',
  'sales_daily',
  'reservations',
  'stock_ledger',
]

/** Built once and put back after each test: every test breaks it in another way. */
beforeAll(async () => {
  database = await createTestDatabase()
  const gateway = createFakeGateway()
  shop = openShop(database, { gateway })
  await everyEnd(gateway)
  await addUpSales(shop.db, 'UTC')
  await shop.stop()
  restore = await keepClean(database.db, TABLES)
})

afterEach(() => restore())

afterAll(async () => {
  await stopCores()
  await database.drop()
})

/** An order for each end that one can come to, of two lines where that makes a difference. */
async function everyEnd(gateway: FakeGateway): Promise<void> {
  const { db, core } = shop
  const [a, b, last] = [
    await onSale(db, { stock: 100 }),
    await onSale(db, { stock: 100, price: 300 }),
    await onSale(db, { stock: 1 }),
  ]
  const lines = [
    { sku: a, quantity: 2 },
    { sku: b, quantity: 1 },
  ]
  const buyer = await customer(db, 10_000)
  const coupon_code = await couponFor(db, buyer, { percent: 10 })
  Object.assign(names, { a, b, last, buyer, other: await customer(db), coupon: coupon_code })
  const named = (name: string, id: string, payment_id: string) =>
    Object.assign(names, { [name]: id, [`${name}_payment`]: payment_id })
  const byCard = async (name: string, status: 'authorised' | 'captured' | undefined, wanted = lines) => {
    const order = await ordered(shop, wanted, { customer_id: buyer })
    const { payment } = must(await shop.pay(order.id, { method: 'card' }))
    named(name, order.id, payment.id)
    if (status !== undefined) gateway.set(payment.id, status)
    const money = { amount: order.total, currency: 'KRW' }
    return { ...order, payment_id: payment.id, money }
  }

  const paid = await ordered(shop, lines, { customer_id: buyer, coupon_code })
  named('paid', paid.id, must(await shop.pay(paid.id)).payment.id)
  const some = await ordered(shop, lines, { customer_id: buyer })
  named('some_back', some.id, must(await shop.pay(some.id)).payment.id)
  must(await shop.refund({ order_id: some.id, lines: [{ sku: a, quantity: 1 }] }))
  const all = await byCard('all_back', 'captured')
  must(await shop.tell(all.payment_id, { kind: 'captured', ...all.money }))
  must(await shop.refund({ order_id: all.id, restock: false }))
  const failed = await byCard('failed', 'authorised')
  must(await shop.tell(failed.payment_id, { kind: 'authorised', ...failed.money }))
  must(await shop.tell(failed.payment_id, { kind: 'capture_refused', code: 'no' }))
  const owed = await byCard('owed', undefined, [{ sku: last, quantity: 1 }])
  await runOut(db, owed)
  const instead = await ordered(shop, last, { customer_id: buyer })
  named('instead', instead.id, must(await shop.pay(instead.id)).payment.id)
  must(await shop.tell(owed.payment_id, { kind: 'captured', ...owed.money }))
  const expired = await ordered(shop, lines)
  named('expired', expired.id, expired.payments[0]!.id)
  await runOut(db, expired)
  await core.sweeper.run()
  await shop.finish()
  const authorised = await byCard('authorised', 'authorised')
  must(await shop.tell(authorised.payment_id, { kind: 'authorised', ...authorised.money }))
  const waiting = await ordered(shop, lines)
  named('waiting', waiting.id, waiting.payments[0]!.id)
  const refunding = await byCard('refunding', 'captured')
  must(await shop.tell(refunding.payment_id, { kind: 'captured', ...refunding.money }))
  must(await shop.refund({ order_id: refunding.id, lines: [{ sku: b, quantity: 1 }] }))
}

/** What verify says after a statement, as `promise name: what is wrong`, the promises of the core left out. */
async function after(statement: string): Promise<string[]> {
  await rows(database.db, filled(statement))
  const { checks, clean } = await verify(database.db)
  const nameOf = new Map(Object.entries(names).map(([name, value]) => [value, name]))
  const said = checks
    .filter(({ promise }) => promise >= 14)
    .flatMap(({ promise, findings }) =>
      findings.map((finding) => {
        expect(finding.next_step.length).toBeGreaterThan(20)
        const about =
          finding.payment_id ?? finding.order_id ?? finding.customer_id ?? finding.coupon_code ?? finding.sku
        return `${promise} ${nameOf.get(about!) ?? 'another'}: ${finding.detail.replace(/^[^:]*: /, '')}`
      }),
    )
  if (said.length > 0) expect(clean).toBe(false)
  return said
}

/** `$name` becomes the text of what has that name. */
function filled(statement: string): string {
  return statement.replaceAll(/\$(\w+)/g, (_, name: string) => `'${names[name]}'`)
}

test('what the service wrote is clean, whatever its orders have come to', async () => {
  expect(await after('SELECT 1')).toEqual([])
  expect((await verify(database.db)).clean).toBe(true)
  const ends = await rows<{ status: string }>(database.db, 'SELECT DISTINCT status FROM orders ORDER BY status')
  expect(ends.map(({ status }) => status)).toEqual([
    'awaiting_payment',
    'expired',
    'paid',
    'partially_refunded',
    'payment_failed',
    'refund_required',
    'refunded',
  ])
})

const UNITS = 'other units left the shelf for it than were sold'
const COPIED = `sku, seq + 1000, kind, stock_delta, reserved_delta, stock_after, reserved_after, reservation_id, reference, reason,
  created_at`

test.each<[string, string, string[]]>([
  [
    'an order whose hold was deleted',
    `DELETE FROM reservations WHERE reference = 'order:' || $waiting`,
    ['16 waiting: it has no hold'],
  ],
  [
    'a hold of other lines',
    `UPDATE reservations SET quantities = '{3,1}' WHERE reference = 'order:' || $waiting`,
    ['16 waiting: its hold has other lines'],
  ],
  [
    'an order that is paid and has no stock',
    `UPDATE reservations SET status = 'expired' WHERE reference = 'order:' || $paid`,
    [`16 paid: its hold is expired; ${UNITS}`],
  ],
  [
    'an order that awaits payment while its units are gone',
    `UPDATE reservations SET status = 'released' WHERE reference = 'order:' || $waiting`,
    ['16 waiting: its hold is released'],
  ],
  [
    'a hold that was confirmed for no payment',
    `UPDATE reservations SET status = 'confirmed' WHERE reference = 'order:' || $waiting`,
    ['16 waiting: its hold is confirmed'],
  ],
  [
    'money that is about to be captured without stock',
    `UPDATE reservations SET status = 'pending' WHERE reference = 'order:' || $authorised`,
    [`16 authorised: its hold is pending`],
  ],
  [
    'an order that has ended and still holds',
    `UPDATE reservations SET status = 'pending' WHERE reference = 'order:' || $expired`,
    ['16 expired: its hold is pending'],
  ],
  [
    'units that left the shelf for an order that was not paid',
    `UPDATE reservations SET status = 'confirmed' WHERE reference = 'order:' || $expired`,
    [`16 expired: ${UNITS}`],
  ],
  [
    'units of a refused capture that did not come back',
    `DELETE FROM stock_ledger WHERE reference = 'order:' || $failed AND kind = 'adjust' AND sku = $a`,
    [`16 failed: ${UNITS}`],
  ],
  [
    'units of a refund that came back twice',
    `INSERT INTO stock_ledger SELECT ${COPIED} FROM stock_ledger WHERE reference = 'order:' || $some_back AND kind = 'adjust'`,
    [`16 some_back: ${UNITS}`],
  ],
  [
    'a second hold that was confirmed for an order',
    `UPDATE reservations SET status = 'confirmed', reference = 'order:' || $paid WHERE reference = 'order:' || $expired`,
    [`16 paid: ${UNITS}`],
  ],
  [
    'a price that was changed',
    `UPDATE order_lines SET total = total + 1 WHERE order_id = $waiting AND sku = $a`,
    ['16 waiting: its lines do not add up to it'],
  ],
  [
    'a discount that was given without a coupon',
    `WITH line AS (UPDATE order_lines SET discount = 50 WHERE order_id = $expired AND sku = $a)
     UPDATE orders SET discount = 50, total = subtotal - 50 WHERE id = $expired`,
    ['16 expired: it has a discount without a coupon'],
  ],
  ['a payment that was deleted', `DELETE FROM payments WHERE order_id = $waiting`, ['16 waiting: it has no payment']],
  [
    'a payment that asks for less',
    `UPDATE payments SET amount = 1 WHERE order_id = $waiting`,
    ['16 waiting: an open payment of it asks for another amount'],
  ],
  [
    'a paid order whose payment is another order’s',
    `UPDATE orders SET payment_id = $some_back_payment WHERE id = $paid`,
    [
      '16 paid: its payment is not there or not its total',
      '17 paid_payment: money was kept for which nothing was sold',
    ],
  ],
  [
    'an order that is called paid',
    `UPDATE orders SET status = 'paid', payment_id = $expired_payment WHERE id = $expired`,
    [
      `16 expired: its hold is expired; its sales are not its units and money; ${UNITS}; its payment is not there or not its total`,
    ],
  ],
  [
    'owed money that an order does not tell of',
    `UPDATE orders SET status = 'expired' WHERE id = $owed`,
    ['16 owed: it owes 1000'],
  ],
  [
    'an order that is said to owe what it does not',
    `UPDATE orders SET status = 'refund_required' WHERE id = $paid`,
    ['16 paid: it owes 0'],
  ],
  [
    'owed money that was forgotten',
    `UPDATE payments SET owed_amount = 0 WHERE id = $owed_payment`,
    ['16 owed: it owes 0', '17 owed_payment: money was kept for which nothing was sold'],
  ],
  [
    'an order that awaits payment although it owes',
    `UPDATE payments SET owed_amount = 5, captured_amount = 5, status = 'captured' WHERE id = $waiting_payment`,
    ['16 waiting: it owes 5 and awaits more'],
  ],
  [
    'an order that forgot that units came back',
    `UPDATE orders SET status = 'paid' WHERE id = $some_back`,
    ['16 some_back: its units came back otherwise'],
  ],
  [
    'an order that has ended with a payment that is open',
    `UPDATE payments SET status = 'pending' WHERE id = $expired_payment`,
    ['16 expired: a payment of it is still open'],
  ],
  [
    'units that came back by no refund',
    `UPDATE refunds SET skus = ARRAY[$b], quantities = '{1}' WHERE order_id = $some_back`,
    [`16 some_back: ${UNITS}; its refunds took back other units`],
  ],
  [
    'a refund of more than the units cost',
    `WITH refund AS (UPDATE refunds SET amount = amount + 100 WHERE order_id = $all_back)
     UPDATE payments SET refunded_amount = refunded_amount + 100 WHERE id = $all_back_payment`,
    ['16 all_back: its refunds gave back other money than its units cost'],
  ],
  [
    'sales that were forgotten',
    `DELETE FROM sales WHERE order_id = $paid AND sku = $b`,
    ['16 paid: its sales are not its units and money', '18 b: the sum says 2 units for 570, its sales say 1 for 300'],
  ],
  [
    'sales of what was not ordered',
    `INSERT INTO sales SELECT cause_id, 'something', order_id, quantity, amount, sold_at FROM sales
     WHERE order_id = $paid AND sku = $b`,
    ['16 paid: its sales are not its units and money'],
  ],
  [
    'a coupon that came back although its order is paid',
    `UPDATE coupon_issues SET state = 'issued', order_id = NULL WHERE order_id = $paid`,
    ['16 paid: its coupon is not used by it'],
  ],
  [
    'a coupon that did not come back',
    `UPDATE coupon_issues SET order_id = $expired`,
    [
      '16 expired: it uses a coupon that is not its own; its coupon did not come back',
      '16 paid: its coupon is not used by it',
    ],
  ],
  [
    'a coupon of another customer',
    `UPDATE coupon_issues SET customer_id = $other`,
    ['16 paid: it uses a coupon that is not its own'],
  ],
  [
    'a coupon that is used by an order that is not there',
    `WITH gone AS (SELECT gen_random_uuid() AS id) UPDATE coupon_issues SET order_id = gone.id FROM gone`,
    ['15 coupon: 1 used by orders that are not there', '16 paid: its coupon is not used by it'],
  ],
  [
    'money that was given back and not written down',
    `UPDATE payments SET refunded_amount = 0 WHERE id = $some_back_payment`,
    ['17 some_back_payment: its refunds add up to 1000; the account says 2300 spent, 1000 returned'],
  ],
  [
    'a capture that nobody asks for',
    `UPDATE payments SET next_try_at = NULL WHERE id = $authorised_payment`,
    ['17 authorised_payment: its capture is never asked for'],
  ],
  [
    'a refund that nobody asks for',
    `UPDATE refunds SET next_try_at = NULL WHERE order_id = $refunding`,
    ['17 refunding_payment: a refund of it is never asked for'],
  ],
  [
    'a payment by balance that spent nothing',
    `UPDATE account_entries SET payment_id = gen_random_uuid() WHERE payment_id = $paid_payment`,
    ['17 paid_payment: the account says 0 spent, 0 returned', '17 another: the account spent for it'],
  ],
  [
    'a payment that failed and was spent for',
    `UPDATE payments SET status = 'failed', method = 'balance', captured_amount = 0 WHERE id = $instead_payment`,
    ['16 instead: its payment is not there or not its total', '17 instead_payment: the account spent for it'],
  ],
  [
    'a payment from the account of somebody else',
    `UPDATE orders SET customer_id = $other WHERE id = $instead`,
    ['17 instead_payment: the account of another customer spent for it'],
  ],
  [
    'a day that says more was sold',
    `UPDATE sales_daily SET units = units + 1 WHERE sku = $last`,
    ['18 last: the sum says 2 units for 1000, its sales say 1 for 1000'],
  ],
  [
    'a day that was forgotten',
    `DELETE FROM sales_daily WHERE sku = $last`,
    ['18 last: no sum, its sales say 1 for 1000'],
  ],
])('%s is named', async (_, statement, said) => {
  const found = await after(statement)
  expect(found.toSorted()).toEqual(said.toSorted())
})
