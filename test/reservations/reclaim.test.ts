import { jest } from '@jest/globals'
import { rows } from '../../src/database/transaction.ts'
import { newId } from '../../src/ids.ts'
import { fly } from '../../src/reservations/flight.ts'
import type { Operation } from '../../src/reservations/plan.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  counters,
  cure,
  doorOf,
  DOORS,
  findBroken,
  gate,
  hold,
  LOOK,
  ledger,
  makeOverdue,
  must,
  openCore,
  poison,
  refusal,
  snapshot,
  stocked,
  stopCores,
  stored,
  timePasses,
  untilWaiting,
  wants,
  type Core,
  type Door,
} from '../factories.ts'

/** A reserve that finds too little takes back what nobody paid for in time before it is refused. */

let database: TestDatabase
let core: { batched: Core; conditional: Core }

beforeAll(async () => {
  database = await createTestDatabase()
  core = { batched: openCore(database), conditional: openCore(database, { strategy: 'conditional' }) }
})

afterEach(async () => expect(await findBroken(database.db)).toEqual([]))

afterAll(async () => {
  await stopCores()
  await database.drop()
})

describe.each(DOORS)('through %s', (name) => {
  let door: Door

  beforeAll(() => {
    door = doorOf(core, name)
  })

  test('the last units are held by an overdue hold that nobody swept: they are had, and the hold is expired', async () => {
    const sku = await stocked(database.db, 3)
    const late = await hold(door, [{ sku, quantity: 3 }])
    await makeOverdue(database.db, late.id)
    expect((await hold(door, [{ sku, quantity: 2 }])).status).toBe('pending')
    expect(await stored(database.db, late.id)).toBe('expired')
    expect(await core.batched.reservations.read(late.id)).toMatchObject({
      status: 'expired',
      closed_at: expect.anything(),
    })
    expect(await ledger(database.db, sku)).toEqual(['set 3 0', 'reserve 0 3', 'expire 0 -3', 'reserve 0 2'])
  })

  test('holds that still last are left alone, and so are overdue ones of other SKUs', async () => {
    const [sku, other] = [await stocked(database.db, 3), await stocked(database.db, 3)]
    const [late, lasting, elsewhere] = [await hold(door, sku), await hold(door, sku), await hold(door, other)]
    await makeOverdue(database.db, [late.id, elsewhere.id])
    const before = await snapshot(database.db, [lasting.id, elsewhere.id], [other])
    await hold(door, [{ sku, quantity: 2 }])
    expect(await snapshot(database.db, [lasting.id, elsewhere.id], [other])).toEqual(before)
    expect(await counters(database.db, sku)).toBe('3/3')
  })

  test('while there is enough nothing is taken back', async () => {
    const sku = await stocked(database.db, 3)
    const late = await hold(door, sku)
    await makeOverdue(database.db, late.id)
    await hold(door, [{ sku, quantity: 2 }])
    expect(await stored(database.db, late.id)).toBe('pending')
  })

  test('an overdue hold of several SKUs gives back all of them', async () => {
    const [one, two] = [await stocked(database.db, 1), await stocked(database.db, 5)]
    const late = await hold(door, [
      { sku: two, quantity: 5 },
      { sku: one, quantity: 1 },
    ])
    await makeOverdue(database.db, late.id)
    await hold(door, one)
    expect([await counters(database.db, one), await counters(database.db, two)]).toEqual(['1/1', '5/0'])
  })

  test('too little even so: refused with what there is after taking back', async () => {
    const sku = await stocked(database.db, 5)
    const late = await hold(door, [{ sku, quantity: 3 }])
    await hold(door, [{ sku, quantity: 2 }])
    await makeOverdue(database.db, late.id)
    expect(refusal(await door.reserve(wants([{ sku, quantity: 4 }])))).toEqual({
      code: 'insufficient_stock',
      shortages: [{ sku, requested: 4, available: 3 }],
    })
  })

  test('late money finds the units in another overdue hold', async () => {
    const sku = await stocked(database.db, 1)
    const first = await hold(door, sku)
    await makeOverdue(database.db, first.id)
    const second = await hold(door, sku)
    await makeOverdue(database.db, second.id)
    expect(must(await door.confirm({ id: first.id, on_expired: 'reacquire' })).status).toBe('confirmed')
    expect(await stored(database.db, second.id)).toBe('expired')
  })

  test('a sweeper has the overdue hold locked and gives it back: the buyer waits for it and holds the unit', async () => {
    await core.batched.sweeper.run()
    const sku = await stocked(database.db, 1)
    const late = await hold(door, sku)
    await makeOverdue(database.db, late.id)
    const [entered, leave] = [gate(), gate()]
    const slow = openCore(database, {
      onClosed: async () => {
        entered.open()
        await leave.opened
      },
    })
    const sweep = slow.sweeper.run()
    await entered.opened
    const buyer = door.reserve(wants(sku))
    await untilWaiting(database.db)
    leave.open()
    expect((await buyer).ok).toBe(true)
    expect((await sweep).expired).toBe(1)
    expect(await ledger(database.db, sku)).toEqual(['set 1 0', 'reserve 0 1', 'expire 0 -1', 'reserve 0 1'])
    await slow.stop()
  })

  test('a sweeper has the overdue hold locked and fails: the buyer waits for it and takes the unit back itself', async () => {
    const sku = await stocked(database.db, 1)
    const late = await hold(door, sku)
    await makeOverdue(database.db, late.id)
    const tx = await begin(database.db)
    await tx.raw('SELECT 1 FROM reservations WHERE id = ? FOR UPDATE', [late.id])
    const buyer = door.reserve(wants(sku))
    await untilWaiting(database.db)
    await tx.rollback()
    expect((await buyer).ok).toBe(true)
  })

  test('a session keeps one of two overdue holds locked: the unit of the other is had', async () => {
    const sku = await stocked(database.db, 2)
    const [stuck, late] = [await hold(door, sku), await hold(door, sku)]
    await makeOverdue(database.db, [stuck.id, late.id])
    const tx = await begin(database.db)
    await tx.raw('SELECT 1 FROM reservations WHERE id = ? FOR UPDATE', [stuck.id])
    expect((await door.reserve(wants(sku))).ok).toBe(true)
    expect(refusal(await door.reserve(wants(sku))).code).toBe('insufficient_stock')
    await tx.rollback()
    expect((await door.reserve(wants(sku))).ok).toBe(true)
  })

  test('an overdue hold that can not be given back is set aside, and the units of the others are had', async () => {
    const sku = await stocked(database.db, 3)
    const broken = await hold(door, sku)
    const others = [await hold(door, sku), await hold(door, sku)]
    await makeOverdue(database.db, [broken.id, ...others.map(({ id }) => id)])
    await poison(database.db, broken.id)
    expect((await door.reserve(wants([{ sku, quantity: 2 }]))).ok).toBe(true)
    expect(await stored(database.db, broken.id)).toBe('pending')
    const aside = await rows(database.db, 'SELECT failures FROM sweep_set_aside WHERE reservation_id = ?', [broken.id])
    expect(aside).toEqual([{ failures: 1 }])
    expect(refusal(await door.reserve(wants(sku))).code).toBe('insufficient_stock')
    await cure(database.db, broken)
    expect(refusal(await door.reserve(wants(sku))).code).toBe('insufficient_stock')
    await timePasses(database.db, 31)
    expect((await door.reserve(wants(sku))).ok).toBe(true)
  })
})

describe.each(['batched', 'conditional'] as const)('strategy %s', (strategy) => {
  test('a sweep gives back the unit between the look at the counter and the look for overdue holds: the buyer holds it', async () => {
    const sku = await stocked(database.db, 1)
    const late = await hold(core.batched.reservations, sku)
    await makeOverdue(database.db, late.id)
    const interrupted = openCore(database, {
      strategy,
      after: { statement: LOOK, happens: () => core.batched.sweeper.run() },
    })
    expect((await interrupted.reservations.reserve(wants(sku))).ok).toBe(true)
    expect(await stored(database.db, late.id)).toBe('expired')
    await interrupted.stop()
  })

  test('a hold runs out while the buyer waits for the counter that another buyer empties: its unit is had', async () => {
    const patient = openCore(database, { strategy, lock_timeout_ms: 5000 })
    const sku = await stocked(database.db, 2)
    const late = await hold(core.batched.reservations, sku)
    const tx = await begin(database.db)
    must(await core.batched.reservations.reserveIn(tx, wants(sku)))
    const buyer = patient.reservations.reserve(wants(sku))
    await untilWaiting(database.db)
    await makeOverdue(database.db, late.id, 0)
    await tx.commit()
    expect((await buyer).ok).toBe(true)
    expect(await stored(database.db, late.id)).toBe('expired')
    await patient.stop()
  })
})

test('a great many overdue holds are taken back until the request is covered', async () => {
  const sku = await stocked(database.db, 1200)
  const late = await Promise.all(Array.from({ length: 1200 }, () => hold(core.batched.reservations, sku)))
  await makeOverdue(
    database.db,
    late.map(({ id }) => id),
  )
  expect((await core.batched.reservations.reserve(wants([{ sku, quantity: 900 }]))).ok).toBe(true)
  expect(await counters(database.db, sku)).toBe('1200/1100')
})

test('who needs more than is taken back in half of the time of a batch comes again; the rest of the batch is served', async () => {
  const [sku, other] = [await stocked(database.db, 501), await stocked(database.db, 1)]
  const late = await Promise.all(Array.from({ length: 501 }, () => hold(core.batched.reservations, sku)))
  await makeOverdue(
    database.db,
    late.map(({ id }) => id),
  )
  const clock = jest.spyOn(performance, 'now')
  const started = performance.now()
  const deps = {
    db: database.db,
    onClosed: async () => void clock.mockReturnValue(started + 60_000),
    known_locked: new Set<string>(),
    ttl_max_seconds: 86_400,
    observePhase: () => undefined,
  }
  const [greedy, modest] = [operationOf(sku, 501), operationOf(other, 1)]
  const outcomes = await fly(deps, [greedy, modest], { deadline: started + 100_000 }).finally(() => clock.mockRestore())
  expect(refusal(outcomes.get(greedy)!).code).toBe('overloaded')
  expect(outcomes.get(modest)!.ok).toBe(true)
  expect([await counters(database.db, sku), await counters(database.db, other)]).toEqual(['501/1', '1/1'])
})

function operationOf(sku: string, quantity: number): Operation {
  const lines = [{ sku, quantity }]
  const request = { client: 'test', lines }
  return { verb: 'reserve', id: newId(), lines, request, ttl_seconds: 60, strategy: 'batched', ttl_variant: null }
}

test('buyers at once for units of overdue holds, from two processes with sweepers: as many are served as there are units', async () => {
  const other = openCore(database, { instance: 'other', lock_timeout_ms: 5000 })
  const one = openCore(database, { instance: 'one', lock_timeout_ms: 5000 })
  for (let round = 0; round < 10; round++) {
    const [sku, second] = [await stocked(database.db, 20), await stocked(database.db, 20)]
    const crossed = [
      { sku, quantity: 1 },
      { sku: second, quantity: 1 },
    ]
    const late = await Promise.all(Array.from({ length: 20 }, () => hold(one.reservations, crossed)))
    await makeOverdue(
      database.db,
      late.map(({ id }) => id),
    )
    const [answers] = await Promise.all([
      Promise.all(
        Array.from({ length: 40 }, (_, i) =>
          (i % 2 === 0 ? one : other).reservations.reserve(wants(i % 4 < 2 ? crossed : crossed.toReversed())),
        ),
      ),
      one.sweeper.run(),
      other.sweeper.run(),
    ])
    expect(answers.map((answer) => (answer.ok ? 'held' : answer.refusal.code)).toSorted()).toEqual([
      ...Array.from({ length: 20 }, () => 'held'),
      ...Array.from({ length: 20 }, () => 'insufficient_stock'),
    ])
  }
  await Promise.all([one.stop(), other.stop()])
})
