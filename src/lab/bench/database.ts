import type { Knex } from 'knex'
import { migrateToLatest } from '../../database/migrations.ts'
import { createPool } from '../../database/pool.ts'
import { rows } from '../../database/transaction.ts'
import { createKey } from '../../keys/keys.ts'
import { verify, type VerifyReport } from '../../operations/verify.ts'
import { setStock } from '../../stock/set.ts'
import { skuName } from '../load/scenario.ts'

/** Databases for goals: cloned from a template that has the schema and an API key, counted and checked by SQL. */

export type BenchDatabase = {
  name: string
  url: string
  db: Knex
  /** Closes the pool; the database stays, so that it can be cloned. */
  close(): Promise<void>
}

export type Databases = {
  api_key: string
  /** A database as the template is, or as another database is that nobody is connected to. */
  create(from?: string): Promise<BenchDatabase>
  drop(database: BenchDatabase): Promise<void>
  /** Sets a server's setting for all databases; null takes it back. */
  setServer(setting: 'commit_delay' | 'commit_siblings', value: number | null): Promise<void>
  close(): Promise<void>
}

const TEMPLATE = 'bench_template'
const silent = { info: () => undefined, warn: () => undefined }
/** Nobody is waiting here whom an error would help, and a machine may stall for seconds. */
const ACQUIRE_TIMEOUT_MS = 60_000
/** As many as setStock takes at once. */
const ITEMS_MAX = 1000

/** Makes the template. @throws if the server is not durable: numbers from it would be worth nothing */
export async function openDatabases(url: string): Promise<Databases> {
  const admin = poolOf(url, 2)
  await requireDurable(admin)
  await rows(admin, `CREATE DATABASE ${TEMPLATE} TEMPLATE template0 ENCODING 'UTF8'`)
  const template = poolOf(urlOfDatabase(url, TEMPLATE), 4)
  await migrateToLatest(template, silent)
  const key = await createKey(template, { name: 'bench', scopes: ['read', 'reserve', 'admin'] })
  if (!key.ok) throw new Error(`no API key: ${key.refusal}`)
  await template.destroy()
  let count = 0
  return {
    api_key: key.value.secret,
    async create(from = TEMPLATE) {
      const name = `bench_${++count}`
      await rows(admin, `CREATE DATABASE ${name} TEMPLATE ${from} STRATEGY FILE_COPY`)
      const database_url = urlOfDatabase(url, name)
      const db = poolOf(database_url, 4)
      return { name, url: database_url, db, close: () => db.destroy() }
    },
    async drop(database) {
      await database.close()
      await rows(admin, `DROP DATABASE ${database.name} WITH (FORCE)`)
    },
    async setServer(setting, value) {
      await rows(admin, value === null ? `ALTER SYSTEM RESET ${setting}` : `ALTER SYSTEM SET ${setting} = ${value}`)
      await rows(admin, `SELECT pg_reload_conf()`)
    },
    close: () => admin.destroy(),
  }
}

function poolOf(url: string, max: number): Knex {
  return createPool({
    url,
    max,
    lock_timeout_ms: 0,
    statement_timeout_ms: 0,
    acquire_timeout_ms: ACQUIRE_TIMEOUT_MS,
    application_name: 'stock bench',
  })
}

function urlOfDatabase(url: string, database: string): string {
  const changed = new URL(url)
  changed.pathname = `/${database}`
  return changed.href
}

async function requireDurable(db: Knex): Promise<void> {
  const off = await rows<{ name: string }>(
    db,
    `SELECT name FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting <> 'on'`,
  )
  if (off.length > 0) throw new Error(`${off.map(({ name }) => name).join(', ')} must be on`)
}

/** Puts the same stock on the first `skus` SKUs. */
export async function stockUp(db: Knex, skus: number, stock = 2_000_000_000): Promise<void> {
  for (let first = 1; first <= skus; first += ITEMS_MAX) {
    const length = Math.min(ITEMS_MAX, skus - first + 1)
    const set = await setStock(
      db,
      Array.from({ length }, (_, i) => ({ sku: skuName(first + i), stock })),
    )
    if (!set.ok) throw new Error(`the stock could not be set: ${set.refusal.code}`)
  }
}

/** Reservations that are there, by their stored status. Only what has committed is seen. */
export async function countReservations(db: Knex): Promise<{ all: number; confirmed: number }> {
  const [counted] = await rows<{ all: number; confirmed: number }>(
    db,
    `SELECT count(*) AS all, count(*) FILTER (WHERE status = 'confirmed') AS confirmed FROM reservations`,
  )
  return counted!
}

/** Every arm begins after a checkpoint, so that none pays for the pages that another made dirty. */
export async function checkpoint(db: Knex): Promise<void> {
  await rows(db, 'CHECKPOINT')
}

/** The promises of the design over the whole database, in a word; with what is broken if something is. */
export async function verified(db: Knex): Promise<{ clean: boolean; said: string }> {
  const report = await verify(db)
  const seconds = (report.duration_ms / 1000).toFixed(1)
  return { clean: report.clean, said: report.clean ? `verify: clean (${seconds} s)` : `verify: ${brokenIn(report)}` }
}

function brokenIn(report: VerifyReport): string {
  return report.checks
    .filter(({ broken }) => broken > 0)
    .map(
      ({ promise, broken, findings }) => `promise ${promise} is broken ${broken} times: ${findings[0]?.detail ?? ''}`,
    )
    .join('; ')
}
