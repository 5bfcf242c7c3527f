import { jest } from '@jest/globals'
import { rows } from '../../src/database/transaction.ts'
import { lockLevels } from '../../src/stock/queries.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  clear,
  counters,
  cure,
  findBroken,
  gate,
  hold,
  ledger,
  makeOverdue,
  must,
  openCore,
  poison,
  snapshot,
  stocked,
  stopCores,
  stored,
  timePasses,
  until,
  untilWaiting,
  wants,
  type Core,
} from '../factories.ts'

let database: TestDatabase
let core: Core

beforeAll(async () => {
  database = await createTestDatabase()
})

beforeEach(() => {
  core = openCore(database, { lock_timeout_ms: 50 })
})

afterEach(async () => {
  const broken = await findBroken(database.db)
  await clear(database.db)
  await stopCores()
  expect(broken).toEqual([])
})

afterAll(() => database.drop())

test('beside buyers it takes few at a time, and all in the end', async () => {
  const sku = await stocked(database.db, 200)
  await makeOverdue(database.db, await holds(sku, 120))
  const polite = openCore(database, { isBusy: () => true })
  expect(await polite.sweeper.run()).toMatchObject({ expired: 120, batches: 3 })
  expect(await counters(database.db, sku)).toBe('200/0')
})

test('buyers whose flight takes long are there for the sweeper until it has landed, and a moment longer', async () => {
  const sku = await stocked(database.db)
  const patient = openCore(database, { lock_timeout_ms: 5000 })
  expect(patient.reservations.isBusy()).toBe(false)
  const other = await begin(database.db)
  await lockLevels(other, [sku])
  const held = patient.reservations.reserve(wants(sku))
  await untilWaiting(database.db)
  // The clock is turned for the one question only: flights look at it too.
  const isBusyIn = (ms: number) => {
    const clock = jest.spyOn(performance, 'now').mockReturnValue(performance.now() + ms)
    const is_busy = patient.reservations.isBusy()
    clock.mockRestore()
    return is_busy
  }
  expect(isBusyIn(60_000)).toBe(true)
  await other.rollback()
  must(await held)
  expect(isBusyIn(0)).toBe(true)
  expect(isBusyIn(60_000)).toBe(false)
})

/** So many holds of one unit of a SKU. */
async function holds(sku: string, count: number): Promise<string[]> {
  const held = await Promise.all(Array.from({ length: count }, () => hold(core.reservations, sku)))
  return held.map(({ id }) => id)
}

/** What the sweeper of an instance last noted of itself. */
async function noted(instance = 'test'): Promise<Record<string, unknown> | undefined> {
  const [row] = await rows<Record<string, unknown>>(database.db, 'SELECT * FROM sweeper_runs WHERE instance = ?', [
    instance,
  ])
  return row
}

test('what is overdue is given back, closed at its end; what still lasts or has ended stays as it is', async () => {
  const [sku, other] = [await stocked(database.db), await stocked(database.db)]
  const late = await hold(core.reservations, [
    { sku, quantity: 2 },
    { sku: other, quantity: 1 },
  ])
  const ended = await holds(sku, 3)
  must(await core.reservations.confirm({ id: ended[0]! }))
  must(await core.reservations.release({ id: ended[1]! }))
  await makeOverdue(database.db, ended[2]!, 500)
  await core.sweeper.run()
  await makeOverdue(database.db, late.id, 100)
  const lasting = await hold(core.reservations, other)
  const unchanged = [...ended, lasting.id]
  const before = await snapshot(database.db, unchanged, [])
  expect(await core.sweeper.run()).toEqual({
    expired: 1,
    batches: 1,
    set_aside: 0,
    blocked_skus: [],
    duration_ms: expect.any(Number) as number,
  })
  const read = await core.reservations.read(late.id)
  expect(read).toMatchObject({ status: 'expired', closed_at: read?.expires_at, release_reason: null })
  expect(await snapshot(database.db, unchanged, [])).toEqual(before)
  expect([await counters(database.db, sku), await counters(database.db, other)]).toEqual(['9/0', '10/1'])
  expect(await ledger(database.db, other)).toEqual(['set 10 0', 'reserve 0 1', 'reserve 0 1', 'expire 0 -1'])
})

test('when nothing is overdue nothing is written but that it ran', async () => {
  const sku = await stocked(database.db)
  const lasting = await holds(sku, 2)
  const before = await snapshot(database.db, lasting, [sku])
  expect(await core.sweeper.run()).toMatchObject({ expired: 0, batches: 1 })
  expect(await snapshot(database.db, lasting, [sku])).toEqual(before)
  expect(await noted()).toMatchObject({ expired: 0, error: null, succeeded_at: expect.any(Date) as Date })
})

test('more than a transaction takes is given back by several, until one comes back short', async () => {
  const sku = await stocked(database.db, 2000)
  const late = await holds(sku, 1003)
  const lasting = await holds(sku, 5)
  await makeOverdue(database.db, late)
  const before = await snapshot(database.db, lasting, [])
  const { expired, batches } = await core.sweeper.run()
  expect(expired).toBe(1003)
  // 500, then three hands at once share the rest; each ends with what comes back short.
  expect(batches).toBeGreaterThanOrEqual(3)
  expect(batches).toBeLessThanOrEqual(5)
  expect(await counters(database.db, sku)).toBe('2000/5')
  expect(await snapshot(database.db, lasting, [])).toEqual(before)
})

test('the oldest come first', async () => {
  const sku = await stocked(database.db)
  const [younger, older] = await holds(sku, 2)
  await makeOverdue(database.db, younger!, 10)
  await makeOverdue(database.db, older!, 20)
  await core.sweeper.run()
  const order = await rows<{ reservation_id: string }>(
    database.db,
    `SELECT reservation_id FROM stock_ledger WHERE kind = 'expire' ORDER BY seq`,
  )
  expect(order.map((row) => row.reservation_id)).toEqual([older, younger])
})

test('one that somebody else has locked is skipped, not waited for, and given back the next time', async () => {
  const sku = await stocked(database.db)
  const [locked, free] = await holds(sku, 2)
  await makeOverdue(database.db, [locked!, free!])
  const tx = await begin(database.db)
  await tx.raw('SELECT 1 FROM reservations WHERE id = ? FOR UPDATE', [locked!])
  const before = await snapshot(database.db, [locked!], [])
  expect(await core.sweeper.run()).toMatchObject({ expired: 1, blocked_skus: [], set_aside: 0 })
  expect(await snapshot(database.db, [locked!], [])).toEqual(before)
  await tx.rollback()
  expect(await core.sweeper.run()).toMatchObject({ expired: 1 })
  expect(await counters(database.db, sku)).toBe('10/0')
})

test('any number of sweepers at once give back each hold once', async () => {
  const [sku, other] = [await stocked(database.db, 2000), await stocked(database.db, 2000)]
  const late = await holds(sku, 600)
  const crossed = await Promise.all(
    Array.from({ length: 300 }, (_, i) => {
      const lines = [sku, other].map((one) => ({ sku: one, quantity: 1 }))
      return hold(core.reservations, i % 2 === 0 ? lines : lines.toReversed())
    }),
  )
  const lasting = await holds(other, 3)
  await makeOverdue(database.db, [...late, ...crossed.map(({ id }) => id)])
  const sweepers = Array.from({ length: 4 }, (_, i) =>
    openCore(database, { instance: `sweeper ${i}`, lock_timeout_ms: 5000 }),
  )
  const runs = await Promise.all(sweepers.map(({ sweeper }) => sweeper.run()))
  expect(runs.reduce((sum, run) => sum + run.expired, 0)).toBe(900)
  expect([await counters(database.db, sku), await counters(database.db, other)]).toEqual(['2000/0', '2000/3'])
  expect(await Promise.all(lasting.map((id) => stored(database.db, id)))).toEqual(['pending', 'pending', 'pending'])
})

test('two runs of one sweeper at once are one run', async () => {
  const sku = await stocked(database.db)
  await makeOverdue(database.db, await holds(sku, 2))
  const [one, two] = await Promise.all([core.sweeper.run(), core.sweeper.run()])
  expect(one).toBe(two)
  expect(one.expired).toBe(2)
})

describe('a hold that can not be given back', () => {
  test('is set aside and named, without its row; the rest of its batch is given back', async () => {
    const sku = await stocked(database.db)
    const broken = await hold(core.reservations, sku, { customer_id: 'secret' })
    const others = await holds(sku, 3)
    await makeOverdue(database.db, [broken.id, ...others])
    await poison(database.db, broken.id)
    expect(await core.sweeper.run()).toMatchObject({ expired: 3, set_aside: 1 })
    expect(await stored(database.db, broken.id)).toBe('pending')
    const [aside] = await rows<{ error: string; failures: number }>(database.db, 'SELECT * FROM sweep_set_aside')
    expect(aside).toMatchObject({ reservation_id: broken.id, failures: 1 })
    expect(aside?.error).toContain('stock_covers_reserved')
    expect(aside?.error).not.toMatch(/Failing row|secret|1000000/)
    expect(core.logged).toContainEqual(expect.objectContaining({ level: 50, reservation_id: broken.id, failures: 1 }))
    expect(await noted()).toMatchObject({ expired: 3, set_aside: 1 })
    await cure(database.db, broken)
  })

  test('does not end a sweep of many in which several transactions work', async () => {
    const sku = await stocked(database.db, 3000)
    const broken = await hold(core.reservations, sku)
    await makeOverdue(database.db, [...(await holds(sku, 1200)), broken.id, ...(await holds(sku, 900))])
    await poison(database.db, broken.id)
    expect(await core.sweeper.run()).toMatchObject({ expired: 2100, set_aside: 1 })
    await cure(database.db, broken)
  })

  test('is tried again after 30 s, and after each failure after twice the time, up to an hour; then it comes back', async () => {
    const sku = await stocked(database.db)
    const broken = await hold(core.reservations, sku)
    await makeOverdue(database.db, broken.id)
    await poison(database.db, broken.id)
    const waits: number[] = []
    for (let failures = 1; failures <= 9; failures++) {
      expect(await core.sweeper.run()).toMatchObject({ expired: 0, set_aside: 1 })
      const [row] = await rows<{ failures: number; seconds: number }>(
        database.db,
        'SELECT failures, 10 * round(extract(epoch FROM retry_at - clock_timestamp()) / 10)::integer AS seconds FROM sweep_set_aside',
      )
      expect(row?.failures).toBe(failures)
      waits.push(row?.seconds ?? 0)
      await timePasses(database.db, (row?.seconds ?? 0) - 15)
      expect(await core.sweeper.run()).toMatchObject({ expired: 0, set_aside: 0 })
      await timePasses(database.db, 20)
    }
    expect(waits).toEqual([30, 60, 120, 240, 480, 960, 1920, 3600, 3600])
    await cure(database.db, broken)
    expect(await core.sweeper.run()).toMatchObject({ expired: 1, set_aside: 0 })
    expect(await rows(database.db, 'SELECT * FROM sweep_set_aside')).toEqual([])
  })

  test('is forgotten when it has ended another way', async () => {
    const sku = await stocked(database.db)
    const broken = await hold(core.reservations, sku)
    await makeOverdue(database.db, broken.id)
    await poison(database.db, broken.id)
    await core.sweeper.run()
    await cure(database.db, broken)
    must(await core.reservations.release({ id: broken.id }))
    await core.sweeper.run()
    expect(await rows(database.db, 'SELECT * FROM sweep_set_aside')).toEqual([])
  })
})

test('what a hook throws for one hold sets aside that hold only, and undoes what it did', async () => {
  const sku = await stocked(database.db)
  const [bad, good] = [await hold(core.reservations, sku, { reference: 'bad' }), await hold(core.reservations, sku)]
  await makeOverdue(database.db, [bad.id, good.id])
  const hooked = openCore(database, {
    onClosed: (_, closed) =>
      closed.some(({ reference }) => reference === 'bad')
        ? Promise.reject(new Error('no such order'))
        : Promise.resolve(),
  })
  expect(await hooked.sweeper.run()).toMatchObject({ expired: 1, set_aside: 1 })
  expect([await stored(database.db, bad.id), await stored(database.db, good.id)]).toEqual(['pending', 'expired'])
  const [aside] = await rows<{ error: string }>(database.db, 'SELECT error FROM sweep_set_aside')
  expect(aside?.error).toBe('no such order')
})

test('a SKU whose counter is locked is left out and named, the others are swept, and it is the next time', async () => {
  const [stuck, free] = [await stocked(database.db), await stocked(database.db)]
  const waiting = await hold(core.reservations, [
    { sku: free, quantity: 1 },
    { sku: stuck, quantity: 1 },
  ])
  const others = await holds(free, 3)
  await makeOverdue(database.db, [waiting.id, ...others])
  const before = await snapshot(database.db, [waiting.id], [stuck])
  const tx = await begin(database.db)
  await tx.raw('SELECT 1 FROM stock WHERE sku = ? FOR UPDATE', [stuck])
  expect(await core.sweeper.run()).toMatchObject({ expired: 3, set_aside: 0, blocked_skus: [stuck] })
  await tx.rollback()
  expect(await snapshot(database.db, [waiting.id], [stuck])).toEqual(before)
  expect(await counters(database.db, free)).toBe('10/1')
  expect(await core.sweeper.run()).toMatchObject({ expired: 1, blocked_skus: [] })
})

test('a counter that is locked for a while only, as by another of its own transactions that stalled, is swept in the same run', async () => {
  const [stuck, free] = [await stocked(database.db), await stocked(database.db)]
  await makeOverdue(database.db, [...(await holds(stuck, 2)), ...(await holds(free, 3))])
  const tx = await begin(database.db)
  let batches = 0
  const stalled = openCore(database, {
    lock_timeout_ms: 50,
    onClosed: async () => {
      batches += 1
      if (batches === 1) await tx.raw('SELECT 1 FROM stock WHERE sku = ? FOR UPDATE', [stuck])
      if (batches === 2) await tx.rollback()
    },
  })
  expect(await stalled.sweeper.run()).toMatchObject({ expired: 5, set_aside: 0, blocked_skus: [] })
  expect([await counters(database.db, stuck), await counters(database.db, free)]).toEqual(['10/0', '10/0'])
})

test('a failed run is logged and noted, keeps the time of the last success, and the next one works', async () => {
  const sku = await stocked(database.db)
  await makeOverdue(database.db, await holds(sku, 2))
  await core.sweeper.run()
  const { succeeded_at } = (await noted()) ?? {}
  await database.db.raw('ALTER TABLE reservations RENAME COLUMN release_reason TO gone')
  await expect(core.sweeper.run()).rejects.toMatchObject({ code: '42703' })
  await database.db.raw('ALTER TABLE reservations RENAME COLUMN gone TO release_reason')
  const failed = await noted()
  expect(failed).toMatchObject({
    succeeded_at,
    error_at: expect.any(Date) as Date,
    finished_at: expect.any(Date) as Date,
  })
  expect(failed?.['error']).toContain('does not exist')
  await core.sweeper.run()
  const after = await noted()
  expect((after?.['succeeded_at'] as Date) > (succeeded_at as Date)).toBe(true)
})

test('a sweep at a time of its schedule that fails does not end the schedule', async () => {
  const sku = await stocked(database.db)
  await database.db.raw('ALTER TABLE sweeper_runs RENAME TO gone')
  core.sweeper.start('* * * * * *')
  await until(() => core.logged.some((entry) => entry['job'] === 'expiry' && entry['level'] === 50))
  await database.db.raw('ALTER TABLE gone RENAME TO sweeper_runs')
  const late = await holds(sku, 2)
  await makeOverdue(database.db, late)
  await until(async () => (await stored(database.db, late[0]!)) === 'expired')
  await core.sweeper.stop()
  expect(await counters(database.db, sku)).toBe('10/0')
})

test('stopping lets the batch in flight end and starts no other', async () => {
  const sku = await stocked(database.db, 1000)
  await makeOverdue(database.db, await holds(sku, 700))
  const [entered, leave] = [gate(), gate()]
  const slow = openCore(database, {
    onClosed: async () => {
      entered.open()
      await leave.opened
    },
  })
  const run = slow.sweeper.run()
  await entered.opened
  const stopped = slow.sweeper.stop()
  leave.open()
  await stopped
  expect(await run).toMatchObject({ expired: 500, batches: 1 })
  expect(await counters(database.db, sku)).toBe('1000/200')
})

test('what instances that are gone noted is forgotten after a day, what others noted is kept', async () => {
  await openCore(database, { instance: 'gone' }).sweeper.run()
  await timePasses(database.db, 80_000)
  await openCore(database, { instance: 'other' }).sweeper.run()
  await timePasses(database.db, 10_000)
  await core.sweeper.run()
  expect(await rows(database.db, 'SELECT instance FROM sweeper_runs ORDER BY 1')).toEqual([
    { instance: 'other' },
    { instance: 'test' },
  ])
})
