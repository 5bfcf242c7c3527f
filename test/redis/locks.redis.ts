import { Redis } from 'ioredis'
import { keyPrefix } from '../../src/redis/keys.ts'
import type { StrategyName } from '../../src/strategy_names.ts'
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
  wants,
  type Core,
  insist,
} from '../factories.ts'
import { codeOf, count, openOn, repeat, settingsOn, WAYS } from './cores.ts'
import { startRedis, type RedisServer } from './server.ts'
import { startStopwatch } from '../stopwatch.ts'

/** The locks save work and nothing else: held, lost, forgotten or never given back, what is there is sold once. */

const LOCKS = WAYS.filter(({ strategy }) => strategy !== 'redis')
/** The lock's own time is longer than anybody waits, so a test that gets past one shows that it was given back. */
const LONG_MS = 60_000

let database: TestDatabase
let servers: RedisServer[]
let clients: Redis[]

beforeAll(async () => {
  database = await createTestDatabase()
  servers = await Promise.all([startRedis(), startRedis(), startRedis()])
  clients = servers.map(({ url }) => new Redis(url))
  for (const client of clients) client.on('error', () => undefined)
})

afterEach(async () => {
  await Promise.all(servers.map((server) => server.start()))
  await stopCores()
  await Promise.all(clients.map((client) => client.flushall().catch(() => undefined)))
  expect(await findBroken(database.db)).toEqual([])
})

afterAll(async () => {
  for (const client of clients) client.disconnect()
  await Promise.all(servers.map((server) => server.stop()))
  await database.drop()
})

const keyOf = (sku: string): string => `${keyPrefix(database.url)}lock:${sku}`

/** Another process has the lock, for so long. */
const lockElsewhere = (nodes: number, sku: string, ttl_ms: number) =>
  Promise.all(clients.slice(0, nodes).map((client) => client.set(keyOf(sku), 'another', 'PX', ttl_ms)))

const locksLeft = async (nodes: number): Promise<string[]> =>
  (await Promise.all(clients.slice(0, nodes).map((client) => client.keys('*lock:*')))).flat()

/** How often a reserve of this core found a SKU locked. */
async function conflicts({ metrics }: Core, strategy: StrategyName): Promise<number> {
  const counted = new RegExp(`stock_strategy_events_total\\{strategy="${strategy}",event="conflict"\\} (\\d+)`)
  return Number(counted.exec(await metrics.text())?.[1] ?? 0)
}

describe.each(LOCKS)('$way', ({ strategy, nodes }) => {
  let core: Core

  beforeEach(async () => {
    core = await openOn(database, servers.slice(0, nodes), { strategy })
  })

  test('while a reserve flies its SKUs are locked; then nothing is', async () => {
    const [one, two] = [await stocked(database.db), await stocked(database.db)]
    const other = await begin(database.db)
    await other.raw('SELECT FROM stock WHERE sku = ? FOR UPDATE', [two])
    const flying = core.reservations.reserve(wants([one, two].map((sku) => ({ sku, quantity: 1 }))))
    await until(async () => (await locksLeft(nodes)).length === 2 * nodes)
    await other.rollback()
    expect(codeOf(await flying)).toBe('held')
    await until(async () => (await locksLeft(nodes)).length === 0)
  })

  test('a lock whose holder died ends by itself, and the next has it', async () => {
    const sku = await stocked(database.db)
    await lockElsewhere(nodes, sku, 300)
    await hold(core.reservations, sku)
    expect(await conflicts(core, strategy)).toBe(1)
    expect(await core.metrics.text()).toMatch(
      new RegExp(`stock_strategy_lock_wait_seconds_sum\\{strategy="${strategy}"\\} [0-9.]*[1-9]`),
    )
  })

  test('a lock that is not given back: refused after a second, nothing is written, and it is left alone', async () => {
    const sku = await stocked(database.db)
    await lockElsewhere(nodes, sku, LONG_MS)
    const [started, took_ms] = [performance.now(), startStopwatch()]
    expect(refusal(await core.reservations.reserve(wants(sku)))).toMatchObject({ code: 'overloaded' })
    expect(took_ms()).toBeLessThan(2000)
    expect(performance.now() - started).toBeGreaterThan(900)
    expect(await counters(database.db, sku)).toBe('10/0')
    expect(await clients[0]!.get(keyOf(sku))).toBe('another')
    // Nobody needs a lock to be refused.
    const gone = await stocked(database.db, 0)
    await lockElsewhere(nodes, gone, LONG_MS)
    expect(refusal(await core.reservations.reserve(wants(gone))).code).toBe('insufficient_stock')
  })

  test('a buyer who left while waiting for the lock is not served', async () => {
    const sku = await stocked(database.db)
    await lockElsewhere(nodes, sku, LONG_MS)
    const leaving = new AbortController()
    const waiting = core.reservations.reserve(wants(sku), leaving.signal)
    await until(async () => (await conflicts(core, strategy)) === 1)
    leaving.abort()
    expect(refusal(await waiting).code).toBe('overloaded')
    expect(await counters(database.db, sku)).toBe('10/0')
  })

  test('a lock that ran out while its holder flew is the next one\u2019s, and is not given back by the first', async () => {
    const sku = await stocked(database.db, 1)
    const { opened: seen, open: see } = gate()
    const { opened: going, open: go } = gate()
    const late = openCore(database, {
      strategy,
      settings: settingsOn(servers.slice(0, nodes)),
      after: {
        statement: LOOK,
        happens: async () => {
          see()
          await going
        },
      },
    })
    await late.reservations.start()
    const first = late.reservations.reserve(wants(sku))
    await seen
    // Its time is over, and another process has it now.
    await lockElsewhere(nodes, sku, LONG_MS)
    go()
    expect(codeOf(await first)).toBe('held')
    await late.stop()
    expect(await clients[0]!.get(keyOf(sku))).toBe('another')
  })

  test('two processes want one SKU all the time: both get their share of the lock', async () => {
    const sku = await stocked(database.db, 160)
    const other = await openOn(database, servers.slice(0, nodes), { strategy, instance: 'other' })
    const served: string[] = []
    const buy = async (name: string, buying: Core) => {
      must(await insist(buying, wants(sku)))
      served.push(name)
    }
    await Promise.all(Array.from({ length: 160 }, (_, i) => (i % 2 === 0 ? buy('core', core) : buy('other', other))))
    const { core: mine, other: theirs } = count(served.slice(0, 80))
    // The one that always hears last has a share of a quarter, 20 here; by chance 5 or fewer once in 80,000 times.
    expect(Math.min(mine ?? 0, theirs ?? 0)).toBeGreaterThan(5)
  }, 120_000)

  test('the locks vanish again and again in the middle of a race: exactly what there is is sold', async () => {
    const sku = await stocked(database.db, 30)
    const over = new AbortController()
    const emptying = repeat(over.signal, () => Promise.all(clients.map((client) => client.flushall())))
    const answers = await Promise.all(Array.from({ length: 100 }, () => core.reservations.reserve(wants(sku))))
    over.abort()
    await emptying
    expect(count(answers.map(codeOf))).toEqual({ held: 30, insufficient_stock: 70 })
  })
})

describe('pubsub-lock', () => {
  let core: Core
  const channel = () => `${keyPrefix(database.url)}unlocked`

  beforeEach(async () => {
    core = await openOn(database, servers, { strategy: 'pubsub-lock' })
    await until(async () => (await clients[0]!.pubsub('NUMSUB', channel()))[1] === 1)
  })

  /** How long a waiter takes after the lock was given back. */
  async function takesAfter(giveBack: (sku: string) => Promise<unknown>): Promise<number> {
    const sku = await stocked(database.db)
    const before = await conflicts(core, 'pubsub-lock')
    await lockElsewhere(1, sku, LONG_MS)
    const waiting = core.reservations.reserve(wants(sku))
    await until(async () => (await conflicts(core, 'pubsub-lock')) > before)
    const started = performance.now()
    await giveBack(sku)
    expect(codeOf(await waiting)).toBe('held')
    return performance.now() - started
  }

  const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!

  test('who waits is woken by the message, long before trying again unasked', async () => {
    const took: number[] = []
    for (let i = 0; i < 9; i++) {
      took.push(
        await takesAfter((sku) => clients[0]!.multi().del(keyOf(sku)).publish(channel(), `other\n${sku}`).exec()),
      )
    }
    expect(median(took)).toBeLessThan(50)
  })

  test('a message that is lost costs a moment: who waits tries again unasked', async () => {
    const took: number[] = []
    for (let i = 0; i < 5; i++) took.push(await takesAfter((sku) => clients[0]!.del(keyOf(sku))))
    expect(median(took)).toBeGreaterThan(50)
    expect(Math.max(...took)).toBeLessThan(500)
  })

  test('nobody listens any more: all who wait are served, and the process listens again', async () => {
    const sku = await stocked(database.db, 40)
    const buyers = Array.from({ length: 40 }, () => core.reservations.reserve(wants(sku)))
    await clients[0]!.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    // On a machine that stalls some may wait for too long; nearly all would if the process did not listen again.
    const { held = 0, overloaded = 0 } = count((await Promise.all(buyers)).map(codeOf))
    expect(held + overloaded).toBe(40)
    expect(held).toBeGreaterThan(20)
    await until(async () => (await clients[0]!.pubsub('NUMSUB', channel()))[1] === 1)
  })
})

describe('redlock on three nodes', () => {
  test('one node down it goes on; two down it is gone, and back when one is', async () => {
    const core = await openOn(database, servers, { strategy: 'redlock' })
    const { reservations } = core
    const sku = await stocked(database.db, 100)
    await servers[0]!.kill()
    const some = await Promise.all(Array.from({ length: 20 }, () => insist(core, wants(sku))))
    expect(count(some.map(codeOf))).toEqual({ held: 20 })

    await servers[1]!.kill()
    const took_ms = startStopwatch()
    const none = await Promise.all(Array.from({ length: 20 }, () => reservations.reserve(wants(sku))))
    expect(count(none.map(codeOf))).toEqual({ strategy_unavailable: 20 })
    expect(took_ms()).toBeLessThan(2000)
    expect(await counters(database.db, sku)).toBe('100/20')

    await servers[1]!.start()
    await until(async () => (await reservations.reserve(wants(sku))).ok)
    await servers[0]!.start()
  }, 30_000)

  test('one node hangs: the others decide', async () => {
    const core = await openOn(database, servers, { strategy: 'redlock' })
    const sku = await stocked(database.db, 10)
    servers[2]!.pause()
    const answers = await Promise.all(Array.from({ length: 10 }, () => insist(core, wants(sku))))
    servers[2]!.resume()
    expect(count(answers.map(codeOf))).toEqual({ held: 10 })
  })

  test('an even number of nodes is refused at the start', () => {
    const [one, two] = servers.map(({ url }) => url) as [string, string]
    const open = (redis_urls: string[]) => openCore(database, { strategy: 'redlock', settings: { redis_urls } })
    expect(() => open([one, two])).toThrow(/odd number/)
  })
})
