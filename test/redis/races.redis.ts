import { createTestDatabase, type TestDatabase } from '../database.ts'
import { counters, findBroken, insist, keyed, stocked, stopCores, wants } from '../factories.ts'
import { testRaces } from '../reservations/races.ts'
import { codeOf, count, openOn, settingsOn, WAYS } from './cores.ts'
import { startRedis, type RedisServer } from './server.ts'

/** Every strategy on Redis wins the races that all strategies win. */

let servers: RedisServer[]

beforeAll(async () => {
  servers = await Promise.all([startRedis(), startRedis(), startRedis()])
})

afterAll(() => Promise.all(servers.map((server) => server.stop())))

describe.each(WAYS)('$way', ({ strategy, nodes }) => {
  testRaces(strategy, () => ({ settings: settingsOn(servers.slice(0, nodes)) }), 1000)
})

describe('two processes on one Redis', () => {
  let database: TestDatabase

  beforeAll(async () => {
    database = await createTestDatabase()
  })

  afterEach(async () => {
    await stopCores()
    expect(await findBroken(database.db)).toEqual([])
  })

  afterAll(() => database.drop())

  test.each(WAYS)(
    '$way: a thousand buyers want a hundred units: a hundred hold one each, nine hundred are refused',
    async ({ strategy, nodes }) => {
      const on = servers.slice(0, nodes)
      const cores = await Promise.all(['one', 'two'].map((instance) => openOn(database, on, { strategy, instance })))
      const sku = await stocked(database.db, 100)
      const answers = await Promise.all(
        Array.from({ length: 1000 }, (_, i) => insist(cores[i % 2]!, wants(sku, keyed(`${sku} ${i}`)))),
      )
      expect(count(answers.map(codeOf))).toEqual({ held: 100, insufficient_stock: 900 })
      expect(await counters(database.db, sku)).toBe('100/100')
    },
    60_000,
  )
})
