import type { Knex } from 'knex'
import pino from 'pino'
import { rows } from '../../src/database/transaction.ts'
import { adjustStock } from '../../src/stock/adjust.ts'
import type { Level } from '../../src/stock/levels.ts'
import { setStock } from '../../src/stock/set.ts'
import { CHANGES_MAX, createWatch, type Watch, type WatchEnd } from '../../src/stock/watch.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { begin, must, stopCores, stocked, until } from '../factories.ts'

let database: TestDatabase
let watches: Watch[] = []

beforeAll(async () => {
  database = await createTestDatabase()
})
afterEach(async () => {
  await Promise.all(watches.map((watch) => watch.stop()))
  watches = []
  await stopCores()
})
afterAll(() => database.drop())

const log = pino({ level: 'silent' })

function open(db: Knex = database.db): Watch {
  const watch = createWatch({ db, log, interval_ms: 1, rest: 0 })
  watches.push(watch)
  return watch
}

type Heard = { levels: Level[]; ends: WatchEnd[]; leave: (() => void) | undefined }

/** Joins and writes down what it is told. */
async function listen(watch: Watch, skus?: string[]): Promise<Heard> {
  const heard: Heard = { levels: [], ends: [], leave: undefined }
  heard.leave = await watch.join({
    skus,
    tell: (levels) => heard.levels.push(...levels),
    end: (why) => heard.ends.push(why),
  })
  return heard
}

const adjust = async (sku: string, delta: number) =>
  must(await adjustStock(database.db, { client: '', items: [{ sku, delta }] }))

/** What was heard of a SKU. */
const stocks = ({ levels }: Heard, sku: string) => levels.filter((level) => level.sku === sku).map(({ stock }) => stock)

/** The database, whose statements wait until the test lets them go while it is held. */
function holdable(): { db: Knex; held: (() => void)[]; asked: () => number; hold(): void; fail(): void } {
  const held: (() => void)[] = []
  let asked = 0
  let holding = false
  let failing = false
  const raw = async (sql: string, bindings: Knex.RawBinding[]) => {
    asked += 1
    if (failing) {
      failing = false
      throw new Error('the database is having a moment')
    }
    if (holding) await new Promise<void>((resolve) => held.push(resolve))
    return database.db.raw<unknown>(sql, bindings)
  }
  return {
    db: { raw } as unknown as Knex,
    held,
    asked: () => asked,
    hold: () => (holding = true),
    fail: () => (failing = true),
  }
}

test('who watches a SKU hears of it as it is, and of every change that others make', async () => {
  const [one, other] = [await stocked(database.db, 5), await stocked(database.db, 7)]
  const heard = await listen(open(), [one])
  await until(() => stocks(heard, one).length === 1)
  await adjust(other, 1)
  await adjust(one, 2)
  await until(() => stocks(heard, one).length === 2)
  await adjust(one, -7)
  await until(() => stocks(heard, one).length === 3)
  expect(heard.levels.map(({ sku, stock, available }) => [sku, stock, available])).toEqual([
    [one, 5, 5],
    [one, 7, 7],
    [one, 0, 0],
  ])
})

test('who comes second to a SKU hears of it at once, and no more often than the first', async () => {
  const sku = await stocked(database.db, 5)
  const watch = open()
  const first = await listen(watch, [sku])
  await until(() => first.levels.length === 1)
  const second = await listen(watch, [sku])
  expect(stocks(second, sku)).toEqual([5])
  await adjust(sku, 1)
  await until(() => first.levels.length === 2 && second.levels.length === 2)
  expect([stocks(first, sku), stocks(second, sku)]).toEqual([
    [5, 6],
    [5, 6],
  ])
})

test('a SKU that does not exist is told when it does', async () => {
  const heard = await listen(open(), ['not yet'])
  must(await setStock(database.db, [{ sku: 'not yet', stock: 3 }]))
  await until(() => heard.levels.length > 0)
  expect(stocks(heard, 'not yet')).toEqual([3])
})

test('of changes between two looks only the last is told', async () => {
  const sku = await stocked(database.db, 5)
  const slow = holdable()
  const heard = await listen(open(slow.db), [sku])
  await until(() => heard.levels.length === 1)
  slow.hold()
  await until(() => slow.held.length === 1)
  for (let i = 0; i < 5; i++) await adjust(sku, 1)
  slow.held.shift()!()
  await until(() => heard.levels.length === 2)
  expect(stocks(heard, sku)).toEqual([5, 10])
})

test('who watches everything hears of what changes from then on, of new SKUs too', async () => {
  const [one, other] = [await stocked(database.db, 5), await stocked(database.db, 7)]
  const heard = await listen(open())
  await adjust(other, 1)
  const created = await stocked(database.db, 2)
  await until(() => heard.levels.length === 2)
  await adjust(one, 1)
  await until(() => heard.levels.length === 3)
  expect(heard.levels.map(({ sku, stock }) => [sku, stock])).toEqual([
    [other, 8],
    [created, 2],
    [one, 6],
  ])
})

test('a change that was written before others and is committed after them is told, and theirs only once', async () => {
  const [late, early] = [await stocked(database.db, 5), await stocked(database.db, 5)]
  const tx = await begin(database.db)
  await rows(
    tx,
    `UPDATE stock SET stock = 4, seq = seq + 1, updated_at = updated_at - interval '1 day' WHERE sku = ?`,
    [late],
  )
  const slow = holdable()
  const heard = await listen(open(slow.db))
  await adjust(early, 1)
  await until(() => heard.levels.length === 1)
  const asked = slow.asked()
  await until(() => slow.asked() > asked + 3)
  await tx.commit()
  await until(() => heard.levels.length === 2)
  expect(heard.levels.map(({ sku, stock }) => [sku, stock])).toEqual([
    [early, 6],
    [late, 4],
  ])
})

test('after more changes at once than a stream should carry, those who watch everything are sent away', async () => {
  const sku = await stocked(database.db, 5)
  const slow = holdable()
  const watch = open(slow.db)
  const [all, one] = [await listen(watch), await listen(watch, [sku])]
  await until(() => one.levels.length === 1)
  await rows(
    database.db,
    `INSERT INTO stock (sku, stock) SELECT 'many-' || n, 1 FROM generate_series(1, ?::integer) AS n`,
    [CHANGES_MAX + 1],
  )
  await until(() => all.ends.length > 0)
  expect([all.ends, one.ends]).toEqual([['too_many_changes'], []])
  let again = await listen(watch)
  await adjust(sku, 1)
  let stock = 6
  await until(async () => {
    // A transaction of any database of this server that began before the many keeps them new: then it is begun once more.
    if (again.ends.length > 0) {
      again = await listen(watch)
      await adjust(sku, 1)
      stock += 1
    }
    return again.levels.length > 0 && one.levels.length >= 2
  })
  expect(stocks(again, sku).at(-1)).toBe(stock)
})

test('while nobody watches the database is not asked', async () => {
  const sku = await stocked(database.db, 5)
  const counted = holdable()
  const watch = open(counted.db)
  const [named, all] = [await listen(watch, [sku]), await listen(watch)]
  await until(() => named.levels.length === 1)
  counted.hold()
  await until(() => counted.held.length === 2)
  named.leave!()
  all.leave!()
  for (const release of counted.held.splice(0)) release()
  await adjust(sku, 1)
  const asked = counted.asked()
  // Another watch has looked several times meanwhile.
  const other = holdable()
  await listen(open(other.db), [sku])
  await until(() => other.asked() > 5)
  expect(counted.asked()).toBe(asked)
  expect([named.levels.length, all.levels.length]).toEqual([1, 0])
})

test('a look that fails is made again', async () => {
  const sku = await stocked(database.db, 5)
  const flaky = holdable()
  const heard = await listen(open(flaky.db), [sku])
  await until(() => heard.levels.length === 1)
  flaky.fail()
  await adjust(sku, 1)
  await until(() => heard.levels.length === 2)
  expect(stocks(heard, sku)).toEqual([5, 6])
})

test('a stop ends all who watch, and nobody can join any more', async () => {
  const sku = await stocked(database.db, 5)
  const watch = open()
  const [one, all] = [await listen(watch, [sku]), await listen(watch)]
  await watch.stop()
  expect([one.ends, all.ends]).toEqual([['stopping'], ['stopping']])
  expect((await listen(watch, [sku])).leave).toBeUndefined()
})
