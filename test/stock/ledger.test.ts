import { adjustStock } from '../../src/stock/adjust.ts'
import { readLedger } from '../../src/stock/ledger.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { findBroken, hold, must, openCore, stocked, stopCores, type Core } from '../factories.ts'

let database: TestDatabase
let core: Core

beforeAll(async () => {
  database = await createTestDatabase()
  core = openCore(database)
})

afterAll(async () => {
  await stopCores()
  await database.drop()
})

test('every verb leaves its row, newest first, with the counters after it and the reservation as reference', async () => {
  const sku = await stocked(database.db, 10)
  const paid = await hold(core.reservations, [{ sku, quantity: 3 }])
  const left = await hold(core.reservations, [{ sku, quantity: 2 }])
  must(await core.reservations.confirm({ id: paid.id }))
  must(await core.reservations.release({ id: left.id }))
  const entries = await readLedger(database.db, sku, { limit: 10 })
  const row = (
    seq: number,
    kind: string,
    deltas: [number, number],
    after: [number, number],
    reference: string | null,
  ) => ({
    seq,
    kind,
    stock_delta: deltas[0],
    reserved_delta: deltas[1],
    stock_after: after[0],
    reserved_after: after[1],
    reference,
    reason: null,
    created_at: expect.any(Date) as Date,
  })
  expect(entries).toEqual([
    row(5, 'release', [0, -2], [7, 0], left.id),
    row(4, 'confirm', [-3, -3], [7, 2], paid.id),
    row(3, 'reserve', [0, 2], [10, 5], left.id),
    row(2, 'reserve', [0, 3], [10, 3], paid.id),
    row(1, 'set', [10, 0], [10, 0], null),
  ])
})

test('pages go back from a seq and end with an empty one', async () => {
  const sku = await stocked(database.db, 1)
  must(await adjustStock(database.db, { client: '', items: Array.from({ length: 6 }, () => ({ sku, delta: 1 })) }))
  const seqs = async (before_seq?: number) =>
    (await readLedger(database.db, sku, { limit: 3, ...(before_seq === undefined ? {} : { before_seq }) }))?.map(
      (entry) => entry.seq,
    )
  expect([await seqs(), await seqs(5), await seqs(2), await seqs(1)]).toEqual([[7, 6, 5], [4, 3, 2], [1], []])
})

test('a SKU that does not exist has no ledger, not an empty one', async () => {
  expect(await readLedger(database.db, 'nowhere', { limit: 10 })).toBeUndefined()
})

test('writers of every kind at once leave a ledger without gaps that replays to the counters', async () => {
  const sku = await stocked(database.db, 1000)
  const held = await Promise.all(Array.from({ length: 40 }, () => hold(core.reservations, [{ sku, quantity: 2 }])))
  await Promise.all([
    ...held.map(({ id }, i) => (i % 2 === 0 ? core.reservations.confirm({ id }) : core.reservations.release({ id }))),
    ...Array.from({ length: 20 }, () => adjustStock(database.db, { client: '', items: [{ sku, delta: 1 }] })),
    ...Array.from({ length: 20 }, () => hold(core.reservations, sku)),
  ])
  expect(await findBroken(database.db)).toEqual([])
  const entries = (await readLedger(database.db, sku, { limit: 200 })) ?? []
  expect(entries.map((entry) => entry.seq)).toEqual(Array.from({ length: 121 }, (_, i) => 121 - i))
  expect(entries[0]).toMatchObject({ stock_after: 980, reserved_after: 20 })
})
