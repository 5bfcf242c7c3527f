import { rows } from '../../src/database/transaction.ts'
import { appendEvents } from '../../src/outbox/append.ts'
import { positionEvents } from '../../src/outbox/position.ts'
import { readEvents, type ServiceEvent } from '../../src/outbox/read.ts'
import { adjustStock } from '../../src/stock/adjust.ts'
import { setStock } from '../../src/stock/set.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  clear,
  hold,
  keyed,
  ledger,
  makeOverdue,
  must,
  openCore,
  stocked,
  stopCores,
  untilWaiting,
  wants,
  type Core,
} from '../factories.ts'

let database: TestDatabase
let core: Core

beforeAll(async () => {
  database = await createTestDatabase()
  core = openCore(database)
})

beforeEach(async () => {
  await clear(database.db)
  await rows(database.db, 'UPDATE outbox_position SET last_position = 0')
})

afterAll(async () => {
  await stopCores()
  await database.drop()
})

/** All events from a position on, read so many at a time; fails if a position is missing or comes twice. */
async function readAll(limit = 200, after = 0): Promise<ServiceEvent[]> {
  const all: ServiceEvent[] = []
  for (;;) {
    const { events, next_after } = await readEvents(database.db, { after: after + all.length, limit })
    all.push(...events)
    expect(events.length).toBeLessThanOrEqual(limit)
    expect(next_after).toBe(after + all.length)
    if (events.length < limit) break
  }
  expect(all.map(({ position }) => position)).toEqual(all.map((_, i) => after + i + 1))
  return all
}

function inShort({ type, data }: ServiceEvent): string {
  const lines = data['lines'] as { quantity: number; seq: number | null }[] | undefined
  return lines === undefined ? `${type} ${String(data['seq'])}` : `${type} ${lines.map((line) => line.seq).join()}`
}

test('each change has its event, in order, with the seq that it has in the ledger', async () => {
  const { reservations } = core
  const sku = await stocked(database.db, 2)
  const paid = await hold(reservations, sku)
  const left = await hold(reservations, sku)
  must(await reservations.extend({ id: paid.id, ttl_seconds: 60 }))
  must(await reservations.confirm({ id: paid.id }))
  must(await reservations.release({ id: left.id, reason: 'left' }))
  const late = await hold(reservations, sku)
  await makeOverdue(database.db, late.id)
  must(await reservations.confirm({ id: late.id, on_expired: 'reacquire' }))
  expect((await readAll()).map(inShort)).toEqual([
    'reservation.created 2',
    'reservation.created 3',
    'stock.sold_out 3',
    'reservation.extended ',
    'reservation.confirmed 4',
    'reservation.released 5',
    'stock.back 5',
    'reservation.created 6',
    'stock.sold_out 6',
    'reservation.expired 7',
    'stock.back 7',
    'reservation.confirmed 9',
    'stock.sold_out 8',
  ])
})

test('an event tells the whole reservation as it was after the change, and has an id of its own', async () => {
  const sku = await stocked(database.db)
  const { id } = await hold(core.reservations, sku, { customer_id: 'ann', metadata: { gift: true } })
  const confirmed = must(await core.reservations.confirm({ id }))
  const [created, second] = await readAll()
  expect(second?.data).toEqual(JSON.parse(JSON.stringify({ ...confirmed, lines: [{ sku, quantity: 1, seq: 3 }] })))
  expect(created?.data).toMatchObject({ id, status: 'pending', customer_id: 'ann', metadata: { gift: true } })
  expect(created?.id).not.toBe(second?.id)
  expect(second?.created_at).toBeInstanceOf(Date)
})

test('what changes nothing has no event: refusals, replays, repeated ends, a count that is what it was', async () => {
  const { reservations } = core
  const sku = await stocked(database.db, 1)
  const { id } = await hold(reservations, sku, keyed('once'))
  await reservations.reserve(wants(sku))
  await reservations.reserve(wants(sku, keyed('once')))
  must(await reservations.confirm({ id }))
  must(await reservations.confirm({ id }))
  must(await setStock(database.db, [{ sku, stock: 0 }]))
  expect((await readAll()).map(({ type }) => type)).toEqual([
    'reservation.created',
    'stock.sold_out',
    'reservation.confirmed',
  ])
})

test('sold out and back again, whoever does it: holds, ends, sweeps, counts and adjustments', async () => {
  const { reservations } = core
  const sku = await stocked(database.db, 0)
  must(await setStock(database.db, [{ sku, stock: 2 }]))
  must(
    await adjustStock(database.db, {
      client: '',
      items: [
        { sku, delta: -2 },
        { sku, delta: 1 },
      ],
    }),
  )
  const late = await hold(reservations, sku)
  await makeOverdue(database.db, late.id)
  await core.sweeper.run()
  must(await setStock(database.db, [{ sku, stock: 0 }]))
  const events = (await readAll()).filter(({ type }) => type.startsWith('stock.'))
  expect(events.map(inShort)).toEqual([
    'stock.back 2',
    'stock.sold_out 3',
    'stock.back 4',
    'stock.sold_out 5',
    'stock.back 6',
    'stock.sold_out 7',
  ])
  expect(events[3]?.data).toEqual({ sku, seq: 5, stock: 1, temp_reserved_stock: 1, available: 0 })
  expect((await ledger(database.db, sku))[4]).toBe('reserve 0 1')
})

test('a SKU that is created is not back, and one that is created empty is not sold out', async () => {
  must(
    await setStock(database.db, [
      { sku: 'full', stock: 5 },
      { sku: 'empty', stock: 0 },
    ]),
  )
  expect(await readAll()).toEqual([])
})

test.each([1, 2, 3, 7, 200])(
  'read %i at a time, events of transactions that made many come all, once, in order',
  async (limit) => {
    const sku = await stocked(database.db, 100)
    await Promise.all(Array.from({ length: 10 }, () => hold(core.reservations, sku)))
    const many = await Promise.all(Array.from({ length: 5 }, () => hold(core.reservations, sku)))
    await Promise.all(many.map(({ id }) => core.reservations.confirm({ id })))
    expect((await readAll(limit)).map(({ type }) => type)).toEqual([
      ...Array.from({ length: 15 }, () => 'reservation.created'),
      ...Array.from({ length: 5 }, () => 'reservation.confirmed'),
    ])
    expect((await readAll(limit, 13)).map(inShort).slice(0, 2)).toEqual([
      'reservation.created 15',
      'reservation.created 16',
    ])
  },
)

test('where there is nothing new a reader stays where it is', async () => {
  expect(await readEvents(database.db, { after: 0, limit: 10 })).toEqual({ events: [], next_after: 0 })
  await hold(core.reservations, await stocked(database.db))
  await readAll()
  expect(await readEvents(database.db, { after: 1, limit: 10 })).toEqual({ events: [], next_after: 1 })
  expect(await readEvents(database.db, { after: 99, limit: 10 })).toEqual({ events: [], next_after: 99 })
})

test('a transaction that commits late gets a later position: a reader that was past it does not miss it', async () => {
  const [slow, fast] = [await stocked(database.db), await stocked(database.db)]
  const tx = await begin(database.db)
  const late = must(await core.reservations.reserveIn(tx, wants(slow))).reservation
  const early = await hold(core.reservations, fast)
  const first = await readEvents(database.db, { after: 0, limit: 10 })
  expect(first.events.map(({ data }) => data['id'])).toEqual([early.id])
  await tx.commit()
  const second = await readEvents(database.db, { after: first.next_after, limit: 10 })
  expect(second.events.map(({ data, position }) => [data['id'], position])).toEqual([[late.id, 2]])
})

test('a transaction that is undone leaves no gap', async () => {
  const sku = await stocked(database.db)
  await hold(core.reservations, sku)
  const tx = await begin(database.db)
  must(await core.reservations.reserveIn(tx, wants(await stocked(database.db))))
  await tx.rollback()
  await hold(core.reservations, sku)
  expect(await readAll()).toHaveLength(2)
})

test('a reader waits for the one that gives positions, and then sees all that was committed before it asked', async () => {
  await hold(core.reservations, await stocked(database.db))
  const tx = await begin(database.db)
  await tx.raw('SELECT 1 FROM outbox_position FOR UPDATE')
  const reading = readEvents(database.db, { after: 0, limit: 10 })
  await untilWaiting(database.db)
  await tx.rollback()
  expect((await reading).events).toHaveLength(1)
})

test('while positions can not be given in time a reader gets what has its position, and nothing is lost', async () => {
  const sku = await stocked(database.db)
  await hold(core.reservations, sku)
  await readAll()
  await hold(core.reservations, sku)
  const tx = await begin(database.db)
  await tx.raw('SELECT 1 FROM outbox_position FOR UPDATE')
  expect((await readEvents(core.pool, { after: 0, limit: 10 })).events).toHaveLength(1)
  expect(await positionEvents(core.pool, false)).toBe(0)
  await tx.rollback()
  expect(await readAll()).toHaveLength(2)
})

test('several jobs at once give each event one position', async () => {
  const sku = await stocked(database.db, 1000)
  for (let i = 0; i < 10; i++) await Promise.all([hold(core.reservations, sku), hold(core.reservations, sku)])
  await Promise.all(Array.from({ length: 6 }, (_, i) => positionEvents(database.db, i % 2 === 0)))
  expect(await readAll()).toHaveLength(20)
})

test('a backlog beyond one run is positioned by several, the oldest first', async () => {
  await rows(
    database.db,
    `INSERT INTO outbox (id, ordered_at, events, event_count)
     SELECT gen_random_uuid(), now() + n * interval '1 ms', '[{"type":"stock.back","data":{}},{"type":"stock.back","data":{}}]', 2
     FROM generate_series(1, 1500) AS n`,
  )
  expect(await positionEvents(database.db, true)).toBe(1500)
  const { events } = await readEvents(database.db, { after: 2990, limit: 200 })
  expect(events.map(({ position }) => position)).toEqual(Array.from({ length: 10 }, (_, i) => 2991 + i))
  const [row] = await rows<{ in_order: boolean }>(
    database.db,
    `SELECT bool_and(last_position = 2 * place) AS in_order
     FROM (SELECT last_position, row_number() OVER (ORDER BY ordered_at) AS place FROM outbox) AS placed`,
  )
  expect(row).toEqual({ in_order: true })
})

test('events of nothing are not written', async () => {
  await appendEvents(database.db, [], null)
  expect(await rows(database.db, 'SELECT * FROM outbox')).toEqual([])
})

test('a reader that polls while two processes sell sees every event once, and those of each SKU in ledger order', async () => {
  const other = openCore(database, { instance: 'other', strategy: 'conditional', lock_timeout_ms: 5000 })
  const skus = [await stocked(database.db, 6), await stocked(database.db, 6), await stocked(database.db, 6)]
  const seen: ServiceEvent[] = []
  let selling = true
  const poll = async () => {
    for (;;) {
      const last = !selling
      const { events } = await readEvents(database.db, { after: seen.length, limit: 20 })
      seen.push(...events)
      if (last && events.length === 0) return
    }
  }
  const sell = async (i: number) => {
    const { reservations } = i % 2 === 0 ? core : other
    const lines = [skus[i % 3]!, skus[(i + 1) % 3]!].map((sku) => ({ sku, quantity: 1 }))
    const answer = await reservations.reserve(wants(i % 4 < 2 ? lines : lines.toReversed()))
    if (answer.ok) await reservations.release({ id: answer.value.reservation.id })
  }
  const reader = poll()
  await Promise.all(Array.from({ length: 120 }, (_, i) => sell(i)))
  selling = false
  await reader
  expect(seen.map(({ position }) => position)).toEqual(seen.map((_, i) => i + 1))
  for (const sku of skus) {
    const seqs = seen.flatMap(({ type, data }) => {
      const lines = type.startsWith('stock.') ? [] : (data['lines'] as { sku: string; seq: number }[])
      return lines.filter((line) => line.sku === sku).map((line) => line.seq)
    })
    expect(seqs).toEqual(Array.from({ length: (await ledger(database.db, sku)).length - 1 }, (_, i) => i + 2))
    const around = seen.filter(({ type, data }) => type.startsWith('stock.') && data['sku'] === sku)
    expect(around.map(({ type }) => type)).toEqual(
      around.map((_, i) => (i % 2 === 0 ? 'stock.sold_out' : 'stock.back')),
    )
  }
  await other.stop()
})
