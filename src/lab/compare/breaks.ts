import { CONTENDERS, type Contender } from './contenders.ts'
import { measureAll, type Found } from './crowd.ts'
import type { Load } from './loads.ts'
import type { Bench } from './measure.ts'
import { count, type Section } from './report.ts'
import type { Tables } from './unsafe.ts'

/**
 * What the unsafe ways break: ten times as many buyers as units, on tables without a CHECK and then on the service's own.
 * With as many units as buyers an unguarded increment has nobody to sell too much to.
 */

const BUYERS_PER_UNIT = 10

export async function breaksSection(bench: Bench, contenders: readonly Contender[], buyers: number): Promise<Section> {
  const stock = Math.max(1, Math.floor(buyers / BUYERS_PER_UNIT))
  const load: Load = { label: `${count(buyers)} for ${count(stock)}`, buyers, skus: 1, stock }
  const chosen = (['scratch', 'real'] as const).flatMap((tables) => onTables(contenders, tables))
  const { found, broke } = await measureAll(bench, { contenders: chosen, loads: [load], rounds: 1 })
  return {
    title: `What breaks without a guard, and what the database stops: ${count(buyers)} buyers for ${count(stock)} units`,
    tables: [{ title: '', head: HEAD, rows: found.map((one) => rowOf(one)) }],
    notes: NOTES,
    faults: [...broke, ...found.flatMap((one) => faultsOf(one))],
    data: { loads: [load], found },
  }
}

function onTables(contenders: readonly Contender[], tables: Tables): Contender[] {
  const chosen = contenders.length > 0 ? contenders : CONTENDERS
  return chosen.flatMap((one) => ('unsafe' in one ? [{ ...one, tables }] : []))
}

const HEAD = [
  'way',
  'tables',
  'successes',
  'refusals',
  'stopped',
  'by',
  'units held',
  'oversold',
  'uncounted',
  'stock left',
  'verify',
]

const NOTES = [
  'none: read, check, write an absolute value. On the real tables each change has a ledger row with the next number of its SKU: who wrote over another one has taken that number twice, which stock_ledger_pkey refuses.',
  'unguarded: check, then increment. On the real tables the CHECK stock_covers_reserved refuses what goes past the stock.',
]

/** On its own tables the database must stop what the code does not; on the others nothing is expected. */
function faultsOf({ contender, rounds }: Found): string[] {
  if (!('tables' in contender) || contender.tables === 'scratch') return []
  const { measured, clean, verify } = rounds[0]!
  const { oversold, uncounted } = measured[0]!
  const broken = oversold > 0 || uncounted > 0 ? [`${contender.name} oversold ${oversold} on the real tables`] : []
  return [...broken, ...(clean ? [] : [`${contender.name} on the real tables: ${verify}`])]
}

const STOPPED_BY = 'stopped by '

function rowOf({ contender, rounds }: Found): string[] {
  const { measured, verify } = rounds[0]!
  const { successes, refusals, outcomes, held, oversold, uncounted, left } = measured[0]!
  const stopped = Object.entries(outcomes).filter(([code]) => code.startsWith(STOPPED_BY))
  return [
    contender.name,
    'tables' in contender ? TABLES[contender.tables] : '',
    ...[successes, refusals, stopped.reduce((sum, [, times]) => sum + times, 0)].map(count),
    stopped.map(([code]) => code.slice(STOPPED_BY.length)).join(', '),
    ...[held, oversold, uncounted, left].map(count),
    verify,
  ]
}

const TABLES: Record<Tables, string> = { scratch: 'without CHECK', real: 'the real ones' }
