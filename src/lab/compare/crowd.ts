import { median, spreadOf } from '../bench/series.ts'
import type { BenchDatabase } from '../bench/database.ts'
import { LeftOut, type Contender } from './contenders.ts'
import { place, stockLoads, type Load, type Placed } from './loads.ts'
import { measureRound, type Bench, type Measured, type Round } from './measure.ts'
import type { Options } from './options.ts'
import { count, ms, type Bar, type Chart, type Report, type Section, type Table } from './report.ts'
import { OF_SOURCES, sourceOf } from './sources.ts'
import { createScratchTables } from './unsafe.ts'

/** The same crowd before each contender, and what became of it. */

/** All that was measured of a contender: round by round, load by load. */
export type Found = { contender: Contender; rounds: Round[] }

/** The loads that the command line asks for. */
export function loadsOf({ mode, buyers, stock, sku_count }: Options): Load[] {
  if (mode.kind === 'rate') {
    return mode.rates.map((rate) => {
      const all = rate * mode.seconds
      return { label: `${count(rate)} a second`, buyers: all, rate, skus: sku_count, stock: stock ?? all }
    })
  }
  if (mode.kind === 'conflict') {
    return mode.percents.map((meet_percent) => {
      return { label: `${meet_percent} % meet`, buyers, skus: 1, meet_percent, stock: buyers }
    })
  }
  return [{ label: `${count(buyers)} at once`, buyers, skus: sku_count, stock: stock ?? buyers }]
}

/** What was found, who could not run here, and who broke on the way. */
export type Findings = { found: Found[]; left_out: Report['left_out']; broke: string[] }

/**
 * Runs `rounds` rounds; in each the contenders take turns, there and back. One that can't run, or breaks, is left out from
 * then on, and the others go on.
 */
export async function measureAll(
  bench: Bench,
  { contenders, loads, rounds }: { contenders: readonly Contender[]; loads: readonly Load[]; rounds: number },
): Promise<Findings> {
  const placed = place(loads)
  const stocked = await stockUp(bench, placed)
  const found = new Map<Contender, Round[]>(contenders.map((contender) => [contender, []]))
  const left_out: Report['left_out'] = []
  const broke: string[] = []
  for (let round = 0; round < rounds; round++) {
    for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
      const done = found.get(contender)
      if (done === undefined) continue
      try {
        done.push(await measureRound(bench, contender, placed, stocked))
      } catch (error) {
        found.delete(contender)
        const why = error instanceof Error ? error.message : String(error)
        if (error instanceof LeftOut) left_out.push({ name: contender.name, why })
        else broke.push(`${contender.name} broke: ${why}`)
      }
    }
  }
  await bench.databases.drop(stocked)
  return { found: Array.from(found, ([contender, done]) => ({ contender, rounds: done })), left_out, broke }
}

/** A database with the stock of all loads, to be cloned for each contender: nobody is connected to it. */
async function stockUp({ databases, progress }: Bench, loads: readonly Placed[]): Promise<BenchDatabase> {
  progress('preparing')
  const stocked = await databases.create()
  await stockLoads(stocked.db, loads)
  await createScratchTables(stocked.db)
  await stocked.close()
  return stocked
}

/** What one contender came to under one load: its middle round, and the worst of what may never be. */
export type Outcome = {
  name: string
  unsafe: boolean
  load: Load
  middle: Measured
  least_ms: number
  most_ms: number
  oversold: number
  uncounted: number
  clean: boolean
  verify: string
  faults: string[]
}

export function outcomesOf(found: readonly Found[], loads: readonly Load[]): Outcome[] {
  return found.flatMap(({ contender, rounds }) =>
    loads.map((load, i) => {
      const measured = rounds.map((round) => round.measured[i]!)
      const times = spreadOf(measured.map(({ last_answer_ms }) => last_answer_ms))
      const broken = rounds.find(({ clean }) => !clean)
      return {
        name: contender.name,
        unsafe: 'unsafe' in contender,
        load,
        middle: middleOf(measured),
        least_ms: times.min,
        most_ms: times.max,
        oversold: Math.max(...measured.map(({ oversold }) => oversold)),
        uncounted: Math.max(...measured.map(({ uncounted }) => uncounted)),
        clean: broken === undefined,
        verify: (broken ?? rounds[0]!).verify,
        faults: measured.flatMap(({ faults }) => faults),
      }
    }),
  )
}

/** The round whose time is nearest to the median, whole: its numbers belong together. */
function middleOf(measured: readonly Measured[]): Measured {
  const middle = median(measured.map(({ last_answer_ms }) => last_answer_ms))
  const distance = ({ last_answer_ms }: Measured): number => Math.abs(last_answer_ms - middle)
  return measured.toSorted((a, b) => distance(a) - distance(b))[0]!
}

export function crowdSection(
  title: string,
  { found, broke }: Pick<Findings, 'found' | 'broke'>,
  loads: readonly Load[],
): Section {
  const outcomes = outcomesOf(found, loads)
  const several = loads.length > 1
  const rounds = found[0]?.rounds.length ?? 0
  return {
    title,
    tables: [tableOfAnswers(outcomes, { several, rounds }), tableOfWork(outcomes, several)],
    notes: [
      ...(rounds > 1
        ? [`of ${rounds} rounds the one in the middle by its last answer; oversold and uncounted: the worst of all`]
        : []),
      ...WORDS,
      ...(hasSources(outcomes) ? [OF_SOURCES] : []),
      ...unheard(outcomes),
    ],
    faults: [...(found.length === 0 ? ['nothing could be measured'] : []), ...broke, ...faultsOf(outcomes)],
    chart: chartOf(title, outcomes, loads),
    data: { loads, found },
  }
}

/** Nothing but the unsafe ways may oversell, and whatever was acknowledged must be there. */
function faultsOf(outcomes: readonly Outcome[]): string[] {
  return outcomes.flatMap(({ name, unsafe, oversold, uncounted, clean, verify, faults }) => [
    ...new Set(faults.map((fault) => `${name}: ${fault}`)),
    ...(!unsafe && oversold + uncounted > 0 ? [`${name}: ${oversold} oversold, ${uncounted} uncounted`] : []),
    ...(clean ? [] : [`${name}: verify: ${verify}`]),
  ])
}

const WORDS = [
  "503: told to come again, nothing written. Lock wait: the mean for a lock of the strategy's own; waiting for a row in PostgreSQL is part of its statement.",
  'Statements: what PostgreSQL ran, and the mean time of one. Transactions: the mean from BEGIN to the answer of COMMIT. Pool: the most connections that one process had in use at once.',
  'Oversold: units held beyond the stock. Uncounted: units held that the counter knows nothing of, and sells once more.',
]

function tableOfAnswers(
  outcomes: readonly Outcome[],
  { several, rounds }: { several: boolean; rounds: number },
): Table {
  const sources = hasSources(outcomes)
  const head = ['strategy', 'last answer, ms', ...(rounds > 1 ? ['min–max'] : []), 'mean', 'p50', 'p95', 'p99']
    .concat(['successes', 'refusals', '503', 'unanswered'])
    .concat(sources ? ['the sources'] : [])
  const rows = outcomes.map(({ name, load, middle, least_ms, most_ms }) =>
    [
      name,
      ms(middle.last_answer_ms),
      ...(rounds > 1 ? [`${ms(least_ms)}–${ms(most_ms)}`] : []),
      ...[middle.mean_ms, middle.p50_ms, middle.p95_ms, middle.p99_ms].map(ms),
      ...[middle.successes, middle.refusals, middle.turned_away, middle.unanswered].map(count),
    ].concat(sources ? [sourceOf(name, load) ?? ''] : []),
  )
  return withLoads({ title: 'what the buyers saw', head, rows }, outcomes, several)
}

function tableOfWork(outcomes: readonly Outcome[], several: boolean): Table {
  const head = ['strategy', 'conflicts', 'retries', 'lock wait, ms', 'statements', 'ms each'].concat([
    'transactions',
    'ms each',
    'pool',
    'oversold',
    'uncounted',
    'stock left',
    'verify',
  ])
  const rows = outcomes.map(({ name, middle, oversold, uncounted, verify }) => [
    name,
    count(middle.conflicts),
    count(middle.retries),
    ms(middle.lock_wait_ms),
    count(middle.statements),
    ms(middle.statement_ms),
    count(middle.transactions),
    ms(middle.transaction_ms),
    count(middle.peak_pool),
    ...[oversold, uncounted, middle.left].map(count),
    verify,
  ])
  return withLoads({ title: 'what it took, and what was left', head, rows }, outcomes, several)
}

function hasSources(outcomes: readonly Outcome[]): boolean {
  return outcomes.some(({ name, load }) => sourceOf(name, load) !== undefined)
}

/** With several loads each row says which one it is of. */
function withLoads({ title, head, rows }: Table, outcomes: readonly Outcome[], several: boolean): Table {
  if (!several) return { title, head, rows }
  const [first, ...rest] = head
  return {
    title,
    head: [first!, 'load', ...rest],
    rows: rows.map(([name, ...cells], i) => [name!, outcomes[i]!.load.label, ...cells]),
  }
}

function unheard(outcomes: readonly Outcome[]): string[] {
  return outcomes
    .filter(({ middle }) => middle.unanswered > 0)
    .map(({ name, load, middle }) => {
      const why = Object.entries(middle.errors).map(([what, times]) => `${what} ${times}`)
      return `${name}, ${load.label}: ${middle.unanswered} without an answer${why.length > 0 ? ` (${why.join(', ')})` : ''}`
    })
}

function chartOf(title: string, outcomes: readonly Outcome[], loads: readonly Load[]): Chart {
  const by_rate = loads.some(({ rate }) => rate !== undefined)
  const groups = loads.map((load) => ({
    name: loads.length > 1 ? load.label : '',
    bars: outcomes
      .filter((outcome) => outcome.load === load)
      .map(({ name, unsafe, middle }): Bar => {
        const value = by_rate ? middle.p99_ms : middle.last_answer_ms
        return {
          name,
          // Of those that heard nothing no time is known, and a short bar would praise it.
          value: middle.unanswered > 0 ? Number.NaN : value,
          kind: unsafe ? 'unsafe' : 'ours',
          ...(middle.turned_away > 0 ? { note: `${count(middle.turned_away)} turned away` } : {}),
        }
      }),
  }))
  return { title, unit: by_rate ? 'p99 in ms' : 'time to the last answer in ms', groups }
}
