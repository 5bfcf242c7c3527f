import type { Knex } from 'knex'
import { setTimeout as delay } from 'node:timers/promises'
import type { LoadResult } from '../load/drive.ts'
import type { LoadPlan } from '../load/run.ts'
import type { Scenario } from '../load/scenario.ts'
import { checkpoint, countReservations, stockUp, verified, type BenchDatabase } from './database.ts'
import { faultsOf, interleave, withFaults, type Arm, type Context, type GoalResult, type Row } from './goal.ts'
import { runPgbench } from './pgbench.ts'
import type { Sample, Series } from './series.ts'
import { startBare, startConstant, startService, type ServiceOptions, type TestedServer } from './servers.ts'

/** The arms that several goals share, and how one measurement of each is taken. */

/** A shop's flash sale: so many buyers at once. */
export const BUYERS = 256
/** Many SKUs, in contrast to one. */
export const MANY = 10_000
/** Whatever was under way may end before the next arm begins. */
const PAUSE_MS = 200

export type LoadArm = {
  name: string
  server: TestedServer
  scenario: Scenario
  connections?: number
  /** Statuses that are no fault. */
  tolerate?: readonly number[]
  /** Where what commits is counted; absent for what writes nothing. */
  db?: Knex
  /** What is counted: unless given, reservations where there is a database, else answers. */
  counted?: 'reservations' | 'pairs' | 'answers'
}

/** Runs a closed loop at a server and measures what committed, or what was answered, per second. */
export function loadArm(context: Context, arm: LoadArm): Arm {
  return {
    name: arm.name,
    unit: UNITS[countedIn(arm)],
    measure: async () => (await measureLoad(context, arm, context.settings.seconds)).sample,
  }
}

/** One measurement of a {@link loadArm}. Committed successes are counted in the database, before and after. */
export async function measureLoad(
  context: Context,
  arm: LoadArm,
  seconds: number,
): Promise<{ sample: Sample; result: LoadResult }> {
  const { db } = arm
  const counted = countedIn(arm)
  if (db !== undefined) await checkpoint(db)
  await delay(PAUSE_MS)
  const before = db === undefined ? undefined : await countReservations(db)
  const result = await context.drivers.drive(planOf(context, arm, seconds))
  const after = db === undefined ? undefined : await countReservations(db)
  const faults = faultsOf(result, context.bare_rate)
  let successes = result.accepted
  if (counted !== 'answers' && before !== undefined && after !== undefined) {
    successes = counted === 'pairs' ? after.confirmed - before.confirmed : after.all - before.all
    const acknowledged = acknowledgedIn(arm, result)
    if (successes < acknowledged) faults.push(`${acknowledged} were acknowledged, but only ${successes} committed`)
  }
  return { sample: { value: (successes / result.elapsed_ms) * 1000, faults }, result }
}

const UNITS = { reservations: 'reservations/s', pairs: 'pairs/s', answers: 'answers/s' }

function countedIn({ db, counted }: LoadArm): keyof typeof UNITS {
  return counted ?? (db === undefined ? 'answers' : 'reservations')
}

function acknowledgedIn({ scenario, counted }: LoadArm, result: LoadResult): number {
  if (counted === 'pairs') return result.by_status['200'] ?? 0
  return scenario.kind === 'batch' ? result.accepted * scenario.size : result.accepted
}

export function planOf(context: Context, arm: LoadArm, seconds: number): LoadPlan {
  return {
    port: arm.server.port,
    api_key: context.databases.api_key,
    scenario: arm.scenario,
    connections: arm.connections ?? BUYERS,
    greets: true,
    duration_ms: seconds * 1000,
    ...(arm.tolerate === undefined ? {} : { tolerate: arm.tolerate }),
  }
}

/** Measures arms of load, warm, in turn. */
export async function compare(
  context: Context,
  load: readonly LoadArm[],
  others: readonly Arm[] = [],
): Promise<Series[]> {
  await warmUp(context, load)
  const arms = [...load.map((arm) => loadArm(context, arm)), ...others]
  return interleave(arms, context.settings.rounds, context)
}

/** Lets a server's code be compiled before it is measured. */
export async function warmUp(context: Context, arms: readonly LoadArm[]): Promise<void> {
  for (const arm of arms) {
    context.progress(`warming up ${arm.name}`)
    await context.drivers.drive(planOf(context, arm, context.settings.warmup_seconds))
  }
}

/** A database with stock that no run can sell out on so many SKUs; gone when the goal is over. */
export async function openShop(context: Context, skus: number, from?: BenchDatabase): Promise<BenchDatabase> {
  context.progress('preparing')
  const shop = await context.databases.create(from?.name)
  context.later(() => context.databases.drop(shop))
  if (from === undefined) await stockUp(shop.db, skus)
  return shop
}

/** The service on a database, as a goal that asks for nothing special runs it; stopped when the goal is over. */
export async function serve(
  context: Context,
  shop: BenchDatabase,
  options: Partial<ServiceOptions> = {},
): Promise<TestedServer> {
  const { profile_dir } = context
  const profiled = profile_dir === undefined ? {} : { profile_dir }
  const server = await startService(context.home.build, { ...options, url: shop.url, ...profiled })
  context.later(() => server.stop())
  return server
}

/** The constant route, on the same database for its API keys. */
export async function serveConstant(context: Context, shop: BenchDatabase): Promise<TestedServer> {
  const server = await startConstant(context.home.build, { url: shop.url })
  context.later(() => server.stop())
  return server
}

export async function serveBare(context: Context, kind: 'koa' | 'node'): Promise<TestedServer> {
  const server = await startBare(context.home.build, kind)
  context.later(() => server.stop())
  return server
}

export const ONE_SKU: Scenario = { kind: 'reserve', skus: 1 }
export const MANY_SKUS: Scenario = { kind: 'reserve', skus: MANY }

/**
 * The service with a transaction for each reservation, at the number of connections (of 1 to 64) at which it is fastest.
 *
 * @returns the running server, and how many flights it has at once
 */
export async function serveBestConditional(
  context: Context,
  database: BenchDatabase,
  scenario: Scenario,
): Promise<{ server: TestedServer; connections: number }> {
  let best = { connections: 1, rate: 0 }
  for (const connections of context.settings.trial_connections) {
    context.progress(`conditional with ${connections} connections`)
    const server = await startService(context.home.build, {
      url: database.url,
      strategy: 'conditional',
      pool_max: poolFor(connections),
    })
    try {
      const arm = { name: 'conditional', server, scenario, db: database.db }
      await context.drivers.drive(planOf(context, arm, context.settings.trial_seconds))
      const { sample } = await measureLoad(context, arm, context.settings.trial_seconds)
      if (sample.value > best.rate) best = { connections, rate: sample.value }
    } finally {
      await server.stop()
    }
  }
  const options = { strategy: 'conditional' as const, pool_max: poolFor(best.connections) }
  return { server: await serve(context, database, options), connections: best.connections }
}

/** Six in ten connections of a service are the core's, and its strategy leaves two of them to the queue and the sweeper. */
const CORE_SHARE = 0.6
const KEPT = 2

/** The DATABASE_POOL_MAX that gives the strategy so many connections. */
function poolFor(connections: number): number {
  return Math.floor((connections + KEPT) / CORE_SHARE)
}

/** pgbench with a script, at its best of 1 to 64 connections; what commits is counted in the database. */
export async function pgbenchArm(
  context: Context,
  opponent: { name: string; database: BenchDatabase; script: string; count: () => Promise<number> },
): Promise<Arm & { connections: number }> {
  let best = { connections: 1, rate: 0 }
  for (const connections of context.settings.trial_connections) {
    context.progress(`${opponent.name} with ${connections} connections`)
    const { value } = await measurePgbench(context, opponent, connections, context.settings.trial_seconds)
    if (value > best.rate) best = { connections, rate: value }
  }
  return {
    name: `${opponent.name}, ${best.connections} connections`,
    unit: 'reservations/s',
    connections: best.connections,
    measure: () => measurePgbench(context, opponent, best.connections, context.settings.seconds),
  }
}

async function measurePgbench(
  context: Context,
  { database, script, count }: { database: BenchDatabase; script: string; count: () => Promise<number> },
  connections: number,
  seconds: number,
): Promise<Sample> {
  if (context.pgbench === undefined) throw new Error('pgbench is not there')
  await checkpoint(database.db)
  await delay(PAUSE_MS)
  const before = await count()
  const run = { url: database.url, script, connections, seconds, dir: context.home.dir }
  const { elapsed_seconds } = await runPgbench(context.pgbench, run)
  return { value: ((await count()) - before) / elapsed_seconds, faults: [] }
}

/** A goal's last step: the promises are checked. A database that breaks one makes the goal's numbers worthless. */
export async function finish(
  context: Context,
  shops: readonly BenchDatabase[],
  result: { arms: Series[]; rows: readonly Row[]; notes?: string[] },
): Promise<GoalResult> {
  const notes = [...(result.notes ?? [])]
  const faults: string[] = []
  for (const { db } of shops) {
    context.progress('verify')
    const { clean, said } = await verified(db)
    notes.push(said)
    if (!clean) faults.push(said)
  }
  return { arms: result.arms, rows: result.rows.map((row) => withFaults(row, faults)), notes }
}
