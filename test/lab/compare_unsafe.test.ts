import { createPool } from '../../src/database/pool.ts'
import { rows, transaction } from '../../src/database/transaction.ts'
import { newId } from '../../src/ids.ts'
import {
  createScratchTables,
  fillScratchTables,
  readStand,
  reserveUnsafely,
  type Tables,
  type Transact,
  type Tried,
  type UnsafeName,
} from '../../src/lab/compare/unsafe.ts'
import { skuName } from '../../src/lab/load/scenario.ts'
import { setStock } from '../../src/stock/set.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { begin, findBroken, must, stopCores } from '../factories.ts'

/** Buyers, each on a connection of their own, who all have looked before the first of them writes. */
const BUYERS = 5

let database: TestDatabase
let connections: ReturnType<typeof createPool>

beforeAll(async () => {
  database = await createTestDatabase()
  await createScratchTables(database.db)
  connections = createPool({
    url: database.url,
    max: BUYERS,
    lock_timeout_ms: 10_000,
    statement_timeout_ms: 10_000,
    application_name: 'unsafe buyers',
    acquire_timeout_ms: 10_000,
  })
})

afterAll(async () => {
  await stopCores()
  await connections.destroy()
  await database.drop()
})

const transact: Transact = (work) => transaction(connections, work)
let skus = 0

/** So many units of a new SKU, and what became of the buyers who wanted one each, at once. */
async function sell(name: UnsafeName, tables: Tables, stock: number): Promise<{ sku_number: number; tried: Tried[] }> {
  const sku_number = (skus += 1)
  const sku = skuName(sku_number)
  must(await setStock(database.db, [{ sku, stock }]))
  await rows(database.db, 'TRUNCATE scratch_stock, scratch_holds')
  await fillScratchTables(database.db)
  // Whoever has looked waits for this lock with what it saw; that it is held shows that all of them have.
  const holder = await begin(database.db)
  const table = tables === 'scratch' ? 'scratch_stock' : 'stock'
  await rows(holder, `SELECT 1 FROM ${table} WHERE sku = ? FOR UPDATE`, [sku])
  const created_at = new Date()
  const expires_at = new Date(created_at.getTime() + 60_000)
  const buying = Array.from({ length: BUYERS }, () =>
    reserveUnsafely({ name, tables, transact }, { id: newId(), sku, quantity: 1, created_at, expires_at }),
  )
  await allWait()
  await holder.rollback()
  return { sku_number, tried: await Promise.all(buying) }
}

async function allWait(): Promise<void> {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline;) {
    const [seen] = await rows<{ waiting: number }>(
      database.db,
      `SELECT count(*) AS waiting FROM pg_stat_activity
       WHERE application_name = 'unsafe buyers' AND datname = current_database() AND wait_event_type = 'Lock'`,
    )
    if (seen!.waiting === BUYERS) return
  }
  throw new Error('not all buyers came to wait')
}

const stand = (tables: Tables, n: number) => readStand(database.db, tables, { first: n, last: n })
const held = (tried: Tried[]) => tried.filter((one) => 'held' in one && one.held).length
const stopped = (tried: Tried[]) => tried.flatMap((one) => ('stopped_by' in one ? [one.stopped_by] : []))

test('none on tables without a CHECK: buyers who looked together all get the last units, and the counter forgets them', async () => {
  const { sku_number, tried } = await sell('none', 'scratch', 3)
  expect(held(tried)).toBe(BUYERS)
  expect(await stand('scratch', sku_number)).toEqual({ held: 5, left: 2, oversold: 2, uncounted: 4 })
})

test('unguarded on tables without a CHECK: the counter goes past the stock', async () => {
  const { sku_number, tried } = await sell('unguarded', 'scratch', 3)
  expect(held(tried)).toBe(BUYERS)
  expect(await stand('scratch', sku_number)).toEqual({ held: 5, left: -2, oversold: 2, uncounted: 0 })
})

test('none on the real tables: who wrote over another is refused by the key of the ledger, and no promise breaks', async () => {
  const { sku_number, tried } = await sell('none', 'real', 3)
  expect(stopped(tried)).toEqual(Array.from({ length: 4 }, () => 'stock_ledger_pkey'))
  expect(await stand('real', sku_number)).toEqual({ held: 1, left: 2, oversold: 0, uncounted: 0 })
  expect(await findBroken(database.db)).toEqual([])
})

test('unguarded on the real tables: what goes past the stock is refused by the CHECK, and no promise breaks', async () => {
  const { sku_number, tried } = await sell('unguarded', 'real', 3)
  expect(held(tried)).toBe(3)
  expect(stopped(tried)).toEqual(['stock_covers_reserved', 'stock_covers_reserved'])
  expect(await stand('real', sku_number)).toEqual({ held: 3, left: 0, oversold: 0, uncounted: 0 })
  expect(await findBroken(database.db)).toEqual([])
})

test.each(['scratch', 'real'] as const)('one after the other both ways are right on the %s tables', async (tables) => {
  for (const name of ['none', 'unguarded'] as const) {
    const sku_number = (skus += 1)
    const sku = skuName(sku_number)
    must(await setStock(database.db, [{ sku, stock: 2 }]))
    await rows(database.db, 'TRUNCATE scratch_stock, scratch_holds')
    await fillScratchTables(database.db)
    const tried: Tried[] = []
    for (let i = 0; i < 3; i++) {
      const wanted = {
        id: newId(),
        sku,
        quantity: 1,
        created_at: new Date(),
        expires_at: new Date(Date.now() + 60_000),
      }
      tried.push(await reserveUnsafely({ name, tables, transact }, wanted))
    }
    expect(tried).toEqual([{ held: true }, { held: true }, { held: false }])
    expect(await stand(tables, sku_number)).toEqual({ held: 2, left: 0, oversold: 0, uncounted: 0 })
  }
  expect(await findBroken(database.db)).toEqual([])
})

test('an error that is no refusal of a constraint is thrown', async () => {
  const wanted = { id: 'no uuid', sku: skuName(1), quantity: 1, created_at: new Date(), expires_at: new Date() }
  must(await setStock(database.db, [{ sku: skuName(1), stock: 10_000 }]))
  await expect(reserveUnsafely({ name: 'unguarded', tables: 'real', transact }, wanted)).rejects.toThrow('uuid')
})
