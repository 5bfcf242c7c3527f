import type { Knex } from 'knex'
import pg from 'pg'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { createPool } from '../../src/database/pool.ts'
import { isLockTimeout, sqlstate } from '../../src/database/sqlstate.ts'
import { reading, rows, transaction } from '../../src/database/transaction.ts'
import { DatabaseUnavailable } from '../../src/errors.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { gate, until, untilWaiting } from '../factories.ts'
import { startStopwatch } from '../stopwatch.ts'

let database: TestDatabase
let db: Knex

beforeAll(async () => {
  database = await createTestDatabase()
  db = database.db
  await db.raw('CREATE TABLE notes (id integer PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, body text)')
  await db.raw(`INSERT INTO notes VALUES (1, 'one'), (2, 'two')`)
})

beforeEach(async () => {
  await db.raw(`DELETE FROM notes WHERE id > 2`)
})

afterAll(() => database.drop())

function add(tx: Knex.Transaction, id: number): Promise<unknown[]> {
  return rows(tx, 'INSERT INTO notes VALUES (?, NULL)', [id])
}

async function count(): Promise<number> {
  return (await rows(db, 'SELECT 1 FROM notes')).length
}

test('a statement that nobody waits for goes out before COMMIT, and is part of the transaction', async () => {
  await transaction(db, (tx, _, last) => {
    last(add(tx, 3))
    last(add(tx, 4))
    return Promise.resolve()
  })
  expect(await count()).toBe(4)
})

test('if it fails nothing is written, and its error is the answer', async () => {
  const error = await failure(
    transaction(db, async (tx, _, last) => {
      await add(tx, 3)
      last(rows(tx, 'SELECT 1 / 0'))
      last(add(tx, 4))
    }),
  )
  expect(sqlstate(error)).toBe('22012')
  expect(await count()).toBe(2)
})

test('where BEGIN fails on a connection that lives, nothing is run and nothing is written', async () => {
  const client = pg.Client.prototype as unknown as { query: (...args: unknown[]) => unknown }
  const original = client.query
  client.query = function (this: unknown, config: unknown, ...rest: unknown[]) {
    const is_begin = config === 'BEGIN;' || (config as { text?: string }).text === 'BEGIN;'
    return original.call(this, is_begin ? 'BEGIN x' : config, ...rest)
  }
  try {
    const error = await failure(transaction(db, async (tx) => add(tx, 3)))
    expect(sqlstate(error)).toBe('42601')
  } finally {
    client.query = original
  }
  expect(await count()).toBe(2)
})

test('what work sends after its transaction was undone is refused', async () => {
  const late = gate()
  let answer: Promise<unknown> = Promise.resolve()
  const undone = failure(
    transaction(db, async (tx) => {
      answer = late.opened.then(() => failure(add(tx, 3)))
      await rows(tx, 'SELECT 1 / 0')
    }),
  )
  expect(sqlstate(await undone)).toBe('22012')
  late.open()
  expect(((await answer) as Error).message).toContain('already complete')
  expect(await count()).toBe(2)
})

/** What a promise was rejected with. */
function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => new Error('this was not rejected'),
    (error: unknown) => error,
  )
}

test('what the work returns is the answer, and what it wrote is committed', async () => {
  expect(
    await transaction(db, async (tx) => {
      await add(tx, 3)
      return 'done'
    }),
  ).toBe('done')
  expect(await count()).toBe(3)
})

test('rolled back with a value: nothing is written, and the value is the answer', async () => {
  const answer = await transaction<string>(db, async (tx, rollback) => {
    await add(tx, 3)
    return rollback('refused')
  })
  expect(answer).toBe('refused')
  expect(await count()).toBe(2)
})

test('what the work throws is thrown after the rollback', async () => {
  const error = new Error('a bug')
  const failed = transaction(db, async (tx) => {
    await add(tx, 3)
    throw error
  })
  expect(await failure(failed)).toBe(error)
  expect(await count()).toBe(2)
})

test('the isolation is READ COMMITTED, so that a statement sees what was committed while the one before it waited', async () => {
  const [row] = await transaction(db, (tx) => rows(tx, 'SHOW transaction_isolation'))
  expect(row).toEqual({ transaction_isolation: 'read committed' })
})

test('two that deadlock are both done in the end: the victim is run again from its beginning', async () => {
  let attempts = 0
  const both = [gate(), gate()]
  const cross = (first: number, second: number, own: number) =>
    transaction(db, async (tx) => {
      attempts += 1
      await rows(tx, 'SELECT 1 FROM notes WHERE id = ? FOR UPDATE', [first])
      both[own]?.open()
      await both[1 - own]?.opened
      await rows(tx, 'SELECT 1 FROM notes WHERE id = ? FOR UPDATE', [second])
      return first
    })
  expect(await Promise.all([cross(1, 2, 0), cross(2, 1, 1)])).toEqual([1, 2])
  expect(attempts).toBe(3)
})

test('a serialisation failure is run again, five times and no more', async () => {
  let attempts = 0
  const failed = transaction(db, async (tx) => {
    attempts += 1
    await tx.raw(`DO $$ BEGIN RAISE 'again' USING ERRCODE = '40001'; END $$`)
  })
  expect(sqlstate(await failure(failed))).toBe('40001')
  expect(attempts).toBe(5)
})

test('other failures of a statement are not run again', async () => {
  let attempts = 0
  const failed = transaction(db, async (tx) => {
    attempts += 1
    await tx.raw('SELECT 1 / 0')
  })
  expect(sqlstate(await failure(failed))).toBe('22012')
  expect(attempts).toBe(1)
})

test('a transaction that the server ended because the process had no time for it is a lost database, not a fault', async () => {
  const ended = Object.assign(new Error('terminating connection'), { severity: 'FATAL', code: '25P03' })
  const work = transaction(db, async (tx) => {
    await add(tx, 3)
    throw ended
  })
  expect(await failure(work)).toMatchObject({ name: 'DatabaseUnavailable', outcome: 'none' })
  expect(await count()).toBe(2)
})

test('a lock that is not had in time is told from everything else', async () => {
  const impatient = createPool({
    url: database.url,
    max: 1,
    lock_timeout_ms: 20,
    statement_timeout_ms: 5000,
    application_name: 'impatient',
  })
  const error = await transaction(db, async (tx) => {
    await tx.raw('SELECT 1 FROM notes WHERE id = 1 FOR UPDATE')
    return failure(transaction(impatient, (other) => rows(other, 'SELECT 1 FROM notes WHERE id = 1 FOR UPDATE')))
  })
  expect(isLockTimeout(error)).toBe(true)
  await impatient.destroy()
})

test('what the server refuses at COMMIT was not written, and the error is its own', async () => {
  const failed = transaction(db, (tx) => add(tx, 1))
  expect(sqlstate(await failure(failed))).toBe('23505')
  expect(await count()).toBe(2)
})

test("the errors of statements carry none of their values, which may be a customer's", async () => {
  const error = await failure(transaction(db, (tx) => rows(tx, `SELECT ?::integer / 0, ?::text`, [7, 'secret'])))
  expect(String(error)).not.toMatch(/secret/)
})

describe('when the connection breaks', () => {
  let proxy: Server
  let sockets: Socket[]
  let pool: Knex
  /** Looks at what is sent to the server; true breaks the connection: before it is sent, or once it was answered. */
  let breaks: { before?: RegExp; after?: RegExp }

  beforeEach(async () => {
    sockets = []
    breaks = {}
    const target = new URL(database.url)
    proxy = createServer((client) => {
      const server = connect(Number(target.port), target.hostname)
      sockets.push(client, server)
      let breaking = false
      client.on('data', (data) => {
        if (breaks.before?.test(data.toString('latin1')) === true) return void client.destroy()
        breaking = breaks.after?.test(data.toString('latin1')) === true
        server.write(data)
      })
      server.on('data', (data) => (breaking ? client.destroy() : client.write(data)))
      for (const socket of [client, server]) socket.on('error', () => undefined)
      client.on('close', () => server.end())
      server.on('close', () => client.destroy())
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    const url = new URL(database.url)
    url.hostname = '127.0.0.1'
    url.port = String((proxy.address() as { port: number }).port)
    pool = createPool({
      url: url.href,
      max: 2,
      lock_timeout_ms: 5000,
      statement_timeout_ms: 5000,
      application_name: 'proxied',
    })
  })

  afterEach(async () => {
    await pool.destroy()
    for (const socket of sockets) socket.destroy()
    if (proxy.listening) await new Promise((resolve) => proxy.close(resolve))
  })

  test('in a statement: nothing was written, and that is said', async () => {
    breaks = { before: /INSERT/ }
    const error = await failure(transaction(pool, (tx) => add(tx, 3)))
    expect(error).toBeInstanceOf(DatabaseUnavailable)
    expect(error).toMatchObject({ outcome: 'none' })
    expect(await count()).toBe(2)
  })

  test('in a statement that was carried out but not committed: nothing was written either', async () => {
    breaks = { after: /INSERT/ }
    expect(await failure(transaction(pool, (tx) => add(tx, 3)))).toMatchObject({ outcome: 'none' })
    expect(await count()).toBe(2)
  })

  test('after COMMIT was sent: it may have been written, and in truth it was', async () => {
    breaks = { after: /COMMIT/ }
    const error = await failure(transaction(pool, (tx) => add(tx, 3)))
    expect(error).toBeInstanceOf(DatabaseUnavailable)
    expect(error).toMatchObject({ outcome: 'unknown' })
    await until(async () => (await count()) === 3)
  })

  test('before COMMIT arrives: it may have been written for all that is known, and in truth it was not', async () => {
    breaks = { before: /COMMIT/ }
    expect(await failure(transaction(pool, (tx) => add(tx, 3)))).toMatchObject({ outcome: 'unknown' })
    expect(await count()).toBe(2)
  })

  test('while a statement waits for a lock: nothing is written, although the lock comes free', async () => {
    const tx = await db.transaction()
    await tx.raw('SELECT 1 FROM notes WHERE id = 1 FOR UPDATE')
    const waiting = failure(transaction(pool, (other) => rows(other, `UPDATE notes SET body = 'changed' WHERE id = 1`)))
    await untilWaiting(db)
    for (const socket of sockets) socket.destroy()
    expect(await waiting).toMatchObject({ outcome: 'none' })
    await tx.rollback()
    expect(await rows(db, 'SELECT body FROM notes WHERE id = 1')).toEqual([{ body: 'one' }])
  })

  test('a backend that is ended is a lost database too', async () => {
    const waiting = failure(transaction(pool, (tx) => rows(tx, 'SELECT pg_sleep(60)')))
    await until(async () => {
      const ended = await rows(
        db,
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'proxied' AND query LIKE 'SELECT pg_sleep%'`,
      )
      return ended.length > 0
    })
    expect(await waiting).toMatchObject({ outcome: 'none' })
  })

  test('a database that is away is one error for reads and writes, within two seconds; once it is back it serves', async () => {
    const port = (proxy.address() as { port: number }).port
    await new Promise((resolve) => {
      proxy.close(resolve)
      for (const socket of sockets) socket.destroy()
    })
    const took_ms = startStopwatch()
    expect(await failure(transaction(pool, (tx) => add(tx, 3)))).toMatchObject({ outcome: 'none' })
    expect(await failure(reading(() => rows(pool, 'SELECT 1')))).toMatchObject({ outcome: 'none' })
    expect(took_ms()).toBeLessThan(4000)
    await new Promise<void>((resolve) => proxy.listen(port, '127.0.0.1', resolve))
    expect(await reading(() => rows(pool, 'SELECT 1 AS one'))).toEqual([{ one: 1 }])
  })
})
