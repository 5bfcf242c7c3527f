import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { pino, type Logger } from 'pino'
import { ok, refused, type Refusal } from '../../src/errors.ts'
import { createMetrics, type Metrics } from '../../src/metrics.ts'
import type { Outcome, Reserve } from '../../src/reservations/plan.ts'
import { createConflictWatch } from '../../src/reservations/strategies/conflict_watch.ts'
import { FAILURES_MAX, OPEN_MS, withFallback } from '../../src/reservations/strategies/fallback.ts'
import { CannotStart, type Strategy } from '../../src/reservations/strategies/strategy.ts'
import { adjustStock } from '../../src/stock/adjust.ts'
import { createTestDatabase } from '../database.ts'
import {
  counters,
  findBroken,
  gate,
  hold,
  LOOK,
  keyed,
  must,
  openCore,
  stocked,
  stopCores,
  stored,
  wants,
} from '../factories.ts'
import { reservationOf } from '../http/fakes.ts'

/** What a strategy can't answer is handed to another: once, and only if nothing was written. */

const GONE: Refusal = { code: 'strategy_unavailable', detail: 'Redis does not answer' }
const CONFLICT: Refusal = { code: 'stock_conflict' }
const HELD: Outcome = ok({ reservation: reservationOf(), replayed: false })

/** A strategy that answers what it is told to, and notes what it was given. */
function fake(name: Strategy['name'], answer: (operation: Reserve) => Outcome | Promise<Outcome>) {
  const given: Reserve[] = []
  const strategy: Strategy = {
    name,
    reserve(operation) {
      given.push(operation)
      return Promise.resolve(answer(operation))
    },
    hasRoom: () => true,
    stop: () => Promise.resolve(),
  }
  return { strategy, given }
}

const operation = (): Reserve => ({
  verb: 'reserve',
  id: 'the id',
  lines: [{ sku: 'A', quantity: 1 }],
  request: wants('A', keyed('the key')),
  ttl_seconds: 60,
  strategy: 'redis',
  ttl_variant: null,
})

function codeOf(outcome: Outcome): string {
  return outcome.ok ? 'ok' : outcome.refusal.code
}

describe('with strategies that answer what they are told to', () => {
  let metrics: Metrics
  let logged: { msg: string }[]
  let log: Logger

  beforeEach(() => {
    jest.useFakeTimers()
    metrics = createMetrics({ process_metrics: false })
    logged = []
    log = pino({ level: 'debug' }, { write: (line) => void logged.push(JSON.parse(line) as never) })
  })

  afterEach(() => void jest.useRealTimers())

  const together = (first: Strategy, other: Strategy) =>
    withFallback(first, other, { meter: metrics.strategy(first.name), log })

  test.each([CONFLICT, GONE])(
    'nothing was written ($code): the other gets the same operation, under its own name',
    async (refusal) => {
      const [first, other] = [fake('redis', () => refused(refusal)), fake('batched', () => HELD)]
      const one = operation()
      expect(await together(first.strategy, other.strategy).reserve(one)).toBe(HELD)
      expect(other.given).toEqual([one])
      expect(other.given[0]).toBe(first.given[0])
      expect(one.strategy).toBe('batched')
      expect(await metrics.text()).toContain('stock_strategy_events_total{strategy="redis",event="fallback"} 1')
    },
  )

  test.each<Refusal>([
    { code: 'database_unavailable', outcome: 'unknown' },
    { code: 'database_unavailable', outcome: 'none' },
    { code: 'overloaded', detail: 'The queue is full.' },
    { code: 'insufficient_stock', shortages: [] },
    { code: 'idempotency_key_in_use' },
    { code: 'skus_not_found', skus: ['A'] },
  ])('an answer, or what the other could not do better ($code, outcome $outcome): it stands', async (refusal) => {
    const [first, other] = [fake('redis', () => refused(refusal)), fake('batched', () => HELD)]
    const both = together(first.strategy, other.strategy)
    for (let n = 0; n <= FAILURES_MAX; n++) expect(await both.reserve(operation())).toEqual(refused(refusal))
    expect(other.given).toEqual([])
    expect(first.given).toHaveLength(FAILURES_MAX + 1)
  })

  test('a bug is thrown, and not handed on', async () => {
    const other = fake('batched', () => HELD)
    const first = fake('redis', () => Promise.reject(new Error('a bug')))
    await expect(together(first.strategy, other.strategy).reserve(operation())).rejects.toThrow('a bug')
    expect(other.given).toEqual([])
  })

  test('the other fails too: its refusal is the answer', async () => {
    const [first, other] = [fake('redis', () => refused(GONE)), fake('optimistic', () => refused(CONFLICT))]
    expect(await together(first.strategy, other.strategy).reserve(operation())).toEqual(refused(CONFLICT))
  })

  test('gone several times in a row: it is left alone for a while, tried by one, and used again when it answers', async () => {
    let is_gone = true
    const first = fake('redis', () => (is_gone ? refused(GONE) : HELD))
    const other = fake('batched', () => HELD)
    const both = together(first.strategy, other.strategy)
    for (let n = 0; n < FAILURES_MAX + 10; n++) expect(codeOf(await both.reserve(operation()))).toBe('ok')
    expect(first.given).toHaveLength(FAILURES_MAX)
    expect(other.given).toHaveLength(FAILURES_MAX + 10)
    expect(await metrics.text()).toContain('stock_strategy_level{strategy="redis",what="circuit_open"} 1')

    // Tried again when its time has come, and still gone: it is left alone for as long again.
    jest.advanceTimersByTime(OPEN_MS)
    for (let n = 0; n < 3; n++) expect(codeOf(await both.reserve(operation()))).toBe('ok')
    expect(first.given).toHaveLength(FAILURES_MAX + 1)

    is_gone = false
    jest.advanceTimersByTime(OPEN_MS)
    for (let n = 0; n < 3; n++) expect(codeOf(await both.reserve(operation()))).toBe('ok')
    expect(first.given).toHaveLength(FAILURES_MAX + 4)
    expect(await metrics.text()).toContain('stock_strategy_level{strategy="redis",what="circuit_open"} 0')
    expect(logged.map(({ msg }) => msg)).toEqual([
      'the strategy can not answer; its buyers go to the fallback',
      'the strategy can not answer; its buyers go to the fallback',
      'the strategy answers again',
    ])
  })

  test('an answer between failures: the failures are not in a row, and it is not left alone', async () => {
    let turn = 0
    const first = fake('redis', () => ((turn += 1) % FAILURES_MAX === 0 ? HELD : refused(GONE)))
    const other = fake('batched', () => HELD)
    const both = together(first.strategy, other.strategy)
    for (let n = 0; n < FAILURES_MAX * 4; n++) await both.reserve(operation())
    expect(first.given).toHaveLength(FAILURES_MAX * 4)
  })

  test('the door is as wide as that of whoever answers: the first, and while it can not, also while one tries it, the other', async () => {
    const { opened, open } = gate()
    let answer: () => Outcome | Promise<Outcome> = () => HELD
    const first = fake('redis', () => answer())
    const both = together({ ...first.strategy, hasRoom: () => false }, fake('batched', () => HELD).strategy)
    expect(both.hasRoom(1)).toBe(true)
    await both.start?.()
    expect(both.hasRoom(1)).toBe(false)
    answer = () => refused(GONE)
    for (let n = 0; n < FAILURES_MAX; n++) await both.reserve(operation())
    expect(both.hasRoom(1)).toBe(true)
    jest.advanceTimersByTime(OPEN_MS)
    answer = () => opened.then(() => HELD)
    const tried = both.reserve(operation())
    await Promise.resolve()
    expect(both.hasRoom(1)).toBe(true)
    open()
    await tried
    expect(both.hasRoom(1)).toBe(false)
  })

  test('while one tries it again the others do not wait for how that ends', async () => {
    const { opened, open } = gate()
    let answer: () => Outcome | Promise<Outcome> = () => refused(GONE)
    const first = fake('redis', () => answer())
    const other = fake('batched', () => HELD)
    const both = together(first.strategy, other.strategy)
    for (let n = 0; n < FAILURES_MAX; n++) await both.reserve(operation())
    jest.advanceTimersByTime(OPEN_MS)
    answer = () => opened.then(() => HELD)
    const probe = both.reserve(operation())
    expect(codeOf(await both.reserve(operation()))).toBe('ok')
    expect(first.given).toHaveLength(FAILURES_MAX + 1)
    open()
    expect(codeOf(await probe)).toBe('ok')
  })

  test('it can not be started: the service starts with the other, and it is started when it can be', async () => {
    let starts = 0
    const first = fake('redis', () => HELD)
    first.strategy.start = () => {
      starts += 1
      return starts < 3 ? Promise.reject(new CannotStart('there is no Redis')) : Promise.resolve()
    }
    const other = fake('batched', () => HELD)
    const both = together(first.strategy, other.strategy)
    await both.start!()
    await both.reserve(operation())
    expect([starts, first.given.length, other.given.length]).toEqual([1, 0, 1])
    jest.advanceTimersByTime(OPEN_MS)
    await both.reserve(operation())
    expect([starts, first.given.length, other.given.length]).toEqual([2, 0, 2])
    jest.advanceTimersByTime(OPEN_MS)
    await both.reserve(operation())
    expect([starts, first.given.length, other.given.length]).toEqual([3, 1, 2])
  })

  test('what keeps it from starting is a bug: the start fails', async () => {
    const first = fake('redis', () => HELD)
    first.strategy.start = () => Promise.reject(new TypeError('a bug'))
    await expect(together(first.strategy, fake('batched', () => HELD).strategy).start!()).rejects.toThrow('a bug')
  })

  test('more than 15 in 100 tries meet somebody faster: it is said, with what to do next', () => {
    const watch = createConflictWatch({ rates: () => metrics.strategyRates(), log })
    const meter = metrics.strategy('optimistic')
    const tries = (attempts: number, conflicts: number) => {
      for (let n = 0; n < attempts; n++) meter.attempt()
      for (let n = 0; n < conflicts; n++) meter.conflict()
      watch.look()
      return logged.splice(0)
    }
    expect(tries(99, 50)).toEqual([])
    expect(tries(1, 0)).toEqual([
      expect.objectContaining({
        level: 40,
        strategy: 'optimistic',
        attempts: 100,
        conflicts: 50,
        percent: 50,
        msg: expect.stringContaining('RESERVATION_STRATEGY=batched') as unknown,
      }),
    ])
    // 60 of 400 are 15 in 100, which is not more.
    expect(tries(300, 10)).toEqual([])
    expect(tries(0, 1)).toHaveLength(1)
    // A minute later it is over.
    jest.advanceTimersByTime(61_000)
    expect(tries(0, 0)).toEqual([])
  })

  test('the watch looks once a minute until it is stopped', () => {
    let looks = 0
    const watch = createConflictWatch({
      rates: () => {
        looks += 1
        return []
      },
      log,
    })
    watch.start()
    jest.advanceTimersByTime(180_000)
    watch.stop()
    jest.advanceTimersByTime(180_000)
    expect(looks).toBe(3)
  })
})

describe('on a database', () => {
  test('optimistic is out of tries: the fallback holds it once, and the retry of the same key gets that hold', async () => {
    const database = await createTestDatabase()
    try {
      const sku = await stocked(database.db, 10)
      const core = openCore(database, {
        strategy: 'optimistic',
        fallback: 'pessimistic',
        settings: { optimistic_retries_max: 1, optimistic_backoff_ms: 1 },
        after: {
          statement: LOOK,
          happens: async () => must(await adjustStock(database.db, { items: [{ sku, delta: 1 }], client: '' })),
          times: 2,
        },
      })
      await core.reservations.start()
      const reservation = await hold(core.reservations, sku, keyed('the key'))
      expect(reservation.strategy).toBe('pessimistic')
      expect(await core.reservations.read(reservation.id)).toEqual(reservation)
      expect(await counters(database.db, sku)).toBe('12/1')
      const again = must(await core.reservations.reserve(wants(sku, keyed('the key'))))
      expect(again).toMatchObject({ replayed: true, reservation: { id: reservation.id } })
      expect(await stored(database.db, reservation.id)).toBe('pending')
      expect(await findBroken(database.db)).toEqual([])
      expect(core.metrics.rates()).toContainEqual({
        labels: { verb: 'reserve', code: 'ok', strategy: 'pessimistic', variant: '' },
        last_minute: 1,
      })
    } finally {
      await stopCores()
      await database.drop()
    }
  })
})
