import { isNativeError } from 'node:util/types'

/**
 * PostgreSQL's error codes by name, and what they mean to us. Errors are told apart by SQLSTATE and constraint name,
 * never by message text, which is translated and changes between releases.
 * Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
export const SQLSTATE = {
  unique_violation: '23505',
  check_violation: '23514',
  serialization_failure: '40001',
  deadlock_detected: '40P01',
  undefined_table: '42P01',
  lock_not_available: '55P03',
  query_canceled: '57014',
  read_only_sql_transaction: '25006',
  in_failed_sql_transaction: '25P02',
  idle_in_transaction_session_timeout: '25P03',
} as const

type ServerError = { code?: unknown; constraint?: unknown; severity?: unknown }

/** The SQLSTATE of a server error; undefined for anything else, a lost connection included. */
export function sqlstate(error: unknown): string | undefined {
  const code = (error as ServerError | null | undefined)?.code
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && (error as ServerError).severity !== undefined
    ? code
    : undefined
}

/** The name of the constraint that a server error names. */
export function violatedConstraint(error: unknown): string | undefined {
  const name = (error as ServerError | null | undefined)?.constraint
  return typeof name === 'string' ? name : undefined
}

/**
 * What an error says, at most 500 characters of it, to be kept where an operator reads it: without the statement that knex
 * puts before the server's words, and without their DETAIL, which carries a whole row.
 */
export function describeError(error: unknown): string {
  const message = error instanceof Error ? error.message : typeof error === 'string' ? error : JSON.stringify(error)
  const after = message.lastIndexOf(' - ')
  return (sqlstate(error) === undefined || after < 0 ? message : message.slice(after + 3)).slice(0, 500)
}

/** True if running the whole transaction again may succeed: a deadlock or a serialisation failure. */
export function isRetryable(error: unknown): boolean {
  const code = sqlstate(error)
  return code === SQLSTATE.serialization_failure || code === SQLSTATE.deadlock_detected
}

/** True for a statement that was refused only because one before it in its transaction had failed. */
export function isConsequence(error: unknown): boolean {
  return sqlstate(error) === SQLSTATE.in_failed_sql_transaction
}

/** True if a lock was waited for longer than `lock_timeout`. */
export function isLockTimeout(error: unknown): boolean {
  return sqlstate(error) === SQLSTATE.lock_not_available
}

/**
 * True if the database can't be asked: the connection was refused, lost or could not be had in time, the statement took
 * longer than it may, the process was so busy that the server ended its open transaction, or the server is starting,
 * stopping, read-only or out of room (classes 08, 53, 57P0x, 58). knex rejects some of these without a code.
 */
export function isUnavailable(error: unknown): boolean {
  const code = sqlstate(error)
  if (code === undefined) return looksLikeLostConnection(error)
  if (code === SQLSTATE.query_canceled || code === SQLSTATE.read_only_sql_transaction) return true
  if (code === SQLSTATE.idle_in_transaction_session_timeout) return true
  return /^(08|53|58)/.test(code) || /^57P0[1-5]$/.test(code)
}

const SOCKET_ERRORS = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOENT',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
])

// The driver has no codes for these; the names and first words below are pg's, pg-pool's and tarn's own. knex puts the
// statement and a dash before them.
const DRIVER_MESSAGES =
  /(?:^| - )(Connection terminated|Connection ended|timeout exceeded when trying to connect|timeout expired|Client has encountered a connection error|Client was closed|Client is closed|Query read timeout|Unable to acquire a connection|Transaction query already complete|Cannot use a pool after)/i

function looksLikeLostConnection(error: unknown): boolean {
  // Not instanceof: under jest the sockets' errors come from another realm.
  if (!isNativeError(error)) return false
  if (error.name === 'KnexTimeoutError' || error.name === 'TimeoutError' || error.name === 'AggregateError') return true
  const code = (error as NodeJS.ErrnoException).code
  if (typeof code === 'string' && SOCKET_ERRORS.has(code)) return true
  return DRIVER_MESSAGES.test(error.message) || (error.cause !== undefined && looksLikeLostConnection(error.cause))
}
