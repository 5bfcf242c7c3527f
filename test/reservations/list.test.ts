import { v7 as uuidv7 } from 'uuid'
import type { ReservationFilter } from '../../src/reservations/list.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  clear,
  hold,
  keyed,
  makeOverdue,
  must,
  openCore,
  refusal,
  stocked,
  stopCores,
  timePasses,
  type Core,
} from '../factories.ts'

let database: TestDatabase
let core: Core

beforeAll(async () => {
  database = await createTestDatabase()
  core = openCore(database)
})

afterEach(() => clear(database.db))

afterAll(async () => {
  await stopCores()
  await database.drop()
})

async function ids(filter: Omit<ReservationFilter, 'limit'> = {}): Promise<string[]> {
  return must(await core.reservations.list({ limit: 200, ...filter })).reservations.map(({ id }) => id)
}

/** All ids, read page by page. */
async function paged(limit: number, filter: Omit<ReservationFilter, 'limit' | 'cursor'> = {}): Promise<string[][]> {
  const pages: string[][] = []
  let cursor: string | null = null
  do {
    const page: { reservations: { id: string }[]; next_cursor: string | null } = must(
      await core.reservations.list({ ...filter, limit, ...(cursor === null ? {} : { cursor }) }),
    )
    pages.push(page.reservations.map(({ id }) => id))
    cursor = page.next_cursor
  } while (cursor !== null)
  return pages
}

test('the newest come first, and pages follow one another without a gap, the last one full or not', async () => {
  const sku = await stocked(database.db)
  const made: string[] = []
  for (let i = 0; i < 6; i++) made.unshift((await hold(core.reservations, sku)).id)
  expect(await paged(2)).toEqual([made.slice(0, 2), made.slice(2, 4), made.slice(4, 6)])
  expect(await paged(4)).toEqual([made.slice(0, 4), made.slice(4, 6)])
  expect(await paged(4, { sku })).toEqual([made.slice(0, 4), made.slice(4, 6)])
  expect(await paged(2, { sku })).toEqual([made.slice(0, 2), made.slice(2, 4), made.slice(4, 6)])
})

test('what is new meanwhile moves no page', async () => {
  const sku = await stocked(database.db)
  for (let i = 0; i < 3; i++) await hold(core.reservations, sku)
  const first = must(await core.reservations.list({ limit: 2 }))
  await hold(core.reservations, sku)
  const second = must(await core.reservations.list({ limit: 2, cursor: first.next_cursor! }))
  expect(second.reservations).toHaveLength(1)
  expect(first.reservations.map(({ id }) => id)).not.toContain(second.reservations[0]?.id)
})

test('a status is the one of this moment: overdue holds are expired, swept or not, and pending no more', async () => {
  const sku = await stocked(database.db)
  const held: Record<string, string> = {}
  for (const state of ['pending', 'overdue', 'swept', 'confirmed', 'released']) {
    held[state] = (await hold(core.reservations, sku)).id
  }
  await makeOverdue(database.db, held['swept']!)
  await core.sweeper.run()
  await makeOverdue(database.db, held['overdue']!)
  must(await core.reservations.confirm({ id: held['confirmed']! }))
  must(await core.reservations.release({ id: held['released']! }))
  expect(await ids({ status: 'pending' })).toEqual([held['pending']])
  expect(await ids({ status: 'expired' })).toEqual([held['swept'], held['overdue']])
  expect(await ids({ status: 'confirmed', sku })).toEqual([held['confirmed']])
  expect(await ids({ status: 'released' })).toEqual([held['released']])
  expect(await ids({ status: 'expired', sku })).toEqual([held['swept'], held['overdue']])
  const expired = must(await core.reservations.list({ limit: 10, status: 'expired' })).reservations
  for (const one of expired) expect(one).toMatchObject({ status: 'expired', closed_at: one.expires_at })
})

test('by SKU: every hold that has a line of it, whole, and no other', async () => {
  const [sku, other] = [await stocked(database.db), await stocked(database.db)]
  const both = await hold(core.reservations, [
    { sku: other, quantity: 2 },
    { sku, quantity: 1 },
  ])
  const elsewhere = await hold(core.reservations, other)
  const single = await hold(core.reservations, sku)
  expect(await ids({ sku })).toEqual([single.id, both.id])
  expect(await ids({ sku: other })).toEqual([elsewhere.id, both.id])
  expect(await ids({ sku: 'nowhere' })).toEqual([])
  const [found] = must(
    await core.reservations.list({ limit: 1, sku: other, status: 'pending', cursor: '3' }),
  ).reservations
  expect(found).toEqual(both)
})

test('by SKU a hold that was reacquired is listed once, where it was reacquired, on whatever page', async () => {
  const sku = await stocked(database.db)
  const first = await hold(core.reservations, sku)
  const between = await hold(core.reservations, sku)
  await makeOverdue(database.db, first.id)
  must(await core.reservations.confirm({ id: first.id, on_expired: 'reacquire' }))
  const last = await hold(core.reservations, sku)
  expect(await ids({ sku })).toEqual([last.id, first.id, between.id])
  expect(await paged(1, { sku })).toEqual([[last.id], [first.id], [between.id]])
  await timePasses(database.db, 5000)
  expect(await ids({ sku })).toEqual([last.id, first.id, between.id])
})

test('by SKU a hold that was confirmed in time is still listed when that time is long over', async () => {
  const sku = await stocked(database.db)
  const { id } = await hold(core.reservations, sku)
  must(await core.reservations.confirm({ id }))
  await timePasses(database.db, 10_000)
  expect(await ids({ sku })).toEqual([id])
})

test('by customer, by reference, by both, and by end', async () => {
  const sku = await stocked(database.db)
  const a = await hold(core.reservations, sku, { customer_id: 'ann', reference: 'order 1', ttl_seconds: 60 })
  const b = await hold(core.reservations, sku, { customer_id: 'ann', reference: 'order 2', ttl_seconds: 600 })
  const c = await hold(core.reservations, sku, { customer_id: 'bob', reference: 'order 1' })
  expect(await ids({ customer_id: 'ann' })).toEqual([b.id, a.id])
  expect(await ids({ reference: 'order 1' })).toEqual([c.id, a.id])
  expect(await ids({ customer_id: 'ann', reference: 'order 1' })).toEqual([a.id])
  expect(await ids({ expires_before: b.expires_at })).toEqual([a.id])
  expect(await ids({ expires_before: new Date(b.expires_at.getTime() + 1), customer_id: 'ann' })).toEqual([b.id, a.id])
})

test("by idempotency key: the client's own, and nobody else's", async () => {
  const sku = await stocked(database.db)
  const one = await hold(core.reservations, sku, { client: 'one', ...keyed('same') })
  const two = await hold(core.reservations, sku, { client: 'two', ...keyed('same') })
  expect(await ids({ idempotency_key: { client: 'one', key: 'same' } })).toEqual([one.id])
  expect(await ids({ idempotency_key: { client: 'two', key: 'same' } })).toEqual([two.id])
  expect(await ids({ idempotency_key: { client: '', key: 'same' } })).toEqual([])
})

test.each([
  ['not a uuid', undefined],
  ['12', undefined],
  ['', undefined],
  [uuidv7(), 'sku'],
  ['0', 'sku'],
  ['-1', 'sku'],
  ['1e3', 'sku'],
  ['9'.repeat(30), 'sku'],
])('the cursor %j is none of this list with sku %j: refused', async (cursor, sku) => {
  const answer = await core.reservations.list({ limit: 1, cursor, ...(sku === undefined ? {} : { sku }) })
  expect(refusal(answer)).toMatchObject({ code: 'invalid_request', errors: [{ path: 'query/cursor' }] })
})

test('one that does not exist can not be read', async () => {
  expect(await core.reservations.read(uuidv7())).toBeUndefined()
})
