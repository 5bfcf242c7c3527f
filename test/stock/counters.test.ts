import { rows, transaction, type Executor } from '../../src/database/transaction.ts'
import { violatedConstraint } from '../../src/database/sqlstate.ts'
import { moveCounters, writeRecorded, type Change, type Moved } from '../../src/stock/counters.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  countDeadlocks,
  counters,
  findBroken,
  ledger,
  openCore,
  must,
  stocked,
  stopCores,
  untilWaiting,
  wants,
} from '../factories.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})

afterAll(async () => {
  await stopCores()
  await database.drop()
})

function change(sku: string, stock_delta: number, reserved_delta: number): Change {
  return { sku, kind: 'adjust', stock_delta, reserved_delta }
}

/** Moves and writes the ledger, as the rooms do. */
async function move(db: Executor, changes: readonly Change[]): Promise<Moved> {
  const moved = await moveCounters(db, changes)
  if (moved.fits) await writeRecorded(db, { recorded: moved.recorded, events: [], at: moved.at })
  return moved
}

test('changes of several SKUs are applied in the order given, each with the counters after it', async () => {
  const [one, two] = [await stocked(database.db, 5), await stocked(database.db, 5)]
  const moved = await transaction(database.db, (tx) =>
    move(tx, [change(two, 0, 2), change(one, 1, 0), change(two, -2, -2), change(one, 0, 6)]),
  )
  expect(moved).toMatchObject({
    fits: true,
    recorded: [
      { sku: two, seq: 2, stock_after: 5, reserved_after: 2 },
      { sku: one, seq: 2, stock_after: 6, reserved_after: 0 },
      { sku: two, seq: 3, stock_after: 3, reserved_after: 0 },
      { sku: one, seq: 3, stock_after: 6, reserved_after: 6 },
    ],
  })
  expect([await counters(database.db, one), await counters(database.db, two)]).toEqual(['6/6', '3/0'])
})

test('one SKU that does not cover its need keeps all from moving, and the counters come back as they are', async () => {
  const [one, two] = [await stocked(database.db, 5), await stocked(database.db, 5)]
  const moved = await transaction(database.db, (tx) => move(tx, [change(one, 0, 5), change(two, 0, 6)]))
  expect(moved).toEqual({
    fits: false,
    counters: new Map([
      [one, { stock: 5, temp_reserved_stock: 0, seq: 1 }],
      [two, { stock: 5, temp_reserved_stock: 0, seq: 1 }],
    ]),
  })
  expect([await counters(database.db, one), await counters(database.db, two)]).toEqual(['5/0', '5/0'])
})

test('a SKU that does not exist keeps all from moving and is missing among the counters', async () => {
  const sku = await stocked(database.db, 5)
  const moved = await transaction(database.db, (tx) => move(tx, [change(sku, 0, 1), change('nowhere', 0, 1)]))
  expect(moved.fits).toBe(false)
  expect([...(moved as { counters: Map<string, unknown> }).counters.keys()]).toEqual([sku])
  expect(await counters(database.db, sku)).toBe('5/0')
})

test('what is needed in between counts, not only the sum: a later gift does not pay for an earlier step', async () => {
  const sku = await stocked(database.db, 5)
  const taken_first = [change(sku, 0, 6), change(sku, 0, -6)]
  expect((await transaction(database.db, (tx) => move(tx, taken_first))).fits).toBe(false)
  await transaction(database.db, (tx) => move(tx, [change(sku, 0, 5)]))
  const given_first = [change(sku, 0, -5), change(sku, 0, 5)]
  expect((await transaction(database.db, (tx) => move(tx, given_first))).fits).toBe(true)
})

test('two changes of one SKU in one call both count, which UPDATE FROM a list with duplicates would not do', async () => {
  const sku = await stocked(database.db, 10)
  await transaction(database.db, (tx) => move(tx, [change(sku, 0, 3), change(sku, 0, 4)]))
  expect(await counters(database.db, sku)).toBe('10/7')
  expect(await ledger(database.db, sku)).toEqual(['set 10 0', 'adjust 0 3', 'adjust 0 4'])
  expect(await findBroken(database.db)).toContainEqual(expect.objectContaining({ sku, pending_units: null }))
})

test('giving back more than is held breaks the CHECK by its name, and nothing is written', async () => {
  const sku = await stocked(database.db, 10)
  const failed = transaction(database.db, (tx) => move(tx, [change(sku, 0, -1)]))
  expect(violatedConstraint(await failed.catch((error: unknown) => error))).toBe('stock_covers_reserved')
  expect(await counters(database.db, sku)).toBe('10/0')
})

describe('after waiting for a transaction that changed the counters', () => {
  test('the values that come back are the newest ones', async () => {
    const sku = await stocked(database.db, 10)
    const first = await begin(database.db)
    await move(first, [change(sku, 0, 4)])
    const second = transaction(database.db, (tx) => move(tx, [change(sku, 0, 5)]))
    await untilWaiting(database.db)
    await first.commit()
    expect(await second).toMatchObject({ fits: true, recorded: [{ seq: 3, stock_after: 10, reserved_after: 9 }] })
  })

  test('what no longer fits is refused with the newest values, of all SKUs', async () => {
    const [one, two] = [await stocked(database.db, 10), await stocked(database.db, 10)]
    const first = await begin(database.db)
    await move(first, [change(one, 0, 8), change(two, 0, 1)])
    const second = transaction(database.db, (tx) => move(tx, [change(one, 0, 5), change(two, 0, 5)]))
    await untilWaiting(database.db)
    await first.commit()
    expect(await second).toEqual({
      fits: false,
      counters: new Map([
        [one, { stock: 10, temp_reserved_stock: 8, seq: 2 }],
        [two, { stock: 10, temp_reserved_stock: 1, seq: 2 }],
      ]),
    })
    expect([await counters(database.db, one), await counters(database.db, two)]).toEqual(['10/8', '10/1'])
  })

  test('what did not fit before and fits now is moved by the next call, under the same locks', async () => {
    const sku = await stocked(database.db, 2)
    const first = await begin(database.db)
    await move(first, [change(sku, 5, 0)])
    const second = transaction(database.db, async (tx) => [
      await move(tx, [change(sku, 0, 7)]),
      await move(tx, [change(sku, 0, 7)]),
    ])
    await untilWaiting(database.db)
    await first.commit()
    const newest = new Map([[sku, { stock: 7, temp_reserved_stock: 0, seq: 2 }]])
    expect(await second).toMatchObject([{ fits: false, counters: newest }, { fits: true }])
    expect(await ledger(database.db, sku)).toEqual(['set 2 0', 'adjust 5 0', 'adjust 0 7'])
  })

  test('of two SKUs, one that fitted all the time and one that fits only now, neither moves without the other', async () => {
    const [short, enough] = [await stocked(database.db, 2), await stocked(database.db, 10)]
    const first = await begin(database.db)
    await move(first, [change(short, 5, 0)])
    const both = [change(short, 0, 7), change(enough, 0, 1)]
    const second = transaction(database.db, async (tx) => [await move(tx, both), await move(tx, both)])
    await untilWaiting(database.db)
    await first.commit()
    expect((await second).map((moved) => moved.fits)).toEqual([false, true])
    expect([await counters(database.db, short), await counters(database.db, enough)]).toEqual(['7/7', '10/1'])
    expect(await ledger(database.db, enough)).toEqual(['set 10 0', 'adjust 0 1'])
  })
})

test('a SKU locked last is waited for while holding the others, so crossed moves queue up and never deadlock', async () => {
  const [one, two] = [await stocked(database.db, 0), await stocked(database.db, 0)]
  const pool = openCore(database, { connections: 8, lock_timeout_ms: 5000 })
  const before = await countDeadlocks(database.db)
  await Promise.all(
    Array.from({ length: 8 }, async (_, i) => {
      const changes = [change(one, 1, 0), change(two, 1, 0)]
      for (let round = 0; round < 25; round++) {
        await transaction(pool.pool, (tx) => move(tx, i % 2 === 0 ? changes : changes.toReversed()))
      }
    }),
  )
  expect([await counters(database.db, one), await counters(database.db, two)]).toEqual(['200/0', '200/0'])
  await pool.stop()
  expect(await countDeadlocks(database.db)).toBe(before)
})

describe('when a counter was last written in what is now the future, because a clock was set back', () => {
  test('its time still goes forward, by a microsecond for each move, and so does that of the ledger', async () => {
    const sku = await stocked(database.db, 10)
    await rows(database.db, `UPDATE stock SET updated_at = now() + interval '1 hour' WHERE sku = ?`, [sku])
    const times = [await updatedAt(sku)]
    for (let i = 0; i < 3; i++) {
      await transaction(database.db, (tx) => move(tx, [change(sku, 1, 0)]))
      times.push(await updatedAt(sku))
    }
    const micros = times.map((time) => BigInt(time ?? 0))
    expect(micros.slice(1).map((time, i) => time - micros[i]!)).toEqual([1n, 1n, 1n])
    const [last] = await rows<{ same: boolean }>(
      database.db,
      `SELECT created_at = updated_at AS same FROM stock_ledger JOIN stock USING (sku, seq) WHERE sku = ?`,
      [sku],
    )
    expect(last).toEqual({ same: true })
  })

  test('a move of several SKUs takes the latest of their times', async () => {
    const [ahead, other] = [await stocked(database.db, 10), await stocked(database.db, 10)]
    await rows(database.db, `UPDATE stock SET updated_at = now() + interval '1 hour' WHERE sku = ?`, [ahead])
    await transaction(database.db, (tx) => move(tx, [change(ahead, 1, 0), change(other, 1, 0)]))
    expect(await updatedAt(other)).toBe(await updatedAt(ahead))
  })

  test('its holds are still timed by the clock', async () => {
    const core = openCore(database)
    const sku = await stocked(database.db, 10)
    await rows(database.db, `UPDATE stock SET updated_at = now() + interval '1 hour' WHERE sku = ?`, [sku])
    const { reservation } = must(await core.reservations.reserve(wants(sku, { ttl_seconds: 60 })))
    expect(reservation.expires_at.getTime()).toBeLessThan(Date.now() + 120_000)
    must(await core.reservations.confirm({ id: reservation.id }))
    await core.stop()
  })
})

async function updatedAt(sku: string): Promise<string | undefined> {
  const [row] = await rows<{ micros: string }>(
    database.db,
    `SELECT (extract(epoch FROM updated_at) * 1000000)::bigint::text AS micros FROM stock WHERE sku = ?`,
    [sku],
  )
  return row?.micros
}

test('a counter that is being moved lets rows be written that only name it', async () => {
  const sku = await stocked(database.db, 10)
  const tx = await begin(database.db)
  await move(tx, [change(sku, 0, 1)])
  // FOR KEY SHARE is what a foreign key's insert takes.
  const named = await rows(database.db, 'SELECT 1 FROM stock WHERE sku = ? FOR KEY SHARE NOWAIT', [sku])
  expect(named).toHaveLength(1)
  await tx.rollback()
})
