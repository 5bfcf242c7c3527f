import type { Command } from 'commander'
import { hostname } from 'node:os'
import { pino } from 'pino'
import { composeSweeper } from '../compose.ts'
import { isUuid } from '../ids.ts'
import { readReservation } from '../reservations/list.ts'
import { CommandEnd, CommandError, EXIT, print, printJson, withDatabase } from './run.ts'
import { span, table, when } from './table.ts'

const STDERR = 2

/** `cli sweep` and `cli reservations …` */
export function addReservationCommands(program: Command): void {
  program
    .command('sweep')
    .description('give back all overdue reservations now, beside whatever sweepers run')
    .option('--json', 'print JSON')
    .action(sweep)
  program
    .command('reservations')
    .description('look at reservations')
    .command('show <id>')
    .description('one reservation and its lines')
    .option('--json', 'print JSON')
    .action(show)
}

async function sweep({ json }: { json?: boolean }): Promise<void> {
  const log = pino({ level: 'warn' }, pino.destination({ dest: STDERR, sync: true }))
  const summary = await withDatabase((db) =>
    composeSweeper({ db, log, instance: `stock cli ${hostname()} ${process.pid}` }).run(),
  )
  const { expired, batches, set_aside, blocked_skus, duration_ms } = summary
  if (json) printJson(summary)
  else
    print(
      `${expired} expired in ${batches} batch${batches === 1 ? '' : 'es'}, ${set_aside} set aside, ${span(duration_ms / 1000)}`,
    )
  if (!json && blocked_skus.length > 0) {
    print(`left for the next run, because another session holds their rows: ${blocked_skus.join(', ')}`)
  }
  if (set_aside > 0 || blocked_skus.length > 0) throw new CommandEnd(EXIT.no)
}

async function show(id: string, { json }: { json?: boolean }): Promise<void> {
  const reservation = isUuid(id) ? await withDatabase((db) => readReservation(db, id)) : undefined
  if (!reservation) throw new CommandError(`there is no reservation ${id}`, EXIT.no)
  if (json) return printJson(reservation)
  const { status, created_at, expires_at, closed_at, customer_id, reference, release_reason } = reservation
  print(`reservation ${reservation.id}: ${status}`)
  print(`created ${when(created_at)}, expires ${when(expires_at)}, closed ${when(closed_at)}`)
  if (customer_id !== null) print(`customer ${customer_id}`)
  if (reference !== null) print(`reference ${reference}`)
  if (release_reason !== null) print(`released because: ${release_reason}`)
  print(
    table(
      ['sku', 'quantity'],
      reservation.lines.map(({ sku, quantity }) => [sku, quantity]),
    ),
  )
}
