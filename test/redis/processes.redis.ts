import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { keyPrefix } from '../../src/redis/keys.ts'
import { createPool } from '../../src/database/pool.ts'
import { createRedis } from '../../src/redis/connection.ts'
import { createLevels } from '../../src/redis/levels.ts'
import { verifyLevels } from '../../src/reservations/strategies/redis_sync.ts'
import { verify } from '../../src/operations/verify.ts'
import { pino } from 'pino'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { counters, stocked, until } from '../factories.ts'
import { count, WAYS } from './cores.ts'
import { startRedis, type RedisServer } from './server.ts'

/** Two real processes behind one port, over HTTP, on one Redis that is killed under them. */

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const START_TIMEOUT_MS = 120_000
/** So often everybody asks again: a machine may stall for seconds. */
const RACES_MAX = 30
const TEST_TIMEOUT_MS = 180_000

let database: TestDatabase
let servers: RedisServer[]
const started = new Set<ChildProcess>()

beforeAll(async () => {
  database = await createTestDatabase()
  servers = await Promise.all([startRedis(), startRedis(), startRedis()])
})

afterEach(async () => {
  const ended = [...started].map((child) => once(child, 'exit'))
  for (const child of started) child.kill('SIGKILL')
  await Promise.all(ended)
  await Promise.all(servers.map((server) => server.start()))
})

afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()))
  await database.drop()
})

type Service = { port: number; stop(): Promise<number | null> }

async function serve(env: Record<string, string>): Promise<Service> {
  const child = spawn(process.execPath, ['--import', 'tsx', MAIN], {
    env: {
      PATH: process.env['PATH'],
      PORT: '0',
      DATABASE_URL: database.url,
      EXPIRY_CRON: 'off',
      LOG_LEVEL: 'warn',
      WORKERS: '2',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  started.add(child)
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  void ended.then(() => started.delete(child))
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
  const deadline = Date.now() + START_TIMEOUT_MS
  for (;;) {
    const port = /^ {2}API +http:\/\/127\.0\.0\.1:(\d+)\//m.exec(said)?.[1]
    if (port !== undefined) return { port: Number(port), stop: () => (child.kill('SIGTERM'), ended) }
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`the service did not start: ${said}`)
    await delay(20)
  }
}

type Answer = { status: number; retry_after: string | undefined; body: Record<string, unknown> }

/** A reserve on a connection of its own, so that both processes get their share. */
function reserve(port: number, sku: string, key: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key }
    const options = { port, host: '127.0.0.1', method: 'POST', path: '/v1/reservations', headers, agent: false }
    const asked = request(options, (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => (text += chunk.toString()))
      response.once('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          retry_after: response.headers['retry-after'],
          body: JSON.parse(text) as Record<string, unknown>,
        }),
      )
    })
    asked.once('error', reject)
    asked.end(JSON.stringify({ lines: [{ sku, quantity: 1 }] }))
  })
}

const statuses = (answers: readonly Answer[]) => count(answers.map(({ status }) => String(status)))

/** What Redis has that the database does not, by the same look as `cli redis verify`. */
async function differences(url: string): Promise<unknown> {
  const redis = createRedis({ url, name: 'test', log: pino({ level: 'silent' }) })
  await redis.open()
  try {
    return (await verifyLevels(database.db, createLevels(redis, keyPrefix(database.url)))).findings
  } finally {
    redis.close()
  }
}

test.each(WAYS)(
  '$way: sells what there is, survives a Redis that is killed and comes back empty, and the books are clean',
  async ({ strategy, nodes }) => {
    const on = servers.slice(0, nodes)
    const urls = on.map(({ url }) => url)
    const service = await serve({
      RESERVATION_STRATEGY: strategy,
      REDIS_URL: urls[0]!,
      REDIS_URLS: urls.join(','),
    })
    const race = (sku: string, buyers: number, onAnswer: () => void = () => undefined) =>
      Promise.all(
        Array.from({ length: buyers }, async (_, i) => {
          const answer = await reserve(service.port, sku, `${strategy} ${nodes} ${sku} ${i}`)
          onAnswer()
          return answer
        }),
      )

    // The same again until nobody is told to come again: who holds keeps the hold.
    const raceToTheEnd = async (sku: string, before: readonly Answer[]) => {
      let last = before
      for (let n = 0; n < RACES_MAX && last.some(({ status }) => status === 503); n++) last = await race(sku, 300)
      return last
    }

    const first = await stocked(database.db, 100)
    expect(statuses(await raceToTheEnd(first, await race(first, 300)))).toEqual({ 201: 100, 409: 200 })

    const second = await stocked(database.db, 100)
    let answered = 0
    const racing = race(second, 300, () => (answered += 1))
    await until(() => answered >= 10)
    await Promise.all(on.map((server) => server.kill()))
    const answers = await racing
    const held = answers.filter(({ status }) => status === 201).length
    expect(await counters(database.db, second)).toBe(`100/${held}`)
    const away = answers.filter(({ status }) => status === 503)
    expect(new Set(away.map(({ body }) => body['code']))).toContain('database_unavailable')
    for (const { body, retry_after } of away) {
      // Overloaded is told to who waited for a lock for too long, as on a machine that stalls.
      expect(body).toMatchObject({
        code: expect.stringMatching(/^(database_unavailable|overloaded)$/) as string,
        outcome: 'none',
      })
      expect(Number(retry_after)).toBeGreaterThan(0)
    }

    await Promise.all(on.map((server) => server.start()))
    expect(statuses(await raceToTheEnd(second, answers))).toEqual({ 201: 100, 409: 200 })
    expect(await counters(database.db, second)).toBe('100/100')
    expect(await service.stop()).toBe(0)
    expect(await differences(urls[0]!)).toEqual([])
    const books = createPool({
      url: database.url,
      max: 1,
      lock_timeout_ms: 0,
      statement_timeout_ms: 0,
      application_name: 'verify',
    })
    expect((await verify(books)).clean).toBe(true)
    await books.destroy()
  },
  TEST_TIMEOUT_MS,
)
