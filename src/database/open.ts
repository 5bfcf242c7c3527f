import type { Knex } from 'knex'
import type { Config } from '../config.ts'
import { acquireEmbeddedDatabase } from './embedded.ts'
import { createPool } from './pool.ts'
import type { Log } from './programs.ts'

/** The database that the settings name, and how to let go of it. */
export type OpenDatabase = {
  url: string
  embedded: boolean
  /** For people: which database this is, without its password. */
  description: string
  db: Knex
  /** Closes the pool; stops the embedded PostgreSQL if nobody else uses it. */
  close(): Promise<void>
  /** The same for a process that exits at once: connections are dropped. */
  closeSync(): void
}

/** Whoever starts or runs a command can wait longer than a buyer, on a machine that stalls. */
const ACQUIRE_TIMEOUT_MS = 10_000

export type OpenOptions = {
  log: Log
  /** What pg_stat_activity shows. */
  application_name: string
  max?: number
  lock_timeout_ms?: number
  statement_timeout_ms?: number
}

/**
 * Opens the database at DATABASE_URL, or starts or joins the embedded one. A DATABASE_URL that doesn't answer is no
 * fault here: it shows at the first query, within ten seconds.
 *
 * @throws if the embedded PostgreSQL can't run
 */
export async function openDatabase(config: Config, options: OpenOptions): Promise<OpenDatabase> {
  const {
    log,
    application_name,
    max = config.database_pool_max,
    lock_timeout_ms = 0,
    statement_timeout_ms = 0,
  } = options
  const embedded =
    config.database_url === undefined ? await acquireEmbeddedDatabase({ data_dir: config.data_dir, log }) : undefined
  const url = embedded?.url ?? config.database_url!
  const db = createPool({
    url,
    max,
    lock_timeout_ms,
    statement_timeout_ms,
    application_name,
    acquire_timeout_ms: ACQUIRE_TIMEOUT_MS,
  })
  return {
    url,
    embedded: embedded !== undefined,
    description: embedded
      ? `embedded PostgreSQL ${embedded.version}, data in ${config.data_dir}`
      : `PostgreSQL at ${withoutPassword(url)}`,
    db,
    async close() {
      try {
        await db.destroy()
      } finally {
        await embedded?.release()
      }
    },
    closeSync: () => embedded?.releaseSync(),
  }
}

/** A connection URL that may be logged. Its query can carry a password too, so it is left out. */
export function withoutPassword(url: string): string {
  try {
    const { protocol, username, host, pathname } = new URL(url)
    return `${protocol}//${username ? `${username}@` : ''}${host}${pathname}`
  } catch {
    return 'DATABASE_URL'
  }
}
