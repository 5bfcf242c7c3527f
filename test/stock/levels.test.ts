import type { Knex } from 'knex'
import { adjustStock } from '../../src/stock/adjust.ts'
import { createLevelReader, listLevels, readLevels } from '../../src/stock/levels.ts'
import { setStock } from '../../src/stock/set.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { must, stocked, until } from '../factories.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})

afterAll(() => database.drop())

/** A database whose statements are counted and each held back until the test lets it go. */
function slow(db: Knex): { db: Knex; asked: string[][]; answer: () => Promise<void> } {
  const asked: string[][] = []
  const held: (() => Promise<void>)[] = []
  const raw = (sql: string, bindings: [string[]]) => {
    asked.push(bindings[0])
    return new Promise((resolve, reject) => {
      held.push(() => Promise.resolve(db.raw(sql, bindings)).then(resolve, reject))
    })
  }
  const answer = async () => {
    await until(() => held.length > 0)
    await held.shift()?.()
  }
  return { db: { raw } as unknown as Knex, asked, answer }
}

test('who asks while a read is in flight is gathered for the next one, and every SKU is asked once', async () => {
  const [one, two] = [await stocked(database.db, 1), await stocked(database.db, 2)]
  const { db, asked, answer } = slow(database.db)
  const reader = createLevelReader(db)
  const first = reader.read(one)
  const gathered = [reader.read(two), reader.read(one), reader.read(two), reader.read('nowhere')]
  await answer()
  expect(await first).toMatchObject({ stock: 1 })
  await answer()
  expect((await Promise.all(gathered)).map((level) => level?.stock)).toEqual([2, 1, 2, undefined])
  expect(asked).toEqual([[one], [two, one, 'nowhere']])
})

test('a level is never taken from a read that began before it was asked for', async () => {
  const sku = await stocked(database.db, 1)
  const held: (() => void)[] = []
  // The answer of the database is there, only its delivery is held back.
  const raw = async (sql: string, bindings: [string[]]) => {
    const result: unknown = await database.db.raw(sql, bindings)
    await new Promise<void>((resolve) => held.push(resolve))
    return result
  }
  const reader = createLevelReader({ raw } as unknown as Knex)
  const before = reader.read(sku)
  await until(() => held.length > 0)
  must(await adjustStock(database.db, { client: '', items: [{ sku, delta: 5 }] }))
  const after = reader.read(sku)
  held.shift()?.()
  await until(() => held.length > 0)
  held.shift()?.()
  expect(await before).toMatchObject({ stock: 1 })
  expect(await after).toMatchObject({ stock: 6 })
})

test('a read that fails fails those that waited for it, and the next one works', async () => {
  const sku = await stocked(database.db, 1)
  let broken = true
  const raw = (sql: string, bindings: [string[]]) =>
    broken ? Promise.reject(new Error('away')) : Promise.resolve(database.db.raw(sql, bindings))
  const reader = createLevelReader({ raw } as unknown as Knex)
  const first = reader.read(sku)
  const second = reader.read(sku)
  await expect(first).rejects.toThrow('away')
  await expect(second).rejects.toThrow('away')
  broken = false
  expect(await reader.read(sku)).toMatchObject({ stock: 1 })
})

test('more SKUs than one statement takes are read by several', async () => {
  const { db, asked, answer } = slow(database.db)
  const reader = createLevelReader(db)
  const first = reader.read('first')
  const many = Array.from({ length: 1200 }, (_, i) => reader.read(`many-${i}`))
  for (let i = 0; i < 4; i++) await answer()
  expect(await Promise.all([first, ...many])).toEqual(Array.from({ length: 1201 }, () => undefined))
  expect(asked.map((skus) => skus.length)).toEqual([1, 500, 500, 200])
})

test('levels of many SKUs come in the order asked for, without those that do not exist', async () => {
  const [one, two] = [await stocked(database.db, 1), await stocked(database.db, 2)]
  const levels = await readLevels(database.db, [two, 'nowhere', one, two])
  expect(levels.map((level) => level.sku)).toEqual([two, one, two])
})

test('a list goes through all SKUs page by page in byte order, upper case first', async () => {
  const other = await createTestDatabase()
  const skus = ['b', 'B', 'a', 'ä', 'A-10', 'A-2', '~']
  must(
    await setStock(
      other.db,
      skus.map((sku, i) => ({ sku, stock: i % 2 })),
    ),
  )
  const pages: string[][] = []
  for (let after: string | undefined; ; after = pages.at(-1)?.at(-1)) {
    const page = await listLevels(other.db, { limit: 3, ...(after === undefined ? {} : { after }) })
    if (page.length === 0) break
    pages.push(page.map((level) => level.sku))
  }
  expect(pages).toEqual([['A-10', 'A-2', 'B'], ['a', 'b', '~'], ['ä']])
  const available = await listLevels(other.db, { limit: 10, available: true })
  expect(available.map((level) => level.sku)).toEqual(['A-2', 'B', 'ä'])
  await other.drop()
})
