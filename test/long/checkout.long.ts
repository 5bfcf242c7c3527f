import type { Knex } from 'knex'
import { createProduct } from '../../src/catalog/create.ts'
import { rows } from '../../src/database/transaction.ts'
import { manyCustomers, must } from '../factories.ts'
import type { TestDatabase, TestServer } from '../database.ts'
import { checkVerify, percentile } from './audit.ts'
import { openDatabase, openServer } from './database.ts'
import { checkErrors, createClient, startService, type Client, type Reply } from './service.ts'
import { reasons, runSuite, type Suite } from './suite.ts'

/**
 * A thousand customers check out the last hundred units at once, by balance: a hundred orders are paid, a hundred units sold,
 * and every balance is right to the unit.
 */

const CUSTOMERS = 1000
const UNITS = 100
const PRICE = 12_345
const ROUNDS = 3
const TRIES_MAX = 8

async function main(suite: Suite): Promise<void> {
  const server = await openServer(suite)
  for (const workers of [1, 2]) await sellOut(suite, server, workers)
}

async function sellOut(suite: Suite, server: TestServer, workers: number): Promise<void> {
  const database = await openDatabase(suite, server)
  const service = await startService({
    DATABASE_URL: database.url,
    WORKERS: String(workers),
    SALES_CRON: '* * * * * *',
  })
  const crowd = createClient(service.base, CUSTOMERS)
  const who = workers === 1 ? 'one process' : `${workers} processes`
  const wrong: string[] = []
  const took_ms: number[] = []
  let again = 0
  for (let round = 0; round < ROUNDS; round++) {
    // In the last round half of them can't pay: their units go back, and others may have them.
    const poor = round === ROUNDS - 1
    const found = await checkOutAll(database, crowd, { sku: `LAST-${round}`, poor })
    took_ms.push(found.took_ms)
    again += found.again
    wrong.push(...found.wrong.map((reason) => `round ${round}: ${reason}`))
  }
  const figures = `${ROUNDS} rounds, ${Math.round(percentile(took_ms, 0.5))} ms until the last was through (median), ${again} times told to come again`
  suite.check(
    `${who}: of ${CUSTOMERS} customers at once ${UNITS} pay an order, ${UNITS} units are sold, every balance is right`,
    wrong.length === 0,
    wrong.length === 0 ? figures : reasons(wrong),
  )
  await crowd.close()
  checkErrors(suite, [service], { who })
  suite.check(`${who}: it stops by itself`, (await service.stop()) === 0)
  await checkVerify(suite, database.db, `after the checkout (${who})`)
}

async function checkOutAll(
  { db }: TestDatabase,
  crowd: Client,
  { sku, poor }: { sku: string; poor: boolean },
): Promise<{ wrong: string[]; took_ms: number; again: number }> {
  must(
    await createProduct(db, { name: sku, status: 'active', skus: [{ sku, price: PRICE, stock: UNITS }], client: '' }),
  )
  const customers = await manyCustomers(db, CUSTOMERS)
  const funded = await fund(db, customers, (i) => (poor && i % 2 === 0 ? PRICE - 1 : PRICE + i))
  let again = 0
  const send = async (path: string, body: unknown, key: string): Promise<Reply> => {
    for (let tries = 1; ; tries++) {
      const reply = await crowd.send('POST', path, body, { 'idempotency-key': key })
      if (reply.status !== 503 || tries === TRIES_MAX) return reply
      again += 1
    }
  }
  const started = performance.now()
  const ends = await Promise.all(
    customers.map(async (customer_id) => {
      const order = await send('/v1/orders', { customer_id, lines: [{ sku, quantity: 1 }] }, `order ${customer_id}`)
      if (order.status !== 201) return { customer_id, said: String(order.body.code) }
      const payment = await send(`/v1/orders/${order.body.id}/payments`, { method: 'balance' }, `pay ${customer_id}`)
      return { customer_id, said: payment.status === 201 ? String(payment.body.status) : String(payment.body.code) }
    }),
  )
  const took_ms = performance.now() - started
  const wrong: string[] = []
  const expected = poor ? ['paid', 'failed', 'insufficient_stock'] : ['paid', 'insufficient_stock']
  const counts = new Map<string, number>()
  for (const { said } of ends) counts.set(said, (counts.get(said) ?? 0) + 1)
  for (const said of counts.keys()) if (!expected.includes(said)) wrong.push(`${counts.get(said)} were told ${said}`)
  const paid = counts.get('paid') ?? 0
  if (poor ? paid > UNITS || paid === 0 : paid !== UNITS) wrong.push(`${paid} were paid`)
  wrong.push(...(await audit(db, { sku, paid, ends, funded })))
  return { wrong, took_ms, again }
}

/** Charges accounts as the service would, but all in one statement. */
async function fund(
  db: Knex,
  customers: readonly string[],
  amountOf: (i: number) => number,
): Promise<Map<string, number>> {
  const amounts = customers.map((_, i) => amountOf(i))
  await rows(
    db,
    `WITH n AS (SELECT * FROM unnest(?::uuid[], ?::bigint[]) AS n (id, amount)), charged AS (
       INSERT INTO charges (id, customer_id, amount, client, idempotency_key, request_hash)
       SELECT gen_random_uuid(), id, amount, '', 'fund ' || id, '\\x00' FROM n RETURNING id, customer_id, amount
     ), entered AS (
       INSERT INTO account_entries (customer_id, seq, kind, amount, balance_after, charge_id)
       SELECT customer_id, 1, 'charge', amount, amount, id FROM charged
     )
     UPDATE customers c SET balance = n.amount, seq = 1 FROM n WHERE c.id = n.id`,
    [customers, amounts],
  )
  return new Map(customers.map((id, i) => [id, amounts[i]!]))
}

async function audit(
  db: Knex,
  told: {
    sku: string
    paid: number
    ends: readonly { customer_id: string; said: string }[]
    funded: Map<string, number>
  },
): Promise<string[]> {
  const { sku, paid, ends, funded } = told
  const wrong: string[] = []
  const [counter] = await rows<{ stock: number; temp_reserved_stock: number }>(
    db,
    'SELECT stock, temp_reserved_stock FROM stock WHERE sku = ?',
    [sku],
  )
  if (counter?.stock !== UNITS - paid || counter.temp_reserved_stock !== 0)
    wrong.push(`the counter is ${JSON.stringify(counter)}`)
  const [sums] = await rows<{ orders: number; units: number; money: number }>(
    db,
    `SELECT count(DISTINCT o.id) AS orders, coalesce(sum(s.quantity), 0)::bigint AS units, coalesce(sum(s.amount), 0)::bigint AS money
     FROM orders o JOIN sales s ON s.order_id = o.id WHERE s.sku = ? AND o.status = 'paid'`,
    [sku],
  )
  if (sums?.orders !== paid || sums.units !== paid || sums.money !== paid * PRICE)
    wrong.push(`the sales are ${JSON.stringify(sums)}`)
  const balances = new Map(
    (
      await rows<{ id: string; balance: number }>(db, 'SELECT id, balance FROM customers WHERE id = ANY (?)', [
        [...funded.keys()],
      ])
    ).map(({ id, balance }) => [id, balance]),
  )
  for (const { customer_id, said } of ends) {
    const right = funded.get(customer_id)! - (said === 'paid' ? PRICE : 0)
    if (balances.get(customer_id) !== right)
      wrong.push(`a customer who was told ${said} has ${balances.get(customer_id)}, not ${right}`)
  }
  return wrong
}

await runSuite(main)
