import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../../src/config.ts'
import { isRunning } from '../../src/database/process_lock.ts'
import { rows, transaction } from '../../src/database/transaction.ts'
import { setStock } from '../../src/stock/set.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'

/** Several processes on one port, as `npm start` runs them with WORKERS=n. */

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const WAIT_TIMEOUT_MS = 60_000
const TEST_TIMEOUT_MS = 90_000

jest.setTimeout(TEST_TIMEOUT_MS)

let database: TestDatabase
/** One for each test that ends its own; started together, because a start takes seconds. */
let services: [Running, Running, Running]
const started = new Set<ChildProcess>()

beforeAll(async () => {
  database = await createTestDatabase()
  await setStock(database.db, [{ sku: 'SHOE', stock: 1000 }])
  services = await Promise.all([start(), start(), start()])
})
afterAll(async () => {
  for (const child of started) child.kill('SIGKILL')
  await database.drop()
})

type Line = { msg: string; worker?: number; api?: string; [field: string]: unknown }
type Running = {
  child: ChildProcess
  port: number
  log(): Line[]
  printed(): string
  /** Those that listen or listened, in the order in which they began to. */
  workers(): number[]
  ended: Promise<number | null>
}

function launch(env: Record<string, string>): Omit<Running, 'port'> {
  const child = spawn(process.execPath, ['--import', 'tsx', MAIN], {
    // A process group of its own, as a shell makes for what Ctrl-C ends.
    detached: true,
    env: { PATH: process.env['PATH'], PORT: '0', DATABASE_URL: database.url, EXPIRY_CRON: 'off', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  started.add(child)
  let printed = ''
  child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (printed += chunk.toString()))
  const log = () =>
    printed
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as Line)
  return {
    child,
    log,
    printed: () => printed,
    workers: () => log().flatMap(({ msg, worker }) => (msg === 'a worker listens' && worker ? [worker] : [])),
    ended: new Promise((resolve) =>
      child.once('close', (code) => {
        started.delete(child)
        resolve(code)
      }),
    ),
  }
}

async function start(workers = 2): Promise<Running> {
  const launched = launch({ WORKERS: String(workers) })
  await until(() => launched.printed().includes('  Database  '))
  const { api } = launched.log().find(({ msg }) => msg === 'listening')!
  return { ...launched, port: Number(new URL(api!).port) }
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + WAIT_TIMEOUT_MS
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error('it did not come about in time')
    await delay(20)
  }
}

/** A request on a connection of its own; status 0 if there was no answer. */
function ask(port: number, method: string, path: string, body?: unknown): Promise<{ status: number; text: string }> {
  return new Promise((resolve) => {
    const headers = body === undefined ? {} : { 'Content-Type': 'application/json' }
    const asked = request({ port, host: '127.0.0.1', method, path, headers, agent: false }, (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => (text += chunk.toString()))
      response.once('end', () => resolve({ status: response.statusCode ?? 0, text }))
      response.once('error', () => resolve({ status: 0, text }))
    })
    asked.once('error', () => resolve({ status: 0, text: '' }))
    asked.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

const reserve = (port: number) => ask(port, 'POST', '/v1/reservations', { lines: [{ sku: 'SHOE', quantity: 1 }] })

async function reservedIn(port: number): Promise<number> {
  const { text } = await ask(port, 'GET', '/metrics')
  return Number(/^stock_outcomes_total\{verb="reserve",code="ok",strategy="batched"\} (\d+)$/m.exec(text)?.[1])
}

/** How many processes have reserved, by the names of their connections. */
async function reservers(): Promise<number> {
  const found = await rows<{ application_name: string }>(
    database.db,
    `SELECT DISTINCT application_name FROM pg_stat_activity
      WHERE datname = current_database() AND application_name LIKE '% core'`,
  )
  return found.length
}

/** Holds the counter, so that a reserve waits, until the returned function is called. */
async function holdCounter(): Promise<() => Promise<void>> {
  let letGo: () => void = () => undefined
  const released = new Promise<void>((resolve) => (letGo = resolve))
  let held: () => void = () => undefined
  const holding = new Promise<void>((resolve) => (held = resolve))
  const done = transaction(database.db, async (tx) => {
    await tx.raw(`SELECT 1 FROM stock WHERE sku = 'SHOE' FOR UPDATE`)
    held()
    await released
  })
  await holding
  return async () => {
    letGo()
    await done
  }
}

/** Begins so many reserves while the counter is held; resolves when they wait for it. */
async function beginReserves(port: number, count: number): Promise<{ answered: Promise<number[]> }> {
  const sent = Array.from({ length: count }, () => reserve(port))
  await until(async () => {
    const waiting = await rows(
      database.db,
      `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    )
    return waiting.length > 0
  })
  // The first of them waits for the counter; the others are on their way to it.
  await delay(300)
  return { answered: Promise.all(sent).then((answers) => answers.map(({ status }) => status)) }
}

test.each(['0', '65', 'two', '1.5'])('WORKERS=%s is refused by name', (WORKERS) => {
  expect(() => loadConfig({ WORKERS })).toThrow(/^ {2}WORKERS must /m)
})

test('two workers serve one port; one is killed and replaced, the other answers, and no count is taken back', async () => {
  const running = services[0]
  expect(running.workers()).toHaveLength(2)
  const answers = await Promise.all(Array.from({ length: 20 }, () => reserve(running.port)))
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201))
  expect(await reservers()).toBe(2)
  // Whichever answers tells of both.
  expect(await Promise.all([1, 2, 3, 4].map(() => reservedIn(running.port)))).toEqual([20, 20, 20, 20])

  const [killed] = running.workers()
  process.kill(killed!, 'SIGKILL')
  await until(() => running.log().some(({ msg }) => msg.startsWith('a worker ended')))
  while (running.workers().length < 3) expect(await ask(running.port, 'GET', '/healthz')).toMatchObject({ status: 200 })
  expect(running.log()).toContainEqual(expect.objectContaining({ level: 50, worker: killed, signal: 'SIGKILL' }))
  expect(await reservedIn(running.port)).toBe(20)
  await Promise.all([reserve(running.port), reserve(running.port)])
  expect(await reservedIn(running.port)).toBe(22)

  // Ctrl-C signals the primary and its workers at once.
  const letGo = await holdCounter()
  const { answered } = await beginReserves(running.port, 2)
  process.kill(-running.child.pid!, 'SIGINT')
  await until(() => running.printed().includes('"stopping"'))
  await letGo()
  expect(await answered).toEqual([201, 201])
  expect(await running.ended).toBe(0)
  expect(running.workers().filter(isRunning)).toEqual([])
  expect(running.log().filter(({ level }) => level === 50)).toHaveLength(1)
  expect(running.log().at(-1)).toMatchObject({ msg: 'stopped' })
})

test('SIGTERM answers what is under way and ends all; lines and banner are printed once', async () => {
  const running = services[1]
  const letGo = await holdCounter()
  const { answered } = await beginReserves(running.port, 6)
  running.child.kill('SIGTERM')
  await until(() => running.printed().includes('"stopping"'))
  await letGo()
  expect(await answered).toEqual([201, 201, 201, 201, 201, 201])
  expect(await running.ended).toBe(0)
  expect(running.workers()).toHaveLength(2)
  expect(running.workers().filter(isRunning)).toEqual([])
  expect(running.printed().match(/ {2}Documentation /g)).toHaveLength(1)
  const lines = running.log().filter(({ path }) => path === '/v1/reservations')
  expect(lines).toHaveLength(6)
})

test('a primary that is killed leaves no worker behind, and what they had begun is answered', async () => {
  const running = services[2]
  const letGo = await holdCounter()
  const { answered } = await beginReserves(running.port, 2)
  running.child.kill('SIGKILL')
  await delay(100)
  await letGo()
  expect(await answered).toEqual([201, 201])
  await until(() => !running.workers().some(isRunning))
  await running.ended
})

/** A connection and what is read from it, once the kernel has made it; whoever listens there need not have taken it over. */
function connected(port: number): Promise<{ socket: Socket; read: () => string }> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    let read = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => (read += chunk))
    socket.once('error', reject)
    socket.once('connect', () => resolve({ socket, read: () => read }))
  })
}

test.each([1, 2])(
  'WORKERS=%i: a crowd that comes in one moment is let in, none sent to try again in seconds',
  async (n) => {
    const running = await start(n)
    const crowd = Math.min(1500, Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8')))
    // Node's own 511, and one, would be let in without the service's doing.
    expect(crowd).toBeGreaterThan(512)
    // What a process that is busy has not taken over yet waits in the kernel.
    running.child.kill('SIGSTOP')
    let let_in = 0
    const entering = Promise.all(
      Array.from({ length: crowd }, () => connected(running.port).then((one) => ((let_in += 1), one))),
    )
    await Promise.race([entering, delay(10_000, undefined, { ref: false })])
    running.child.kill('SIGCONT')
    expect(let_in).toBe(crowd)
    const inside = await entering
    for (const { socket } of inside) socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await until(() => inside.every(({ read }) => read().startsWith('HTTP/1.1 200 ')))
    for (const { socket } of inside) socket.destroy()
    running.child.kill('SIGTERM')
    expect(await running.ended).toBe(0)
  },
)

test('a port that is taken ends the start with a sentence', async () => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  const { port } = taken.address() as AddressInfo
  const running = launch({ WORKERS: '2', PORT: String(port) })
  expect(await running.ended).toBe(1)
  expect(running.printed()).toContain(`port ${port} is taken`)
  expect(running.workers()).toEqual([])
  await new Promise((resolve) => taken.close(resolve))
})
