import { adjustStock } from '../../src/stock/adjust.ts'
import { lockLevels } from '../../src/stock/queries.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  counters,
  findBroken,
  hold,
  must,
  openCore,
  refusal,
  stocked,
  stopCores,
  untilWaiting,
  wants,
  type Core,
} from '../factories.ts'
import { testRaces } from './races.ts'

/** Every strategy that needs nothing but the database, and what is particular to each. */

for (const strategy of ['batched', 'conditional', 'pessimistic', 'optimistic', 'mutex'] as const) testRaces(strategy)

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
    statement: /LEFT JOIN stock s/,
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
    expect(await eventsOf(core, 'optimistic')).toEqual({ attempt: 4, conflict: 4, retry: 3 })
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
    expect(await eventsOf(core, 'optimistic')).toEqual({ attempt: 2, conflict: 1, retry: 1 })
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
    expect(await eventsOf(core, 'optimistic')).toEqual({ attempt: 1, conflict: 0, retry: 0 })
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

  test.each(['mutex', 'batched'] as const)('%s: in one process the first to come win', async (strategy) => {
    const [one, two] = [await stocked(database.db, 10), await stocked(database.db, 10)]
    const core = openCore(database, { strategy })
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, n) => core.reservations.reserve(wants(n % 2 === 0 ? one : two))),
    )
    expect(answers.map((answer) => answer.ok)).toEqual(answers.map((_, n) => n < 20))
  })
})

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
