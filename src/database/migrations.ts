import type { Knex } from 'knex'
import { readdir } from 'node:fs/promises'
import { extname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Log } from './programs.ts'
import { isLockTimeout, SQLSTATE, sqlstate } from './sqlstate.ts'
import { rows, transaction } from './transaction.ts'

/**
 * The schema's history and the demo data: the folders `migrations/` and `seeds/`, which are TypeScript in a clone and
 * JavaScript in `dist/`. knex would record file names, and the two would not match; without the extension they share one history.
 */

/** How long an instance waits for another one that migrates or seeds. */
const WAIT_MS = 60_000
const POLL_MS = 250
/** A migration may take its time, but must not queue before everybody else for a lock that a long reader holds. */
const MIGRATION_LOCK_TIMEOUT = '10s'
/** Any number will do; it must only be the same everywhere. */
const MIGRATION_LOCK = 5_260_871_201

/** A file of one of the two folders, without its extension (`file` is what knex's status command prints). */
type Module = { file: string; url: URL }

/** The migrations for knex, under names without an extension. */
export const migrationSource: Knex.MigrationSource<Module> = {
  getMigrations: () => modulesIn('migrations'),
  getMigrationName: (migration) => migration.file,
  getMigration: (migration) => import(migration.url.href) as Promise<Knex.Migration>,
}

/** What knex is told about migrations, by the service and by its command line alike. */
export const migrationConfig: Knex.MigratorConfigWithLifecycleHooks = {
  migrationSource,
  async beforeEach(tx) {
    await tx.raw(`SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '${MIGRATION_LOCK_TIMEOUT}'`)
  },
}

/** The seeds for knex; each sees to it itself that it runs only once. */
export const seedSource: Knex.SeedSource<Module> = {
  getSeeds: () => modulesIn('seeds'),
  getSeed: (seed) => import(seed.url.href) as Promise<Knex.Seed>,
}

/** Migrations that the code has and the database lacks, and the other way round. */
export type SchemaState = { current: boolean; pending: string[]; unknown: string[] }

/** How the database's schema compares to the code's; writes nothing. `current` says that the code can run on it. */
export async function schemaState(db: Knex): Promise<SchemaState> {
  const [known, done] = await Promise.all([modulesIn('migrations'), completed(db)])
  const pending = known.map(({ file }) => file).filter((name) => !done.includes(name))
  const unknown = done.filter((name) => !known.some((migration) => migration.file === name))
  return { current: pending.length === 0, pending, unknown }
}

/**
 * Runs what is pending. Instances that start together wait for one another, and all but one find it done.
 *
 * @throws naming the command that helps, if another one holds the lock for a minute
 */
export async function migrateToLatest(db: Knex, log: Log, wait_ms = WAIT_MS): Promise<void> {
  const deadline = Date.now() + wait_ms
  for (let attempt = 1; await isBehind(db, log); attempt++) {
    if (Date.now() > deadline) {
      throw new Error(
        `another process has held the migration lock for ${wait_ms / 1000} s. If none is migrating, one was killed ` +
          'while it did: run "npm run migrate:unlock" and start again',
      )
    }
    if (attempt === 2) log.info('waiting for another process that migrates')
    if (attempt > 1) await delay(POLL_MS)
    await tryMigrate(db, log)
  }
}

async function isBehind(db: Knex, log: Log): Promise<boolean> {
  const { current, unknown } = await schemaState(db)
  if (unknown.length === 0) return !current
  const newer = `the database has migrations that this version does not know (${unknown.join(', ')})`
  if (!current) throw new Error(`${newer} and lacks others: run the version that made it, or a newer one`)
  log.warn(`${newer}: it was migrated by a newer version`)
  return false
}

// knex makes its own two tables without a lock, and two that start together on an empty database collide there; its lock
// row guards only what comes after. The lock here is held by a transaction of its own, so it ends with the process.
async function tryMigrate(db: Knex, log: Log): Promise<void> {
  let entered = false
  try {
    await transaction(db, async (tx) => {
      await tx.raw(`SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0`)
      await tx.raw(`SET LOCAL lock_timeout = '${MIGRATION_LOCK_TIMEOUT}'`)
      await tx.raw('SELECT pg_advisory_xact_lock(?)', [MIGRATION_LOCK])
      entered = true
      if (await isLockedByKnex(db)) return
      const [, names] = (await db.migrate.latest(migrationConfig)) as [number, string[]]
      if (names.length > 0) log.info(`migrated: ${names.join(', ')}`)
    })
  } catch (error) {
    const heldElsewhere = entered ? (error as Error).name === 'MigrationLocked' : isLockTimeout(error)
    if (!heldElsewhere) throw error
  }
}

async function isLockedByKnex(db: Knex): Promise<boolean> {
  const locks = await unlessMissing(rows<{ is_locked: number }>(db, 'SELECT is_locked FROM knex_migrations_lock'))
  return locks.some((lock) => lock.is_locked === 1)
}

/**
 * Runs the demo seed into a database without products and without stock.
 *
 * @returns false if there was something already
 */
export async function seedDemo(db: Knex): Promise<boolean> {
  const module = new URL(`demo_shop${extension}`, folder('seeds'))
  const { seed } = (await import(module.href)) as { seed(db: Knex): Promise<boolean> }
  return await seed(db)
}

async function completed(db: Knex): Promise<string[]> {
  const done = await unlessMissing(rows<{ name: string }>(db, 'SELECT name FROM knex_migrations ORDER BY id'))
  return done.map(({ name }) => name)
}

async function unlessMissing<Row>(found: Promise<Row[]>): Promise<Row[]> {
  try {
    return await found
  } catch (error) {
    if (sqlstate(error) === SQLSTATE.undefined_table) return []
    throw error
  }
}

const extension = extname(new URL(import.meta.url).pathname)

function folder(name: 'migrations' | 'seeds'): URL {
  return new URL(`../../${name}/`, import.meta.url)
}

async function modulesIn(name: 'migrations' | 'seeds'): Promise<Module[]> {
  const files = (await readdir(folder(name))).filter((file) => file.endsWith(extension) && !file.endsWith('.d.ts'))
  return files.toSorted().map((file) => ({ file: file.slice(0, -extension.length), url: new URL(file, folder(name)) }))
}
