import type { Knex } from 'knex'
import { reading, rows } from './transaction.ts'

/** The major versions that the service is tested on. */
const MAJOR_MIN = 14
const MAJOR_MAX = 18

type Settings = {
  version: string
  version_number: number
  encoding: string
  read_only: boolean
  fsync: string
  full_page_writes: string
  synchronous_commit: string
}

/**
 * Looks at the server before the service relies on it.
 *
 * @returns its version, and a warning for each setting that loses acknowledged reservations in a crash
 * @throws if the service can't run on it at all
 */
export async function inspectServer(db: Knex): Promise<{ version: string; warnings: string[] }> {
  const [settings] = await reading(() =>
    rows<Settings>(
      db,
      `SELECT split_part(current_setting('server_version'), ' ', 1) AS version,
              current_setting('server_version_num')::integer AS version_number,
              current_setting('server_encoding') AS encoding,
              pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS read_only,
              current_setting('fsync') AS fsync,
              current_setting('full_page_writes') AS full_page_writes,
              current_setting('synchronous_commit') AS synchronous_commit`,
    ),
  )
  return judge(settings as Settings)
}

/** What {@link inspectServer} makes of a server's settings. */
export function judge(settings: Settings): { version: string; warnings: string[] } {
  const major = Math.floor(settings.version_number / 10_000)
  if (major < MAJOR_MIN || major > MAJOR_MAX) {
    throw new Error(`PostgreSQL ${settings.version} is not supported: use one from ${MAJOR_MIN} to ${MAJOR_MAX}`)
  }
  if (settings.encoding !== 'UTF8') {
    throw new Error(`the database's encoding is ${settings.encoding}: create it with ENCODING 'UTF8'`)
  }
  if (settings.read_only) throw new Error('the database is read-only: DATABASE_URL must name the primary server')
  const warnings = (['fsync', 'full_page_writes', 'synchronous_commit'] as const)
    .filter((name) => settings[name] === 'off')
    .map((name) => `${name} is off: reservations that were acknowledged may be lost when the server crashes`)
  return { version: settings.version, warnings }
}
