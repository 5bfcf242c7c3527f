import { Redis } from 'ioredis'
import { runCommand } from '../../src/cli/program.ts'
import { keyPrefix } from '../../src/redis/keys.ts'
import { setStock } from '../../src/stock/set.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { hold, must, stopCores } from '../factories.ts'
import { openOn, repeat } from './cores.ts'
import { freePort, startRedis, type RedisServer } from './server.ts'

/** `cli redis …`, for whoever wonders whether Redis is right. */

let database: TestDatabase
let server: RedisServer
let redis: Redis

beforeAll(async () => {
  database = await createTestDatabase()
  server = await startRedis()
  redis = new Redis(server.url)
  must(
    await setStock(
      database.db,
      ['cup', 'plate', 'spoon'].map((sku, index) => ({ sku, stock: 10 * (index + 1) })),
    ),
  )
})

beforeEach(() => redis.flushall())

afterAll(async () => {
  redis.disconnect()
  await stopCores()
  await server.stop()
  await database.drop()
})

type Ended = { code: number; stdout: string; stderr: string }

/** Runs a command in this process. */
async function cli(command: string, env: Record<string, string> = { REDIS_URL: server.url }): Promise<Ended> {
  const { stdout, stderr } = process
  const written = { stdout: '', stderr: '' }
  const [print, warn, settings] = [stdout.write, stderr.write, { ...process.env }]
  stdout.write = (chunk: Uint8Array | string) => !!(written.stdout += chunk.toString())
  stderr.write = (chunk: Uint8Array | string) => !!(written.stderr += chunk.toString())
  Object.assign(process.env, { DATABASE_URL: database.url, ...env })
  try {
    return { code: await runCommand(command.split(' ')), ...written }
  } finally {
    stdout.write = print
    stderr.write = warn
    process.env = settings
  }
}

const keyOf = (sku: string): string => `${keyPrefix(database.url)}level:${sku}`

test('sync loads everything, and verify says that all is well', async () => {
  expect(await cli('redis sync')).toEqual({
    code: 0,
    stdout: '3 SKUs: 3 new to Redis, 0 off by 0 units in all\n',
    stderr: '',
  })
  expect(await redis.hgetall(keyOf('plate'))).toEqual({ seq: '1', available: '20' })
  expect(await cli('redis verify')).toEqual({
    code: 0,
    stdout: 'Redis is in step: all 3 SKUs that it has are as in the database. Nothing was changed.\n',
    stderr: '',
  })
})

test('verify names what differs and what to do; sync of that SKU repairs it, and no other', async () => {
  await cli('redis sync')
  await redis.hset(keyOf('cup'), 'available', 7)
  await redis.hset(keyOf('plate'), 'seq', 99, 'available', 30)
  const [told, json] = [await cli('redis verify'), await cli('redis verify --json')]
  expect(told.code).toBe(1)
  expect(told.stdout).toContain(
    'SKU cup: Redis has 7 available (seq 1), the database 10 (seq 1)\n  -> npm run cli -- redis sync cup',
  )
  expect(told.stdout).toContain('SKU plate: Redis has 30 available (seq 99), the database 20 (seq 1)')
  expect(told.stdout).toContain('NOT IN STEP: 2 of 3 SKUs')
  expect(json.code).toBe(1)
  expect(JSON.parse(json.stdout)).toMatchObject({
    clean: false,
    skus: 3,
    broken: 2,
    findings: expect.arrayContaining([
      { sku: 'cup', redis: { sku: 'cup', seq: 1, available: 7, held: 0 }, database: { seq: 1, available: 10 } },
    ]) as unknown,
  })
  expect(await redis.hget(keyOf('cup'), 'available')).toBe('7')

  expect(await cli('redis sync cup')).toMatchObject({
    code: 0,
    stdout: '1 SKUs: 0 new to Redis, 1 off by 3 units in all\n',
  })
  expect((await cli('redis verify')).stdout).not.toContain('SKU cup')
  expect(await cli('redis sync')).toMatchObject({
    code: 0,
    stdout: '3 SKUs: 0 new to Redis, 1 off by 10 units in all\n',
  })
  expect((await cli('redis verify')).code).toBe(0)
})

test('a SKU that the database does not have is named, and forgotten by sync', async () => {
  await redis.hset(keyOf('ghost'), 'seq', 1, 'available', 5)
  expect(await cli('redis verify')).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('SKU ghost: Redis has 5 available (seq 1), the database has no such SKU') as string,
  })
  expect(await cli('redis sync ghost')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('no SKU ghost') as string,
  })
  expect(await redis.exists(keyOf('ghost'))).toBe(0)
  await redis.hset(keyOf('ghost'), 'seq', 1, 'available', 5)
  expect((await cli('redis sync')).stdout).toContain('forgot 1 that the database does not have')
})

test('while buyers come and go verify finds nothing: what is on its way to Redis is waited for', async () => {
  const core = await openOn(database, [server], { strategy: 'redis' })
  const over = new AbortController()
  const buyers = Array.from({ length: 3 }, () =>
    repeat(over.signal, async () => {
      must(await core.reservations.release({ id: (await hold(core.reservations, 'spoon')).id }))
    }),
  )
  for (let i = 0; i < 3; i++) expect(await cli('redis verify')).toMatchObject({ code: 0 })
  over.abort()
  await Promise.all(buyers)
  await core.stop()
})

test('what other databases have on the same Redis is none of its business', async () => {
  await redis.hset('stock:other:level:cup', 'seq', 9, 'available', 9)
  expect(await cli('redis verify')).toMatchObject({ code: 0, stdout: expect.stringContaining('all 0 SKUs') as string })
  await cli('redis sync')
  expect(await redis.hgetall('stock:other:level:cup')).toEqual({ seq: '9', available: '9' })
})

test('a Redis that is away, and one that is not named, end with 2 and what to do', async () => {
  const port = await freePort()
  expect(await cli('redis verify', { REDIS_URL: `redis://:hunter2@127.0.0.1:${port}` })).toEqual({
    code: 2,
    stdout: '',
    stderr: `Redis at 127.0.0.1:${port}/0 does not answer\n`,
  })
  expect(await cli('redis sync', { REDIS_URL: '' })).toEqual({
    code: 2,
    stdout: '',
    stderr: 'there is no Redis: set REDIS_URL, such as redis://localhost:6379\n',
  })
})
