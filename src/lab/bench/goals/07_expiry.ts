import { setTimeout as delay } from 'node:timers/promises'
import { rows } from '../../../database/transaction.ts'
import {
  faultsOf,
  interleave,
  judge,
  judgeRatio,
  type Arm,
  type Context,
  type Goal,
  type Row,
  type Target,
} from '../goal.ts'
import { finish, MANY, measureLoad, ONE_SKU, openShop, planOf, serve, warmUp } from '../arms.ts'
import { checkpoint, verified, type BenchDatabase } from '../database.ts'
import { fillOverdue } from '../fill.ts'
import { expireAtOnce } from '../opponents.ts'
import { seriesOf, type Sample, type Series } from '../series.ts'
import { leftAlone, SHARE_MAX, stolenBetween } from '../stolen.ts'

/** A million holds run out at once: they come back nearly as fast as one statement could bring them, and nobody notices. */

/** Between the start of a service and its sweep. */
const START_MS = 4000
/** From the first request of the load to the first whose latency counts: connections are opened meanwhile. */
const RAMP_MS = 3000
/** Windows of latencies before a sweep, as many in it, and how long each is at most. */
const WINDOWS = 15
const WINDOW_MS_MAX = 1000
/** Sweeps in which windows are looked for that the host left alone. */
const TRIES_MAX = 3
const SWEEP_TIMEOUT_MS = 600_000

export const expiry: Goal = {
  id: 7,
  title:
    'restoring overdue holds: time ÷ the best single statement; reserve p99 at half the rate of one SKU meanwhile ÷ before',
  async run(context) {
    const half_rate = await measureHalfRate(context)
    const holds = context.settings.overdue_holds
    const arms: Series[] = []
    const compared: Row[] = []
    for (const skus of [1, MANY]) {
      const where = skus === 1 ? 'one SKU' : `${skus.toLocaleString('en-US')} SKUs`
      const full = await openShop(context, skus)
      context.progress(`filling in ${holds.toLocaleString('en-US')} overdue holds of ${where}`)
      await fillOverdue(full.db, { holds, skus })
      // A database is copied only while nobody is connected to it.
      await full.close()
      const [swept, stated] = await interleave(
        [sweepArm(context, full, where), statementArm(context, full, where)],
        context.settings.expiry_rounds,
        context,
      )
      const { before, meanwhile } = await measureLatencies(context, full, { where, half_rate, sweep_ms: swept!.median })
      arms.push(swept!, stated!, before.calm, meanwhile.calm, before.all, meanwhile.all)
      compared.push(
        judgeRatio(`sweep ÷ one statement, ${where}`, swept!, stated!, { at_most: 1.25 }),
        judgeMedians(`p99 meanwhile ÷ before, ${where}`, meanwhile.calm, before.calm, { at_most: 1.5 }),
        judgeMedians(`p99 meanwhile ÷ before, ${where}, all seconds`, meanwhile.all, before.all, null),
      )
    }
    const notes = [
      `${holds.toLocaleString('en-US')} overdue holds${context.settings.quick ? ' (quick: the goal is set for 1,000,000)' : ''}, ` +
        `reserves at ${Math.round(half_rate)}/s`,
    ]
    return finish(context, [], { arms, rows: compared, notes })
  },
}

/** Of what was not measured in turn: the one's seconds and the other's have nothing to do with each other. */
function judgeMedians(label: string, above: Series, below: Series, target: Target | null): Row {
  return judge(label, above.median / below.median, target, [...new Set([...above.faults, ...below.faults])])
}

async function measureHalfRate(context: Context): Promise<number> {
  const shop = await openShop(context, 1)
  const arm = { name: 'one SKU', server: await serve(context, shop), scenario: ONE_SKU, db: shop.db }
  await warmUp(context, [arm])
  context.progress('the rate of one SKU')
  const { sample } = await context.undisturbed(
    () => measureLoad(context, arm, context.settings.seconds),
    (measured) => measured.sample.faults,
  )
  await arm.server.stop()
  return sample.value / 2
}

/** What is done with a copy of a database, and the copy's end. */
async function onCopy<T>(context: Context, full: BenchDatabase, work: (copy: BenchDatabase) => Promise<T>): Promise<T> {
  const copy = await context.databases.create(full.name)
  try {
    return await work(copy)
  } finally {
    await context.databases.drop(copy)
  }
}

/** The service's own sweep, timed by the database's clock. */
function sweepArm(context: Context, full: BenchDatabase, where: string): Arm {
  return {
    name: `sweep, ${where}`,
    unit: 'ms',
    measure: () =>
      onCopy(context, full, async (copy) => {
        await checkpoint(copy.db)
        const sweeps_at = new Date(Math.ceil((Date.now() + START_MS) / 1000) * 1000)
        const service = await serve(context, copy, { expiry_cron: cronAt(sweeps_at) })
        try {
          const { duration_ms, faults } = await waitForSweep(context, copy)
          return { value: duration_ms, faults: [...faults, ...(await faultsIn(copy))] }
        } finally {
          await service.stop()
        }
      }),
  }
}

function statementArm(context: Context, full: BenchDatabase, where: string): Arm {
  return {
    name: `one statement, ${where}`,
    unit: 'ms',
    measure: () =>
      onCopy(context, full, async (copy) => {
        await checkpoint(copy.db)
        const started = performance.now()
        const expired = await expireAtOnce(copy.db)
        const value = performance.now() - started
        const short = expired === context.settings.overdue_holds ? [] : [`the statement expired ${expired}`]
        return { value, faults: [...short, ...(await faultsIn(copy))] }
      }),
  }
}

async function faultsIn(copy: BenchDatabase): Promise<string[]> {
  const { clean, said } = await verified(copy.db)
  return clean ? [] : [said]
}

/** Once a day, at that second. */
function cronAt(time: Date): string {
  return `${time.getUTCSeconds()} ${time.getUTCMinutes()} ${time.getUTCHours()} * * *`
}

async function waitForSweep(context: Context, copy: BenchDatabase): Promise<{ duration_ms: number; faults: string[] }> {
  const deadline = Date.now() + SWEEP_TIMEOUT_MS
  while (Date.now() < deadline) {
    const [run] = await rows<{ duration_ms: number; expired: number; error: string | null }>(
      copy.db,
      `SELECT extract(epoch FROM finished_at - started_at)::float8 * 1000 AS duration_ms, expired, error
       FROM sweeper_runs WHERE finished_at IS NOT NULL`,
    )
    if (run !== undefined) {
      const faults = run.expired === context.settings.overdue_holds ? [] : [`the sweep expired ${run.expired}`]
      return { duration_ms: run.duration_ms, faults: run.error === null ? faults : [...faults, run.error] }
    }
    await delay(100)
  }
  return { duration_ms: Number.NaN, faults: ['the sweep did not end in time'] }
}

/** A second of the load: the p99 of what was due in it, and the share of the processors that the host kept back. */
type Window = Sample & { share: number }

/**
 * One process under one load that does not pause: windows just before its sweep begins, and as many from then on while it
 * lasts. A host that keeps back a tenth of the processors for a second makes its p99 three times that of its neighbours,
 * swept or not: those count that it left alone. Where they are too few, all is done again, with another copy.
 */
async function measureLatencies(
  context: Context,
  full: BenchDatabase,
  given: { where: string; half_rate: number; sweep_ms: number },
): Promise<{ before: Latencies; meanwhile: Latencies }> {
  const { rounds: enough } = context.settings
  const before: Window[] = []
  const meanwhile: Window[] = []
  const isEnough = (windows: readonly Window[]) => windows.filter(({ share }) => share <= SHARE_MAX).length >= enough
  for (let tries = 1; tries <= TRIES_MAX && !(isEnough(before) && isEnough(meanwhile)); tries++) {
    if (tries > 1) {
      await context.patience.untilLeftAlone()
      context.patience.takeAgain()
    }
    context.progress(`reserves while ${given.where} is swept, ${tries}`)
    const measured = await onCopy(context, full, (copy) => measureWindows(context, copy, given))
    before.push(...measured.slice(0, WINDOWS))
    meanwhile.push(...measured.slice(WINDOWS))
  }
  return {
    before: latenciesOf(`p99 before, ${given.where}`, before, enough),
    meanwhile: latenciesOf(`p99 meanwhile, ${given.where}`, meanwhile, enough),
  }
}

/** Of the windows that the host left alone, and of all. */
type Latencies = { calm: Series; all: Series }

function latenciesOf(name: string, windows: readonly Window[], enough: number): Latencies {
  const shares = windows.map(({ share }) => share)
  return {
    calm: seriesOf(name, 'ms', leftAlone(windows, shares, enough)),
    all: seriesOf(`${name}, all seconds`, 'ms', windows),
  }
}

/** The windows of one sweep: so many before it, and as many from its start on. */
async function measureWindows(
  context: Context,
  copy: BenchDatabase,
  given: { half_rate: number; sweep_ms: number },
): Promise<Window[]> {
  const { seconds, warmup_seconds } = context.settings
  // It may end sooner than it does without load, never by that much.
  const window_ms = Math.min(WINDOW_MS_MAX, (given.sweep_ms * 0.8) / WINDOWS)
  const half_ms = WINDOWS * window_ms
  await checkpoint(copy.db)
  const lead_ms = START_MS + warmup_seconds * 1000 + RAMP_MS + half_ms
  const sweeps_at = new Date(Math.ceil((Date.now() + lead_ms) / 1000) * 1000)
  const service = await serve(context, copy, { expiry_cron: cronAt(sweeps_at) })
  try {
    const arm = { name: 'reserves', server: service, scenario: ONE_SKU }
    await warmUp(context, [arm])
    const cuts = Array.from({ length: 2 * WINDOWS + 1 }, (_, i) => sweeps_at.getTime() - half_ms + i * window_ms)
    await delay(Math.max(0, cuts[0]! - RAMP_MS - Date.now()))
    const plan = {
      ...planOf(context, arm, seconds),
      duration_ms: cuts.at(-1)! - Date.now(),
      rate: given.half_rate,
      connections: 2000,
      cuts,
    }
    const [result, shares] = await Promise.all([context.drivers.drive(plan), stolenBetween(cuts)])
    const faults = faultsOf(result, context.bare_rate)
    if (result.unsent > 0) faults.push(`${result.unsent} requests were never sent`)
    const swept = await waitForSweep(context, copy)
    const later = [...faults, ...swept.faults, ...(await faultsIn(copy))]
    if (swept.duration_ms < half_ms) later.push('the sweep ended before the last window')
    // What was due before the first cut came while connections were opened. The clock starts when they are, so that some
    // is due after the last cut.
    return result.latencies.slice(1, -1).map(({ count, p99_us }, i) => {
      const own = i < WINDOWS ? faults : later
      return {
        value: p99_us / 1000,
        share: shares[i]!,
        faults: count > 0 ? own : [...own, 'nothing was due in a window'],
      }
    })
  } finally {
    await service.stop()
  }
}
