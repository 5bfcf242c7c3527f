import type { Session, SweeperRun } from './queries.ts'
import type { ServiceState } from './service.ts'
import type { StatusReport } from './status.ts'

/** Events that wait for longer than this have nobody who gives them positions. */
const OUTBOX_WAIT_SECONDS_MAX = 60
/** A queue that is half full is about to refuse. */
const QUEUE_FULL_RATIO = 0.5
/** Rows of sweeper_runs outlive their process. */
const INSTANCE_GONE_MS = 600_000

/** What to do about a state, in plain sentences with the command to run, most urgent first. */
export function advise(database: StatusReport['database'], service: ServiceState): string[] {
  if (!database.reachable) {
    return [
      `The database does not answer: ${database.error}. ` +
        (database.embedded
          ? 'The end of its log, under DATA_DIR, says why.'
          : 'See that it runs and that host, port, name and password in DATABASE_URL are right.') +
        ' The service answers 503 meanwhile and recovers by itself.',
    ]
  }
  return [
    ...adviseOnSchema(database),
    ...adviseOnLocks(database),
    ...adviseOnExpiry(database),
    ...adviseOnEvents(database),
    ...adviseOnMoney(database),
    ...adviseOnService(service),
    ...(database.closed === false
      ? [
          'Nobody needs a key yet; the first one closes the service: npm run cli -- keys create --name shop --scopes read,reserve',
        ]
      : []),
  ]
}

function adviseOnSchema({ schema }: StatusReport['database']): string[] {
  if (!schema || schema.current) return []
  return [`The schema is older than the code (${schema.pending.length} migrations to run): npm run migrate`]
}

function adviseOnLocks({ blocked = [], idle_in_transaction = [] }: StatusReport['database']): string[] {
  const roots = new Map<number, { session: Session; waiting: number }>()
  for (const { root } of blocked) {
    if (root) roots.set(root.pid, { session: root, waiting: (roots.get(root.pid)?.waiting ?? 0) + 1 })
  }
  const steps = [...roots.values()].map(
    ({ session, waiting }) =>
      `Session ${named(session)} holds up ${waiting} other${waiting === 1 ? '' : 's'}. If nobody needs it, end it: ` +
      endSession(session),
  )
  if (blocked.some(({ by_prepared_transaction }) => by_prepared_transaction)) {
    steps.push(
      'A prepared transaction holds a lock: "select gid, prepared from pg_prepared_xacts" names it; ' +
        "finish it with commit prepared 'gid' or rollback prepared 'gid'.",
    )
  }
  const idle = idle_in_transaction.filter(({ pid }) => !roots.has(pid))
  return [
    ...steps,
    ...idle.map((session) => `Session ${named(session)} keeps its locks and does nothing: ${endSession(session)}`),
  ]
}

function named(session: Session): string {
  const { pid, application_name, client, state, transaction_seconds } = session
  const from = [application_name || 'unnamed', client].filter(Boolean).join(' from ')
  return `${pid} (${from}, ${state}, in a transaction for ${Math.round(transaction_seconds ?? 0)} s)`
}

function endSession({ pid }: Session): string {
  return `npm run cli -- end-session ${pid} (or "select pg_terminate_backend(${pid})").`
}

function adviseOnExpiry({ stats }: StatusReport['database']): string[] {
  if (!stats) return []
  const steps: string[] = []
  if (stats.stalled) {
    steps.push(
      `Expiry has stalled: a hold is overdue by ${Math.round(stats.oldest_overdue_seconds)} s and no sweeper has ` +
        'succeeded lately. Run one by hand and read its error: npm run cli -- sweep. Then see that a service runs whose ' +
        'EXPIRY_CRON is not off. Nothing is oversold meanwhile: a reservation that finds too little takes overdue holds back itself.',
    )
  }
  const failing = recent(stats.sweeper).filter(
    ({ error, error_at, succeeded_at }) => error && isAfter(error_at, succeeded_at),
  )
  for (const { instance, error } of failing) {
    steps.push(
      `The sweeper of ${instance} failed in its last run (${error}): see its log, and run npm run cli -- sweep.`,
    )
  }
  if (stats.set_aside > 0) {
    steps.push(
      `${stats.set_aside} hold${stats.set_aside === 1 ? '' : 's'} can't be expired (see "set aside"): mend what the ` +
        'error names, npm run cli -- verify helps to find it; they are tried again by themselves.',
    )
  }
  return steps
}

/** Instances that swept at about the time of the latest one: the others have ended. */
function recent(runs: readonly SweeperRun[]): SweeperRun[] {
  const latest = Math.max(...runs.map(({ started_at }) => started_at.getTime()))
  return runs.filter(({ started_at }) => latest - started_at.getTime() < INSTANCE_GONE_MS)
}

function isAfter(a: Date | null, b: Date | null): boolean {
  return a !== null && (b === null || a > b)
}

function adviseOnEvents({ outbox }: StatusReport['database']): string[] {
  if (!outbox || outbox.oldest_seconds <= OUTBOX_WAIT_SECONDS_MAX) return []
  return [
    `Events have waited ${Math.round(outbox.oldest_seconds)} s for their position, so GET /v1/events stands still: ` +
      'see that a service runs on this database, and its log for errors.',
  ]
}

function adviseOnMoney({ owing = [], owed = [] }: StatusReport['database']): string[] {
  const steps: string[] = []
  const [worst] = owing
  if (worst) {
    const requests = worst.count === 1 ? '1 request' : `${worst.count} requests`
    steps.push(
      worst.tries === 0
        ? `${requests} to the payment gateway should have been made long ago (see "Money"): see that a service runs on this ` +
            'database whose PAYMENTS_CRON is not off, and its log for errors.'
        : `${requests} to the payment gateway could not be finished (see "Money"): ${worst.last_error ?? 'its log says why'}. ` +
            'They are tried again by themselves, at most an hour apart, and a confirmed hold keeps its units meanwhile. See ' +
            'that the gateway is up, and that PAYMENT_GATEWAY and its keys are right; then npm run cli -- payments retry does ' +
            'not wait.',
    )
  }
  const [first] = owed
  if (first) {
    const payments = first.count === 1 ? '1 payment' : `${first.count} payments`
    steps.push(
      `${payments} must be given back (see "Money", and docs/operate.md for why): ` +
        `POST /v1/orders/${first.order_id}/refunds with {"restock": false} and an Idempotency-Key does it for the first.`,
    )
  }
  return steps
}

function adviseOnService(service: ServiceState): string[] {
  if (!service.answers) {
    return [
      `No service answers at ${service.url} (${service.error}): start it with npm start, or, if it runs elsewhere, set ` +
        'HOST and PORT to where, or ask for its status there.',
    ]
  }
  const steps: string[] = []
  if (service.ready === false)
    steps.push(`The service at ${service.url} is not ready: curl ${service.url}/readyz says why.`)
  if (service.queue && service.queue.length > service.queue.length_max * QUEUE_FULL_RATIO) {
    steps.push(
      `${service.queue.length} requests wait where ${service.queue.length_max} may: if no session is blocked (above), ` +
        'the database is too slow for this load; look at its disk and processors.',
    )
  }
  return steps
}
