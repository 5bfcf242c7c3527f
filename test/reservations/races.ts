import type { StrategyName } from '../../src/strategy_names.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  countDeadlocks,
  counters,
  findBroken,
  hold,
  insist,
  keyed,
  ledger,
  makeOverdue,
  must,
  openCore,
  refusal,
  stocked,
  stopCores,
  stored,
  wants,
  type Core,
  type CoreOptions,
} from '../factories.ts'
import { lockLevels } from '../../src/stock/queries.ts'

/** The races that every strategy must win, each with two processes as far as the core goes. */

const UNITS = 100

/**
 * Adds the tests of one strategy to a file.
 *
 * @param options what it needs beside a database
 * @param crowd how many buyers come at once; a thousand come over HTTP in test/long/sale.long.ts
 */
export function testRaces(strategy: StrategyName, options: () => CoreOptions = () => ({}), crowd = 300): void {
  describe(`strategy ${strategy}`, () => {
    let database: TestDatabase
    let one: Core
    let two: Core

    const open = async (more: CoreOptions = {}): Promise<Core> => {
      const core = openCore(database, { strategy, ...options(), ...more })
      await core.reservations.start()
      return core
    }

    beforeAll(async () => {
      database = await createTestDatabase()
      // A hundred units can be lost to somebody faster a hundred times at most, so nobody's tries are ever used up.
      const settings = { ...options().settings, optimistic_retries_max: UNITS, optimistic_backoff_ms: 1 }
      one = await open({ instance: 'one', settings })
      two = await open({ instance: 'two', settings })
    })

    afterEach(async () => expect(await findBroken(database.db)).toEqual([]))

    afterAll(async () => {
      await stopCores()
      await database.drop()
    })

    const either = (n: number): Core => (n % 2 === 0 ? one : two)

    test('one buyer: holds what is there, by this strategy, with one ledger row', async () => {
      const sku = await stocked(database.db, 5)
      expect(await hold(one.reservations, [{ sku, quantity: 2 }])).toMatchObject({ status: 'pending', strategy })
      expect(await counters(database.db, sku)).toBe('5/2')
      expect(await ledger(database.db, sku)).toEqual(['set 5 0', 'reserve 0 2'])
    })

    test('twenty buyers race for the last unit: one holds it, the others are refused', async () => {
      const sku = await stocked(database.db, 1)
      const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => insist(either(n), wants(sku))))
      expect(answers.filter((answer) => answer.ok)).toHaveLength(1)
      expect(new Set(answers.flatMap((answer) => (answer.ok ? [] : [answer.refusal.code])))).toEqual(
        new Set(['insufficient_stock']),
      )
      expect(await counters(database.db, sku)).toBe('1/1')
    })

    test(`${crowd} buyers race for a hundred units: a hundred hold one, the others are refused`, async () => {
      const sku = await stocked(database.db, UNITS)
      const answers = await Promise.all(
        Array.from({ length: crowd }, (_, n) => insist(one, wants(sku, keyed(`crowd ${n}`)))),
      )
      const codes = answers.map((answer) => (answer.ok ? 'held' : answer.refusal.code))
      expect(codes.filter((code) => code === 'held')).toHaveLength(UNITS)
      expect(codes.filter((code) => code === 'insufficient_stock')).toHaveLength(crowd - UNITS)
      expect(await counters(database.db, sku)).toBe(`${UNITS}/${UNITS}`)
    })

    test('orders of two SKUs in crossed order: all are held, and none meets a deadlock', async () => {
      const [a, b] = [await stocked(database.db, 200), await stocked(database.db, 200)]
      // PostgreSQL looks for deadlocks after a second, and must get there.
      const patient = { lock_timeout_ms: 5000 }
      const cores = [
        await open({ ...patient, instance: 'left' }),
        await open({ ...patient, instance: 'right' }),
      ] as const
      const answers = await Promise.all(
        Array.from({ length: 60 }, (_, n) =>
          insist(cores[n < 30 ? 0 : 1], wants((n % 2 === 0 ? [a, b] : [b, a]).map((sku) => ({ sku, quantity: 1 })))),
        ),
      )
      // Sessions report deadlocks at the latest when they end.
      await Promise.all(cores.map((core) => core.stop()))
      const held = answers.filter((answer) => answer.ok).length
      const lost = answers.flatMap((answer) => (answer.ok ? [] : [answer.refusal.code]))
      expect(new Set(lost)).toEqual(new Set(strategy === 'optimistic' && held < 60 ? ['stock_conflict'] : []))
      expect(await counters(database.db, a)).toBe(`200/${held}`)
      expect(await counters(database.db, b)).toBe(`200/${held}`)
      expect(await countDeadlocks(database.db)).toBe(0)
    })

    test('twins of one idempotency key in two processes: one reservation, told to both', async () => {
      const sku = await stocked(database.db)
      for (let round = 0; round < 10; round++) {
        const request = wants(sku, keyed(`twins ${round}`))
        const twins = await Promise.all([0, 1, 2, 3].map((n) => insist(either(n), request)))
        expect(new Set(twins.map((twin) => must(twin).reservation.id)).size).toBe(1)
        expect(twins.filter((twin) => !must(twin).replayed)).toHaveLength(1)
      }
      expect(await counters(database.db, sku)).toBe('10/10')
    })

    test('a key of a hold that has sold the last unit: the same again gets the hold, not a refusal', async () => {
      const sku = await stocked(database.db, 1)
      const first = await hold(one.reservations, sku, keyed('the last one'))
      const again = must(await two.reservations.reserve(wants(sku, keyed('the last one'))))
      expect(again).toMatchObject({ replayed: true, reservation: { id: first.id } })
    })

    test('the last units are held by an overdue hold that nobody swept: they are had, and the hold is expired', async () => {
      const sku = await stocked(database.db, 3)
      const late = await hold(one.reservations, [{ sku, quantity: 3 }])
      await makeOverdue(database.db, late.id)
      expect((await hold(two.reservations, [{ sku, quantity: 2 }])).status).toBe('pending')
      expect(await stored(database.db, late.id)).toBe('expired')
      expect(await counters(database.db, sku)).toBe('3/2')
    })

    test('one line of two has too little: it is named, and nothing is held of the other', async () => {
      const [much, little] = [await stocked(database.db, 10), await stocked(database.db, 1)]
      const order = wants([
        { sku: much, quantity: 2 },
        { sku: little, quantity: 2 },
      ])
      expect(refusal(await one.reservations.reserve(order))).toEqual({
        code: 'insufficient_stock',
        shortages: [{ sku: little, requested: 2, available: 1 }],
      })
      expect(await counters(database.db, much)).toBe('10/0')
    })

    test('what was given back a moment ago in another process can be held at once', async () => {
      const sku = await stocked(database.db, 1)
      for (let round = 0; round < 5; round++) {
        const held = await hold(one.reservations, sku)
        must(await two.reservations.release({ id: held.id }))
      }
      expect(await counters(database.db, sku)).toBe('1/0')
    })

    test('a counter locked for good: a buyer is refused in time, and nothing is written', async () => {
      const sku = await stocked(database.db)
      const bounded = await open({ instance: 'bounded', lock_timeout_ms: 20, limits: { wait_ms_max: 100 } })
      const other = await begin(database.db)
      await lockLevels(other, [sku])
      expect(refusal(await bounded.reservations.reserve(wants(sku))).code).toBe('overloaded')
      await other.rollback()
      await bounded.stop()
      expect(await counters(database.db, sku)).toBe('10/0')
    })

    test('told to stop: what was taken is answered, what comes later is refused', async () => {
      const sku = await stocked(database.db, 50)
      const stopping = await open({ instance: 'stopping' })
      const taken = Array.from({ length: 20 }, () => stopping.reservations.reserve(wants(sku)))
      const stopped = stopping.reservations.stop()
      expect(refusal(await stopping.reservations.reserve(wants(sku))).code).toBe('overloaded')
      const held = (await Promise.all(taken)).filter((answer) => answer.ok).length
      await stopped
      expect(held).toBeGreaterThan(0)
      expect(await counters(database.db, sku)).toBe(`50/${held}`)
      await stopping.stop()
    })
  })
}
