import type { Session } from '../operations/queries.ts'
import { COUNT_MAX } from '../operations/stats.ts'
import type { StatusReport } from '../operations/status.ts'
import { span, table, when } from './table.ts'

const QUERY_SHOWN = 80

/** The status as text: what is, and at the end, where the eye rests, what to do. */
export function describeStatus({ database, service, next_steps }: StatusReport): string {
  return [
    ...section('Database', describeDatabase(database)),
    ...section('Service', describeService(service)),
    ...section('Expiry', describeExpiry(database)),
    ...section('Set aside', describeSetAside(database)),
    ...section('Money', describeMoney(database)),
    ...section('Waiting for a lock', describeBlocked(database)),
    ...section('Idle in a transaction', (database.idle_in_transaction ?? []).map(describeSession)),
    'What to do next',
    ...(next_steps.length === 0
      ? ['  nothing: all is well']
      : next_steps.map((step, index) => `  ${index + 1}. ${step}`)),
  ].join('\n')
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [title, ...lines.map((line) => `  ${line}`), '']
}

function describeDatabase({
  description,
  reachable,
  error,
  version,
  schema,
  closed,
}: StatusReport['database']): string[] {
  if (!reachable) return [description, `NOT REACHABLE: ${error}`]
  return [
    `${description}${description.includes(` ${version}`) ? '' : `, version ${version}`}`,
    schema?.current ? 'schema current' : `schema OLDER than the code: ${schema?.pending.join(', ')}`,
    ...(closed === undefined ? [] : [closed ? 'closed: callers need an API key' : 'open: no API key was ever created']),
  ]
}

function describeService({ url, answers, error, ready, degraded, queue }: StatusReport['service']): string[] {
  if (!answers) return [`${url} does not answer: ${error}`]
  return [
    `${url} is ${ready ? 'ready' : 'NOT READY'}${degraded?.length ? `, degraded: ${degraded.join(', ')}` : ''}`,
    ...(queue
      ? [
          `queue ${queue.length} of ${queue.length_max}, the oldest waits ${Math.round(queue.oldest_wait_seconds * 1000)} ms`,
        ]
      : []),
  ]
}

function describeExpiry({ stats, outbox }: StatusReport['database']): string[] {
  if (!stats) return []
  const { pending, overdue, oldest_overdue_seconds, set_aside, stalled, sweeper } = stats
  const oldest = overdue > 0 ? `, the oldest by ${span(oldest_overdue_seconds)}` : ''
  return [
    `${counted(pending)} pending, ${counted(overdue)} overdue${oldest}, ${set_aside} set aside${stalled ? '; STALLED' : ''}`,
    ...(outbox && outbox.unpositioned > 0
      ? [
          `${counted(outbox.unpositioned)} transactions whose events wait for a position, for ${span(outbox.oldest_seconds)}`,
        ]
      : []),
    ...(sweeper.length === 0
      ? ['no sweeper has run within a day']
      : table(
          ['sweeper', 'started', 'succeeded', 'expired', 'set aside', 'last error'],
          sweeper.map((run) => [
            run.instance,
            when(run.started_at),
            run.succeeded_seconds_ago === null ? 'never' : `${span(run.succeeded_seconds_ago)} ago`,
            run.expired,
            run.set_aside,
            run.error === null ? '-' : `${when(run.error_at)} ${shortened(run.error)}`,
          ]),
        ).split('\n')),
  ]
}

function describeSetAside({ set_aside = [] }: StatusReport['database']): string[] {
  return set_aside.map(
    ({ reservation_id, failures, retry_at, error }) =>
      `reservation ${reservation_id}, failed ${failures} times, next try ${when(retry_at)}: ${shortened(error)}`,
  )
}

function describeMoney({ owing = [], owed = [] }: StatusReport['database']): string[] {
  return [
    ...owing.map(({ what, order_id, payment_id, tries, late_seconds, last_error }) => {
      const next = late_seconds < 0 ? `next try in ${span(-late_seconds)}` : `due for ${span(late_seconds)}`
      const why = last_error === null ? '' : `: ${shortened(last_error)}`
      return `${what} of payment ${payment_id}, order ${order_id}: tried ${tries} times, ${next}${why}`
    }),
    ...more(owing),
    ...owed.map(
      ({ order_id, payment_id, amount, currency, reason }) =>
        `order ${order_id} owes its buyer ${amount} ${currency} of payment ${payment_id}: ${reason}`,
    ),
    ...more(owed),
  ]
}

function more(shown: readonly { count: number }[]): string[] {
  const left = (shown[0]?.count ?? 0) - shown.length
  return left > 0 ? [`and ${left} more`] : []
}

function describeBlocked({ blocked = [] }: StatusReport['database']): string[] {
  return blocked.flatMap(({ pid, application_name, waited_seconds, query, root, by_prepared_transaction }) => [
    `${pid} (${application_name || 'unnamed'}) for ${span(waited_seconds)}: ${shortened(query)}`,
    by_prepared_transaction
      ? '  behind a prepared transaction'
      : root
        ? `  behind ${describeSession(root)}`
        : '  behind a session that has left',
  ])
}

function describeSession(session: Session): string {
  const { pid, application_name, state, state_seconds, query } = session
  return `${pid} (${application_name || 'unnamed'}), ${state} for ${span(state_seconds ?? 0)}: ${shortened(query)}`
}

function shortened(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  return line.length > QUERY_SHOWN ? `${line.slice(0, QUERY_SHOWN)}…` : line
}

function counted(count: number): string {
  return count >= COUNT_MAX ? `${COUNT_MAX} or more` : String(count)
}
