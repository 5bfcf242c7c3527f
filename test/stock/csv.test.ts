import fc from 'fast-check'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { rows } from '../../src/database/transaction.ts'
import { exportStock, importStock, type ImportProgress } from '../../src/stock/csv.ts'
import { setStock } from '../../src/stock/set.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { begin, findBroken, hold, ledger, must, openCore, untilWaiting } from '../factories.ts'

let database: TestDatabase
let dir: string

beforeAll(async () => {
  database = await createTestDatabase()
  dir = mkdtempSync(join(tmpdir(), 'csv-test-'))
})

afterAll(async () => {
  rmSync(dir, { recursive: true })
  await database.drop()
})

afterEach(async () => {
  expect(await findBroken(database.db)).toEqual([])
  await rows(database.db, 'TRUNCATE stock, stock_ledger, reservations')
})

let files = 0

function file(content: string | Buffer): string {
  const path = join(dir, `${++files}.csv`)
  writeFileSync(path, content)
  return path
}

function load(content: string | Buffer): ReturnType<typeof importStock> {
  return importStock(database.db, file(content))
}

async function exported(): Promise<string> {
  let text = ''
  await exportStock(
    database.db,
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        text += chunk.toString()
        done()
      },
    }),
  )
  return text
}

test('a file sets every SKU and says which are new, changed and as they were', async () => {
  must(
    await setStock(database.db, [
      { sku: 'changed', stock: 1 },
      { sku: 'same', stock: 2 },
      { sku: 'elsewhere', stock: 3 },
    ]),
  )
  expect(await load('sku,stock\nnew,10\nchanged,20\nsame,2\nempty,0\n')).toEqual({
    ok: true,
    value: { rows: 4, created: 2, changed: 1, unchanged: 1 },
  })
  expect(await exported()).toBe('sku,stock\nchanged,20\nelsewhere,3\nempty,0\nnew,10\nsame,2\n')
  expect(await ledger(database.db, 'changed')).toEqual(['set 1 0', 'set 19 0'])
  expect(await ledger(database.db, 'same')).toEqual(['set 2 0'])
})

test.each([
  ['a byte order mark and Windows line ends', '\ufeffsku,stock\r\nA,1\r\n"B,2",2\r\n'],
  ['no line end at the end', 'sku,stock\nA,1\n"B,2",2'],
  ['blank lines', '\nsku,stock\n\nA,1\n\n\n"B,2",2\n\n'],
  ['everything in quotes', '"sku","stock"\n"A","1"\n"B,2","2"\n'],
  ['the columns the other way round', 'stock,sku\n1,A\n2,"B,2"\n'],
])('a file with %s is read', async (_, content) => {
  expect(await load(content)).toMatchObject({ ok: true, value: { created: 2 } })
  expect(await exported()).toBe('sku,stock\nA,1\n"B,2",2\n')
})

test.each([
  ['an empty file', '', 1, 'empty'],
  ['no header', 'A,1\nB,2\n', 1, 'header'],
  ['semicolons', 'sku;stock\nA;1\n', 1, 'header'],
  ['another column', 'sku,stock,price\nA,1,5\n', 1, 'header'],
  ['a row with one field', 'sku,stock\nA,1\nB\n', 3, '2 fields'],
  ['a row with three fields', 'sku,stock\nA,1\nB,2,3\n', 3, '2 fields'],
  ['a negative stock', 'sku,stock\nA,-1\n', 2, 'whole number'],
  ['a fraction', 'sku,stock\nA,1.5\n', 2, 'whole number'],
  ['a stock with a space', 'sku,stock\nA, 1\n', 2, 'whole number'],
  ['a word for a number', 'sku,stock\nA,many\n', 2, 'whole number'],
  ['no stock', 'sku,stock\nA,\n', 2, 'whole number'],
  ['more than two thousand million', 'sku,stock\nA,2000000001\n', 2, 'whole number'],
  ['no SKU', 'sku,stock\nA,1\n,2\n', 3, 'empty'],
  ['a SKU of 129 characters', `sku,stock\n${'x'.repeat(129)},1\n`, 2, '128'],
  ['a space before a SKU', 'sku,stock\n A,1\n', 2, 'space'],
  ['a tab in a SKU', 'sku,stock\nA\tB,1\n', 2, 'control'],
  ['a line break in a SKU', 'sku,stock\nA,1\n"B\r\nC",2\nD,3\n', 3, 'line breaks'],
  ['a SKU given twice', 'sku,stock\nA,1\nB,2\n\nA,3\n', 5, 'in line 2 already'],
  ['a quote that is never closed', `sku,stock\nA,1\n"B,2\n${'C,3\n'.repeat(2000)}`, 3, 'not closed'],
  ['a quote inside a field', 'sku,stock\nA,1\n42" TV,2\n', 3, 'quote'],
  ['text after a closing quote', 'sku,stock\n"A"x,1\n', 2, 'quote'],
  ['letters of another encoding', Buffer.from('sku,stock\nA,1\nM\xfcller,2\n', 'latin1'), 3, 'UTF-8'],
])('%s is named by its line, and nothing is set', async (_, content, line, message) => {
  const result = await load(content)
  expect(result).toMatchObject({ ok: false, fault: { line, message: expect.stringContaining(message) } })
  expect(await exported()).toBe('sku,stock\n')
})

test('one bad row after ten thousand good ones undoes them all', async () => {
  const good = Array.from({ length: 10_000 }, (_, n) => `sku-${n},${n}\n`).join('')
  expect(await load(`sku,stock\n${good}bad,-1\n`)).toMatchObject({ ok: false, fault: { line: 10_002 } })
  expect(await exported()).toBe('sku,stock\n')
})

test('a count below what is held is named by its line, and nothing is set', async () => {
  must(await setStock(database.db, [{ sku: 'held', stock: 5 }]))
  const core = openCore(database)
  await hold(core.reservations, [{ sku: 'held', quantity: 3 }])
  expect(await load('sku,stock\na,1\nz,1\nheld,2\n')).toEqual({
    ok: false,
    fault: { line: 4, message: 'stock 2 of SKU held is below the 3 that are reserved' },
  })
  expect(await exported()).toBe('sku,stock\nheld,5\n')
  expect(await load('sku,stock\na,1\nheld,3\n')).toMatchObject({ ok: true, value: { created: 1, changed: 1 } })
  await core.stop()
})

test('several thousand SKUs in any order are set in chunks', async () => {
  const lines = Array.from({ length: 3500 }, (_, n) => `sku-${(n * 1009) % 3500},${n}`)
  const seen: ImportProgress[] = []
  const result = await importStock(database.db, file(`sku,stock\n${lines.join('\n')}\n`), (state) => seen.push(state))
  expect(result).toMatchObject({ ok: true, value: { rows: 3500, created: 3500 } })
  expect((await exported()).trim().split('\n').slice(1).toSorted()).toEqual(lines.toSorted())
  expect(seen.at(-1)).toEqual({ phase: 'write', done: 3500, total: 3500 })
  expect(seen.filter(({ phase }) => phase === 'write').map(({ done }) => done)).toEqual([1000, 2000, 3000, 3500])
})

test('a SKU that is as it should be is not locked: a buyer in the middle of it holds the import up in nothing', async () => {
  must(await setStock(database.db, [{ sku: 'busy', stock: 5 }]))
  const buyer = await begin(database.db)
  await rows(buyer, `SELECT FROM stock WHERE sku = 'busy' FOR UPDATE`)
  expect(await load('sku,stock\nbusy,5\nother,1\n')).toMatchObject({ ok: true })
  await buyer.rollback()
})

test('a SKU that changes waits for a buyer in the middle of it', async () => {
  must(await setStock(database.db, [{ sku: 'busy', stock: 5 }]))
  const buyer = await begin(database.db)
  await rows(buyer, `SELECT FROM stock WHERE sku = 'busy' FOR UPDATE`)
  const importing = load('sku,stock\nbusy,6\n')
  await untilWaiting(database.db)
  await buyer.rollback()
  expect(await importing).toMatchObject({ ok: true, value: { changed: 1 } })
})

test('a file that is not there is an error', async () => {
  await expect(importStock(database.db, join(dir, 'missing.csv'))).rejects.toThrow('ENOENT')
})

test('an export is in the order of the lock, whatever the language of the server', async () => {
  await load('sku,stock\nb,1\nB,2\nä,3\n_,4\n10,5\n9,6\n')
  expect(await exported()).toBe('sku,stock\n10,5\n9,6\nB,2\n_,4\nb,1\nä,3\n')
})

test('whatever SKUs there are, an export imported again changes nothing', async () => {
  const sku = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter(isSku)
  const stock = fc.integer({ min: 0, max: 2_000_000_000 })
  const levels = fc.uniqueArray(fc.record({ sku, stock }), {
    selector: (level) => level.sku,
    minLength: 1,
    maxLength: 50,
  })
  await fc.assert(
    fc.asyncProperty(levels, async (items) => {
      await rows(database.db, 'TRUNCATE stock, stock_ledger')
      must(await setStock(database.db, items))
      const text = await exported()
      expect(await load(text)).toEqual({
        ok: true,
        value: { rows: items.length, created: 0, changed: 0, unchanged: items.length },
      })
      await rows(database.db, 'TRUNCATE stock, stock_ledger')
      expect(await load(text)).toMatchObject({ ok: true, value: { created: items.length } })
      expect(await exported()).toBe(text)
    }),
    { numRuns: 25 },
  )
})

function isSku(text: string): boolean {
  return [...text].length <= 128 && text.trim() === text && !/\p{Cc}|\ufffd/u.test(text)
}
