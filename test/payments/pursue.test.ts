import { pino } from 'pino'
import { rows } from '../../src/database/transaction.ts'
import { GatewayUnavailable } from '../../src/payments/gateway.ts'
import { createPursuer, type Pursuer } from '../../src/payments/pursue.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { gate, must, stopCores } from '../factories.ts'
import { onSale, openShop, ordered, read, wrongs, type TestShop } from '../shop.ts'
import { createFakeGateway, type FakeGateway } from './fake_gateway.ts'

/** What is owed to a gateway is tried until it is done, by one process at a time, and ever less often. */

let database: TestDatabase
let shop: TestShop
let gateway: FakeGateway
let pursuer: Pursuer
const logged: { level: number; tries: number }[] = []

beforeAll(async () => {
  database = await createTestDatabase()
  gateway = createFakeGateway()
  shop = openShop(database, { gateway })
  pursuer = open()
})

afterAll(async () => {
  expect(await wrongs(database.db)).toEqual([])
  await pursuer.stop()
  await shop.stop()
  await stopCores()
  await database.drop()
})

/** The job of a process. */
function open(): Pursuer {
  const log = pino({}, { write: (line) => void logged.push(JSON.parse(line) as (typeof logged)[number]) })
  return createPursuer({ ...shop.paying, gateway, log })
}

/** A payment whose capture is owed, and due. */
async function authorised(): Promise<{ id: string; payment_id: string }> {
  const order = await ordered(shop, await onSale(shop.db))
  const { payment } = must(await shop.pay(order.id, { method: 'card' }))
  gateway.set(payment.id, 'authorised')
  must(await shop.tell(payment.id, { kind: 'authorised', amount: 1000, currency: 'KRW' }))
  await makeDue(payment.id)
  return { id: order.id, payment_id: payment.id }
}

async function makeDue(payment_id: string): Promise<void> {
  await rows(database.db, 'UPDATE payments SET next_try_at = clock_timestamp() WHERE id = ?', [payment_id])
}

/** In how many seconds a payment is tried again, to the second. */
async function dueIn(payment_id: string): Promise<number | undefined> {
  const [row] = await rows<{ seconds: number }>(
    database.db,
    `SELECT round(extract(epoch FROM next_try_at - clock_timestamp()))::integer AS seconds FROM payments
     WHERE id = ? AND next_try_at IS NOT NULL`,
    [payment_id],
  )
  return row?.seconds
}

const captures = (payment_id: string) => gateway.calls.filter((call) => call === `capture ${payment_id}`).length

test('a gateway that is away is asked ever less often, down to once an hour, and loudly from the seventh time on', async () => {
  const { id, payment_id } = await authorised()
  const waits: (number | undefined)[] = []
  logged.length = 0
  for (let i = 0; i < 12; i++) {
    gateway.before.capture = () => {
      throw new GatewayUnavailable(new Error('away'))
    }
    await makeDue(payment_id)
    expect(await pursuer.run()).toBe(1)
    waits.push(await dueIn(payment_id))
  }
  expect(waits).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600])
  expect(logged.map(({ level }) => level)).toEqual([
    ...Array.from({ length: 6 }, () => 40),
    ...Array.from({ length: 6 }, () => 50),
  ])
  expect(logged.at(-1)?.tries).toBe(12)
  await makeDue(payment_id)
  await pursuer.run()
  expect(await read(shop.db, id)).toMatchObject({ status: 'paid' })
  expect(await dueIn(payment_id)).toBeUndefined()
})

test('what is not due is left alone', async () => {
  const { payment_id } = await authorised()
  await rows(database.db, `UPDATE payments SET next_try_at = clock_timestamp() + interval '5 seconds' WHERE id = ?`, [
    payment_id,
  ])
  expect(await pursuer.run()).toBe(0)
  expect(captures(payment_id)).toBe(0)
  await makeDue(payment_id)
  await pursuer.run()
})

test('what one process has taken no other one asks for, until half a minute has passed', async () => {
  const { id, payment_id } = await authorised()
  const other = open()
  const { opened, open: goOn } = gate()
  const asked = gate()
  gateway.before.capture = () => {
    asked.open()
    return opened
  }
  const running = pursuer.run()
  await asked.opened
  expect(await dueIn(payment_id)).toBe(30)
  expect(await other.run()).toBe(0)
  goOn()
  expect(await running).toBe(1)
  expect(captures(payment_id)).toBe(1)
  expect(await read(shop.db, id)).toMatchObject({ status: 'paid' })
  await other.stop()
})

test('each failed attempt is an event that says whether another may do', async () => {
  const order = await ordered(shop, await onSale(shop.db))
  const { payment } = must(await shop.pay(order.id, { method: 'card' }))
  must(await shop.tell(payment.id, { kind: 'declined', code: 'card_declined', retryable: true }))
  must(await shop.tell(payment.id, { kind: 'declined', code: 'stolen_card', retryable: false }))
  const events = await rows<{ data: unknown }>(
    database.db,
    `SELECT e.event->'data' AS data FROM outbox o, json_array_elements(o.events) AS e (event)
     WHERE e.event->>'type' = 'payment.failed' AND e.event->'data'->>'id' = ? ORDER BY o.ordered_at, o.id`,
    [payment.id],
  )
  const told = { id: payment.id, order_id: order.id, method: 'card', amount: 1000, currency: 'KRW' }
  expect(events.map(({ data }) => data)).toEqual([
    { ...told, failure_code: 'card_declined', retryable: true },
    { ...told, failure_code: 'stolen_card', retryable: false },
  ])
})
