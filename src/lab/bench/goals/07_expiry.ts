import { setTimeout as delay } from 'node:timers/promises'
import { rows } from '../../../database/transaction.ts'
import { faultsOf, interleave, judgeRatio, type Arm, type Context, type Goal, type Row } from '../goal.ts'
import { finish, MANY, measureLoad, ONE_SKU, openShop, planOf, serve, warmUp } from '../arms.ts'
import { checkpoint, verified, type BenchDatabase } from '../database.ts'
import { fillOverdue } from '../fill.ts'
import { expireAtOnce } from '../opponents.ts'
import { seriesOf, type Sample, type Series } from '../series.ts'
import { leastDisturbed, stolenBetween, undisturbed } from '../stolen.ts'

/** A million holds run out at once: they come back nearly as fast as one statement could bring them, and nobody notices. */

/** Between the start of a service and its sweep. */
const START_MS = 4000
/** From the first request of the load to the first whose latency counts: connections are opened meanwhile. */
const RAMP_MS = 3000
/** A window of latencies at most, and how many are measured for one that counts. */
const WINDOW_MS_MAX = 1000
const WINDOWS_PER_COUNTED = 3
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
        context.progress,
      )
      const { before, meanwhile } = await measureLatencies(context, full, { where, half_rate, sweep_ms: swept!.median })
      arms.push(swept!, stated!, before, meanwhile)
      compared.push(
        judgeRatio(`sweep ÷ one statement, ${where}`, swept!, stated!, { at_most: 1.25 }),
        judgeRatio(`p99 meanwhile ÷ before, ${where}`, meanwhile, before, { at_most: 1.5 }),
      )
    }
    const notes = [
      `${holds.toLocaleString('en-US')} overdue holds${context.settings.quick ? ' (quick: the goal is set for 1,000,000)' : ''}, ` +
        `reserves at ${Math.round(half_rate)}/s`,
    ]
    return finish(context, [], { arms, rows: compared, notes })
  },
}

async function measureHalfRate(context: Context): Promise<number> {
  const shop = await openShop(context, 1)
  const arm = { name: 'one SKU', server: await serve(context, shop), scenario: ONE_SKU, db: shop.db }
  await warmUp(context, [arm])
  context.progress('the rate of one SKU')
  const { sample } = await undisturbed(
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

/**
 * One process under one load that does not pause: windows just before its sweep begins, and as many from then on while it
 * lasts. A host that keeps back a tenth of the processors for a second makes its p99 three times that of its neighbours,
 * swept or not: of each kind the third in which it kept back least counts.
 */
async function measureLatencies(
  context: Context,
  full: BenchDatabase,
  given: { where: string; half_rate: number; sweep_ms: number },
): Promise<{ before: Series; meanwhile: Series }> {
  const samples: { before: Sample[]; meanwhile: Sample[] } = { before: [], meanwhile: [] }
  const { expiry_rounds, rounds: counted, seconds, warmup_seconds } = context.settings
  const windows = counted * WINDOWS_PER_COUNTED
  // It may end sooner than it does without load, never by that much.
  const window_ms = Math.min(WINDOW_MS_MAX, (given.sweep_ms * 0.8) / windows)
  const half_ms = windows * window_ms
  for (let round = 0; round < expiry_rounds; round++) {
    context.progress(`reserves while ${given.where} is swept, ${round + 1}`)
    await onCopy(context, full, async (copy) => {
      await checkpoint(copy.db)
      const lead_ms = START_MS + warmup_seconds * 1000 + RAMP_MS + half_ms
      const sweeps_at = new Date(Math.ceil((Date.now() + lead_ms) / 1000) * 1000)
      const service = await serve(context, copy, { expiry_cron: cronAt(sweeps_at) })
      try {
        const arm = { name: 'reserves', server: service, scenario: ONE_SKU }
        await warmUp(context, [arm])
        const cuts = Array.from({ length: 2 * windows + 1 }, (_, i) => sweeps_at.getTime() - half_ms + i * window_ms)
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
        const p99s = result.latencies.slice(1, -1).map(({ p99_us }) => p99_us / 1000)
        const before = leastDisturbed(p99s.slice(0, windows), shares.slice(0, windows), counted)
        const meanwhile = leastDisturbed(p99s.slice(windows), shares.slice(windows), counted)
        samples.before.push(...before.map((value) => ({ value, faults })))
        samples.meanwhile.push(...meanwhile.map((value) => ({ value, faults: later })))
      } finally {
        await service.stop()
      }
    })
  }
  return {
    before: seriesOf(`p99 before, ${given.where}`, 'ms', samples.before),
    meanwhile: seriesOf(`p99 meanwhile, ${given.where}`, 'ms', samples.meanwhile),
  }
}
