import { rows } from '../../src/database/transaction.ts'
import { chainHooks } from '../../src/reservations/hooks.ts'
import type { Closed } from '../../src/reservations/reservation.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  counters,
  doorOf,
  DOORS,
  hold,
  makeOverdue,
  must,
  openCore,
  stocked,
  stopCores,
  stored,
  wants,
  type Core,
  type Door,
} from '../factories.ts'

/** What belongs to a hold follows it in the same transaction. */

let database: TestDatabase
let core: { batched: Core; conditional: Core }
const told: Closed[] = []

beforeAll(async () => {
  database = await createTestDatabase()
  await database.db.raw('CREATE TABLE followers (reference text PRIMARY KEY, state text NOT NULL)')
  const onClosed = chainHooks([
    async (tx, closed) => {
      told.push(...closed)
      for (const { reference, status } of closed) {
        if (reference === 'refuses') throw new Error('this order can not be closed')
        await tx.raw('INSERT INTO followers VALUES (?, ?)', [reference ?? 'none', status])
      }
    },
    async (tx) => {
      const locked = await rows(
        tx,
        `SELECT 1 FROM pg_locks
         WHERE relation = 'stock'::regclass AND pid = pg_backend_pid() AND mode <> 'AccessShareLock'`,
      )
      expect(locked).toEqual([])
    },
  ])
  core = {
    batched: openCore(database, { onClosed }),
    conditional: openCore(database, { onClosed, strategy: 'conditional' }),
  }
})

beforeEach(async () => {
  told.length = 0
  await database.db.raw('TRUNCATE followers')
})

afterAll(async () => {
  await stopCores()
  await database.drop()
})

describe.each(DOORS)('through %s', (name) => {
  let door: Door

  beforeAll(() => {
    door = doorOf(core, name)
  })

  test('each end is told once, in its transaction and before any counter is locked; nothing else is told', async () => {
    const sku = await stocked(database.db)
    const made = [await hold(door, sku, { reference: 'paid' }), await hold(door, sku, { reference: 'left' })]
    const late = await hold(door, sku, { reference: 'late' })
    const again = await hold(door, sku, { reference: 'again' })
    must(await door.extend({ id: made[0]!.id, ttl_seconds: 60 }))
    await makeOverdue(database.db, [late.id, again.id])
    expect((await door.confirm({ id: late.id })).ok).toBe(false)
    for (let i = 0; i < 2; i++) {
      must(await door.confirm({ id: made[0]!.id }))
      must(await door.release({ id: made[1]!.id }))
      must(await door.release({ id: late.id }))
      must(await door.confirm({ id: again.id, on_expired: 'reacquire' }))
    }
    expect(told).toEqual([
      { id: made[0]!.id, status: 'confirmed', reference: 'paid' },
      { id: made[1]!.id, status: 'released', reference: 'left' },
      { id: late.id, status: 'expired', reference: 'late' },
      { id: again.id, status: 'confirmed', reference: 'again' },
    ])
    expect(await rows(database.db, 'SELECT reference, state FROM followers ORDER BY 1')).toEqual([
      { reference: 'again', state: 'confirmed' },
      { reference: 'late', state: 'expired' },
      { reference: 'left', state: 'released' },
      { reference: 'paid', state: 'confirmed' },
    ])
  })

  test('what a hook throws undoes the closing, and what other hooks wrote', async () => {
    const sku = await stocked(database.db)
    const { id } = await hold(door, sku, { reference: 'refuses' })
    await expect(door.confirm({ id })).rejects.toThrow('this order can not be closed')
    expect(await stored(database.db, id)).toBe('pending')
    expect(await counters(database.db, sku)).toBe('10/1')
    expect(await rows(database.db, 'SELECT * FROM followers')).toEqual([])
  })

  test('holds that a reserve takes back are told too', async () => {
    const sku = await stocked(database.db, 1)
    const late = await hold(door, sku, { reference: 'late' })
    await makeOverdue(database.db, late.id)
    await hold(door, sku)
    expect(told).toEqual([{ id: late.id, status: 'expired', reference: 'late' }])
  })
})

test('one whose hook throws fails alone in its batch', async () => {
  const { reservations } = core.batched
  const sku = await stocked(database.db)
  const refusing = await hold(reservations, sku, { reference: 'refuses' })
  const paid = await hold(reservations, sku, { reference: 'paid' })
  const failing = reservations.confirm({ id: refusing.id }).catch((error: Error) => error.message)
  const others = await Promise.all([reservations.confirm({ id: paid.id }), reservations.reserve(wants(sku))])
  expect(await failing).toBe('this order can not be closed')
  expect(others.map(({ ok }) => ok)).toEqual([true, true])
  expect(await rows(database.db, 'SELECT reference FROM followers')).toEqual([{ reference: 'paid' }])
  await makeOverdue(database.db, refusing.id)
  await rows(database.db, `UPDATE reservations SET reference = NULL WHERE id = ?`, [refusing.id])
  await core.batched.sweeper.run()
})

test('a sweep tells all that it closes at once', async () => {
  const sku = await stocked(database.db)
  const late = await Promise.all(
    ['a', 'b', 'c'].map((reference) => hold(core.batched.reservations, sku, { reference })),
  )
  await makeOverdue(
    database.db,
    late.map(({ id }) => id),
  )
  await core.batched.sweeper.run()
  expect(told.map(({ reference, status }) => `${reference} ${status}`).toSorted()).toEqual([
    'a expired',
    'b expired',
    'c expired',
  ])
})
