import { jest } from '@jest/globals'
import { ok } from '../../src/errors.ts'
import { LIMITS } from '../../src/reservations/batcher_limits.ts'
import { createMetrics } from '../../src/metrics.ts'
import type { Outcome, Reserve } from '../../src/reservations/plan.ts'
import { createMutex } from '../../src/reservations/strategies/mutex.ts'
import { createTurns, WAIT_MS_MAX } from '../../src/database/turns.ts'
import { adjustStock } from '../../src/stock/adjust.ts'
import { lockLevels } from '../../src/stock/queries.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  counters,
  findBroken,
  gate,
  hold,
  LOOK,
  must,
  openCore,
  refusal,
  stocked,
  stopCores,
  until,
  untilWaiting,
  wants,
  type Core,
} from '../factories.ts'
import { reservationOf } from '../http/fakes.ts'
import { testRaces } from './races.ts'
import { startStopwatch } from '../stopwatch.ts'

/** The usual strategies before the same races, and what is particular to those that need nothing but the database. */

for (const strategy of ['batched', 'conditional'] as const) testRaces(strategy)

describe('in particular', () => {
  let database: TestDatabase

  beforeAll(async () => {
    database = await createTestDatabase()
  })

  afterEach(async () => expect(await findBroken(database.db)).toEqual([]))

  afterAll(async () => {
    await stopCores()
    await database.drop()
  })

  /** Sells or brings in a unit right after the counters were read, so many times. */
  const interrupted = (sku: string, delta: number, times: number) => ({
    statement: LOOK,
    happens: async () =>
      must(await adjustStock(database.db, { items: [{ sku, delta, reason: 'meanwhile' }], client: '' })),
    times,
  })

  test('optimistic, others are faster with every try: stock_conflict after the last retry, and nothing is written', async () => {
    const sku = await stocked(database.db, 10)
    const core = openCore(database, {
      strategy: 'optimistic',
      settings: { optimistic_retries_max: 3, optimistic_backoff_ms: 1 },
      after: interrupted(sku, 1, 4),
    })
    expect(refusal(await core.reservations.reserve(wants(sku)))).toEqual({ code: 'stock_conflict' })
    expect(await counters(database.db, sku)).toBe('14/0')
    expect(await eventsOf(core, 'optimistic')).toEqual({ attempt: 4, conflict: 4, retry: 3, fallback: 0 })
    expect((await hold(core.reservations, sku)).status).toBe('pending')
  })

  test('optimistic, somebody was faster but enough is left: the retry holds it', async () => {
    const sku = await stocked(database.db, 10)
    const core = openCore(database, {
      strategy: 'optimistic',
      settings: { optimistic_backoff_ms: 1 },
      after: interrupted(sku, -5, 1),
    })
    expect((await hold(core.reservations, sku)).status).toBe('pending')
    expect(await counters(database.db, sku)).toBe('5/1')
    expect(await eventsOf(core, 'optimistic')).toEqual({ attempt: 2, conflict: 1, retry: 1, fallback: 0 })
  })

  test.each(['conditional', 'pessimistic', 'mutex', 'optimistic'] as const)(
    '%s, the last unit is sold between look and write: refused with what is left now',
    async (strategy) => {
      const sku = await stocked(database.db, 1)
      const core = openCore(database, {
        strategy,
        settings: { optimistic_backoff_ms: 1 },
        after: interrupted(sku, -1, 1),
      })
      expect(refusal(await core.reservations.reserve(wants(sku)))).toEqual({
        code: 'insufficient_stock',
        shortages: [{ sku, requested: 1, available: 0 }],
      })
      expect(await counters(database.db, sku)).toBe('0/0')
    },
  )

  test('optimistic, too little is there: refused at the first read, without a retry', async () => {
    const sku = await stocked(database.db, 0)
    const core = openCore(database, { strategy: 'optimistic' })
    expect(refusal(await core.reservations.reserve(wants(sku))).code).toBe('insufficient_stock')
    expect(await eventsOf(core, 'optimistic')).toEqual({ attempt: 1, conflict: 0, retry: 0, fallback: 0 })
  })

  test('pessimistic, another session has the counter: it is waited for and decided on as it is left', async () => {
    const sku = await stocked(database.db, 2)
    const core = openCore(database, { strategy: 'pessimistic', lock_timeout_ms: 5000 })
    const other = await begin(database.db)
    await lockLevels(other, [sku])
    const waiting = core.reservations.reserve(wants([{ sku, quantity: 2 }]))
    await untilWaiting(database.db)
    await other.raw('UPDATE stock SET stock = 1 WHERE sku = ?', [sku])
    await other.raw(
      `INSERT INTO stock_ledger (sku, seq, kind, stock_delta, reserved_delta, stock_after, reserved_after, created_at)
       VALUES (?, 2, 'adjust', -1, 0, 1, 0, now())`,
      [sku],
    )
    await other.raw('UPDATE stock SET seq = 2 WHERE sku = ?', [sku])
    await other.commit()
    expect(refusal(await waiting)).toEqual({
      code: 'insufficient_stock',
      shortages: [{ sku, requested: 2, available: 1 }],
    })
    expect(await core.metrics.text()).toContain('stock_strategy_lock_wait_seconds_count{strategy="pessimistic"} 1')
  })

  test('mutex, crossed orders in one process: locked in one order, so they wait for each other and not in a circle', async () => {
    const [one, two, three] = [await stocked(database.db), await stocked(database.db), await stocked(database.db)]
    const core = openCore(database, { strategy: 'mutex' })
    const orders = [
      [one, two],
      [two, three],
      [three, one],
    ]
    const answers = await Promise.all(
      Array.from({ length: 15 }, (_, n) =>
        core.reservations.reserve(wants(orders[n % 3]!.map((sku) => ({ sku, quantity: 1 })))),
      ),
    )
    expect(answers.filter((answer) => answer.ok)).toHaveLength(15)
    for (const sku of [one, two, three]) expect(await counters(database.db, sku)).toBe('10/10')
  })

  test('mutex, a SKU is not to be had in time: who waits for it is refused unexecuted, and who wants another is not held up', async () => {
    jest.useFakeTimers()
    try {
      const { opened, open } = gate()
      const flown: string[] = []
      const mutex = createMutex({
        known_locked: new Set(),
        submit: () => Promise.reject(new Error('nothing is locked')),
        turns: createTurns({ at_once_max: 4 }),
        meter: createMetrics({ process_metrics: false }).strategy('mutex'),
        fly: async ([operation]) => {
          flown.push(operation!.id)
          if (operation!.id === 'stuck') await opened
          return new Map([[operation!, HELD]])
        },
      })
      const stuck = mutex.reserve(reserveOf('stuck', ['A']))
      const waiting = mutex.reserve(reserveOf('waiting', ['0', 'A']))
      const free = mutex.reserve(reserveOf('free', ['C']))
      expect(await free).toBe(HELD)
      await jest.advanceTimersByTimeAsync(WAIT_MS_MAX + 1)
      expect(refusal(await waiting).code).toBe('overloaded')
      open()
      expect(await stuck).toBe(HELD)
      expect(flown).not.toContain('waiting')
      // What was waited for in vain is free again.
      expect(await mutex.reserve(reserveOf('later', ['A', '0']))).toBe(HELD)
    } finally {
      jest.useRealTimers()
    }
  })

  test.each(['conditional', 'pessimistic', 'optimistic', 'mutex'] as const)(
    '%s, a row that another session keeps locked: buyers of other SKUs are served as before',
    async (strategy) => {
      const [stuck, free] = [await stocked(database.db, 100), await stocked(database.db, 100)]
      const core = openCore(database, { strategy, limits: LIMITS })
      const other = await begin(database.db)
      await lockLevels(other, [stuck])
      const asked = Array.from({ length: 60 }, () => core.reservations.reserve(wants(stuck)))
      const took_ms = startStopwatch()
      for (let n = 0; n < 10; n++) await hold(core.reservations, free)
      // One after the other, four at a time, those before them would wait for 3.75 s.
      expect(took_ms()).toBeLessThan(2000)
      const answers = await Promise.all(asked)
      expect(new Set(answers.map((answer) => refusal(answer).code))).toEqual(new Set(['overloaded']))
      await other.rollback()
      await hold(core.reservations, stuck)
      expect(await counters(database.db, stuck)).toBe('100/1')
    },
  )

  test('mutex, a row is locked for a while and then free: the first to come still win', async () => {
    const sku = await stocked(database.db, 10)
    const core = openCore(database, { strategy: 'mutex', lock_timeout_ms: 20 })
    const other = await begin(database.db)
    await lockLevels(other, [sku])
    const asked = Array.from({ length: 6 }, () => core.reservations.reserve(wants(sku)))
    await until(() => core.reservations.queue().lanes.some((lane) => lane.length > 0))
    const freed = other.rollback()
    asked.push(...Array.from({ length: 6 }, () => core.reservations.reserve(wants(sku))))
    await Promise.race(asked)
    asked.push(...Array.from({ length: 6 }, () => core.reservations.reserve(wants(sku))))
    await freed
    const answers = await Promise.all(asked)
    expect(answers.map((answer) => answer.ok)).toEqual(answers.map((_, n) => n < 10))
  })

  test.each(['mutex', 'batched'] as const)('%s: in one process the first to come win', async (strategy) => {
    const [one, two] = [await stocked(database.db, 10), await stocked(database.db, 10)]
    const core = openCore(database, { strategy })
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, n) => core.reservations.reserve(wants(n % 2 === 0 ? one : two))),
    )
    expect(answers.map((answer) => answer.ok)).toEqual(answers.map((_, n) => n < 20))
  })
})

const HELD: Outcome = ok({ reservation: reservationOf(), replayed: false })

function reserveOf(id: string, skus: string[]): Reserve {
  const lines = skus.map((sku) => ({ sku, quantity: 1 }))
  return { verb: 'reserve', id, lines, request: wants(lines), ttl_seconds: 60, strategy: 'mutex', ttl_variant: null }
}

/** What a strategy has counted. */
async function eventsOf(core: Core, strategy: string): Promise<Record<string, number>> {
  const lines = (await core.metrics.text()).split('\n')
  const pattern = new RegExp(`^stock_strategy_events_total\\{strategy="${strategy}",event="(\\w+)"\\} (\\d+)$`)
  return Object.fromEntries(
    lines.flatMap((line) => {
      const [, event, count] = pattern.exec(line) ?? []
      return event === undefined ? [] : [[event, Number(count)]]
    }),
  )
}
