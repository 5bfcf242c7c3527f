import type { Knex } from 'knex'
import { chargeBalance, type ChargeRequest } from '../../src/customers/charge.ts'
import { createCustomer, readCustomer } from '../../src/customers/customers.ts'
import { createPool } from '../../src/database/pool.ts'
import { rows } from '../../src/database/transaction.ts'
import { newId } from '../../src/ids.ts'
import { begin, customerWith, findAllBroken, keyed, must, refusal, stopCores, until } from '../factories.ts'
import { call, serveService, type Answered, type ServingService } from '../http/serving.ts'

/** Charges: once for each key, through the function and over HTTP. */

let serving: ServingService
let db: Knex
/** Waits for locks as briefly as the service does. */
let brief: Knex

beforeAll(async () => {
  serving = await serveService()
  db = serving.database.db
  const limits = { lock_timeout_ms: 50, statement_timeout_ms: 5000 }
  brief = createPool({ ...limits, url: serving.database.url, max: 4, application_name: 'brief' })
})

afterAll(async () => {
  await stopCores()
  await brief.destroy()
  await serving.close()
})

function charge(customer_id: string, key: string, amount = 500): Promise<Answered> {
  const options = { body: { amount }, headers: { 'Idempotency-Key': key } }
  return call(serving, 'POST', `/v1/customers/${customer_id}/charges`, options)
}

async function balanceOf(customer_id: string): Promise<unknown> {
  return (await call(serving, 'GET', `/v1/customers/${customer_id}`)).body.balance
}

test('a charge adds, and the same key gets the same answer however often', async () => {
  const kim = await customerWith(db)
  const first = await charge(kim, 'a')
  expect(first).toMatchObject({ status: 201, body: { kind: 'charge', seq: 1, amount: 500, balance_after: 500 } })
  expect(first.headers.get('idempotent-replayed')).toBeNull()
  await charge(kim, 'b', 20)
  for (let i = 0; i < 3; i++) {
    const again = await charge(kim, 'a')
    expect([again.status, again.body]).toEqual([201, first.body])
    expect(again.headers.get('idempotent-replayed')).toBe('true')
  }
  expect(await balanceOf(kim)).toBe(520)
})

test('twenty charges with one key at once add once and get one answer; with twenty keys they add twenty times', async () => {
  const kim = await customerWith(db)
  const same = await Promise.all(Array.from({ length: 20 }, () => charge(kim, 'one')))
  expect(new Set(same.map(({ status, body }) => JSON.stringify([status, body]))).size).toBe(1)
  expect(await balanceOf(kim)).toBe(500)
  await Promise.all(Array.from({ length: 20 }, (_, i) => charge(kim, `many ${i}`, 1)))
  expect(await balanceOf(kim)).toBe(520)
  const { body } = await call(serving, 'GET', `/v1/customers/${kim}/ledger?limit=200`)
  expect((body.data as { seq: number }[]).map(({ seq }) => seq)).toEqual(Array.from({ length: 21 }, (_, i) => 21 - i))
})

test('a key that stands for another amount or another customer is refused', async () => {
  const [kim, lee] = [await customerWith(db), await customerWith(db)]
  await charge(kim, 'c', 5)
  expect(await charge(kim, 'c', 6)).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } })
  expect(await charge(lee, 'c', 5)).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } })
  expect([await balanceOf(kim), await balanceOf(lee)]).toEqual([5, 0])
})

test("one client's key is not another one's", async () => {
  const kim = await customerWith(db)
  const request: ChargeRequest = { customer_id: kim, amount: 5, client: 'a', ...keyed('shared') }
  expect(must(await chargeBalance(db, request)).replayed).toBe(false)
  expect(must(await chargeBalance(db, { ...request, client: 'b' })).replayed).toBe(false)
  expect(await balanceOf(kim)).toBe(10)
})

test('a charge whose answer was lost after its commit is not done again', async () => {
  const kim = await customerWith(db)
  const left = new AbortController()
  const lost = fetch(`${serving.url}/v1/customers/${kim}/charges`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': 'lost' },
    body: '{"amount":70}',
    signal: left.signal,
  }).then(
    (response) => response.status,
    () => 'lost',
  )
  await until(async () => (await readCustomer(db, kim))?.balance === 70)
  left.abort()
  await lost
  const retry = await charge(kim, 'lost', 70)
  expect(retry.headers.get('idempotent-replayed')).toBe('true')
  expect([retry.status, await balanceOf(kim)]).toEqual([201, 70])
})

test('while its twin is in flight a key is in use; a charge of a locked account is too much at once', async () => {
  const kim = await customerWith(db)
  const request: ChargeRequest = { customer_id: kim, amount: 5, client: '', ...keyed('twin') }
  const twin = await begin(db)
  await rows(
    twin,
    `INSERT INTO charges (id, customer_id, amount, client, idempotency_key, request_hash) VALUES (?, ?, 5, '', 'twin', '')`,
    [newId(), kim],
  )
  expect(refusal(await chargeBalance(brief, request))).toEqual({ code: 'idempotency_key_in_use' })
  await twin.rollback()
  const holder = await begin(db)
  await rows(holder, 'SELECT 1 FROM customers WHERE id = ? FOR NO KEY UPDATE', [kim])
  expect(refusal(await chargeBalance(brief, request))).toMatchObject({ code: 'overloaded' })
  await holder.rollback()
  expect(must(await chargeBalance(brief, request)).replayed).toBe(false)
  expect(await balanceOf(kim)).toBe(5)
})

test('a refused charge is not remembered: its key may be used', async () => {
  const id = newId()
  expect(await charge(id, 'refused')).toMatchObject({ status: 404, body: { code: 'customer_not_found' } })
  const kim = await customerWith(db)
  await rows(db, 'UPDATE customers SET balance = 9007199254740991 WHERE id = ?', [kim])
  expect(await charge(kim, 'refused')).toMatchObject({ status: 409, body: { code: 'balance_limit' } })
  await rows(db, 'UPDATE customers SET balance = 0 WHERE id = ?', [kim])
  expect(await charge(kim, 'refused')).toMatchObject({ status: 201 })
})

test('a customer is made once for each key, and shown as it is now', async () => {
  const options = { body: { name: 'Kim' }, headers: { 'Idempotency-Key': 'kim' } }
  const made = await Promise.all(Array.from({ length: 5 }, () => call(serving, 'POST', '/v1/customers', options)))
  const ids = new Set(made.map(({ body }) => body.id))
  expect([ids.size, ...new Set(made.map(({ status }) => status))]).toEqual([1, 201])
  expect(made[0]!.headers.get('location')).toBe(`/v1/customers/${[...ids].join()}`)
  await charge(String([...ids][0]), 'for kim', 9)
  expect((await call(serving, 'POST', '/v1/customers', options)).body).toMatchObject({ name: 'Kim', balance: 9 })
  const other = await call(serving, 'POST', '/v1/customers', { ...options, body: { name: 'Lee' } })
  expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } })
})

test('without a key every customer is a new one', async () => {
  const [a, b] = await Promise.all([1, 2].map(() => createCustomer(db, { name: 'Kim', client: '' })))
  expect(must(a!).customer.id).not.toBe(must(b!).customer.id)
})

test('an id in capitals is the same customer', async () => {
  const kim = await customerWith(db, 7)
  expect(await balanceOf(kim.toUpperCase())).toBe(7)
  expect((await charge(kim.toUpperCase(), 'capitals', 1)).body).toMatchObject({ customer_id: kim, balance_after: 8 })
})

test('after all this every balance is the sum of its entries', async () => {
  expect(await findAllBroken(db)).toEqual([])
})
