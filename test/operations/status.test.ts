import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Knex } from 'knex'
import { createPool } from '../../src/database/pool.ts'
import { rows } from '../../src/database/transaction.ts'
import { createKey } from '../../src/keys/keys.ts'
import { advise } from '../../src/operations/advice.ts'
import type { Session } from '../../src/operations/queries.ts'
import { askService, serviceUrl } from '../../src/operations/service.ts'
import { endSession } from '../../src/operations/sessions.ts'
import { findBlocked, readStatus, type StatusReport } from '../../src/operations/status.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { hold, makeOverdue, openCore, stocked, untilWaiting } from '../factories.ts'

let database: TestDatabase
let service: Server
let service_url: string
/** What the service of this machine answers; undefined for never. */
let answer: RequestListener | undefined

const EXPOSITION = 'stock_queue_length 3\nstock_queue_length_max 1000\nstock_queue_oldest_wait_seconds 0.25\n'
const healthy: RequestListener = (request, response) => {
  response.end(request.url === '/metrics' ? EXPOSITION : '{"status":"ready"}')
}

beforeAll(async () => {
  database = await createTestDatabase()
  service = createServer((request, response) => answer?.(request, response))
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve))
  service_url = `http://127.0.0.1:${(service.address() as AddressInfo).port}`
})

afterAll(async () => {
  service.closeAllConnections()
  await new Promise((resolve) => service.close(resolve))
  await database.drop()
})

beforeEach(() => {
  answer = healthy
})

afterEach(() =>
  rows(
    database.db,
    'TRUNCATE stock, stock_ledger, reservations, sweep_set_aside, sweeper_runs, outbox, api_keys, api_key_secrets',
  ),
)

function status(more: Partial<Parameters<typeof readStatus>[0]['database']> = {}): Promise<StatusReport> {
  return readStatus({
    database: { description: 'test', embedded: false, db: database.db, ...more },
    service_url,
    stalled_after_seconds: 60,
  })
}

const session: Session = {
  pid: 1,
  application_name: 'psql',
  client: null,
  state: 'idle in transaction',
  query: 'select',
  transaction_seconds: 60,
  state_seconds: 60,
  lock_wait_seconds: null,
  blocked_by: [],
}

test('all is well: there is nothing to do', async () => {
  await createKey(database.db, { name: 'shop', scopes: ['read'] })
  expect(await status()).toMatchObject({
    database: { reachable: true, schema: { current: true }, closed: true, blocked: [], idle_in_transaction: [] },
    service: { answers: true, ready: true, queue: { length: 3, length_max: 1000, oldest_wait_seconds: 0.25 } },
    next_steps: [],
  })
})

test('no key was ever created: that is said, with the command', async () => {
  const { next_steps } = await status()
  expect(next_steps).toEqual([expect.stringContaining('keys create')])
})

test('two buyers wait behind a session that forgot to commit: it is named once, with how to end it', async () => {
  const sku = await stocked(database.db)
  const forgetful = createPool({
    url: database.url,
    max: 1,
    lock_timeout_ms: 0,
    statement_timeout_ms: 0,
    application_name: 'forgetful',
  })
  const buyers = createPool({
    url: database.url,
    max: 2,
    lock_timeout_ms: 0,
    statement_timeout_ms: 0,
    application_name: 'buyer',
  })
  const lock = (db: Knex): Promise<unknown> => rows(db, 'SELECT FROM stock WHERE sku = ? FOR UPDATE', [sku])
  const tx = await forgetful.transaction()
  await lock(tx)
  const [{ pid }] = (await rows<{ pid: number }>(tx, 'SELECT pg_backend_pid() AS pid')) as [{ pid: number }]
  const waiting = Promise.all([lock(buyers), lock(buyers)])
  await untilWaiting(database.db, 2)

  const report = await status()
  expect(report.database.blocked).toHaveLength(2)
  for (const blocked of report.database.blocked ?? []) {
    expect(blocked).toMatchObject({
      application_name: 'buyer',
      query: expect.stringContaining('FOR UPDATE'),
      waited_seconds: expect.any(Number),
      root: { pid, application_name: 'forgetful', state: 'idle in transaction' },
    })
  }
  const [step] = report.next_steps
  expect(step).toContain(`Session ${pid} (forgetful`)
  expect(step).toContain('holds up 2 others')
  expect(step).toContain(`end-session ${pid}`)

  expect(await endSession(database.db, pid)).toBe(true)
  await waiting
  expect(await lock(tx).catch(() => 'ended')).toBe('ended')
  await tx.rollback().catch(() => undefined)
  expect(await endSession(database.db, pid)).toBe(false)
  await Promise.all([forgetful.destroy(), buyers.destroy()])
})

test('a line of waiters has one head, and a circle or a head that left ends no search', () => {
  const waits = (pid: number, blocked_by: number[]): Session => ({ ...session, pid, lock_wait_seconds: 1, blocked_by })
  const roots = (sessions: Session[]): (number | undefined)[] => findBlocked(sessions).map(({ root }) => root?.pid)
  expect(roots([{ ...session, pid: 1 }, waits(2, [1]), waits(3, [2]), waits(4, [3, 1])])).toEqual([1, 1, 1])
  expect(roots([waits(2, [9])])).toEqual([undefined])
  expect(roots([waits(2, [3]), waits(3, [2])])).toEqual([3, 2])
  expect(findBlocked([waits(2, [0])])).toMatchObject([{ by_prepared_transaction: true, root: undefined }])
})

test('a session that keeps its locks and does nothing is to be ended', () => {
  const steps = advise(
    { description: '', embedded: false, reachable: true, blocked: [], idle_in_transaction: [{ ...session, pid: 77 }] },
    { url: '', answers: true },
  )
  expect(steps).toEqual([expect.stringMatching(/Session 77 .*end-session 77/)])
})

test('a hold that is overdue for long and a hold that was set aside are named with what to do', async () => {
  const core = openCore(database)
  const sku = await stocked(database.db)
  const [stuck, failing] = [await hold(core.reservations, sku), await hold(core.reservations, sku)]
  await makeOverdue(database.db, [stuck.id, failing.id], 3600)
  await rows(
    database.db,
    `INSERT INTO sweep_set_aside (reservation_id, failures, retry_at, error, set_aside_at)
     VALUES (?, 3, now(), 'a hook said no', now())`,
    [failing.id],
  )
  const { database: state, next_steps } = await status()
  expect(state).toMatchObject({
    stats: { pending: 2, overdue: 2, stalled: true },
    set_aside: [{ reservation_id: failing.id, failures: 3, error: 'a hook said no' }],
  })
  expect(next_steps).toEqual([
    expect.stringContaining('cli -- sweep'),
    expect.stringContaining('1 hold'),
    expect.stringContaining('keys create'),
  ])
  await core.stop()
})

test('a sweeper whose last run failed is named with its error; one that ended long ago is not', async () => {
  await rows(
    database.db,
    `INSERT INTO sweeper_runs (instance, started_at, succeeded_at, error, error_at) VALUES
       ('one', now(), now() - interval '1 minute', 'out of room', now()),
       ('two', now(), now(), 'long mended', now() - interval '1 minute'),
       ('gone', now() - interval '1 hour', NULL, 'whatever', now() - interval '1 hour')`,
  )
  const { next_steps } = await status()
  expect(next_steps[0]).toMatch(/sweeper of one .*out of room/)
  expect(next_steps).toHaveLength(2)
})

test('events that nobody gives a position to are named', async () => {
  await rows(
    database.db,
    `INSERT INTO outbox (id, ordered_at, events, event_count)
     VALUES (gen_random_uuid(), now() - interval '5 minutes', '[]', 1)`,
  )
  const { database: state, next_steps } = await status()
  expect(state.outbox).toMatchObject({ unpositioned: 1 })
  expect(next_steps[0]).toMatch(/Events have waited 300 s/)
})

test('a database without a schema says which command makes it', async () => {
  const empty = await createTestDatabase({ empty: true })
  const { database: state, next_steps } = await status({ db: empty.db })
  expect(state).toMatchObject({ reachable: true, schema: { current: false } })
  expect(next_steps).toEqual([expect.stringContaining('npm run migrate')])
  await empty.drop()
})

test('a database that is away: the service is asked all the same', async () => {
  const db = createPool({
    url: 'postgres://nobody:secret@127.0.0.1:1/none',
    max: 1,
    lock_timeout_ms: 0,
    statement_timeout_ms: 0,
    application_name: 'test',
  })
  const report = await status({ db })
  expect(report).toMatchObject({
    database: { reachable: false, error: expect.stringContaining('ECONNREFUSED') },
    service: { answers: true },
    next_steps: [expect.stringContaining('does not answer')],
  })
  expect(JSON.stringify(report)).not.toContain('secret')
  await db.destroy()
})

test('a service that is not ready, is degraded or refuses metrics is described as far as it goes', async () => {
  answer = (request, response) => {
    response.statusCode = request.url === '/metrics' ? 403 : 503
    response.end('{"degraded":["sweeper"]}')
  }
  const { service: state, next_steps } = await status()
  expect(state).toEqual({ url: service_url, answers: true, ready: false, degraded: ['sweeper'] })
  expect(next_steps[0]).toContain('is not ready')
})

test('a queue that is nearly full is told', async () => {
  answer = (request, response) => response.end(request.url === '/metrics' ? EXPOSITION.replace(' 3', ' 900') : '{}')
  expect((await status()).next_steps[0]).toContain('900 requests wait where 1000 may')
})

test('something else that answers at the port is no ready service', async () => {
  answer = (_, response) => response.end('<html>')
  expect(await askService(service_url)).toMatchObject({ answers: true, ready: false })
})

test('a service that hangs is waited for one second', async () => {
  answer = undefined
  expect(await askService(service_url)).toMatchObject({ answers: false, error: expect.stringContaining('1000 ms') })
})

test.each([
  ['127.0.0.1', 'http://127.0.0.1:3000'],
  ['0.0.0.0', 'http://127.0.0.1:3000'],
  ['::', 'http://[::1]:3000'],
  ['::1', 'http://[::1]:3000'],
  ['shop.internal', 'http://shop.internal:3000'],
])('a service that listens on %s is asked at %s', (host, url) => {
  expect(serviceUrl({ host, port: 3000 })).toBe(url)
})
