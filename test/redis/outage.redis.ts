import { Redis } from 'ioredis'
import type { Result } from '../../src/errors.ts'
import type { Reserved } from '../../src/reservations/reservation.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  counters,
  findBroken,
  hold,
  keyed,
  must,
  openCore,
  refusal,
  stocked,
  stopCores,
  until,
  wants,
  insist,
} from '../factories.ts'
import { codeOf, count, openOn, WAYS } from './cores.ts'
import { freePort, startRedis, type RedisServer } from './server.ts'
import { startStopwatch } from '../stopwatch.ts'

/** Redis goes away, hangs, comes back empty: every buyer is answered soon, and nothing is sold twice. */

let database: TestDatabase
let servers: RedisServer[]

/** What the promise "an unreachable Redis is answered within 2 s" leaves. */
const ANSWER_MS_MAX = 2000

beforeAll(async () => {
  database = await createTestDatabase()
})

beforeEach(async () => {
  servers = await Promise.all([startRedis(), startRedis(), startRedis()])
})

afterEach(async () => {
  await stopCores()
  await Promise.all(servers.map((server) => server.stop()))
  expect(await findBroken(database.db)).toEqual([])
})

afterAll(() => database.drop())

type Answer = { result: Result<Reserved>; took_ms: number }

async function timed(buyer: Promise<Result<Reserved>>): Promise<Answer> {
  const took_ms = startStopwatch()
  const result = await buyer
  return { result, took_ms: took_ms() }
}

describe.each(WAYS)('$way', ({ strategy, nodes }) => {
  test('Redis is killed in the middle of a race and started again, empty: all are answered, none twice', async () => {
    const on = servers.slice(0, nodes)
    const cores = await Promise.all(['one', 'other'].map((instance) => openOn(database, on, { strategy, instance })))
    const sku = await stocked(database.db, 60)
    let [answered, killed] = [0, false]
    const buyers = Array.from({ length: 300 }, async (_, i) => {
      const answer = await timed(cores[i % 2]!.reservations.reserve(wants(sku, keyed(`${sku} ${i}`))))
      answered += 1
      return answer
    })
    const outage = (async () => {
      await until(() => answered >= 10)
      await Promise.all(on.map((server) => server.kill()))
      killed = true
    })()
    const answers = await Promise.all(buyers)
    await outage
    expect(killed).toBe(true)
    const codes = new Set(answers.map(({ result }) => codeOf(result)))
    // Overloaded is told to who waited for a lock for too long, as on a machine that stalls.
    const right = ['held', 'insufficient_stock', 'strategy_unavailable', 'overloaded']
    expect([...codes].filter((code) => !right.includes(code))).toEqual([])
    expect(codes).toContain('strategy_unavailable')
    const held = answers.filter(({ result }) => result.ok).length
    expect(held).toBeLessThan(60)
    expect(await counters(database.db, sku)).toBe(`60/${held}`)

    await Promise.all(on.map((server) => server.start()))
    await until(async () => (await cores[0]!.reservations.reserve(wants(sku))).ok)
    await until(async () => (await cores[1]!.reservations.reserve(wants(sku))).ok)
    // The same buyers again, under their keys: who holds has the same hold, the rest take what is left, exactly.
    const again = await Promise.all(
      Array.from({ length: 300 }, (_, i) => insist(cores[i % 2]!, wants(sku, keyed(`${sku} ${i}`)))),
    )
    expect(again.filter((answer) => answer.ok && answer.value.replayed)).toHaveLength(held)
    expect(await counters(database.db, sku)).toBe('60/60')
    expect(again.filter(({ ok }) => ok)).toHaveLength(58)
  }, 60_000)

  test('with a fallback, Redis is killed in the middle of a race: every buyer has an answer, and exactly what there is is sold', async () => {
    const on = servers.slice(0, nodes)
    const core = await openOn(database, on, { strategy, fallback: 'batched' })
    const sku = await stocked(database.db, 60)
    let answered = 0
    const buyers = Array.from({ length: 200 }, async (_, i) => {
      const answer = await timed(core.reservations.reserve(wants(sku, keyed(`${sku} ${i}`))))
      answered += 1
      return answer
    })
    await until(() => answered >= 10)
    await Promise.all(on.map((server) => server.kill()))
    const answers = await Promise.all(buyers)
    expect(count(answers.map(({ result }) => codeOf(result)))).toEqual({ held: 60, insufficient_stock: 140 })
    const sold_by = answers.flatMap(({ result }) => (result.ok ? [result.value.reservation.strategy] : []))
    expect(new Set(sold_by)).toEqual(new Set([strategy, 'batched']))
    expect(await counters(database.db, sku)).toBe('60/60')
    const again = await Promise.all(
      Array.from({ length: 200 }, (_, i) => insist(core, wants(sku, keyed(`${sku} ${i}`)))),
    )
    expect(again.filter((answer) => answer.ok && answer.value.replayed)).toHaveLength(60)
  }, 30_000)

  test('Redis hangs: everybody is answered within two seconds, and it is used again when it goes on', async () => {
    const on = servers.slice(0, nodes)
    const { reservations } = await openOn(database, on, { strategy })
    const sku = await stocked(database.db, 100)
    await hold(reservations, sku)
    for (const server of on) server.pause()
    const answers = await Promise.all(Array.from({ length: 50 }, () => timed(reservations.reserve(wants(sku)))))
    expect(new Set(answers.map(({ result }) => codeOf(result)))).toEqual(new Set(['strategy_unavailable']))
    expect(Math.max(...answers.map(({ took_ms }) => took_ms))).toBeLessThan(ANSWER_MS_MAX)
    expect(await counters(database.db, sku)).toBe('100/1')

    for (const server of on) server.resume()
    // Locks that a node grants after it hung, and nobody knows of, last their time: redlock has no way to give them back.
    const next = strategy === 'redlock' ? await stocked(database.db, 100) : sku
    await until(async () => (await reservations.reserve(wants(next))).ok)
    expect(await counters(database.db, next)).toBe(strategy === 'redlock' ? '100/1' : '100/2')
  }, 30_000)

  test('without Redis at the start it starts, says so, and confirms and releases; it reserves when Redis comes', async () => {
    const on = servers.slice(0, nodes)
    const batched = openCore(database)
    const sku = await stocked(database.db)
    const [paid, left] = [await hold(batched.reservations, sku), await hold(batched.reservations, sku)]
    await Promise.all(on.map((server) => server.kill()))
    const core = await openOn(database, on, { strategy })
    expect(core.logged).toContainEqual(
      expect.objectContaining({ level: 50, msg: expect.stringContaining('without Redis') }),
    )
    const { took_ms, result } = await timed(core.reservations.reserve(wants(sku)))
    expect(refusal(result)).toMatchObject({
      code: 'strategy_unavailable',
      detail: expect.stringContaining('does not answer') as string,
    })
    expect(took_ms).toBeLessThan(ANSWER_MS_MAX)
    expect(must(await core.reservations.confirm({ id: paid.id })).status).toBe('confirmed')
    expect(must(await core.reservations.release({ id: left.id })).status).toBe('released')
    await Promise.all(on.map((server) => server.start()))
    await until(async () => (await core.reservations.reserve(wants(sku))).ok)
    expect(await counters(database.db, sku)).toBe('9/1')
  }, 30_000)

  test('without the setting it does not start, and says what is missing', () => {
    expect(() => openCore(database, { strategy })).toThrow(/set REDIS_URL/)
  })

  test('stopping it while Redis hangs ends soon', async () => {
    const on = servers.slice(0, nodes)
    const core = await openOn(database, on, { strategy })
    const sku = await stocked(database.db)
    await hold(core.reservations, sku)
    for (const server of on) server.pause()
    const buyer = timed(core.reservations.reserve(wants(sku)))
    const took_ms = startStopwatch()
    await core.stop()
    expect(took_ms()).toBeLessThan(ANSWER_MS_MAX)
    expect((await buyer).took_ms).toBeLessThan(ANSWER_MS_MAX)
    for (const server of on) server.resume()
  })
})

test('where Redis is stands in the log, without its password; a buyer is told neither', async () => {
  const port = await freePort()
  const core = await openOn(database, [{ url: `redis://shop:hunter2@127.0.0.1:${port}/1` }], { strategy: 'redis' })
  const told = JSON.stringify(refusal(await core.reservations.reserve(wants('sku'))))
  expect(told).not.toContain(String(port))
  const logged = JSON.stringify(core.logged)
  expect(logged).toContain(`127.0.0.1:${port}/1`)
  expect(logged).not.toContain('hunter2')
})

test('a password that is wrong is told in the log, but not what it is', async () => {
  const admin = new Redis(servers[0]!.url)
  await admin.config('SET', 'requirepass', 'the right one')
  admin.disconnect()
  const url = servers[0]!.url.replace('redis://', 'redis://:hunter2@')
  const core = await openOn(database, [{ url }], { strategy: 'redis' })
  expect(codeOf(await core.reservations.reserve(wants('sku')))).toBe('strategy_unavailable')
  const logged = JSON.stringify(core.logged)
  expect(logged).toContain('WRONGPASS')
  expect(logged).not.toContain('hunter2')
})
