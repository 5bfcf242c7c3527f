import { Redis } from 'ioredis'
import { pino } from 'pino'
import { createRedis } from '../../src/redis/connection.ts'
import { keyPrefix } from '../../src/redis/keys.ts'
import { createLevels } from '../../src/redis/levels.ts'
import { rows } from '../../src/database/transaction.ts'
import { setStock } from '../../src/stock/set.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  counters,
  findBroken,
  hold,
  insist,
  keyed,
  makeOverdue,
  must,
  openCore,
  refusal,
  stocked,
  stopCores,
  until,
  wants,
  type Core,
} from '../factories.ts'
import { codeOf, count, openOn, repeat } from './cores.ts'
import { startRedis, type RedisServer } from './server.ts'

/** What Redis believes may be anything: the strategy "redis" sells what there is, all of it and no more. */

let database: TestDatabase
let server: RedisServer
let redis: Redis
let core: Core

beforeAll(async () => {
  database = await createTestDatabase()
  server = await startRedis()
  redis = new Redis(server.url)
  redis.on('error', () => undefined)
})

beforeEach(async () => {
  await redis.flushall()
  core = await openOn(database, [server], { strategy: 'redis' })
  await until(() => syncsOf(core) === 1)
})

afterEach(async () => {
  await server.start()
  await stopCores()
  expect(await findBroken(database.db)).toEqual([])
})

afterAll(async () => {
  redis.disconnect()
  await server.stop()
  await database.drop()
})

const syncsOf = ({ logged }: Core): number =>
  logged.filter(({ msg }) => msg === 'Redis is in step with the database').length

/** A process that compares everything each second, in place of the one that did so a moment ago. */
async function syncEachSecond(): Promise<Core> {
  await redis.del(await redis.keys(`${keyPrefix(database.url)}sync:*`))
  return openOn(database, [server], { strategy: 'redis', settings: { redis_sync_interval_seconds: 1 } })
}

const keyOf = (sku: string): string => `${keyPrefix(database.url)}level:${sku}`

/** What Redis has of a SKU: `available@seq`, and how many admissions. */
async function entry(sku: string): Promise<string> {
  const { seq, available, ...admissions } = await redis.hgetall(keyOf(sku))
  const under_way = Object.keys(admissions).length
  return `${available}@${seq}${under_way > 0 ? ` +${under_way}` : ''}`
}

/** The same of the database. */
async function truth(sku: string): Promise<string> {
  const [row] = await rows<{ at: string }>(
    database.db,
    `SELECT format('%s@%s', stock - temp_reserved_stock, seq) AS at FROM stock WHERE sku = ?`,
    [sku],
  )
  return row?.at ?? 'unknown'
}

const untilInStep = (sku: string) => until(async () => (await entry(sku)) === (await truth(sku)))

/** So many buyers of a unit each, at once. Who is told to come again, as where the machine stalls, does. */
async function crowd(sku: string, buyers: number): Promise<Record<string, number>> {
  return count((await Promise.all(Array.from({ length: buyers }, () => insist(core, wants(sku))))).map(codeOf))
}

test('a SKU that Redis does not know is loaded by the first who asks for it', async () => {
  const sku = await stocked(database.db, 5)
  expect(await entry(sku)).toBe('undefined@undefined')
  await hold(core.reservations, [{ sku, quantity: 2 }])
  await untilInStep(sku)
  expect(await entry(sku)).toBe('3@2')
})

test('every verb of this process is told to Redis, and sweeps are; nothing is under way when all are answered', async () => {
  const sku = await stocked(database.db, 9)
  const [paid, left, late] = await Promise.all(
    [1, 2, 3].map((quantity) => hold(core.reservations, [{ sku, quantity }])),
  )
  must(await core.reservations.confirm({ id: paid!.id }))
  await untilInStep(sku)
  must(await core.reservations.release({ id: left!.id }))
  await untilInStep(sku)
  await makeOverdue(database.db, late!.id)
  expect((await core.sweeper.run()).expired).toBe(1)
  await untilInStep(sku)
  expect(await entry(sku)).toMatch(/^8@\d+$/)
})

test('Redis says more than there is: what there is is sold and no more, and Redis is put right', async () => {
  const sku = await stocked(database.db, 3)
  await hold(core.reservations, sku)
  await untilInStep(sku)
  await redis.hset(keyOf(sku), 'available', 1000)
  expect(await crowd(sku, 20)).toEqual({ held: 2, insufficient_stock: 18 })
  await untilInStep(sku)
  expect(await crowd(sku, 5)).toEqual({ insufficient_stock: 5 })
})

test('Redis says there is nothing: what there is is sold all the same, and Redis is put right', async () => {
  const sku = await stocked(database.db, 30)
  await hold(core.reservations, sku)
  await untilInStep(sku)
  await redis.hset(keyOf(sku), 'available', 0)
  expect(await crowd(sku, 40)).toEqual({ held: 29, insufficient_stock: 11 })
  await untilInStep(sku)
})

test('Redis has a seq that never was and too much: put right by the first whom it misled', async () => {
  const sku = await stocked(database.db, 10)
  await redis.hset(keyOf(sku), 'seq', 1_000_000, 'available', 1000)
  expect(await crowd(sku, 12)).toEqual({ held: 10, insufficient_stock: 2 })
  await untilInStep(sku)
})

test('Redis has a seq that never was and too little: nobody is refused for it, and a sync puts it right', async () => {
  const sku = await stocked(database.db, 10)
  await redis.hset(keyOf(sku), 'seq', 1_000_000, 'available', 0)
  expect(await crowd(sku, 12)).toEqual({ held: 10, insufficient_stock: 2 })
  expect(await entry(sku)).toBe('0@1000000')
  await syncEachSecond()
  await untilInStep(sku)
})

test('what another way changed in the database ends in no refusal, and Redis follows with the next sync', async () => {
  const sku = await stocked(database.db, 1)
  await hold(core.reservations, sku)
  expect(refusal(await core.reservations.reserve(wants(sku))).code).toBe('insufficient_stock')
  must(await setStock(database.db, [{ sku, stock: 3 }]))
  await hold(core.reservations, sku)
  must(await setStock(database.db, [{ sku, stock: 2 }]))
  expect(refusal(await core.reservations.reserve(wants(sku))).code).toBe('insufficient_stock')

  const quiet = await stocked(database.db, 1)
  await hold(core.reservations, quiet)
  await untilInStep(quiet)
  must(await setStock(database.db, [{ sku: quiet, stock: 8 }]))
  expect(await entry(quiet)).not.toBe(await truth(quiet))
  const { metrics } = await syncEachSecond()
  await until(async () => (await metrics.text()).includes('what="drift_units"} 7'))
  expect(await entry(quiet)).toBe(await truth(quiet))
  must(await setStock(database.db, [{ sku: quiet, stock: 9 }]))
  await untilInStep(quiet)
})

test('units of a process that died on the way are sold meanwhile, and its admission is forgotten in time', async () => {
  const sku = await stocked(database.db, 5)
  await hold(core.reservations, sku)
  await untilInStep(sku)
  await redis.hset(keyOf(sku), 'a-process-that-died', `4 ${Date.now() + 60_000}`)
  expect(await crowd(sku, 6)).toEqual({ held: 4, insufficient_stock: 2 })
  await redis.hset(keyOf(sku), 'a-process-that-died', `4 ${Date.now() - 1}`)
  expect(await crowd(sku, 1)).toEqual({ insufficient_stock: 1 })
  expect(await entry(sku)).toBe(await truth(sku))
})

test('Redis is emptied again and again in the middle of a race: exactly what there is is sold', async () => {
  const sku = await stocked(database.db, 50)
  const over = new AbortController()
  const emptying = repeat(over.signal, () => redis.flushall())
  const codes = await crowd(sku, 200)
  over.abort()
  await emptying
  expect(codes).toEqual({ held: 50, insufficient_stock: 150 })
  expect(await counters(database.db, sku)).toBe('50/50')
})

test('what comes late changes nothing: neither a commit told after a later one nor a read that a commit overtook', async () => {
  const connection = createRedis({ url: server.url, name: 'test', log: pino({ level: 'silent' }) })
  await connection.open()
  const levels = createLevels(connection, keyPrefix(database.url))
  const level = (seq: number, available: number) => ({ sku: 'late', seq, available })
  await levels.settle('', [], [level(7, 3)])
  await levels.settle('', [], [level(6, 4)])
  expect(await entry('late')).toBe('3@7')
  const [seen] = await levels.read(['late'])
  await levels.settle('', [], [level(9, 1)])
  await levels.put([{ level: level(8, 2), seen }])
  expect(await entry('late')).toBe('1@9')
  await levels.put([{ level: level(9, 5), seen: undefined }])
  expect(await entry('late')).toBe('5@9')
  connection.close()
})

test('garbage in place of an entry is taken for nothing', async () => {
  const sku = await stocked(database.db, 2)
  await redis.hset(keyOf(sku), 'seq', 'x', 'available', 'y', 'held', 'z')
  expect(await crowd(sku, 3)).toEqual({ held: 2, insufficient_stock: 1 })
  await untilInStep(sku)
})

test('an order that Redis refuses for one line takes nothing of the other', async () => {
  const [much, little] = [await stocked(database.db, 10), await stocked(database.db, 1)]
  await hold(
    core.reservations,
    [much, little].map((sku) => ({ sku, quantity: 1 })),
  )
  await untilInStep(much)
  const order = wants([much, little].map((sku) => ({ sku, quantity: 1 })))
  expect(refusal(await core.reservations.reserve(order)).code).toBe('insufficient_stock')
  expect(await entry(much)).toBe('9@2')
})

test('a retry of what was held gets the hold although Redis refuses, and holds nothing more', async () => {
  const sku = await stocked(database.db, 2)
  const request = wants([{ sku, quantity: 2 }], keyed(`retry of ${sku}`))
  const { reservation } = must(await core.reservations.reserve(request))
  await untilInStep(sku)
  expect(must(await core.reservations.reserve(request))).toMatchObject({
    replayed: true,
    reservation: { id: reservation.id },
  })
})

test('Redis is started again, empty: everything is loaded without being asked for', async () => {
  const sku = await stocked(database.db, 4)
  await hold(core.reservations, sku)
  await untilInStep(sku)
  await server.kill()
  await server.start()
  await until(() => redis.status === 'ready')
  await untilInStep(sku)
  expect(await crowd(sku, 5)).toEqual({ held: 3, insufficient_stock: 2 })
})

test('of several processes one compares everything; the others leave it at that until the interval is over', async () => {
  const other = await openOn(database, [server], { strategy: 'redis' })
  const sku = await stocked(database.db, 1)
  await hold(other.reservations, sku)
  await untilInStep(sku)
  expect([syncsOf(core), syncsOf(other)]).toEqual([1, 0])
})

test('the time of Redis and of the database, the memory and the drift are in the metrics', async () => {
  const sku = await stocked(database.db, 1)
  await hold(core.reservations, sku)
  await until(async () => (await core.metrics.text()).includes('what="drift_units"'))
  const text = await core.metrics.text()
  for (const what of ['redis', 'database']) {
    expect(text).toMatch(new RegExp(`stock_strategy_duration_seconds_count\\{strategy="redis",what="${what}"\\} [1-9]`))
  }
  for (const what of ['memory_bytes', 'drift_units', 'drift_skus']) {
    expect(text).toMatch(new RegExp(`stock_strategy_level\\{strategy="redis",what="${what}"\\} \\d`))
  }
})

test('two databases on one Redis keep out of each other, whatever their SKUs are called', async () => {
  const elsewhere = await createTestDatabase()
  const other = await openOn(elsewhere, [server], { strategy: 'redis' })
  must(await setStock(database.db, [{ sku: 'same', stock: 1 }]))
  must(await setStock(elsewhere.db, [{ sku: 'same', stock: 5 }]))
  expect(await crowd('same', 3)).toEqual({ held: 1, insufficient_stock: 2 })
  await hold(other.reservations, [{ sku: 'same', quantity: 5 }])
  await other.stop()
  await elsewhere.drop()
})

test('without the database a buyer is told so, and nothing stays under way', async () => {
  const sku = await stocked(database.db, 3)
  const away = openCore(database, {
    strategy: 'redis',
    settings: { redis_url: server.url, redis_urls: [server.url] },
  })
  await away.reservations.start()
  await hold(away.reservations, sku)
  await untilInStep(sku)
  await away.pool.destroy()
  expect(refusal(await away.reservations.reserve(wants(sku)))).toEqual({
    code: 'database_unavailable',
    outcome: 'none',
  })
  await until(async () => !(await entry(sku)).includes('+'))
  await away.stop()
})
