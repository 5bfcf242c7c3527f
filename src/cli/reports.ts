import { InvalidArgumentError, type Command } from 'commander'
import { readTtlReport, type TtlVariant } from '../operations/ttl_report.ts'
import { print, printJson, withDatabase } from './run.ts'
import { table } from './table.ts'

const TIME = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2}))?$/

/** `cli report …`: what became of what was tried. */
export function addReportCommands(program: Command): void {
  program
    .command('report')
    .description('what became of what was tried')
    .command('ttl')
    .description(
      'holds, payments and returned units for each hold time that RESERVATION_TTL_SECONDS splits buyers among',
    )
    .option('--since <time>', 'only reservations made since, such as 2026-11-01 or 2026-11-01T08:00Z', moment)
    .option('--json', 'print JSON')
    .action(reportTtl)
}

async function reportTtl({ since, json }: { since?: Date; json?: boolean }): Promise<void> {
  const variants = await withDatabase((db) => readTtlReport(db, { since }))
  if (json) return printJson(variants)
  if (variants.length === 0) return print('no reservations yet')
  print(
    table(
      [
        'ttl',
        'holds',
        'paid',
        'paid %',
        'released',
        'expired',
        'pending',
        'units held',
        'units sold',
        'units returned',
      ],
      variants.map((variant) => [
        variant.ttl_variant === null ? '-' : `${variant.ttl_variant} s`,
        variant.holds,
        variant.confirmed,
        paidShare(variant),
        variant.released,
        variant.expired,
        variant.pending,
        variant.units_held,
        variant.units_sold,
        variant.units_returned,
      ]),
    ),
  )
  if (variants.some(({ ttl_variant }) => ttl_variant === null)) {
    print('-  holds whose request named its own time, or that were made while nothing was split')
  }
}

/** Of those that have ended: who still may pay is not counted against a hold time. */
function paidShare({ confirmed, released, expired }: TtlVariant): string {
  const ended = confirmed + released + expired
  return ended === 0 ? '-' : ((confirmed / ended) * 100).toFixed(1)
}

function moment(text: string): Date {
  const time = new Date(text)
  if (!TIME.test(text) || Number.isNaN(time.getTime())) {
    throw new InvalidArgumentError('a day or a time with its zone, such as 2026-11-01 or 2026-11-01T08:00Z')
  }
  return time
}
