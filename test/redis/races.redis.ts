import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  counters,
  countDeadlocks,
  findBroken,
  hold,
  keyed,
  makeOverdue,
  must,
  refusal,
  stocked,
  stopCores,
  stored,
  wants,
  type Core,
} from '../factories.ts'
import { openOn, WAYS } from './cores.ts'
import { startRedis, type RedisServer } from './server.ts'

/** Every strategy on Redis wins the core's races, in two processes that share the Redis and the database. */

let database: TestDatabase
let servers: RedisServer[]

beforeAll(async () => {
  database = await createTestDatabase()
  servers = await Promise.all([startRedis(), startRedis(), startRedis()])
})

afterEach(async () => expect(await findBroken(database.db)).toEqual([]))

afterAll(async () => {
  await stopCores()
  await Promise.all(servers.map((server) => server.stop()))
  await database.drop()
})

describe.each(WAYS)('$way', ({ strategy, nodes }) => {
  let one: Core
  let other: Core

  beforeAll(async () => {
    const on = servers.slice(0, nodes)
    one = await openOn(database, on, { strategy, instance: 'one' })
    other = await openOn(database, on, { strategy, instance: 'other' })
  })

  afterAll(() => Promise.all([one.stop(), other.stop()]))

  /** The door of the i-th buyer: they take turns. */
  const door = (i: number) => (i % 2 === 0 ? one : other).reservations

  test('what is there is held, under the name of the strategy; what is not is refused with what is short', async () => {
    const sku = await stocked(database.db, 3)
    const held = await hold(one.reservations, [{ sku, quantity: 2 }])
    expect(held).toMatchObject({ status: 'pending', strategy })
    expect(await counters(database.db, sku)).toBe('3/2')
    expect(refusal(await other.reservations.reserve(wants([{ sku, quantity: 2 }])))).toEqual({
      code: 'insufficient_stock',
      shortages: [{ sku, requested: 2, available: 1 }],
    })
    expect(refusal(await one.reservations.reserve(wants('no such SKU')))).toEqual({
      code: 'skus_not_found',
      skus: ['no such SKU'],
    })
  })

  test('two buyers race for the last unit, many times: one holds it, one is refused', async () => {
    for (let i = 0; i < 20; i++) {
      const sku = await stocked(database.db, 1)
      const answers = await Promise.all([door(0).reserve(wants(sku)), door(1).reserve(wants(sku))])
      expect(answers.map(({ ok }) => ok).toSorted()).toEqual([false, true])
      expect(await counters(database.db, sku)).toBe('1/1')
    }
  })

  test('a thousand buyers want a hundred units: a hundred hold one each, nine hundred are refused', async () => {
    const sku = await stocked(database.db, 100)
    const buyers = Array.from({ length: 1000 }, (_, i) => door(i).reserve(wants(sku, keyed(`${sku} ${i}`))))
    const answers = await Promise.all(buyers)
    const codes = answers.map((answer) => (answer.ok ? 'held' : answer.refusal.code))
    expect(count(codes)).toEqual({ held: 100, insufficient_stock: 900 })
    expect(await counters(database.db, sku)).toBe('100/100')
  }, 60_000)

  test('orders that name two SKUs crosswise all end, without a deadlock', async () => {
    const [a, b] = [await stocked(database.db, 100), await stocked(database.db, 100)]
    const deadlocks = await countDeadlocks(database.db)
    const lines = (i: number) => (i % 4 < 2 ? [a, b] : [b, a]).map((sku) => ({ sku, quantity: 1 }))
    const answers = await Promise.all(Array.from({ length: 120 }, (_, i) => door(i).reserve(wants(lines(i)))))
    expect(count(answers.map((answer) => (answer.ok ? 'held' : answer.refusal.code)))).toEqual({
      held: 100,
      insufficient_stock: 20,
    })
    expect([await counters(database.db, a), await counters(database.db, b)]).toEqual(['100/100', '100/100'])
    expect(await countDeadlocks(database.db)).toBe(deadlocks)
  }, 60_000)

  test('twins of one key at both processes hold once and get the same answer, also when nothing is left', async () => {
    const sku = await stocked(database.db, 2)
    const request = wants([{ sku, quantity: 2 }], keyed(`twins of ${sku}`))
    const answers = await Promise.all(Array.from({ length: 6 }, (_, i) => door(i).reserve(request)))
    const later = must(await door(1).reserve(request))
    const ids = answers.flatMap((answer) => (answer.ok ? [answer.value.reservation.id] : []))
    expect(new Set([...ids, later.reservation.id]).size).toBe(1)
    expect(later.replayed).toBe(true)
    for (const answer of answers) if (!answer.ok) expect(answer.refusal.code).toBe('idempotency_key_in_use')
    expect(await counters(database.db, sku)).toBe('2/2')
  })

  test('units that overdue holds still have are taken back before anybody is refused', async () => {
    const sku = await stocked(database.db, 3)
    const late = await hold(one.reservations, [{ sku, quantity: 3 }])
    await makeOverdue(database.db, late.id)
    const answers = await Promise.all(Array.from({ length: 4 }, (_, i) => door(i).reserve(wants(sku))))
    expect(answers.filter(({ ok }) => ok)).toHaveLength(3)
    expect(await stored(database.db, late.id)).toBe('expired')
    expect(await counters(database.db, sku)).toBe('3/3')
  })

  test('what is given back by any verb can be held again at once, at either process', async () => {
    const sku = await stocked(database.db, 1)
    for (let i = 0; i < 6; i++) {
      const { id } = await hold(door(i), sku)
      expect(refusal(await door(i + 1).reserve(wants(sku))).code).toBe('insufficient_stock')
      must(await door(i >> 1).release({ id }))
    }
    expect(await counters(database.db, sku)).toBe('1/0')
  })
})

function count(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1
  return counts
}
