import { createCoupon } from '../../src/coupons/coupons.ts'
import { createCouponIssuer } from '../../src/coupons/issue.ts'
import { rows } from '../../src/database/transaction.ts'
import type { Finding } from '../../src/operations/finding.ts'
import { verify } from '../../src/operations/verify.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { customerWith, must, stopCores } from '../factories.ts'
import { onSale, openShop, ordered } from '../shop.ts'
import { keepClean } from './clean_tables.ts'

/** Balances and coupons that were written past the service are named, and nothing else is. */

let database: TestDatabase
let kim: string
let lee: string
let restore: () => Promise<void>

const TABLES = ['customers', 'charges', 'account_entries', 'coupons', 'coupon_issues']

/** Built once and put back after each test: every test breaks it in another way. */
beforeAll(async () => {
  database = await createTestDatabase()
  const { db } = database
  ;[kim, lee] = [await customerWith(db, 500), await customerWith(db, 70)]
  const shop = openShop(database)
  for (const price of [200, 100]) {
    const order = await ordered(shop, await onSale(db, { price }), { customer_id: kim })
    must(await shop.pay(order.id))
  }
  const issuer = createCouponIssuer({ db })
  for (const code of ['C', 'D']) {
    must(await createCoupon(db, { code, discount: { percent: 10 }, quantity: 3, client: '' }))
    for (const customer_id of [kim, lee]) must(await issuer.issue({ code, customer_id, client: '' }))
  }
  await ordered(shop, await onSale(db), { customer_id: kim, coupon_code: 'C' })
  await issuer.stop()
  await shop.stop()
  restore = await keepClean(db, TABLES)
})

afterEach(() => restore())

afterAll(async () => {
  await stopCores()
  await database.drop()
})

/** What verify says of accounts and coupons after a statement, as `promise customer? coupon?: detail`. */
async function after(statement: string): Promise<string[]> {
  await rows(database.db, statement.replaceAll('$kim', `'${kim}'`).replaceAll('$lee', `'${lee}'`))
  const { checks, clean } = await verify(database.db)
  const said = checks
    .filter(({ promise }) => promise === 14 || promise === 15)
    .flatMap(({ promise, findings }) =>
      findings.map(({ customer_id, coupon_code, detail, next_step }: Finding) => {
        expect(next_step.length).toBeGreaterThan(20)
        const who = customer_id === kim ? 'kim' : customer_id === lee ? 'lee' : customer_id
        return `${promise} ${who ?? coupon_code}: ${detail}`
      }),
    )
  expect(clean).toBe(said.length === 0)
  return said
}

test('what the service wrote is clean', async () => {
  expect(await after('SELECT 1')).toEqual([])
})

test.each([
  [
    'a balance that was raised',
    `UPDATE customers SET balance = 201 WHERE id = $kim`,
    ['14 kim: the balance is 201, the entries add up to 200'],
  ],
  [
    'a balance below zero',
    `UPDATE customers SET balance = -1 WHERE id = $kim`,
    ['14 kim: the balance is -1; the balance is -1, the entries add up to 200'],
  ],
  [
    'a seq that runs ahead',
    `UPDATE customers SET seq = 4 WHERE id = $kim`,
    [`14 kim: the account's seq is 4, the last entry's 3`],
  ],
  [
    'an entry that was taken away in the middle',
    `DELETE FROM account_entries WHERE customer_id = $kim AND seq = 2`,
    [
      '14 kim: 2 entries up to seq 3, the first gap before seq 3; seq 3 does not follow from the entry before it; ' +
        'the balance is 200, the entries add up to 400',
    ],
  ],
  [
    'an entry that was taken away at the end',
    `DELETE FROM account_entries WHERE customer_id = $kim AND seq = 3`,
    [`14 kim: the account's seq is 3, the last entry's 2; the balance is 200, the entries add up to 300`],
  ],
  [
    'an amount that was changed',
    `UPDATE account_entries SET amount = -150 WHERE customer_id = $kim AND seq = 2`,
    ['14 kim: seq 2 does not follow from the entry before it; the balance is 200, the entries add up to 250'],
  ],
  [
    'a charge without its entry',
    `INSERT INTO charges SELECT gen_random_uuid(), customer_id, amount, client, 'other', request_hash FROM charges
     WHERE customer_id = $lee`,
    ['14 lee: 1 charges without an entry of the same amount'],
  ],
  [
    'a charge of another amount than its entry',
    `UPDATE charges SET amount = 7000 WHERE customer_id = $lee`,
    ['14 lee: 1 charges without an entry of the same amount'],
  ],
  [
    'a customer that was deleted',
    `DELETE FROM customers WHERE id = $lee`,
    ['14 lee: the account has entries, but there is no such customer'],
  ],
  [
    'a coupon that says more were issued than were',
    `UPDATE coupons SET issued = 3 WHERE code = 'C'`,
    ['15 C: issued says 3, customers have 2'],
  ],
  [
    'a coupon of which more were issued than there are',
    `UPDATE coupons SET quantity = 1 WHERE code = 'C'`,
    ['15 C: there are 1, but 2 were issued'],
  ],
  [
    'an issue that was taken away',
    `DELETE FROM coupon_issues WHERE code = 'D' AND number = 1`,
    ['15 D: issued says 2, customers have 1; 1 issues up to number 2'],
  ],
  [
    'a used coupon without its order',
    `UPDATE coupon_issues SET order_id = NULL WHERE code = 'C' AND number = 1`,
    ['15 C: 1 used without an order, or with an order and not used'],
  ],
  [
    'a coupon that was deleted',
    `DELETE FROM coupons WHERE code = 'D'`,
    ['15 D: customers have 2, but there is no such coupon'],
  ],
])('%s is named', async (_, statement, said) => {
  expect(await after(statement)).toEqual(said)
})

test('sums beyond what a bigint holds are counted all the same', async () => {
  const said = await after(`UPDATE account_entries SET amount = 9223372036854775807 WHERE customer_id = $kim`)
  expect(said[0]).toContain('the entries add up to 27670116110564327421')
})

test('a thousand accounts that are off are counted, and the first hundred named', async () => {
  await rows(
    database.db,
    `INSERT INTO customers (id, name, balance, client) SELECT gen_random_uuid(), 'x', 5, '' FROM generate_series(1, 1000)`,
  )
  const { checks } = await verify(database.db)
  const check = checks.find(({ promise }) => promise === 14)
  expect([check?.broken, check?.findings.length]).toEqual([1000, 100])
})
