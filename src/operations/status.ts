import type { Knex } from 'knex'
import { schemaState, type SchemaState } from '../database/migrations.ts'
import { hasEverHadKeys } from '../keys/authenticate.ts'
import { advise } from './advice.ts'
import {
  selectOutboxBacklog,
  selectOwedToBuyers,
  selectOwing,
  selectServerVersion,
  selectSessions,
  selectSetAside,
  type OutboxBacklog,
  type OwedToBuyer,
  type Owing,
  type Session,
  type SetAside,
} from './queries.ts'
import { askService, type ServiceState } from './service.ts'
import { COUNT_MAX, readStats, type Stats } from './stats.ts'

/**
 * The state of everything, for somebody who was woken by it. Each part is asked for alone, so what still answers is shown.
 */

const SET_ASIDE_SHOWN_MAX = 20
const MONEY_SHOWN_MAX = 20
/** What is due is taken within seconds (PAYMENTS_CRON), and asked for once more 30 s later: the lease of the job. */
const OWING_LATE_SECONDS = 60

/** A session that waits for a lock, and who is at the head of that line. */
export type Blocked = {
  pid: number
  application_name: string
  waited_seconds: number
  query: string
  /** The session that waits for nobody and holds the rest up; undefined where it left meanwhile. */
  root: Session | undefined
  /** A prepared transaction holds the lock: no session to end. */
  by_prepared_transaction: boolean
}

export type DatabaseState = {
  version: string
  schema: SchemaState
  /** What follows is undefined while the schema is older than the code. */
  closed?: boolean
  stats?: Stats
  set_aside?: SetAside[]
  outbox?: OutboxBacklog
  /** What payment gateways did not take yet, and what buyers must be given back; the first of each. */
  owing?: Owing[]
  owed?: OwedToBuyer[]
  blocked: Blocked[]
  /** Sessions that hold their locks and do nothing, the longest first. */
  idle_in_transaction: Session[]
}

export type StatusReport = {
  database: { description: string; embedded: boolean; reachable: boolean; error?: string } & Partial<DatabaseState>
  service: ServiceState
  /** What to do, most urgent first; empty when all is well. */
  next_steps: string[]
}

/** A transaction of ours never idles for so long: the server ends it after 5 s. */
const IDLE_IN_TRANSACTION_SECONDS = 5

/**
 * Asks the database and the service on this machine how they are.
 *
 * @param target.database the open pool, or why there is none
 * @param target.service_url where the service of this machine should answer
 */
export async function readStatus(target: {
  database: { description: string; embedded: boolean; db?: Knex; error?: string }
  service_url: string
  stalled_after_seconds: number
}): Promise<StatusReport> {
  const [database, service] = await Promise.all([askDatabase(target), askService(target.service_url)])
  return { database, service, next_steps: advise(database, service) }
}

async function askDatabase(target: Parameters<typeof readStatus>[0]): Promise<StatusReport['database']> {
  const { description, embedded, db, error } = target.database
  if (!db) return { description, embedded, reachable: false, error: error ?? 'it was not opened' }
  try {
    return { description, embedded, reachable: true, ...(await readDatabaseState(db, target.stalled_after_seconds)) }
  } catch (failure) {
    return { description, embedded, reachable: false, error: reason(failure) }
  }
}

async function readDatabaseState(db: Knex, stalled_after_seconds: number): Promise<DatabaseState> {
  const [version, schema, sessions] = await Promise.all([selectServerVersion(db), schemaState(db), selectSessions(db)])
  const state: DatabaseState = {
    version,
    schema,
    blocked: findBlocked(sessions),
    idle_in_transaction: sessions
      .filter(({ state: now }) => now?.startsWith('idle in transaction'))
      .filter(({ state_seconds }) => (state_seconds ?? 0) >= IDLE_IN_TRANSACTION_SECONDS)
      .toSorted((a, b) => (b.state_seconds ?? 0) - (a.state_seconds ?? 0)),
  }
  if (!schema.current) return state
  const [closed, stats, set_aside, outbox, owing, owed] = await Promise.all([
    hasEverHadKeys(db),
    readStats(db, { stalled_after_seconds }),
    selectSetAside(db, SET_ASIDE_SHOWN_MAX),
    selectOutboxBacklog(db, COUNT_MAX),
    selectOwing(db, { limit: MONEY_SHOWN_MAX, late_after_seconds: OWING_LATE_SECONDS }),
    selectOwedToBuyers(db, MONEY_SHOWN_MAX),
  ])
  return { ...state, closed, stats, set_aside, outbox, owing, owed }
}

/** Who waits for a lock, each with the head of its line: ending that one lets all of them go on. */
export function findBlocked(sessions: readonly Session[]): Blocked[] {
  const byPid = new Map(sessions.map((session) => [session.pid, session]))
  return sessions
    .filter((session) => session.lock_wait_seconds !== null)
    .map((session) => {
      const root_pid = findRoot(session.pid, byPid)
      return {
        pid: session.pid,
        application_name: session.application_name,
        waited_seconds: session.lock_wait_seconds ?? 0,
        query: session.query,
        root: root_pid === undefined ? undefined : byPid.get(root_pid),
        by_prepared_transaction: root_pid === 0,
      }
    })
}

function findRoot(pid: number, byPid: ReadonlyMap<number, Session>): number | undefined {
  const seen = new Set<number>([pid])
  let current = pid
  for (;;) {
    const next = byPid.get(current)?.blocked_by.find((blocker) => !seen.has(blocker))
    if (next === undefined) return current === pid ? undefined : current
    seen.add(next)
    current = next
  }
}

function reason(error: unknown): string {
  const cause = (error as Error).cause
  // A refused connection is an AggregateError without a message of its own where localhost has two addresses.
  const innermost = (cause instanceof AggregateError ? cause.errors[0] : cause) ?? error
  return innermost instanceof AggregateError ? String(innermost.errors[0]) : (innermost as Error).message
}
