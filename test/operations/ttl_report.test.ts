import { readTtlReport } from '../../src/operations/ttl_report.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { hold, makeOverdue, must, openCore, stocked, stopCores, type Core } from '../factories.ts'

/** What became of the holds of each hold time. */

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})

afterAll(async () => {
  await stopCores()
  await database.drop()
})

/** A core in which everybody gets the same variant, of two. */
function openVariant(seconds: number): Core {
  return openCore(database, {
    ttl_seconds: [
      { value: seconds, weight: 1_000_000 },
      { value: 1, weight: 1 },
    ],
  })
}

test('no reservations: nothing to tell', async () => {
  expect(await readTtlReport(database.db)).toEqual([])
})

test('holds, payments and units that came back stand beside each other by hold time, those of no trial last', async () => {
  const sku = await stocked(database.db, 100)
  const [short, long] = [openVariant(600), openVariant(1800)]
  const held = async (core: Core, quantity: number) => (await hold(core.reservations, [{ sku, quantity }])).id
  const buyers = [await held(short, 1), await held(short, 2), await held(short, 3), await held(short, 4)] as const
  must(await short.reservations.confirm({ id: buyers[0] }))
  must(await short.reservations.release({ id: buyers[1] }))
  await makeOverdue(database.db, [buyers[2]])
  const since = new Date()
  // Ids have milliseconds.
  while (Date.now() <= since.getTime()) await new Promise((resolve) => setImmediate(resolve))
  must(await long.reservations.confirm({ id: await held(long, 5) }))
  must(await long.reservations.confirm({ id: await held(long, 6) }))
  await hold(long.reservations, [{ sku, quantity: 7 }], { ttl_seconds: 60 })

  const of_long = {
    ttl_variant: '1800',
    holds: 2,
    confirmed: 2,
    released: 0,
    expired: 0,
    pending: 0,
    units_held: 11,
    units_sold: 11,
    units_returned: 0,
  }
  const of_none = {
    ttl_variant: null,
    holds: 1,
    confirmed: 0,
    released: 0,
    expired: 0,
    pending: 1,
    units_held: 7,
    units_sold: 0,
    units_returned: 0,
  }
  expect(await readTtlReport(database.db)).toEqual([
    {
      ttl_variant: '600',
      holds: 4,
      confirmed: 1,
      released: 1,
      expired: 1,
      pending: 1,
      units_held: 10,
      units_sold: 1,
      units_returned: 5,
    },
    of_long,
    of_none,
  ])
  expect(await readTtlReport(database.db, { since })).toEqual([of_long, of_none])
})
