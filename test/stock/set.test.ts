import { transaction } from '../../src/database/transaction.ts'
import { readLevels } from '../../src/stock/levels.ts'
import { setStock } from '../../src/stock/set.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  counters,
  findBroken,
  hold,
  ledger,
  must,
  openCore,
  refusal,
  stocked,
  stopCores,
  untilWaiting,
  type Core,
} from '../factories.ts'

let database: TestDatabase
let core: Core

beforeAll(async () => {
  database = await createTestDatabase()
  core = openCore(database)
})

afterEach(async () => expect(await findBroken(database.db)).toEqual([]))

afterAll(async () => {
  await stopCores()
  await database.drop()
})

test('a SKU that is new is created, with its first count in the ledger', async () => {
  const { levels, created } = must(await setStock(database.db, [{ sku: 'new', stock: 7 }]))
  expect(created).toEqual(['new'])
  expect(levels).toEqual([
    { sku: 'new', stock: 7, temp_reserved_stock: 0, available: 7, seq: 1, updated_at: expect.any(Date) as Date },
  ])
  expect(await ledger(database.db, 'new')).toEqual(['set 7 0'])
})

test('a SKU that is created with nothing to sell has a ledger row too', async () => {
  must(await setStock(database.db, [{ sku: 'new and empty', stock: 0 }]))
  expect(await ledger(database.db, 'new and empty')).toEqual(['set 0 0'])
})

test('a SKU that exists is set to the absolute count, and its holds stay', async () => {
  const sku = await stocked(database.db, 10)
  await hold(core.reservations, [{ sku, quantity: 4 }])
  const { levels, created } = must(await setStock(database.db, [{ sku, stock: 6 }]))
  expect(created).toEqual([])
  expect(levels[0]).toMatchObject({ stock: 6, temp_reserved_stock: 4, available: 2, seq: 3 })
  expect(await ledger(database.db, sku)).toEqual(['set 10 0', 'reserve 0 4', 'set -4 0'])
})

test('a count equal to what is held is taken, one unit less is refused and changes nothing', async () => {
  const sku = await stocked(database.db, 10)
  await hold(core.reservations, [{ sku, quantity: 4 }])
  expect(refusal(await setStock(database.db, [{ sku, stock: 3 }]))).toEqual({
    code: 'stock_below_reserved',
    sku,
    temp_reserved_stock: 4,
  })
  expect(await counters(database.db, sku)).toBe('10/4')
  must(await setStock(database.db, [{ sku, stock: 4 }]))
  expect(await counters(database.db, sku)).toBe('4/4')
})

test('a SKU that already has the count is left alone: no ledger row, the same seq and time', async () => {
  const sku = await stocked(database.db, 5)
  const before = await readLevels(database.db, [sku])
  const { levels } = must(await setStock(database.db, [{ sku, stock: 5 }]))
  expect(levels).toEqual(before)
  expect(await ledger(database.db, sku)).toEqual(['set 5 0'])
})

test('many SKUs are set at once, the levels in the order asked for and not in SKU order', async () => {
  const { levels, created } = must(
    await setStock(database.db, [
      { sku: 'many-c', stock: 3 },
      { sku: 'many-a', stock: 1 },
      { sku: 'many-b', stock: 2 },
    ]),
  )
  expect(levels.map((level) => [level.sku, level.stock])).toEqual([
    ['many-c', 3],
    ['many-a', 1],
    ['many-b', 2],
  ])
  expect(created.toSorted()).toEqual(['many-a', 'many-b', 'many-c'])
})

test('one count of many that is refused leaves all as they were, also those that would have been created', async () => {
  const [held, other] = [await stocked(database.db, 5), await stocked(database.db, 5)]
  await hold(core.reservations, [{ sku: held, quantity: 2 }])
  const items = [
    { sku: other, stock: 9 },
    { sku: 'never', stock: 9 },
    { sku: held, stock: 1 },
  ]
  expect(refusal(await setStock(database.db, items))).toMatchObject({ code: 'stock_below_reserved', sku: held })
  expect(await counters(database.db, other)).toBe('5/0')
  expect(await readLevels(database.db, ['never'])).toEqual([])
  expect(await ledger(database.db, 'never')).toEqual([])
})

describe('compare-and-set', () => {
  test('with the seq that the SKU has it is set', async () => {
    const sku = await stocked(database.db, 5)
    expect(must(await setStock(database.db, [{ sku, stock: 8 }], { if_match: 1 })).levels[0]).toMatchObject({ seq: 2 })
  })

  test('with another seq it is refused with the seq that the SKU has', async () => {
    const sku = await stocked(database.db, 5)
    await hold(core.reservations, sku)
    const answer = await setStock(database.db, [{ sku, stock: 8 }], { if_match: 1 })
    expect(refusal(answer)).toEqual({ code: 'precondition_failed', seq: 2 })
    expect(await counters(database.db, sku)).toBe('5/1')
  })

  test('a SKU that must exist and does not is refused, and not created', async () => {
    for (const if_match of ['*', 1] as const) {
      const answer = await setStock(database.db, [{ sku: 'absent', stock: 8 }], { if_match })
      expect(refusal(answer)).toEqual({ code: 'precondition_failed', seq: null })
    }
    expect(await readLevels(database.db, ['absent'])).toEqual([])
  })

  test('a SKU that must exist and does is set, whatever its seq', async () => {
    const sku = await stocked(database.db, 5)
    must(await setStock(database.db, [{ sku, stock: 8 }], { if_match: '*' }))
    expect(await counters(database.db, sku)).toBe('8/0')
  })

  test('of several with the same seq at once exactly one wins', async () => {
    const sku = await stocked(database.db, 5)
    const answers = await Promise.all(
      [11, 12, 13, 14].map((stock) => setStock(database.db, [{ sku, stock }], { if_match: 1 })),
    )
    expect(answers.filter((answer) => answer.ok)).toHaveLength(1)
    expect(await ledger(database.db, sku)).toHaveLength(2)
  })
})

test('a count that waits for a hold in flight sees the hold: nothing is set below it', async () => {
  const sku = await stocked(database.db, 5)
  const tx = await begin(database.db)
  must(await core.reservations.reserveIn(tx, { client: '', lines: [{ sku, quantity: 3 }] }))
  const waiting = setStock(database.db, [{ sku, stock: 2 }])
  await untilWaiting(database.db)
  await tx.commit()
  expect(refusal(await waiting)).toMatchObject({ code: 'stock_below_reserved', temp_reserved_stock: 3 })
})

test('a counter that another session keeps locked is an overload in bounded time, not a failure', async () => {
  const sku = await stocked(database.db, 5)
  const answer = await transaction(database.db, async (tx) => {
    await tx.raw('SELECT 1 FROM stock WHERE sku = ? FOR UPDATE', [sku])
    return setStock(core.pool, [{ sku, stock: 9 }])
  })
  expect(refusal(answer)).toMatchObject({ code: 'overloaded' })
  expect(await counters(database.db, sku)).toBe('5/0')
})

test('SKUs are created by many at once in any order: each is created once, nothing deadlocks', async () => {
  const all = ['crowd-1', 'crowd-2', 'crowd-3', 'crowd-4']
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      setStock(
        database.db,
        (i % 2 === 0 ? all : all.toReversed()).map((sku) => ({ sku, stock: 10 + i })),
      ),
    ),
  )
  expect(answers.flatMap((answer) => must(answer).created).toSorted()).toEqual(all)
})
