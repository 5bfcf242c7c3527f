import { transaction } from '../../src/database/transaction.ts'
import { adjustStock, type Adjustment } from '../../src/stock/adjust.ts'
import { readLedger } from '../../src/stock/ledger.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  counters,
  findBroken,
  hold,
  keyed,
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

function adjust(items: Adjustment['items'], more: Partial<Adjustment> = {}) {
  return adjustStock(database.db, { client: '', ...more, items })
}

test('items are applied in order, a ledger row each, and every level is the one after all of them', async () => {
  const [one, two] = [await stocked(database.db, 5), await stocked(database.db, 0)]
  const { levels, replayed } = must(
    await adjust(
      [
        { sku: one, delta: -5, reason: 'broken' },
        { sku: two, delta: 3 },
        { sku: one, delta: 2 },
      ],
      { reference: 'delivery 7' },
    ),
  )
  expect(replayed).toBe(false)
  expect(levels.map((level) => [level.sku, level.stock, level.seq])).toEqual([
    [one, 2, 3],
    [two, 3, 2],
    [one, 2, 3],
  ])
  expect(await ledger(database.db, one)).toEqual(['set 5 0', 'adjust -5 0', 'adjust 2 0'])
  expect(await readLedger(database.db, one, { limit: 2 })).toMatchObject([
    { seq: 3, stock_after: 2, reference: 'delivery 7', reason: null },
    { seq: 2, stock_after: 0, reference: 'delivery 7', reason: 'broken' },
  ])
})

test('an item that would pass below zero is refused although a later one would make up for it', async () => {
  const sku = await stocked(database.db, 5)
  const answer = await adjust([
    { sku, delta: -6 },
    { sku, delta: 10 },
  ])
  expect(refusal(answer)).toEqual({ code: 'stock_below_reserved', sku, temp_reserved_stock: 0 })
  expect(await ledger(database.db, sku)).toEqual(['set 5 0'])
})

test('stock may fall to what is held, and not below', async () => {
  const sku = await stocked(database.db, 5)
  await hold(core.reservations, [{ sku, quantity: 3 }])
  expect(refusal(await adjust([{ sku, delta: -3 }]))).toMatchObject({ sku, temp_reserved_stock: 3 })
  must(await adjust([{ sku, delta: -2 }]))
  expect(await counters(database.db, sku)).toBe('3/3')
})

test('stock may rise to two thousand million, and not above', async () => {
  const sku = await stocked(database.db, 1_999_999_999)
  expect(refusal(await adjust([{ sku, delta: 2 }]))).toEqual({ code: 'stock_limit', sku })
  must(await adjust([{ sku, delta: 1 }]))
  expect(await counters(database.db, sku)).toBe('2000000000/0')
  must(await adjust([{ sku, delta: -2_000_000_000 }]))
  expect(await counters(database.db, sku)).toBe('0/0')
})

test('unknown SKUs are all named, once each, and the known ones are left alone', async () => {
  const sku = await stocked(database.db, 5)
  const answer = await adjust([
    { sku: 'nowhere', delta: 1 },
    { sku, delta: 1 },
    { sku: 'nothing', delta: 1 },
    { sku: 'nowhere', delta: 1 },
  ])
  expect(refusal(answer)).toEqual({ code: 'skus_not_found', skus: ['nowhere', 'nothing'] })
  expect(await counters(database.db, sku)).toBe('5/0')
})

describe('with an idempotency key', () => {
  test('the same request again changes nothing and answers with the levels as they are now', async () => {
    const sku = await stocked(database.db, 5)
    const again = () => adjust([{ sku, delta: 2 }], { client: 'shop', ...keyed('again') })
    expect(must(await again())).toMatchObject({ replayed: false, levels: [{ stock: 7 }] })
    must(await adjust([{ sku, delta: 10 }]))
    expect(must(await again())).toMatchObject({ replayed: true, levels: [{ stock: 17 }] })
    expect(await ledger(database.db, sku)).toEqual(['set 5 0', 'adjust 2 0', 'adjust 10 0'])
  })

  test('another request under the same key is refused', async () => {
    const sku = await stocked(database.db, 5)
    must(await adjust([{ sku, delta: 2 }], keyed('reused')))
    expect(refusal(await adjust([{ sku, delta: 3 }], keyed('reused', 'another body')))).toEqual({
      code: 'idempotency_key_reused',
    })
    expect(await counters(database.db, sku)).toBe('7/0')
  })

  test('the same key of another client is another key', async () => {
    const sku = await stocked(database.db, 5)
    must(await adjust([{ sku, delta: 2 }], { client: 'one', ...keyed('shared') }))
    must(await adjust([{ sku, delta: 2 }], { client: 'two', ...keyed('shared') }))
    expect(await counters(database.db, sku)).toBe('9/0')
  })

  test('a refusal is not remembered: the key works once there is enough', async () => {
    const sku = await stocked(database.db, 1)
    const take = () => adjust([{ sku, delta: -2 }], keyed('refused first'))
    expect(refusal(await take())).toMatchObject({ code: 'stock_below_reserved' })
    must(await adjust([{ sku, delta: 1 }]))
    expect(must(await take())).toMatchObject({ replayed: false, levels: [{ stock: 0 }] })
  })

  test('twins that arrive together are applied once', async () => {
    const sku = await stocked(database.db, 0)
    const twins = await Promise.all(Array.from({ length: 6 }, () => adjust([{ sku, delta: 1 }], keyed('twins'))))
    expect(twins.filter((answer) => !must(answer).replayed)).toHaveLength(1)
    expect(await counters(database.db, sku)).toBe('1/0')
  })

  test('a twin waits for the one in flight and answers as it did', async () => {
    const sku = await stocked(database.db, 0)
    const tx = await begin(database.db)
    must(await adjustStock(tx, { client: '', items: [{ sku, delta: 1 }], ...keyed('in flight') }))
    const twin = adjust([{ sku, delta: 1 }], keyed('in flight'))
    await untilWaiting(database.db)
    await tx.commit()
    expect(must(await twin)).toMatchObject({ replayed: true, levels: [{ stock: 1 }] })
  })

  test('a twin whose other is in flight beyond the lock timeout is refused as in use', async () => {
    const sku = await stocked(database.db, 0)
    const tx = await begin(database.db)
    must(await adjustStock(tx, { client: '', items: [{ sku, delta: 1 }], ...keyed('stuck') }))
    const twin = await adjustStock(core.pool, { client: '', items: [{ sku, delta: 1 }], ...keyed('stuck') })
    expect(refusal(twin)).toEqual({ code: 'idempotency_key_in_use' })
    await tx.rollback()
    expect(must(await adjust([{ sku, delta: 1 }], keyed('stuck'))).replayed).toBe(false)
  })
})

test('a counter that another session keeps locked is an overload, and no key in use', async () => {
  const sku = await stocked(database.db, 5)
  const answer = await transaction(database.db, async (tx) => {
    await tx.raw('SELECT 1 FROM stock WHERE sku = ? FOR UPDATE', [sku])
    return adjustStock(core.pool, { client: '', items: [{ sku, delta: 1 }], ...keyed('behind a lock') })
  })
  expect(refusal(answer)).toMatchObject({ code: 'overloaded' })
})

test('crossed adjustments of many SKUs at once: none deadlocks, none is lost', async () => {
  const skus = await Promise.all(Array.from({ length: 5 }, () => stocked(database.db, 0)))
  const rounds = Array.from({ length: 40 }, (_, i) =>
    adjust((i % 2 === 0 ? skus : skus.toReversed()).map((sku) => ({ sku, delta: 1 }))),
  )
  expect((await Promise.all(rounds)).every((answer) => answer.ok)).toBe(true)
  for (const sku of skus) expect(await counters(database.db, sku)).toBe('40/0')
})
