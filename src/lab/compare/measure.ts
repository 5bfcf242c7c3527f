import type { Knex } from 'knex'
import { setTimeout as delay } from 'node:timers/promises'
import { checkpoint, verified, type BenchDatabase, type Databases } from '../bench/database.ts'
import type { Drivers, LoadResult } from '../load/drive.ts'
import { startContender, type Contender, type Ground, type Running } from './contenders.ts'
import { planOf, warmUp, type Placed } from './loads.ts'
import { growth, meanMs, peakPoolUse, samplesOf, scrape, total, type Sample } from './scrape.ts'
import { readStatements, type Statements } from './statements.ts'
import { fillScratchTables, readStand, type Stand } from './unsafe.ts'

/** One contender under one load, once. Times are in milliseconds. */
export type Measured = Stand & {
  buyers: number
  /** From the first request to the last answer. */
  last_answer_ms: number
  /** Of all answers, in an open loop from when they were due. */
  mean_ms: number
  p50_ms: number
  p95_ms: number
  p99_ms: number
  /** Buyers who hold a unit; who heard that it is sold out; who were told to come again; who heard nothing. */
  successes: number
  refusals: number
  turned_away: number
  unanswered: number
  /** Why nothing was heard, by what happened to the connection. */
  errors: Record<string, number>
  /** How reserves ended, as the service counts them. */
  outcomes: Record<string, number>
  conflicts: number
  retries: number
  /** The mean wait for a lock of the strategy's own; null if it waited for none. */
  lock_wait_ms: number | null
  /** The mean times of what only this strategy does, by name. */
  timings_ms: Record<string, number>
  /** What PostgreSQL ran, and the mean time of one, waiting for rows that are locked included. */
  statements: number
  statement_ms: number | null
  /** What committed or rolled back, from BEGIN to its answer. */
  transactions: number
  transaction_ms: number | null
  /** The most connections that one process had in use at once. */
  peak_pool: number
  /** Why the numbers must not be used. */
  faults: string[]
}

/** What a contender came to in one round: each load in turn, then the promises. */
export type Round = { measured: Measured[]; clean: boolean; verify: string }

export type Bench = {
  ground: Ground
  databases: Databases
  /** The server's maintenance database. */
  admin: Knex
  drivers: Drivers
  processes: number
  pool_max: number
  warmup_seconds: number
  /** Says what is being done. */
  progress(doing: string): void
}

const LOCK_WAITS = 'stock_strategy_lock_wait_seconds'
const DURATIONS = 'stock_strategy_duration_seconds'
/** Whatever was under way may end before the next load begins. */
const PAUSE_MS = 200

/**
 * Measures each load on a contender that was started for it, on a database of its own.
 *
 * @param stocked a database that nobody is connected to, with the stock of all loads
 * @throws LeftOut in words if it can't run here
 */
export async function measureRound(
  bench: Bench,
  contender: Contender,
  loads: readonly Placed[],
  stocked: BenchDatabase,
): Promise<Round> {
  const { databases, processes, pool_max } = bench
  const database = await databases.create(stocked.name)
  let running: Running | undefined
  try {
    if ('unsafe' in contender && contender.tables === 'scratch') await fillScratchTables(database.db)
    running = await startContender(bench.ground, contender, { url: database.url, processes, pool_max })
    const ports = running.servers.map((server) => server.port)
    bench.progress(`${contender.name}: warming up`)
    await warmUp(bench.drivers, ports, { api_key: databases.api_key, seconds: bench.warmup_seconds })
    const measured: Measured[] = []
    for (const load of loads) {
      bench.progress(`${contender.name}: ${load.label}`)
      measured.push(await measureLoad(bench, contender, load, { database, ports }))
    }
    await running.stop()
    running = undefined
    bench.progress(`${contender.name}: verify`)
    return { measured, ...(await verifiedFor(contender, database.db)) }
  } finally {
    await running?.stop()
    await databases.drop(database)
  }
}

/** Scratch tables promise nothing: what they came to is told by counting. */
export async function verifiedFor(contender: Contender, db: Knex): Promise<{ clean: boolean; verify: string }> {
  if ('unsafe' in contender && contender.tables === 'scratch') return { clean: true, verify: 'own tables' }
  const { clean, said } = await verified(db)
  return { clean, verify: said.replace(/^verify: /, '').replace(/ \(.*\)$/, '') }
}

async function measureLoad(
  { databases, drivers, admin }: Bench,
  contender: Contender,
  load: Placed,
  { database, ports }: { database: BenchDatabase; ports: readonly number[] },
): Promise<Measured> {
  await checkpoint(database.db)
  await delay(PAUSE_MS)
  const before = await Promise.all(ports.map(scrape))
  const statements_before = await readStatements(admin, database.name)
  const result = await drivers.drive(planOf(load, ports, databases.api_key))
  const statements_after = await readStatements(admin, database.name)
  const after = await Promise.all(ports.map(scrape))
  const tables = 'unsafe' in contender ? contender.tables : 'real'
  const stand = await readStand(database.db, tables, load)
  const grown = after.map((samples, i) => growth(before[i]!, samples))
  return {
    ...answersOf(result, load),
    ...stand,
    ...metricsOf(grown),
    ...statementsOf(statements_before, statements_after),
    faults: faultsOf(result, stand),
  }
}

type Answers = Pick<
  Measured,
  | 'buyers'
  | 'last_answer_ms'
  | 'mean_ms'
  | 'p50_ms'
  | 'p95_ms'
  | 'p99_ms'
  | 'successes'
  | 'refusals'
  | 'turned_away'
  | 'unanswered'
  | 'errors'
>

function answersOf({ latency, by_status, errors, last_answer_ms, accepted }: LoadResult, { buyers }: Placed): Answers {
  const answered = Object.values(by_status).reduce((sum, count) => sum + count, 0)
  return {
    buyers,
    last_answer_ms,
    mean_ms: latency.mean_us / 1000,
    p50_ms: latency.p50_us / 1000,
    p95_ms: latency.p95_us / 1000,
    p99_ms: latency.p99_us / 1000,
    successes: accepted,
    refusals: by_status['409'] ?? 0,
    turned_away: by_status['503'] ?? 0,
    unanswered: buyers - answered,
    errors,
  }
}

/** @param grown how each process's metrics have grown */
function metricsOf(
  grown: readonly Sample[][],
): Pick<
  Measured,
  'outcomes' | 'conflicts' | 'retries' | 'lock_wait_ms' | 'timings_ms' | 'transactions' | 'transaction_ms' | 'peak_pool'
> {
  const all = grown.flat()
  const outcomes: Record<string, number> = {}
  for (const { labels, value } of samplesOf(all, 'stock_outcomes_total', { verb: 'reserve' })) {
    if (value > 0) outcomes[labels['code']!] = (outcomes[labels['code']!] ?? 0) + value
  }
  return {
    outcomes,
    conflicts: total(all, 'stock_strategy_events_total', { event: 'conflict' }),
    retries: total(all, 'stock_strategy_events_total', { event: 'retry' }),
    lock_wait_ms: meanMs(all, LOCK_WAITS),
    timings_ms: timingsOf(all),
    transactions: total(all, 'stock_batch_phase_duration_seconds_count', { phase: 'write' }),
    transaction_ms: meanMs(all, 'stock_batch_phase_duration_seconds', { phase: 'write' }),
    peak_pool: Math.max(0, ...grown.map(peakPoolUse)),
  }
}

function timingsOf(samples: readonly Sample[]): Record<string, number> {
  const names = new Set(samplesOf(samples, `${DURATIONS}_count`).map(({ labels }) => labels['what']!))
  const means = Array.from(names, (what) => [what, meanMs(samples, DURATIONS, { what })] as const)
  return Object.fromEntries(means.filter((one): one is readonly [string, number] => one[1] !== null))
}

function statementsOf(before: Statements, after: Statements): Pick<Measured, 'statements' | 'statement_ms'> {
  const calls = after.calls - before.calls
  return { statements: calls, statement_ms: calls === 0 ? null : (after.duration_ms - before.duration_ms) / calls }
}

function faultsOf(result: LoadResult, stand: Stand): string[] {
  const faults: string[] = []
  if (result.wrong > 0) faults.push(`${result.wrong} wrong answers, such as: ${result.examples[0] ?? ''}`)
  if (stand.held < result.accepted)
    faults.push(`${result.accepted} were acknowledged, but only ${stand.held} committed`)
  return faults
}
