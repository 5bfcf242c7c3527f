import knex, { type Knex } from 'knex'
import KnexClient from 'knex/lib/dialects/postgres/index.js'
import KnexTransaction from 'knex/lib/dialects/postgres/execution/pg-transaction.js'
import pg from 'pg'

/**
 * Connections to PostgreSQL, with every wait bounded by the server.
 *
 * pg hands 64-bit integers over as strings because JavaScript's numbers end at 2^53; our largest (a ledger's seq, a
 * position, sums of stock) stay far below that, so they are read as numbers.
 */
const INT8_OID = 20
const types = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    oid === INT8_OID && format !== 'binary' ? Number : (pg.types.getTypeParser(oid, format) as unknown),
}

/**
 * knex runs a transaction's work even where its BEGIN has failed, and only then refuses each statement. Ours are sent past
 * knex (see transaction.ts): they would commit one by one, so here the work does not run.
 */
class Transaction extends KnexTransaction {
  override async begin(connection: unknown): Promise<void> {
    await super.begin(connection)
    if (this.isCompleted()) throw new Error('BEGIN failed; the transaction was rejected with the reason')
  }
}

class Client extends KnexClient {
  override transaction(...options: unknown[]): unknown {
    return new Transaction(this, ...options)
  }
}

export type PoolOptions = {
  url: string
  /** Connections at most. */
  max: number
  /** Connections kept open when idle. */
  min?: number
  /** How long a statement may wait for a lock before it fails with 55P03; 0 for ever. */
  lock_timeout_ms: number
  /** How long a statement may run before the server cancels it; 0 for ever. */
  statement_timeout_ms: number
  /** What pg_stat_activity shows. */
  application_name: string
  /** How long a caller waits for a connection, new or from the pool. 1500 by default: an outage is answered within 2 s. */
  acquire_timeout_ms?: number
}

const ACQUIRE_TIMEOUT_MS = 1500
/** What a server gets beyond its own statement timeout to answer; after that it is taken for gone. */
const SILENCE_MS = 1000
/** How long an open transaction may sit idle before the server ends it and frees its locks. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 5000
/** How often the server looks whether a statement's client still lives: without it a killed client's wait commits. */
const CLIENT_CONNECTION_CHECK_INTERVAL_MS = 1000

/** What knex would print is thrown as well, and reported by whoever catches it. */
const SILENT = { warn: () => undefined, error: () => undefined, deprecate: () => undefined, debug: () => undefined }

/**
 * A pool of connections whose timeouts are the server's: `pg`'s own leave the backend running.
 *
 * @throws nothing here; a database that is away shows at the first query, within `acquire_timeout_ms`
 */
export function createPool(options: PoolOptions): Knex {
  return knex(poolConfig(options))
}

/** The same as {@link createPool} makes, for tools that want to make the pool themselves. */
export function poolConfig(options: PoolOptions): Knex.Config {
  const { acquire_timeout_ms = ACQUIRE_TIMEOUT_MS } = options
  const settings = [
    `SET lock_timeout = ${options.lock_timeout_ms}`,
    `SET statement_timeout = ${options.statement_timeout_ms}`,
    `SET idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION_TIMEOUT_MS}`,
    `SET client_connection_check_interval = ${CLIENT_CONNECTION_CHECK_INTERVAL_MS}`,
    `SET default_transaction_isolation = 'read committed'`,
    `SET TimeZone = 'UTC'`,
  ].join('; ')
  return {
    client: Client as unknown as typeof Knex.Client,
    log: SILENT,
    // An error's message would otherwise carry the values of the statement, which may be a customer's, into logs.
    compileSqlOnError: false,
    connection: {
      connectionString: options.url,
      application_name: options.application_name,
      connectionTimeoutMillis: acquire_timeout_ms,
      keepAlive: true,
      types,
      // Statements are sent without waiting for those before them.
      pipeline: true,
      // The server cancels a statement that takes too long. One that never answers at all (a frozen host, a cable) would be
      // waited for until TCP gives up: pg closes the connection instead, which it does only in pipeline mode.
      ...(options.statement_timeout_ms > 0 ? { query_timeout: options.statement_timeout_ms + SILENCE_MS } : {}),
    } as Knex.PgConnectionConfig,
    acquireConnectionTimeout: acquire_timeout_ms,
    pool: {
      min: options.min ?? 0,
      max: options.max,
      afterCreate(connection: pg.Client, done: (error: Error | null, connection: pg.Client) => void) {
        // A connection that dies while idle would otherwise end the process.
        connection.on('error', () => undefined)
        connection.query(settings, (error: Error | null) => done(error, connection))
      },
    },
  }
}
