import { rows } from '../../src/database/transaction.ts'
import type { Finding } from '../../src/operations/finding.ts'
import { verify, type VerifyReport } from '../../src/operations/verify.ts'
import { setStock } from '../../src/stock/set.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { hold, makeOverdue, must, openCore, type Core } from '../factories.ts'

let database: TestDatabase
let core: Core

/** One hold of each kind, each with two lines, and the SKUs of them. */
type Shop = Record<'pending' | 'confirmed' | 'released' | 'expired' | 'reacquired', string> & { a: string; b: string }
let shop: Shop

/** Built once and put back after each test: every test breaks it in another way. */
beforeAll(async () => {
  database = await createTestDatabase()
  core = openCore(database)
  shop = await openShop()
  for (const table of TABLES) await rows(database.db, `CREATE TABLE clean_${table} AS SELECT * FROM ${table}`)
})

afterEach(async () => {
  await rows(database.db, `TRUNCATE ${TABLES.join(', ')}`)
  for (const table of TABLES) await rows(database.db, `INSERT INTO ${table} SELECT * FROM clean_${table}`)
  for (const put_back of dropped.splice(0)) await rows(database.db, put_back)
})

afterAll(async () => {
  await core.stop()
  await database.drop()
})

const TABLES = ['stock', 'stock_ledger', 'reservations']

async function openShop(): Promise<Shop> {
  const [a, b] = ['a', 'b']
  must(
    await setStock(
      database.db,
      [a, b].map((sku) => ({ sku, stock: 100 })),
    ),
  )
  const lines = [
    { sku: a, quantity: 2 },
    { sku: b, quantity: 3 },
  ]
  const { reservations, sweeper } = core
  const [pending, confirmed, released, expired, reacquired] = await Promise.all(
    Array.from({ length: 5 }, async () => (await hold(reservations, lines)).id),
  )
  must(await reservations.confirm({ id: confirmed! }))
  must(await reservations.release({ id: released! }))
  await makeOverdue(database.db, [expired!, reacquired!])
  await sweeper.run()
  must(await reservations.confirm({ id: reacquired!, on_expired: 'reacquire' }))
  return { pending, confirmed, released, expired, reacquired, a, b } as Shop
}

const dropped: string[] = []

/** Takes a constraint away, so that what it forbids can be written. */
async function without(table: string, constraint: string): Promise<void> {
  const [found] = await rows<{ definition: string }>(
    database.db,
    'SELECT pg_get_constraintdef(oid) AS definition FROM pg_constraint WHERE conname = ?',
    [constraint],
  )
  await rows(database.db, `ALTER TABLE ${table} DROP CONSTRAINT ${constraint}`)
  dropped.push(`ALTER TABLE ${table} ADD CONSTRAINT ${constraint} ${found!.definition}`)
}

/** Writes past the service, as a person with psql would. */
async function tamper(...statements: string[]): Promise<void> {
  for (const statement of statements) await rows(database.db, statement)
}

/** What a report says, as `promise reservation? sku?`, and that it says what to do. */
function named(report: VerifyReport): string[] {
  return report.checks.flatMap(({ promise, findings }) =>
    findings.map(({ sku, reservation_id, detail, next_step }: Finding) => {
      expect(detail).not.toBe('')
      expect(next_step.length).toBeGreaterThan(20)
      return [promise, reservation_id, sku].filter((part) => part !== null).join(' ')
    }),
  )
}

test('holds that reached every end by the rules are clean', async () => {
  const report = await verify(database.db)
  expect(named(report)).toEqual([])
  expect(report).toMatchObject({ clean: true, skus: 2, reservations: 5, ledger_rows: 24 })
  expect(report.checks.map(({ promise, broken }) => [promise, broken])).toEqual(
    [1, 2, 3, 4, 5, 14, 15, 16, 17, 18].map((n) => [n, 0]),
  )
})

test('an empty database is clean', async () => {
  const empty = await createTestDatabase()
  expect(await verify(empty.db)).toMatchObject({ clean: true, skus: 0, reservations: 0, ledger_rows: 0 })
  await empty.drop()
})

test('a held line that was swept on no instance yet is clean', async () => {
  await makeOverdue(database.db, shop.pending)
  expect(named(await verify(database.db))).toEqual([])
})

test('promise 1: a counter that holds more than there is, is named', async () => {
  await without('stock', 'stock_covers_reserved')
  await tamper(`UPDATE stock SET stock = 1 WHERE sku = '${shop.a}'`)
  expect(named(await verify(database.db))).toEqual([`1 ${shop.a}`, `3 ${shop.a}`])
})

test('promise 2: a counter that holds more or less than its pending lines is named, with what that means', async () => {
  await tamper(
    `UPDATE stock SET temp_reserved_stock = temp_reserved_stock + 1 WHERE sku = '${shop.a}'`,
    `UPDATE stock SET temp_reserved_stock = temp_reserved_stock - 1 WHERE sku = '${shop.b}'`,
  )
  const report = await verify(database.db)
  expect(named(report)).toEqual([`2 ${shop.a}`, `2 ${shop.b}`, `3 ${shop.a}`, `3 ${shop.b}`])
  expect(report.checks[1]?.findings.map(({ next_step }) => next_step)).toEqual([
    expect.stringContaining("1 can't be sold"),
    expect.stringContaining('1 could be sold twice'),
  ])
})

test('promise 2: a pending line of a SKU that was deleted is named', async () => {
  await tamper(`DELETE FROM stock WHERE sku = '${shop.a}'`)
  expect(named(await verify(database.db))).toEqual([`2 ${shop.a}`, `3 ${shop.a}`])
})

test('promise 3: a gap in a ledger is named with its place', async () => {
  await tamper(`UPDATE stock_ledger SET seq = seq + 1 WHERE sku = '${shop.a}' AND seq = (
    SELECT max(seq) FROM stock_ledger WHERE sku = '${shop.a}')`)
  const report = await verify(database.db)
  expect(named(report)).toEqual([`3 ${shop.a}`])
  expect(report.checks[2]?.findings[0]?.detail).toContain('the first gap before seq 13')
})

test('promise 3: a row that does not follow from the one before is named', async () => {
  await tamper(`UPDATE stock_ledger SET reserved_after = reserved_after + 1 WHERE sku = '${shop.b}' AND seq = 4`)
  const report = await verify(database.db)
  expect(named(report)).toEqual([`3 ${shop.b}`])
  expect(report.checks[2]?.findings[0]?.detail).toContain('seq 4 does not follow')
})

test('promise 3: a counter whose stock was written past the ledger is named', async () => {
  await tamper(`UPDATE stock SET stock = stock + 1 WHERE sku = '${shop.b}'`)
  expect(named(await verify(database.db))).toEqual([`3 ${shop.b}`])
})

test('promise 3: a counter whose seq runs ahead of its ledger is named', async () => {
  await tamper(`UPDATE stock SET seq = seq + 1 WHERE sku = '${shop.a}'`)
  expect(named(await verify(database.db))).toEqual([`3 ${shop.a}`])
})

test('promise 3: a SKU whose ledger vanished is named, one that was never counted is not', async () => {
  await tamper(`DELETE FROM stock_ledger WHERE sku = '${shop.a}'`, `INSERT INTO stock (sku, stock) VALUES ('new', 0)`)
  const report = await verify(database.db)
  expect(report.checks[2]?.findings.map(({ sku }) => sku)).toEqual([shop.a])
  expect(report.checks[3]).toMatchObject({ broken: 5 })
})

test('promise 4: a line without ledger rows is named; the other line is not', async () => {
  await tamper(`DELETE FROM stock_ledger WHERE sku = '${shop.b}' AND reservation_id = '${shop.pending}'`)
  expect(named(await verify(database.db))).toEqual([`3 ${shop.b}`, `4 ${shop.pending} ${shop.b}`])
})

test('promise 4: a quantity that was changed is named', async () => {
  await tamper(`UPDATE reservations SET quantities = '{2,4}' WHERE id = '${shop.confirmed}'`)
  expect(named(await verify(database.db))).toEqual([`4 ${shop.confirmed} ${shop.b}`])
})

test('promise 4: a confirmation that took no stock is named', async () => {
  await tamper(
    `UPDATE stock_ledger SET stock_delta = 0 WHERE kind = 'confirm' AND reservation_id = '${shop.confirmed}' AND sku = '${shop.a}'`,
  )
  expect(named(await verify(database.db))).toEqual([`3 ${shop.a}`, `4 ${shop.confirmed} ${shop.a}`])
})

test('promise 4: ledger rows of a reservation that was deleted are named', async () => {
  await tamper(`DELETE FROM reservations WHERE id = '${shop.released}'`)
  expect(named(await verify(database.db))).toEqual([`4 ${shop.released} ${shop.a}`, `4 ${shop.released} ${shop.b}`])
})

test('promise 4: a line that was exchanged is named from both sides', async () => {
  await tamper(`UPDATE reservations SET skus = ARRAY[skus[1], 'another'] WHERE id = '${shop.expired}'`)
  expect(named(await verify(database.db))).toEqual([`4 ${shop.expired} another`, `4 ${shop.expired} ${shop.b}`])
})

test('promise 4: a hold without lines, and one that repeats a SKU, are named', async () => {
  await without('reservations', 'reservations_lines_paired')
  await tamper(
    `UPDATE reservations SET skus = '{}', quantities = '{}' WHERE id = '${shop.expired}'`,
    `UPDATE reservations SET skus = array_append(skus, skus[1]), quantities = array_append(quantities, 2)
     WHERE id = '${shop.released}'`,
  )
  const found = named(await verify(database.db))
  expect(found).toContain(`4 ${shop.expired}`)
  expect(found).toContain(`4 ${shop.released} ${shop.a}`)
})

test('promise 4: a ledger row of a hold that names no reservation is named', async () => {
  await tamper(
    `UPDATE stock_ledger SET reservation_id = NULL WHERE reservation_id = '${shop.pending}' AND sku = '${shop.a}'`,
  )
  expect(named(await verify(database.db))).toEqual([`4 ${shop.pending} ${shop.a}`, `4 ${shop.a}`])
})

test.each([
  ['confirmed', 'pending'],
  ['confirmed', 'released'],
  ['released', 'expired'],
  ['reacquired', 'expired'],
  ['pending', 'confirmed'],
] as const)('promise 5: a %s hold whose status was changed to %s is named', async (kind, status) => {
  const closed_at = status === 'pending' ? 'NULL' : 'now()'
  await tamper(`UPDATE reservations SET status = '${status}', closed_at = ${closed_at} WHERE id = '${shop[kind]}'`)
  const found = named(await verify(database.db)).filter((name) => name.startsWith('5'))
  expect(found).toEqual([`5 ${shop[kind]} ${shop.a}`, `5 ${shop[kind]} ${shop.b}`])
})

test('promise 5: units that were given back twice are named, with the whole history', async () => {
  await tamper(
    `INSERT INTO stock_ledger SELECT sku, seq + 100, kind, stock_delta, reserved_delta, stock_after, reserved_after,
       reservation_id, reference, reason, created_at
     FROM stock_ledger WHERE kind = 'expire' AND reservation_id = '${shop.expired}' AND sku = '${shop.a}'`,
  )
  const report = await verify(database.db)
  expect(named(report)).toEqual([`3 ${shop.a}`, `5 ${shop.expired} ${shop.a}`])
  expect(report.checks[4]?.findings[0]?.detail).toContain('reserve,expire,expire')
})

test('promise 5: a final hold that does not say when it ended is named', async () => {
  await without('reservations', 'reservations_closed_when_final')
  await tamper(`UPDATE reservations SET closed_at = NULL WHERE id = '${shop.confirmed}'`)
  expect(named(await verify(database.db))).toEqual([`5 ${shop.confirmed} ${shop.a}`, `5 ${shop.confirmed} ${shop.b}`])
})

test('a thousand faults are counted, and the first hundred named', async () => {
  await tamper(`INSERT INTO stock (sku, stock) SELECT 'bare-' || n, 1 FROM generate_series(1, 1000) AS n`)
  const report = await verify(database.db)
  expect(report.checks[2]).toMatchObject({ broken: 1000 })
  expect(report.checks[2]?.findings).toHaveLength(100)
})

test('verify changes nothing, and runs while holds are made', async () => {
  const [report] = await Promise.all([
    verify(database.db),
    ...Array.from({ length: 50 }, () => hold(core.reservations, shop.a)),
  ])
  expect(report.clean).toBe(true)
  expect((await verify(database.db)).clean).toBe(true)
})
