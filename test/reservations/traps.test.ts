import { rows } from '../../src/database/transaction.ts'
import { DatabaseUnavailable } from '../../src/errors.ts'
import { newId } from '../../src/ids.ts'
import { fly, type FlightDeps } from '../../src/reservations/flight.ts'
import { lookAndDraw, type Looked } from '../../src/reservations/look.ts'
import type { Operation } from '../../src/reservations/plan.ts'
import { setStock } from '../../src/stock/set.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  countDeadlocks,
  counters,
  doorOf,
  DOORS,
  findBroken,
  hold,
  makeOverdue,
  must,
  openCore,
  refusal,
  stocked,
  stopCores,
  stored,
  timePasses,
  untilWaiting,
  wants,
  type Core,
} from '../factories.ts'

/** Traps of PostgreSQL that were fallen into once, each shown not to catch us. Others stand with the code they threaten. */

let database: TestDatabase
let core: { batched: Core; conditional: Core }

beforeAll(async () => {
  database = await createTestDatabase()
  const patient = { lock_timeout_ms: 5000 }
  core = {
    batched: openCore(database, patient),
    conditional: openCore(database, { ...patient, strategy: 'conditional' }),
  }
})

afterEach(async () => expect(await findBroken(database.db)).toEqual([]))

afterAll(async () => {
  await stopCores()
  await database.drop()
})

/** Waits until a hold's time has come: the one test helper that lets real time pass, for a lock must be held meanwhile. */
async function untilExpired(id: string): Promise<void> {
  await rows(
    database.db,
    `SELECT pg_sleep(greatest(0, extract(epoch FROM expires_at - clock_timestamp())) + 0.005) FROM reservations WHERE id = ?`,
    [id],
  )
}

/** Makes a hold's time come so many milliseconds from now. */
async function soon(id: string, ms: number): Promise<void> {
  await makeOverdue(database.db, id, -ms / 1000)
}

describe.each(DOORS)('a verb through %s waits for a lock past the end of its hold', (name) => {
  test.each(['confirm', 'extend'] as const)(
    '%s, for the reservation that somebody only locked: refused as expired',
    async (verb) => {
      const door = doorOf(core, name)
      const sku = await stocked(database.db)
      const { id } = await hold(door, sku)
      await soon(id, 300)
      const tx = await begin(database.db)
      await tx.raw('SELECT 1 FROM reservations WHERE id = ? FOR UPDATE', [id])
      const answer = verb === 'confirm' ? door.confirm({ id }) : door.extend({ id, ttl_seconds: 60 })
      await untilWaiting(database.db)
      await untilExpired(id)
      await tx.rollback()
      expect(refusal(await answer).code).toBe('reservation_expired')
      expect(await counters(database.db, sku)).toBe('10/1')
    },
  )

  test('confirm, for the reservation that somebody wrote to: refused as expired', async () => {
    const door = doorOf(core, name)
    const sku = await stocked(database.db)
    const { id } = await hold(door, sku)
    await soon(id, 300)
    const tx = await begin(database.db)
    await tx.raw(`UPDATE reservations SET metadata = '{}' WHERE id = ?`, [id])
    const answer = door.confirm({ id })
    await untilWaiting(database.db)
    await untilExpired(id)
    await tx.commit()
    expect(refusal(await answer).code).toBe('reservation_expired')
  })

  test('confirm, for the counter: refused as expired, or undone to be run again by the caller', async () => {
    const door = doorOf(core, name)
    const sku = await stocked(database.db)
    const { id } = await hold(door, sku)
    await soon(id, 300)
    const tx = await begin(database.db)
    await tx.raw('SELECT 1 FROM stock WHERE sku = ? FOR UPDATE', [sku])
    const answer = door.confirm({ id })
    await untilWaiting(database.db)
    await untilExpired(id)
    await tx.rollback()
    const { code } = refusal(await answer)
    expect(code).toBe(name === "a caller's transaction" ? 'stock_conflict' : 'reservation_expired')
    expect(refusal(await door.confirm({ id })).code).toBe('reservation_expired')
    expect(await stored(database.db, id)).toBe('pending')
    expect(await counters(database.db, sku)).toBe('10/1')
  })
})

test('a confirm that waits and is still in time is taken', async () => {
  const sku = await stocked(database.db)
  const { id } = await hold(core.batched.reservations, sku)
  const tx = await begin(database.db)
  await tx.raw('SELECT 1 FROM reservations WHERE id = ? FOR UPDATE', [id])
  const answer = core.batched.reservations.confirm({ id })
  await untilWaiting(database.db)
  await tx.rollback()
  expect(must(await answer).status).toBe('confirmed')
})

test('a confirm keeps the longer time that another process gave its hold meanwhile', async () => {
  const sku = await stocked(database.db)
  const { id, expires_at } = await hold(core.batched.reservations, sku)
  const tx = await begin(database.db)
  await tx.raw(`UPDATE reservations SET expires_at = expires_at + interval '1 minute' WHERE id = ?`, [id])
  const answer = core.batched.reservations.confirm({ id })
  await untilWaiting(database.db)
  await tx.commit()
  expect(must(await answer).expires_at.getTime()).toBe(expires_at.getTime() + 60_000)
  const [row] = await rows<{ expires_at: Date }>(database.db, 'SELECT expires_at FROM reservations WHERE id = ?', [id])
  expect(row!.expires_at.getTime()).toBe(expires_at.getTime() + 60_000)
})

test('orders of many SKUs in crossed order from two processes, with sweeps: not one deadlock, and every unit accounted for', async () => {
  const skus = await Promise.all(Array.from({ length: 6 }, () => stocked(database.db, 10_000)))
  const before = await countDeadlocks(database.db)
  const one = openCore(database, { instance: 'one', lock_timeout_ms: 5000 })
  const other = openCore(database, { instance: 'other', lock_timeout_ms: 5000, strategy: 'conditional' })
  for (let round = 0; round < 6; round++) {
    const orders = Array.from({ length: 60 }, (_, i) => {
      const own = skus.map((sku, j) => ({ sku, quantity: 1 + ((i + j) % 3) }))
      return i % 2 === 0 ? own : own.toReversed()
    })
    const made = await Promise.all(
      orders.map((lines, i) => (i % 3 === 0 ? other : one).reservations.reserve(wants(lines))),
    )
    const ids = made.map((answer) => must(answer).reservation.id)
    await makeOverdue(
      database.db,
      ids.filter((_, i) => i % 4 === 0),
    )
    await Promise.all([
      ...ids.map((id, i) => {
        const { reservations } = i % 2 === 0 ? other : one
        return i % 4 === 0 || i % 4 === 1 ? reservations.release({ id }) : reservations.confirm({ id })
      }),
      one.sweeper.run(),
      other.sweeper.run(),
    ])
  }
  await Promise.all([one.stop(), other.stop()])
  expect(await countDeadlocks(database.db)).toBe(before)
})

test('every connection of the core lets the server find out that its client is gone', async () => {
  const [row] = await rows<{ setting: string }>(core.batched.pool, 'SHOW client_connection_check_interval')
  expect(row).toEqual({ client_connection_check_interval: '1s' })
})

test('a counter can be updated in place: its page has room, and no index is on what changes', async () => {
  const [row] = await rows<{ fillfactor: boolean; indexed: string[] }>(
    database.db,
    `SELECT 'fillfactor=50' = ANY (reloptions) AS fillfactor,
            (SELECT array_agg(attname::text) FROM pg_index i
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
             WHERE i.indrelid = c.oid) AS indexed
     FROM pg_class c WHERE relname = 'stock'`,
  )
  expect(row).toEqual({ fillfactor: true, indexed: ['sku'] })
})

test('what is overdue is found through its index, however many holds there are that are not', async () => {
  const sku = await stocked(database.db, 1)
  const { id } = await hold(core.batched.reservations, sku)
  await timePasses(database.db, 10_000)
  const plan = await database.db.transaction(async (tx) => {
    await tx.raw('SET LOCAL enable_seqscan = off')
    return rows<{ 'QUERY PLAN': string }>(
      tx,
      `EXPLAIN SELECT id FROM reservations r WHERE r.status = 'pending' AND r.expires_at <= statement_timestamp()
       ORDER BY r.expires_at LIMIT 500 FOR UPDATE SKIP LOCKED`,
    )
  })
  const text = plan.map((line) => line['QUERY PLAN']).join('\n')
  expect(text).toMatch(/reservations_overdue/)
  expect(text).toMatch(/Index Cond: \(expires_at <= statement_timestamp\(\)\)/)
  await core.batched.sweeper.run()
  expect(await stored(database.db, id)).toBe('expired')
})

describe('a look that was taken ahead of the flight', () => {
  const flights = () => ({
    db: database.db,
    onClosed: undefined,
    known_locked: new Set<string>(),
    ttl_max_seconds: 86_400,
    observePhase: () => undefined,
  })
  const want = (sku: string): Operation => {
    const lines = [{ sku, quantity: 1 }]
    const request = { client: 'test', lines }
    return { verb: 'reserve', id: newId(), lines, request, ttl_seconds: 60, strategy: 'batched', ttl_variant: null }
  }
  const flyWith = async (deps: FlightDeps, operation: Operation, looked: Promise<Looked>) => {
    const outcomes = await fly(deps, [operation], { deadline: performance.now() + 5000, looked })
    return outcomes.get(operation)!
  }

  test('refuses nobody: a SKU that came meanwhile is had', async () => {
    const deps = flights()
    const sku = `new-${newId()}`
    const operation = want(sku)
    const looked = await lookAndDraw(deps, deps.db, [operation], false)
    expect(looked.plan.outcomes.get(operation)!.ok).toBe(false)
    await setStock(database.db, [{ sku, stock: 1 }])
    expect((await flyWith(deps, operation, Promise.resolve(looked))).ok).toBe(true)
    expect(await counters(database.db, sku)).toBe('1/1')
  })

  test('gives nobody what others have taken meanwhile', async () => {
    const deps = flights()
    const sku = await stocked(database.db, 1)
    const operation = want(sku)
    const looked = await lookAndDraw(deps, deps.db, [operation], false)
    await hold(core.batched.reservations, sku)
    expect(refusal(await flyWith(deps, operation, Promise.resolve(looked))).code).toBe('insufficient_stock')
    expect(await counters(database.db, sku)).toBe('1/1')
  })

  test('tells nobody alone what it saw: a hold that was confirmed meanwhile is not released', async () => {
    const deps = flights()
    const sku = await stocked(database.db, 1)
    const { id } = await hold(core.batched.reservations, sku)
    await makeOverdue(database.db, id)
    await core.batched.sweeper.run()
    const operation: Operation = { verb: 'release', id, reason: null }
    const looked = await lookAndDraw(deps, deps.db, [operation], false)
    expect(looked.plan.outcomes.get(operation)!.ok).toBe(true)
    must(await core.batched.reservations.confirm({ id, on_expired: 'reacquire' }))
    expect(refusal(await flyWith(deps, operation, Promise.resolve(looked))).code).toBe('already_confirmed')
  })

  test('that failed is taken again', async () => {
    const deps = flights()
    const sku = await stocked(database.db, 1)
    const lost = new DatabaseUnavailable('none', new Error('cut off'))
    expect((await flyWith(deps, want(sku), Promise.reject(lost))).ok).toBe(true)
    expect(await counters(database.db, sku)).toBe('1/1')
  })
})
