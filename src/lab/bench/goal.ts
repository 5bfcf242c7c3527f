import type { Drivers, LoadResult } from '../load/drive.ts'
import type { Databases } from './database.ts'
import type { BenchHome } from './home.ts'
import type { Pgbench } from './pgbench.ts'
import { ratioOf, seriesOf, type Sample, type Series, type Spread } from './series.ts'
import type { Patience } from './patience.ts'
import type { Undisturbed } from './stolen.ts'

/** One shape for all goals: what is compared, what it comes to, and whether that is enough. */

export type Goal = {
  id: number
  title: string
  run(context: Context): Promise<GoalResult>
}

/** What a goal measures with. */
export type Context = {
  settings: Settings
  home: BenchHome
  databases: Databases
  drivers: Drivers
  /** Requests a second that the drivers reach against a bare socket. */
  bare_rate: number
  /** Absent where it is not installed. */
  pgbench: Pgbench | undefined
  /** Where Node's processor profiles of the services go, if they are wanted. */
  profile_dir: string | undefined
  patience: Patience
  /** Measures, and again where the host disturbed it. */
  undisturbed: Undisturbed
  /** Notes what is to be closed when the goal is over; in reverse. */
  later(close: () => Promise<void>): void
  /** Says what is being done. */
  progress(doing: string): void
}

export type Settings = {
  quick: boolean
  /** How often each arm is measured, for how long, and how long a server runs warm before. */
  rounds: number
  seconds: number
  warmup_seconds: number
  /** The numbers of connections among which an opponent's best is sought, and how long each is tried. */
  trial_connections: readonly number[]
  trial_seconds: number
  /** Goal 7: overdue holds, and rounds; each copies a large database several times. */
  overdue_holds: number
  expiry_rounds: number
  /** Goal 11: reservations that were there before. */
  earlier_reservations: number
  /** Goals 4 and 10: looks at whether an answer is fresh. */
  probes: number
}

export const QUICK: Settings = {
  quick: true,
  rounds: 2,
  seconds: 1.5,
  warmup_seconds: 1,
  trial_connections: [2, 8, 32],
  trial_seconds: 0.7,
  overdue_holds: 100_000,
  expiry_rounds: 1,
  earlier_reservations: 1_000_000,
  probes: 50,
}

export const FULL: Settings = {
  quick: false,
  rounds: 5,
  seconds: 2.5,
  warmup_seconds: 2,
  trial_connections: [1, 2, 4, 8, 16, 32, 64],
  trial_seconds: 1,
  overdue_holds: 1_000_000,
  expiry_rounds: 1,
  earlier_reservations: 10_000_000,
  probes: 300,
}

export type Target = { at_least: number } | { at_most: number }
export type Verdict = 'PASS' | 'FALLS SHORT' | 'INVALID'

/** One comparison. Without a target it is only told. */
export type Row = {
  label: string
  value: number
  spread: Spread
  target: Target | null
  verdict: Verdict | null
  /** Why the numbers must not be used. */
  faults: string[]
}

export type GoalResult = { arms: Series[]; rows: Row[]; notes: string[] }

/** A goal's verdict is its worst row's. */
export function verdictOf(rows: readonly Row[]): Verdict {
  for (const verdict of ['INVALID', 'FALLS SHORT'] as const) {
    if (rows.some((row) => row.verdict === verdict)) return verdict
  }
  return 'PASS'
}

/** Judges a number that stands alone. */
export function judge(label: string, value: number, target: Target | null, faults: readonly string[] = []): Row {
  return judgeSpread(label, { median: value, min: value, max: value }, target, faults)
}

/** Judges one arm divided by another; the faults of either make it invalid. */
export function judgeRatio(label: string, above: Series, below: Series, target: Target | null): Row {
  return judgeSpread(label, ratioOf(above, below), target, [...new Set([...above.faults, ...below.faults])])
}

function judgeSpread(label: string, spread: Spread, target: Target | null, faults: readonly string[]): Row {
  const value = spread.median
  const unusable = Number.isFinite(value) ? faults : [...faults, 'there is no number']
  return { label, value, spread, target, verdict: decide(value, target, unusable), faults: [...unusable] }
}

function decide(value: number, target: Target | null, faults: readonly string[]): Verdict | null {
  if (faults.length > 0) return 'INVALID'
  if (target === null) return null
  const met = 'at_least' in target ? value >= target.at_least : value <= target.at_most
  return met ? 'PASS' : 'FALLS SHORT'
}

/** The same row, invalid if there are faults. */
export function withFaults(row: Row, faults: readonly string[]): Row {
  if (faults.length === 0) return row
  return { ...row, faults: [...row.faults, ...faults], verdict: 'INVALID' }
}

/** A row that could not be measured. */
export function invalid(label: string, target: Target, why: string): Row {
  return judge(label, Number.NaN, target, [why])
}

/** One thing that is measured again and again, in turn with others. */
export type Arm = { name: string; unit: string; measure(): Promise<Sample> }

/** Measures the arms in turn, there and back: A B B A A B …, so that what changes slowly meets all alike. */
export async function interleave(
  arms: readonly Arm[],
  rounds: number,
  { progress, undisturbed }: Pick<Context, 'progress' | 'undisturbed'>,
): Promise<Series[]> {
  const samples = new Map<Arm, Sample[]>(arms.map((arm) => [arm, []]))
  for (let round = 0; round < rounds; round++) {
    for (const arm of round % 2 === 0 ? arms : arms.toReversed()) {
      samples.get(arm)!.push(
        await undisturbed(
          () => {
            progress(`${arm.name}, ${round + 1} of ${rounds}`)
            return arm.measure()
          },
          (sample) => sample.faults,
        ),
      )
    }
  }
  return arms.map((arm) => seriesOf(arm.name, arm.unit, samples.get(arm)!))
}

/** The load must have been right, and the drivers able to ask for half as much again. */
export function faultsOf(result: LoadResult, bare_rate: number): string[] {
  const faults: string[] = []
  if (result.wrong > 0) faults.push(`${result.wrong} wrong answers, such as: ${result.examples[0] ?? ''}`)
  const errors = Object.entries(result.errors)
  if (errors.length > 0) faults.push(`connections failed: ${errors.map(([name, n]) => `${name} ${n}`).join(', ')}`)
  const answered = Object.values(result.by_status).reduce((sum, count) => sum + count, 0)
  const rate = (answered / result.elapsed_ms) * 1000
  if (rate * HEADROOM > bare_rate) {
    faults.push(
      `${AT_THEIR_LIMIT} ${Math.round(bare_rate)}/s against a bare socket, less than ${HEADROOM} times ${Math.round(rate)}/s`,
    )
  }
  return faults
}

const HEADROOM = 1.5
const AT_THEIR_LIMIT = 'the load drivers reach'

/** For what is only told, or may come near what the drivers reach against a bare socket: it is at least as fast. */
export function withoutDriverFaults(series: Series): Series {
  return { ...series, faults: series.faults.filter((fault) => !fault.startsWith(AT_THEIR_LIMIT)) }
}
