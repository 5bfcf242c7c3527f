import { rows } from '../../src/database/transaction.ts'
import { isSweeperStalled, readStats, stalledAfterSeconds } from '../../src/operations/stats.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { hold, makeOverdue, openCore, stocked, type Core } from '../factories.ts'

let database: TestDatabase
let core: Core

beforeAll(async () => {
  database = await createTestDatabase()
  core = openCore(database)
})

afterAll(async () => {
  await core.stop()
  await database.drop()
})

afterEach(() => rows(database.db, 'TRUNCATE stock, stock_ledger, reservations, sweep_set_aside, sweeper_runs'))

async function setAside(id: string): Promise<void> {
  await rows(
    database.db,
    `INSERT INTO sweep_set_aside (reservation_id, failures, retry_at, error, set_aside_at)
     VALUES (?, 1, now() + interval '1 minute', 'it does not fit', now())`,
    [id],
  )
}

async function sweptSecondsAgo(seconds: number): Promise<void> {
  await rows(
    database.db,
    `INSERT INTO sweeper_runs (instance, started_at, finished_at, succeeded_at)
     SELECT 'elsewhere', at, at, at FROM (SELECT now() - make_interval(secs => ?) AS at) AS moment`,
    [seconds],
  )
}

test('an empty shop has nothing pending and nothing stalled', async () => {
  expect(await readStats(database.db)).toEqual({
    pending: 0,
    overdue: 0,
    oldest_overdue_seconds: 0,
    set_aside: 0,
    sweeper: [],
    stalled: false,
  })
})

test('pending, overdue and set-aside holds are counted; closed ones are not', async () => {
  const sku = await stocked(database.db)
  const [first, second, third] = [
    await hold(core.reservations, sku),
    await hold(core.reservations, sku),
    await hold(core.reservations, sku),
  ]
  await hold(core.reservations, sku)
  await core.reservations.release({ id: third.id })
  await makeOverdue(database.db, first.id, 600)
  await makeOverdue(database.db, second.id, 30)
  await setAside(first.id)
  const stats = await readStats(database.db)
  expect(stats).toMatchObject({ pending: 3, overdue: 2, set_aside: 1, stalled: false })
  expect(Math.round(stats.oldest_overdue_seconds / 10)).toBe(60)
})

test('a hold that is overdue for two minutes, and no sweeper: expiry has stalled', async () => {
  const { id } = await hold(core.reservations, await stocked(database.db))
  await makeOverdue(database.db, id, 120)
  expect(await readStats(database.db)).toMatchObject({ stalled: true })
  expect(await readStats(database.db, { stalled_after_seconds: 300 })).toMatchObject({ stalled: false })
})

test('the same hold, set aside: it waits on purpose', async () => {
  const { id } = await hold(core.reservations, await stocked(database.db))
  await makeOverdue(database.db, id, 120)
  await setAside(id)
  expect(await readStats(database.db)).toMatchObject({ overdue: 1, stalled: false })
})

test.each([
  [30, false],
  [90, true],
])('the same hold, and an instance that swept %d s ago: stalled is %s', async (seconds, stalled) => {
  const { id } = await hold(core.reservations, await stocked(database.db))
  await makeOverdue(database.db, id, 120)
  await sweptSecondsAgo(seconds)
  expect(await readStats(database.db)).toMatchObject({ stalled })
})

test('a run of the sweeper shows under its instance', async () => {
  const { id } = await hold(core.reservations, await stocked(database.db))
  await makeOverdue(database.db, id, 120)
  await core.sweeper.run()
  expect(await readStats(database.db)).toMatchObject({
    pending: 0,
    stalled: false,
    sweeper: [{ instance: 'test', expired: 1, error: null, succeeded_seconds_ago: expect.any(Number) }],
  })
})

test('a sweeper that never succeeded is no success', () => {
  const state = { oldest_waiting_seconds: 61, stalled_after_seconds: 60 }
  expect(isSweeperStalled({ ...state, sweeper: [{ succeeded_seconds_ago: null }] })).toBe(true)
  expect(isSweeperStalled({ ...state, sweeper: [{ succeeded_seconds_ago: null }, { succeeded_seconds_ago: 5 }] })).toBe(
    false,
  )
  expect(isSweeperStalled({ ...state, oldest_waiting_seconds: 60, sweeper: [] })).toBe(false)
})

test.each([
  ['*/10 * * * * *', 60],
  ['0 */5 * * * *', 900],
  ['0 0 * * * *', 10_800],
  [undefined, 60],
])('under the schedule %s a hold may stay overdue for %d s', (cron, seconds) => {
  expect(stalledAfterSeconds(cron)).toBe(seconds)
})
