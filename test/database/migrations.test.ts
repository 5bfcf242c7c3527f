import {
  migrateToLatest,
  migrationConfig,
  migrationSource,
  schemaState,
  seedDemo,
} from '../../src/database/migrations.ts'
import { createPool } from '../../src/database/pool.ts'
import { rows } from '../../src/database/transaction.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'

const said: string[] = []
const log = { info: (message: string) => void said.push(message), warn: (message: string) => void said.push(message) }

let database: TestDatabase

beforeEach(async () => {
  said.length = 0
  database = await createTestDatabase({ empty: true })
})

afterEach(() => database.drop())

const tables = async () =>
  (
    await rows<{ name: string }>(
      database.db,
      `SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'knex%' ORDER BY 1`,
    )
  ).map(({ name }) => name)

test('an empty database has everything pending, and looking at it writes nothing', async () => {
  const known = await migrationSource.getMigrations([])
  const state = await schemaState(database.db)
  expect(state).toEqual({ current: false, pending: known.map(({ file }) => file), unknown: [] })
  expect(await rows(database.db, `SELECT 1 FROM pg_tables WHERE schemaname = 'public'`)).toEqual([])
})

test('names carry no extension, so a clone and its build share one history', async () => {
  await migrateToLatest(database.db, log)
  const names = await rows<{ name: string }>(database.db, 'SELECT name FROM knex_migrations')
  expect(names.filter(({ name }) => /\.\w+$/.test(name))).toEqual([])
})

test('four instances that start together on an empty database migrate it once', async () => {
  const { url } = database
  const pools = Array.from({ length: 4 }, () =>
    createPool({ url, max: 4, lock_timeout_ms: 100, statement_timeout_ms: 5000, application_name: 'instance' }),
  )
  await Promise.all(pools.map((db) => migrateToLatest(db, log)))
  await Promise.all(pools.map((db) => db.destroy()))
  expect((await schemaState(database.db)).current).toBe(true)
  expect(said.filter((message) => message.startsWith('migrated'))).toHaveLength(1)
})

test('a lock that a killed migration left behind ends the start with the command that helps', async () => {
  await migrateToLatest(database.db, log)
  await database.db.migrate.rollback(migrationConfig)
  await rows(database.db, 'UPDATE knex_migrations_lock SET is_locked = 1')
  await expect(migrateToLatest(database.db, log, 300)).rejects.toThrow('npm run migrate:unlock')
  await database.db.migrate.forceFreeMigrationsLock(migrationConfig)
  await migrateToLatest(database.db, log)
  expect((await schemaState(database.db)).current).toBe(true)
})

test('a lock that was left behind does not matter when nothing is pending', async () => {
  await migrateToLatest(database.db, log)
  await rows(database.db, 'UPDATE knex_migrations_lock SET is_locked = 1')
  await migrateToLatest(database.db, log, 0)
})

test('a database that a newer version migrated is current, and the start says so', async () => {
  await migrateToLatest(database.db, log)
  await rows(database.db, `INSERT INTO knex_migrations (name, batch) VALUES ('20991231000000_later', 2)`)
  expect(await schemaState(database.db)).toEqual({ current: true, pending: [], unknown: ['20991231000000_later'] })
  await migrateToLatest(database.db, log)
  expect(said.at(-1)).toMatch(/20991231000000_later.*newer version/)
})

test('every migration can be undone and done again', async () => {
  await migrateToLatest(database.db, log)
  const all = await tables()
  await database.db.migrate.rollback(migrationConfig, true)
  expect(await tables()).toEqual([])
  await migrateToLatest(database.db, log)
  expect(await tables()).toEqual(all)
})

test('two instances that seed together make one shop, whose stock has a ledger', async () => {
  await migrateToLatest(database.db, log)
  const seeded = await Promise.all([seedDemo(database.db), seedDemo(database.db)])
  expect(seeded.toSorted()).toEqual([false, true])
  const unstocked = await rows(database.db, 'SELECT sku FROM product_skus EXCEPT SELECT sku FROM stock')
  expect(unstocked).toEqual([])
  const astray = await rows(
    database.db,
    `SELECT sku FROM stock s WHERE stock <> (SELECT coalesce(sum(stock_delta), 0) FROM stock_ledger l WHERE l.sku = s.sku)`,
  )
  expect(astray).toEqual([])
})

test('a database with stock in it is left as it is by the demo seed', async () => {
  await migrateToLatest(database.db, log)
  await rows(database.db, `INSERT INTO stock (sku, stock) VALUES ('MINE', 3)`)
  expect(await seedDemo(database.db)).toBe(false)
  expect(await rows(database.db, 'SELECT sku FROM stock')).toEqual([{ sku: 'MINE' }])
})
