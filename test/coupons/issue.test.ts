import type { Knex } from 'knex'
import { createCoupon, listCoupons, readCoupon } from '../../src/coupons/coupons.ts'
import { createCouponIssuer, type CouponIssuer, type IssueRequest } from '../../src/coupons/issue.ts'
import { createPool } from '../../src/database/pool.ts'
import { rows } from '../../src/database/transaction.ts'
import type { Refusal } from '../../src/errors.ts'
import { newId } from '../../src/ids.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  customerWith,
  manyCustomers,
  findAllBroken,
  keyed,
  must,
  refusal,
  stopCores,
  until,
  untilWaiting,
} from '../factories.ts'

/** First come, first served, exactly as many as there are, one per customer. */

let database: TestDatabase
let db: Knex
let issuer: CouponIssuer
let customers: string[]

beforeAll(async () => {
  database = await createTestDatabase({ max: 12 })
  db = database.db
  issuer = createCouponIssuer({ db })
  customers = await manyCustomers(db, 60)
})

afterAll(async () => {
  await stopCores()
  await issuer.stop()
  await database.drop()
})

let count = 0

async function coupon(quantity: number): Promise<string> {
  const code = `COUPON-${++count}`
  must(await createCoupon(db, { code, discount: { percent: 10 }, quantity, client: '' }))
  return code
}

function issue(code: string, customer_id: string, more: Partial<IssueRequest> = {}, by = issuer) {
  return by.issue({ code, customer_id, client: '', ...more })
}

type Answer = Awaited<ReturnType<CouponIssuer['issue']>>

/** What each got: the number of the coupon, or why not. */
function told(answers: readonly Answer[]): (number | Refusal['code'])[] {
  return answers.map((answer) => (answer.ok ? answer.value.issue.number : answer.refusal.code))
}

async function owners(code: string): Promise<string[]> {
  const found = await rows<{ customer_id: string }>(
    db,
    'SELECT customer_id FROM coupon_issues WHERE code = ? ORDER BY number',
    [code],
  )
  return found.map(({ customer_id }) => customer_id)
}

/** Another process: a pool and a line of its own. */
async function withAnotherProcess<T>(lock_timeout_ms: number, work: (other: CouponIssuer) => Promise<T>): Promise<T> {
  const limits = { lock_timeout_ms, statement_timeout_ms: 5000 }
  const pool = createPool({ ...limits, url: database.url, max: 4, application_name: 'another' })
  const other = createCouponIssuer({ db: pool })
  try {
    return await work(other)
  } finally {
    await other.stop()
    await pool.destroy()
  }
}

test('40 requests at once for 30 coupons: the first 30 to come get them, in their order', async () => {
  const code = await coupon(30)
  const answers = await Promise.all(customers.slice(0, 40).map((customer) => issue(code, customer)))
  expect(told(answers)).toEqual(Array.from({ length: 40 }, (_, i) => (i < 30 ? i + 1 : 'coupon_exhausted')))
  expect(await owners(code)).toEqual(customers.slice(0, 30))
  expect(await readCoupon(db, code)).toMatchObject({ quantity: 30, issued: 30 })
})

test('who comes while a batch is in flight stands behind it', async () => {
  const code = await coupon(30)
  const answers: Promise<Answer>[] = []
  for (const customer of customers.slice(0, 40)) {
    answers.push(issue(code, customer))
    if (answers.length % 7 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  expect(told(await Promise.all(answers)).slice(28)).toEqual([
    29,
    30,
    ...Array.from({ length: 10 }, () => 'coupon_exhausted'),
  ])
  expect(await owners(code)).toEqual(customers.slice(0, 30))
})

test('more than a batch of requests keeps its order too', async () => {
  const code = await coupon(450)
  const many = await manyCustomers(db, 500)
  const answers = told(await Promise.all(many.map((customer) => issue(code, customer))))
  expect(answers).toEqual(Array.from({ length: 500 }, (_, i) => (i < 450 ? i + 1 : 'coupon_exhausted')))
})

test('three processes at once give exactly as many as there are, numbered without a gap', async () => {
  const code = await coupon(30)
  const answers = await withAnotherProcess(5000, (second) =>
    withAnotherProcess(5000, (third) =>
      Promise.all(customers.map((customer, i) => issue(code, customer, {}, [issuer, second, third][i % 3]!))),
    ),
  )
  const numbers = told(answers).filter((number) => typeof number === 'number')
  expect(numbers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1))
  expect(new Set(told(answers.filter(({ ok }) => !ok)))).toEqual(new Set(['coupon_exhausted']))
})

test('a customer gets one, however often and through how many processes it is asked for', async () => {
  const code = await coupon(30)
  const [kim] = customers
  const answers = await withAnotherProcess(5000, (other) =>
    Promise.all(Array.from({ length: 20 }, (_, i) => issue(code, kim!, {}, i % 2 === 0 ? issuer : other))),
  )
  expect(told(answers).filter((answer) => answer === 1)).toHaveLength(1)
  expect(refusal(await issue(code, kim!))).toEqual({ code: 'coupon_already_issued', number: 1 })
  expect(await readCoupon(db, code)).toMatchObject({ issued: 1 })
})

test('the same key gets the same coupon, at once, later, and when all are gone', async () => {
  const code = await coupon(2)
  const [kim, lee, choi] = customers
  const twins = await Promise.all(Array.from({ length: 5 }, () => issue(code, kim!, keyed('kim'))))
  expect(twins.map((answer) => must(answer).replayed)).toEqual([false, true, true, true, true])
  expect(new Set(told(twins))).toEqual(new Set([1]))
  must(await issue(code, lee!))
  expect(told([await issue(code, choi!)])).toEqual(['coupon_exhausted'])
  const again = must(await issue(code, kim!, keyed('kim')))
  expect([again.replayed, again.issue]).toEqual([true, must(twins[0]!).issue])
  expect(told([await issue(code, kim!, keyed('other'))])).toEqual(['coupon_already_issued'])
})

test('a key that stands for another request is refused, in one batch and in two', async () => {
  const [code, other] = [await coupon(5), await coupon(5)]
  const [kim, lee] = customers
  const answers = await Promise.all([
    issue(code, kim!, keyed('same', 'for kim')),
    issue(code, lee!, keyed('same', 'for lee')),
  ])
  expect(told(answers)).toEqual([1, 'idempotency_key_reused'])
  expect(told([await issue(other, kim!, keyed('same', 'other'))])).toEqual(['idempotency_key_reused'])
  expect(told([await issue(other, kim!, { ...keyed('same', 'other'), client: 'another' })])).toEqual([1])
})

test('who is refused in a batch is refused alone', async () => {
  const code = await coupon(3)
  const nobody = newId()
  const [kim, lee, choi] = customers
  const answers = await Promise.all([kim!, nobody, kim!, lee!, choi!].map((customer) => issue(code, customer)))
  expect(told(answers)).toEqual([1, 'unknown_customer', 'coupon_already_issued', 2, 3])
  expect(told([await issue('NO-SUCH', kim!)])).toEqual(['coupon_not_found'])
})

test('a key that another coupon takes meanwhile in another process fails alone', async () => {
  const [code, other_code] = [await coupon(30), await coupon(30)]
  const other = await begin(db)
  await rows(
    other,
    `INSERT INTO coupon_issues (code, number, customer_id, client, idempotency_key, request_hash)
     VALUES (?, 1, ?, '', 'contended', '')`,
    [other_code, customers[0]],
  )
  const answers = Promise.all(
    customers.slice(0, 10).map((customer, i) => issue(code, customer, i === 4 ? keyed('contended') : {})),
  )
  await untilWaiting(db)
  await rows(other, `UPDATE coupons SET issued = 1 WHERE code = ?`, [other_code])
  await other.commit()
  expect(told(await answers)).toEqual([1, 2, 3, 4, 'idempotency_key_reused', 5, 6, 7, 8, 9])
})

test('a coupon that another session keeps locked stops nobody who wants another one', async () => {
  const [locked, free] = [await coupon(5), await coupon(5)]
  const holder = await begin(db)
  await rows(holder, 'SELECT 1 FROM coupons WHERE code = ? FOR NO KEY UPDATE', [locked])
  await withAnotherProcess(300, async (other) => {
    const stuck = issue(locked, customers[0]!, {}, other)
    await untilWaiting(db)
    must(await issue(free, customers[0]!, {}, other))
    expect(refusal(await stuck)).toMatchObject({ code: 'overloaded' })
    await holder.rollback()
    must(await issue(locked, customers[0]!, {}, other))
  })
})

test('that all are gone is said without waiting for who holds the coupon', async () => {
  const code = await coupon(1)
  must(await issue(code, customers[0]!))
  const holder = await begin(db)
  await rows(holder, 'SELECT 1 FROM coupons WHERE code = ? FOR NO KEY UPDATE', [code])
  // Whoever waited would be refused long before the holder is ended.
  await withAnotherProcess(300, async (other) => {
    const answers = [await issue(code, customers[1]!, {}, other), await issue(code, customers[0]!, {}, other)]
    expect(told(answers)).toEqual(['coupon_exhausted', 'coupon_already_issued'])
  })
  await holder.rollback()
})

test('a line that is full takes nobody, and one that is stopped answers whom it took', async () => {
  const code = await coupon(30)
  const small = createCouponIssuer({ db, waiting_max: 5 })
  const taken = customers.slice(0, 5).map((customer) => issue(code, customer, {}, small))
  expect([small.hasRoom(), told([await issue(code, customers[5]!, {}, small)])]).toEqual([false, ['overloaded']])
  await small.stop()
  expect(told(await Promise.all(taken))).toEqual([1, 2, 3, 4, 5])
  expect([small.hasRoom(), told([await issue(code, customers[5]!, {}, small)])]).toEqual([false, ['overloaded']])
})

test('who has waited for too long, or has left, is not served', async () => {
  const code = await coupon(30)
  const holder = await begin(db)
  await rows(holder, 'SELECT 1 FROM coupons WHERE code = ? FOR NO KEY UPDATE', [code])
  const impatient = createCouponIssuer({ db, wait_ms_max: 50 })
  const leaving = new AbortController()
  const first = issue(code, customers[0]!, {}, impatient)
  const late = issue(code, customers[1]!, {}, impatient)
  const left = issuer.issue({ code, customer_id: customers[2]!, client: '' })
  const gone = issuer.issue({ code, customer_id: customers[3]!, client: '' }, leaving.signal)
  await untilWaiting(db, 2)
  leaving.abort()
  const since = performance.now()
  await until(() => performance.now() - since > 60)
  await holder.rollback()
  expect(told([await late, await gone])).toEqual(['overloaded', 'overloaded'])
  expect(told([await first, await left]).toSorted()).toEqual([1, 2])
  await impatient.stop()
  expect(await readCoupon(db, code)).toMatchObject({ issued: 2 })
})

test('a connection that is lost is an error for its batch, and the line goes on', async () => {
  const code = await coupon(30)
  await withAnotherProcess(300, async (other) => {
    must(await issue(code, customers[0]!, {}, other))
    const holder = await begin(db)
    await rows(holder, 'SELECT 1 FROM coupons WHERE code = ? FOR NO KEY UPDATE', [code])
    const [lost, next] = [1, 2].map((i) => issue(code, customers[i]!, {}, other))
    const error = lost!.catch((thrown: unknown) => thrown)
    await untilWaiting(db)
    await rows(db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'another'`)
    expect(await error).toMatchObject({ name: 'DatabaseUnavailable', outcome: 'none' })
    // The second waits for the lock, unless it was given a connection of which nobody knew yet that it is gone.
    const said = await next!.then(refusal, (thrown: Error) => ({ code: thrown.name }))
    expect(['overloaded', 'DatabaseUnavailable']).toContain(said.code)
    await holder.rollback()
    await until(() =>
      issue(code, customers[1]!, {}, other).then(
        ({ ok }) => ok,
        () => false,
      ),
    )
  })
  expect(await readCoupon(db, code)).toMatchObject({ issued: 2 })
})

test.each([
  [
    'one more than there are',
    `UPDATE coupons SET issued = quantity + 1 WHERE code = $`,
    'coupons_issued_within_quantity',
  ],
  [
    'a second one for a customer',
    `INSERT INTO coupon_issues (code, number, customer_id, client) SELECT code, number + 1, customer_id, client
     FROM coupon_issues WHERE code = $`,
    'coupon_issues_one_per_customer',
  ],
  ['a number twice', `INSERT INTO coupon_issues SELECT * FROM coupon_issues WHERE code = $`, 'coupon_issues_pkey'],
])('the schema forbids %s', async (_, statement, constraint) => {
  const code = await coupon(1)
  must(await issue(code, customers[0]!))
  await expect(rows(db, statement.replaceAll('$', `'${code}'`))).rejects.toMatchObject({ constraint })
})

test('a coupon is made once: with its key again, without it the code is taken', async () => {
  const request = { code: 'ONCE', discount: { amount: 500 }, quantity: 3, client: '' }
  const made = await Promise.all(Array.from({ length: 5 }, () => createCoupon(db, { ...request, ...keyed('once') })))
  expect(made.filter((result) => !must(result).replayed)).toHaveLength(1)
  expect(must(made[0]!).coupon).toMatchObject({ code: 'ONCE', discount_percent: null, discount_amount: 500, issued: 0 })
  expect(refusal(await createCoupon(db, request))).toEqual({ code: 'coupon_exists', coupon: 'ONCE' })
  const reused = await createCoupon(db, { ...request, code: 'TWICE', ...keyed('once', 'another body') })
  expect(refusal(reused)).toEqual({ code: 'idempotency_key_reused' })
})

test("a customer's coupons are listed by code, page by page", async () => {
  const kim = await customerWith(db)
  const codes = [await coupon(1), await coupon(1), await coupon(1)].toSorted()
  for (const code of codes) must(await issue(code, kim))
  const first = (await listCoupons(db, kim, { limit: 2 }))!
  expect(first[0]).toMatchObject({ code: codes[0], number: 1, state: 'issued', order_id: null, discount_percent: 10 })
  const rest = (await listCoupons(db, kim, { limit: 2, after_code: codes[1]! }))!
  expect([...first, ...rest].map(({ code }) => code)).toEqual(codes)
  expect(await listCoupons(db, newId(), { limit: 1 })).toBeUndefined()
  expect(await listCoupons(db, await customerWith(db), { limit: 1 })).toEqual([])
})

test('after all this as many are issued as customers have', async () => {
  expect(await findAllBroken(db)).toEqual([])
})
