import type { Knex } from 'knex'
import { createHash } from 'node:crypto'
import { chmodSync, mkdtempSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import {
  ensureRunning,
  findPostmaster,
  initialise,
  removeFolder,
  stop,
  urlOf,
  type Cluster,
} from '../src/database/cluster.ts'
import { migrateToLatest } from '../src/database/migrations.ts'
import { createPool, type PoolOptions } from '../src/database/pool.ts'
import { isAlive, thisProcess } from '../src/database/process_lock.ts'
import { findHome, findPrograms } from '../src/database/programs.ts'

/**
 * A server for tests with a migrated template, and databases cloned from it. Used by jest, which starts one server for a
 * whole run, and by the long suites, which start their own.
 */
export type TestServer = {
  /** Its maintenance database. */
  url: string
  template: string
  stop(): Promise<void>
}

export type TestDatabase = {
  url: string
  db: Knex
  /** Closes `db` and drops the database; fails if a test left other connections open. */
  drop(): Promise<void>
}

/** Where jest's global setup leaves the server for the workers. */
export const SERVER_VARIABLE = 'STOCK_TEST_SERVER'

/** How long connections that are being closed may take to vanish. */
const LEAK_TIMEOUT_MS = 3000
const POLL_MS = 20

const silent = { info: () => undefined, warn: () => undefined }

/**
 * Starts a server that is thrown away at the end, or uses the one of `TEST_DATABASE_URL`, and migrates a template on it.
 * What runs that were killed left behind is removed first.
 *
 * @param options `durable` for suites that kill the server; it is slower
 */
export async function startTestServer(options: { durable?: boolean } = {}): Promise<TestServer> {
  const given = process.env['TEST_DATABASE_URL']
  const server = given ? { url: given, stop: async () => undefined } : await startCluster(options.durable ?? false)
  await dropLeftDatabases(server.url)
  const template = `${databasePrefix()}template`
  await administer(server.url, `CREATE DATABASE ${template} TEMPLATE template0 ENCODING 'UTF8'`)
  const db = createPool({ ...poolDefaults, url: urlOfDatabase(server.url, template) })
  try {
    await migrateToLatest(db, silent)
  } finally {
    await db.destroy()
  }
  return {
    url: server.url,
    template,
    async stop() {
      if (given) await administer(server.url, `DROP DATABASE IF EXISTS ${template}`)
      await server.stop()
    },
  }
}

const poolDefaults: Omit<PoolOptions, 'url'> = {
  max: 10,
  acquire_timeout_ms: 12_000,
  lock_timeout_ms: 5000,
  statement_timeout_ms: 10_000,
  application_name: 'test',
}

let databases = 0

/**
 * A database of its own for a test file, cloned from the migrated template.
 *
 * @param options of the pool; and `server`, unless jest's global setup started it; `empty` for one without any schema
 */
export async function createTestDatabase(
  options: Partial<Omit<PoolOptions, 'url'>> & { server?: Pick<TestServer, 'url' | 'template'>; empty?: boolean } = {},
): Promise<TestDatabase> {
  const { server = serverOfThisRun(), empty, ...pool } = options
  const name = `${databasePrefix()}${++databases}_${Math.random().toString(36).slice(2, 8)}`
  const source = empty ? `template0 ENCODING 'UTF8'` : server.template
  await administer(server.url, `CREATE DATABASE ${name} TEMPLATE ${source}`)
  const url = urlOfDatabase(server.url, name)
  const db = createPool({ ...poolDefaults, ...pool, url })
  return {
    url,
    db,
    async drop() {
      await db.destroy()
      const leaked = await connectionsLeft(server.url, name)
      await administer(server.url, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
      if (leaked.length > 0) throw new Error(`connections were left open:\n${leaked.join('\n')}`)
    },
  }
}

function serverOfThisRun(): Pick<TestServer, 'url' | 'template'> {
  const server = process.env[SERVER_VARIABLE]
  if (server === undefined) throw new Error('no test server: run under jest, or pass one from startTestServer()')
  return JSON.parse(server) as Pick<TestServer, 'url' | 'template'>
}

async function connectionsLeft(url: string, name: string): Promise<string[]> {
  const deadline = Date.now() + LEAK_TIMEOUT_MS
  for (;;) {
    const left = await administer<{ said: string }>(
      url,
      `SELECT format('  %s, %s: %s', application_name, state, query) AS said FROM pg_stat_activity
        WHERE datname = '${name}' AND backend_type = 'client backend'`,
    )
    if (left.length === 0 || Date.now() > deadline) return left.map(({ said }) => said)
    await delay(POLL_MS)
  }
}

/** The URL of another database on the same server. */
export function urlOfDatabase(url: string, database: string): string {
  const changed = new URL(url)
  changed.pathname = `/${database}`
  return changed.href
}

async function administer<Row extends pg.QueryResultRow>(url: string, sql: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url, application_name: 'test administration' })
  await client.connect()
  try {
    return (await client.query<Row>(sql)).rows
  } finally {
    await client.end()
  }
}

// The host's name is part of it, because several machines may test against one server and tell their own dead apart.
function databasePrefix(): string {
  return `stock_test_${hostMark()}_${thisProcess().replaceAll(/\W/g, '_')}_`
}

function hostMark(): string {
  return createHash('sha256').update(hostname()).digest('hex').slice(0, 6)
}

async function dropLeftDatabases(url: string): Promise<void> {
  const found = await administer<{ datname: string }>(
    url,
    `SELECT datname FROM pg_database WHERE datname LIKE 'stock\\_test\\_${hostMark()}\\_%'`,
  )
  for (const { datname } of found) {
    const owner = /^stock_test_[0-9a-f]+_(\d+)_(\w+?)_/.exec(datname)
    if (owner && !isAlive(`${owner[1]}-${owner[2]}`)) await administer(url, `DROP DATABASE ${datname} WITH (FORCE)`)
  }
}

/** A new directory for a database, which an earlier run that was killed does not outlive. */
export function makeDataDir(): string {
  const dir = mkdtempSync(join(realpathSync(tmpdir()), `pgtest-${thisProcess()}-`))
  chmodSync(dir, 0o755)
  return dir
}

async function startCluster(durable: boolean): Promise<{ url: string; stop(): Promise<void> }> {
  await sweepLeftClusters()
  const data_dir = makeDataDir()
  const cluster = clusterIn(data_dir, durable)
  await initialise(cluster)
  const port = await ensureRunning(cluster)
  return {
    url: urlOf(cluster, port),
    async stop() {
      await stop(cluster)
      await removeDataDir(data_dir)
    },
  }
}

function clusterIn(data_dir: string, durable: boolean): Cluster {
  const home = findHome(data_dir, silent)
  return { dir: join(home.dir, 'cluster'), programs: findPrograms(home), account: home.account, durable }
}

/** Removes a directory of {@link makeDataDir}, and stops the server that a killed process left running on it. */
export async function removeDataDir(data_dir: string): Promise<void> {
  const cluster = clusterIn(data_dir, true)
  if (findPostmaster(cluster.dir)) await stop(cluster)
  await removeFolder(join(cluster.dir, '..'))
  await removeFolder(data_dir)
}

async function sweepLeftClusters(): Promise<void> {
  const dir = realpathSync(tmpdir())
  for (const name of readdirSync(dir)) {
    const owner = /^pgtest-(\d+-.+)-[^-]+$/.exec(name)?.[1]
    const ours = [0, statSync(join(dir, name)).uid].includes(process.getuid?.() ?? 0)
    if (owner !== undefined && ours && !isAlive(owner)) await removeDataDir(join(dir, name))
  }
}
