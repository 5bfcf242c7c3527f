import type { Knex } from 'knex'
import { readEntries, refundIn, spendIn } from '../../src/customers/account.ts'
import { readCustomer } from '../../src/customers/customers.ts'
import { rows, transaction } from '../../src/database/transaction.ts'
import { newId } from '../../src/ids.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  customerWith,
  findAllBroken,
  inTransaction,
  must,
  refusal,
  stopCores,
  untilWaiting,
} from '../factories.ts'

/** Balances: spent and given back once each, whatever happens at the same time. */

let database: TestDatabase
let db: Knex

beforeAll(async () => {
  database = await createTestDatabase({ max: 20 })
  db = database.db
})

afterAll(async () => {
  await stopCores()
  await database.drop()
})

function spend(customer_id: string, amount: number, payment_id = newId()) {
  return inTransaction(db, (tx) => spendIn(tx, { customer_id, amount, payment_id }))
}

function refund(customer_id: string, amount: number, payment_id: string, refund_id = newId()) {
  return inTransaction(db, (tx) => refundIn(tx, { customer_id, amount, payment_id, refund_id }))
}

async function balanceOf(customer_id: string): Promise<number | undefined> {
  return (await readCustomer(db, customer_id))?.balance
}

/** An account's entries, oldest first, each as `seq kind amount → balance_after`. */
async function history(customer_id: string): Promise<string[]> {
  const entries = (await readEntries(db, customer_id, { limit: 200 }))!
  return entries
    .toReversed()
    .map(({ seq, kind, amount, balance_after }) => `${seq} ${kind} ${amount} → ${balance_after}`)
}

test('a payment spends, a refund gives back, and each has its entry', async () => {
  const kim = await customerWith(db, 500)
  const payment_id = newId()
  expect(must(await spend(kim, 300, payment_id))).toMatchObject({
    entry: { seq: 2, kind: 'payment', amount: -300, balance_after: 200, payment_id, refund_id: null },
    replayed: false,
  })
  must(await refund(kim, 120, payment_id))
  expect(await history(kim)).toEqual(['1 charge 500 → 500', '2 payment -300 → 200', '3 refund 120 → 320'])
  expect(await balanceOf(kim)).toBe(320)
})

test('ten identical payments at once spend once, and all ten are told of it', async () => {
  const kim = await customerWith(db, 1000)
  const payment_id = newId()
  const answers = await Promise.all(Array.from({ length: 10 }, () => spend(kim, 100, payment_id)))
  expect(answers.map(must).filter(({ replayed }) => !replayed)).toHaveLength(1)
  expect(new Set(answers.map((answer) => JSON.stringify(must(answer).entry))).size).toBe(1)
  expect(await balanceOf(kim)).toBe(900)
  expect(await history(kim)).toHaveLength(2)
})

test('thirty payments race for a balance that covers ten: ten are spent, twenty are refused, nothing is left', async () => {
  const kim = await customerWith(db, 1000)
  const answers = await Promise.all(Array.from({ length: 30 }, () => spend(kim, 100)))
  expect(answers.filter(({ ok }) => ok)).toHaveLength(10)
  for (const answer of answers) {
    if (!answer.ok) expect(answer.refusal).toEqual({ code: 'insufficient_balance', balance: 0, amount: 100 })
  }
  expect(await balanceOf(kim)).toBe(0)
  expect(await history(kim)).toHaveLength(11)
})

test('payments and refunds of three accounts race: the entries of each have no gap and add up to its balance', async () => {
  const accounts = await Promise.all([1, 2, 3].map(() => customerWith(db, 5000)))
  await Promise.all(
    accounts.flatMap((account, i) =>
      Array.from({ length: 25 }, async (_, n) => {
        const payment_id = newId()
        const spent = await spend(account, 100 + 50 * ((n + i) % 7), payment_id)
        if (spent.ok && n % 3 === 0) must(await refund(account, 100, payment_id))
      }),
    ),
  )
  for (const account of accounts) {
    const entries = (await readEntries(db, account, { limit: 200 }))!
    expect(entries.map(({ seq }) => seq).toReversed()).toEqual(entries.map((_, i) => i + 1))
    expect(entries.reduce((sum, { amount }) => sum + amount, 0)).toBe(await balanceOf(account))
  }
  // But for the payments, which are made up here.
  const made_up = /^not there, .*: the account spent for it$/
  expect((await findAllBroken(db)).filter(({ detail }) => !made_up.test(detail))).toEqual([])
})

test('a balance that is too low is said, and nothing is written', async () => {
  const kim = await customerWith(db, 99)
  expect(refusal(await spend(kim, 100))).toEqual({ code: 'insufficient_balance', balance: 99, amount: 100 })
  expect(await history(kim)).toEqual(['1 charge 99 → 99'])
  must(await spend(kim, 99))
  expect(await balanceOf(kim)).toBe(0)
})

test('a refusal leaves the transaction usable: its caller may go on', async () => {
  const kim = await customerWith(db, 10)
  const answer = await transaction(db, async (tx) => {
    const first = await spendIn(tx, { customer_id: kim, amount: 11, payment_id: newId() })
    const second = await spendIn(tx, { customer_id: kim, amount: 4, payment_id: newId() })
    return [first.ok, second.ok]
  })
  expect(answer).toEqual([false, true])
  expect(await balanceOf(kim)).toBe(6)
})

test('what is rolled back was never spent, and the payment may spend later', async () => {
  const kim = await customerWith(db, 100)
  const payment_id = newId()
  await transaction(db, async (tx, rollback) => {
    must(await spendIn(tx, { customer_id: kim, amount: 60, payment_id }))
    return rollback(undefined as never)
  })
  expect(await balanceOf(kim)).toBe(100)
  expect(must(await spend(kim, 60, payment_id)).entry).toMatchObject({ seq: 2, balance_after: 40 })
})

test('a payment whose twin is in flight waits for it: after a commit it is the same, after a rollback its own', async () => {
  for (const end of ['commit', 'rollback'] as const) {
    const kim = await customerWith(db, 100)
    const payment_id = newId()
    const other = await begin(db)
    must(await spendIn(other, { customer_id: kim, amount: 70, payment_id }))
    const waiting = spend(kim, 70, payment_id)
    await untilWaiting(db)
    await other[end]()
    expect([end, must(await waiting).replayed]).toEqual([end, end === 'commit'])
    expect(await balanceOf(kim)).toBe(30)
  }
})

test('a payment of nothing is a payment', async () => {
  const kim = await customerWith(db, 0)
  must(await spend(kim, 0))
  expect(await history(kim)).toEqual(['1 payment 0 → 0'])
})

test('ten identical refunds at once give back once; another refund of the same payment is another one', async () => {
  const kim = await customerWith(db, 100)
  const payment_id = newId()
  must(await spend(kim, 100, payment_id))
  const refund_id = newId()
  const answers = await Promise.all(Array.from({ length: 10 }, () => refund(kim, 40, payment_id, refund_id)))
  expect(answers.filter((answer) => !must(answer).replayed)).toHaveLength(1)
  must(await refund(kim, 60, payment_id))
  expect(await history(kim)).toEqual([
    '1 charge 100 → 100',
    '2 payment -100 → 0',
    '3 refund 40 → 40',
    '4 refund 60 → 100',
  ])
})

test('an account that would pass the largest balance is told so', async () => {
  const kim = await customerWith(db, 1)
  await rows(db, 'UPDATE customers SET balance = 9007199254740991 WHERE id = ?', [kim])
  expect(refusal(await refund(kim, 1, newId()))).toEqual({ code: 'balance_limit' })
  await rows(db, 'UPDATE customers SET balance = 1 WHERE id = ?', [kim])
})

test('nobody pays from an account that does not exist', async () => {
  const id = newId()
  expect(refusal(await spend(id, 1))).toEqual({ code: 'customer_not_found', id })
  expect(refusal(await refund(id, 1, newId()))).toEqual({ code: 'customer_not_found', id })
  expect(await readEntries(db, id, { limit: 1 })).toBeUndefined()
})

test('one payment with two amounts is a bug, and is not passed over', async () => {
  const kim = await customerWith(db, 100)
  const payment_id = newId()
  must(await spend(kim, 60, payment_id))
  await expect(spend(kim, 61, payment_id)).rejects.toThrow('another account or amount')
  expect(await balanceOf(kim)).toBe(40)
})

test.each([
  [
    'a balance below zero',
    `UPDATE customers SET balance = balance - 101 WHERE id = $`,
    'customers_balance_not_negative',
  ],
  [
    'a second entry of one payment',
    `INSERT INTO account_entries (customer_id, seq, kind, amount, balance_after, payment_id)
     SELECT customer_id, seq + 1, kind, amount, balance_after, payment_id FROM account_entries
     WHERE customer_id = $ AND kind = 'payment'`,
    'account_entries_paid_once',
  ],
  [
    'a payment that adds',
    `UPDATE account_entries SET amount = 5 WHERE customer_id = $ AND kind = 'payment'`,
    'account_entries_kind_known',
  ],
])('the schema forbids %s', async (_, statement, constraint) => {
  const kim = await customerWith(db, 100)
  must(await spend(kim, 50))
  await expect(rows(db, statement.replaceAll('$', `'${kim}'`))).rejects.toMatchObject({ constraint })
})

test('pages of an account go from the newest entry to the oldest', async () => {
  const kim = await customerWith(db, 100)
  for (const amount of [1, 2, 3]) must(await spend(kim, amount))
  const first = (await readEntries(db, kim, { limit: 2 }))!
  const second = (await readEntries(db, kim, { limit: 2, before_seq: 3 }))!
  expect([...first, ...second].map(({ amount }) => amount)).toEqual([-3, -2, -1, 100])
})
