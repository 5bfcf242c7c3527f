import type { Knex } from 'knex'
import { loadConfig, type Config } from '../config.ts'
import { migrateToLatest, schemaState } from '../database/migrations.ts'
import { openDatabase, type OpenDatabase } from '../database/open.ts'

/** What a command ends with: it did it, the answer is no, or it could not be asked at all. */
export const EXIT = { done: 0, no: 1, failed: 2 } as const

/** Two connections for the command, two for the migration of an embedded database that is new. */
const CONNECTIONS_MAX = 4
/** A person waits: longer than the service does, shorter than patience. */
const LOCK_TIMEOUT_MS = 10_000
/** What a shell expects of a program that a signal ended. */
const EXIT_OF_SIGNAL = { SIGINT: 130, SIGTERM: 143 } as const

/** Notes for the person at the keyboard; stdout belongs to the answer. */
export const notes = {
  info: (): void => undefined,
  warn: (message: string): void => void process.stderr.write(`${message}\n`),
}

/** Says why a command ends without having done it, in one line. */
export class CommandError extends Error {
  readonly exit_code: number

  constructor(message: string, exit_code: number = EXIT.failed) {
    super(message)
    this.name = 'CommandError'
    this.exit_code = exit_code
  }
}

/** Ends a command whose answer has been printed and is no. */
export class CommandEnd extends Error {
  readonly exit_code: number

  constructor(exit_code: number) {
    super(`exit code ${exit_code}`)
    this.name = 'CommandEnd'
    this.exit_code = exit_code
  }
}

/**
 * Opens the database like the service does, sees that its schema fits the code, and lets go of it whatever happens. An
 * embedded PostgreSQL that the service uses too is only joined.
 */
export async function withDatabase<T>(work: (db: Knex, config: Config, url: string) => Promise<T>): Promise<T> {
  const config = loadConfig()
  return withOpenDatabase(config, async ({ db, url }) => {
    await requireSchema(db, config)
    return await work(db, config, url)
  })
}

/** {@link withDatabase} without a look at the schema. */
export async function withOpenDatabase<T>(config: Config, work: (database: OpenDatabase) => Promise<T>): Promise<T> {
  const database = await openDatabase(config, {
    log: notes,
    application_name: 'stock cli',
    max: CONNECTIONS_MAX,
    lock_timeout_ms: LOCK_TIMEOUT_MS,
  })
  // What is in a transaction is undone by the server when it sees the connection gone.
  const leave = (signal: keyof typeof EXIT_OF_SIGNAL): void => {
    database.closeSync()
    process.exit(EXIT_OF_SIGNAL[signal])
  }
  process.once('SIGINT', leave)
  process.once('SIGTERM', leave)
  try {
    return await work(database)
  } finally {
    await database.close()
    process.off('SIGINT', leave)
    process.off('SIGTERM', leave)
  }
}

async function requireSchema(db: Knex, config: Config): Promise<void> {
  if (config.migrate_on_start) await migrateToLatest(db, notes)
  const { current, pending } = await schemaState(db)
  if (current) return
  throw new CommandError(
    `the schema is older than this code (${pending.length} migration${pending.length === 1 ? '' : 's'} to run): npm run migrate`,
  )
}

/** Prints an answer for a program. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}

/** Prints an answer for a person. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
