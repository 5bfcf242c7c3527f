import { InvalidArgumentError, type Command } from 'commander'
import { loadConfig } from '../config.ts'
import type { Finding } from '../operations/finding.ts'
import { serviceUrl } from '../operations/service.ts'
import { endSession } from '../operations/sessions.ts'
import { stalledAfterSeconds } from '../operations/stats.ts'
import { readStatus, type StatusReport } from '../operations/status.ts'
import { verify, type VerifyReport } from '../operations/verify.ts'
import { CommandEnd, CommandError, EXIT, notes, print, printJson, withDatabase, withOpenDatabase } from './run.ts'
import { describeStatus } from './status.ts'
import { span } from './table.ts'

/** `cli verify`, `cli status` and `cli end-session`: for whoever keeps the service running. */
export function addOperationCommands(program: Command): void {
  program
    .command('verify')
    .description(
      'check counters, reservations, balances, coupons, orders, payments and sales of the whole database against each other ' +
        'and name what is broken; repairs nothing. Takes three minutes for ten million reservations; run it when it is quiet',
    )
    .option('--json', 'print JSON')
    .action(runVerify)
  program
    .command('status')
    .description('how database, locks, expiry, payments and the service on this machine are, and what to do next')
    .option('--json', 'print JSON')
    .action(runStatus)
  program
    .command('end-session <pid>')
    .description('end a database session that "status" names; its transaction is rolled back')
    .action(runEndSession)
}

async function runVerify({ json }: { json?: boolean }): Promise<void> {
  const report = await withDatabase(verify)
  if (json) printJson(report)
  else print(describeVerify(report))
  if (!report.clean) throw new CommandEnd(EXIT.no)
}

function describeVerify(report: VerifyReport): string {
  const lines = report.checks.flatMap(({ promise, title, broken, findings }) => [
    `${broken === 0 ? 'ok    ' : 'BROKEN'} ${promise}. ${title}${broken === 0 ? '' : `: ${broken}`}`,
    ...findings.flatMap((finding) => [
      `         ${subjectOf(finding)}: ${finding.detail}`,
      `           -> ${finding.next_step}`,
    ]),
    ...(broken > findings.length ? [`         and ${broken - findings.length} more`] : []),
  ])
  const { skus, reservations, ledger_rows, as_of, duration_ms } = report
  return [
    ...lines,
    '',
    `${report.clean ? 'All promises hold' : 'NOT CLEAN'}: ${skus} SKUs, ${reservations} reservations and ${ledger_rows} ` +
      `ledger rows as of ${as_of.toISOString()}, checked in ${span(duration_ms / 1000)}. Nothing was changed.`,
  ].join('\n')
}

function subjectOf({ sku, reservation_id, customer_id, coupon_code, order_id, payment_id }: Finding): string {
  return [
    reservation_id && `reservation ${reservation_id}`,
    sku && `SKU ${sku}`,
    customer_id && `customer ${customer_id}`,
    coupon_code && `coupon ${coupon_code}`,
    order_id && `order ${order_id}`,
    payment_id && `payment ${payment_id}`,
  ]
    .filter(Boolean)
    .join(', ')
}

async function runStatus({ json }: { json?: boolean }): Promise<void> {
  const config = loadConfig()
  const target = { service_url: serviceUrl(config), stalled_after_seconds: stalledAfterSeconds(config.expiry_cron) }
  const embedded = config.database_url === undefined
  const report = await withOpenDatabase(config, ({ db, description }) =>
    readStatus({ ...target, database: { db, description, embedded } }),
  ).catch((error: Error): Promise<StatusReport> => {
    const description = embedded ? `embedded PostgreSQL, data in ${config.data_dir}` : 'PostgreSQL'
    return readStatus({ ...target, database: { description, embedded, error: error.message } })
  })
  if (json) printJson(report)
  else print(describeStatus(report))
  if (!report.database.reachable) throw new CommandEnd(EXIT.failed)
  if (report.next_steps.length > 0) throw new CommandEnd(EXIT.no)
}

async function runEndSession(text: string): Promise<void> {
  const pid = Number(text)
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('a pid is a number; "status" shows it')
  if (!(await withDatabase((db) => endSession(db, pid)))) {
    throw new CommandError(`this database has no session ${pid}`, EXIT.no)
  }
  notes.warn(`session ${pid} was ended`)
}
