import { setTimeout as delay } from 'node:timers/promises'
import type { LoadResult } from '../../load/drive.ts'
import { finish, measureLoad, ONE_SKU, openShop, planOf, serve, serveConstant, warmUp, type LoadArm } from '../arms.ts'
import type { BenchDatabase } from '../database.ts'
import { countReservations } from '../database.ts'
import { faultsOf, judge, type Context, type Goal, type Row } from '../goal.ts'

/** More than can be served: those who are taken are served in time, the rest hear no at once, and it passes without a trace. */

/** How long a commit is held back, at most; PostgreSQL allows no more than 100 ms. */
const COMMIT_DELAY_US = 100_000
/** That much does not hold a batch of 300 below a quarter of the constant route, so each commit sleeps 100 ms besides. */
const HOLD_BACK = `
  CREATE FUNCTION hold_back() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END';
  CREATE CONSTRAINT TRIGGER held_back AFTER INSERT ON outbox DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION hold_back()`
const HOLD_BACK_NO_MORE = 'DROP TRIGGER IF EXISTS held_back ON outbox; DROP FUNCTION IF EXISTS hold_back()'
/** More than the queue holds, so that it is the service that decides who waits. */
const CONNECTIONS = 12_000
/** Sixteen flash sales at once, each buyer asking again as soon as he is answered. */
const BUYERS_AT_FULL_SPEED = 4096
/** An overload that lasts twice as long must not need more memory. */
const MEMORY_GROWTH_MAX = 1.2
const RECOVERY_SECONDS = 5
const LOOKED_AFTER_SECONDS = 8
/** The first second of an overload, in which the queue fills, is not its goodput. */
const FILLING_SECONDS = 1
const OVERLOAD = [503]

export const overload: Goal = {
  id: 8,
  title: 'overload: goodput ÷ peak, p99 of the admitted, memory, and the way back',
  async run(context) {
    const shop = await openShop(context, 1)
    const service = await serve(context, shop)
    const constant = await serveConstant(context, shop)
    const arm: LoadArm = { name: 'service', server: service, scenario: ONE_SKU, db: shop.db }
    const empty: LoadArm = { name: 'constant route', server: constant, scenario: ONE_SKU }
    await warmUp(context, [arm, empty])
    context.progress('the constant route')
    const constant_rate = (await measureLoad(context, empty, context.settings.seconds)).sample.value
    let held: Held
    try {
      await context.databases.setServer('commit_siblings', 0)
      await context.databases.setServer('commit_delay', COMMIT_DELAY_US)
      await shop.db.raw(HOLD_BACK)
      await delay(500)
      held = await context.undisturbed(() => measureHeldBack(context, arm, shop, constant_rate), faultsIn)
    } finally {
      await context.databases.setServer('commit_delay', null)
      await context.databases.setServer('commit_siblings', null)
      await shop.db.raw(HOLD_BACK_NO_MORE)
    }
    await delay(1000)
    const full_speed = await context.undisturbed(() => measureFullSpeed(context, arm), faultsIn)
    return finish(context, [shop], {
      arms: [],
      rows: [...held.rows, ...full_speed.rows],
      notes: [...held.notes, ...full_speed.notes],
    })
  },
}

type Held = { rows: Row[]; notes: string[] }

function faultsIn({ rows }: Held): string[] {
  return rows.flatMap((row) => row.faults)
}

/** Capacity held below a quarter of the constant route, so that refusing can't be what it is spent on. */
async function measureHeldBack(
  context: Context,
  arm: LoadArm,
  shop: BenchDatabase,
  constant_rate: number,
): Promise<Held> {
  const { seconds } = context.settings
  let peak = 0
  for (const connections of [256, 512, 1024]) {
    context.progress(`peak with commits held back, ${connections} connections`)
    peak = Math.max(peak, (await measureLoad(context, { ...arm, connections }, seconds)).sample.value)
  }
  context.progress('three times as much')
  const before = await countReservations(shop.db)
  const duration = Math.max(5, seconds * 2)
  const result = await context.drivers.drive({
    ...planOf(context, arm, duration),
    rate: 3 * peak,
    connections: CONNECTIONS,
    tolerate: OVERLOAD,
  })
  const committed = (await countReservations(shop.db)).all - before.all
  const faults = faultsOf(result, Infinity)
  if (committed < result.accepted) faults.push(`${result.accepted} were acknowledged, but only ${committed} committed`)
  if (peak >= constant_rate / 4) faults.push('the capacity could not be held below a quarter of the constant route')
  if (result.unsent > result.sent / 100) faults.push(`${result.unsent} requests were never sent`)
  const goodput = rateBetween(result, FILLING_SECONDS, duration)
  return {
    rows: [
      judge('goodput at three times capacity ÷ peak', goodput / peak, { at_least: 0.9 }, faults),
      judge('p99 of the admitted, s', result.latency.p99_us / 1e6, { at_most: 1 }, faults),
    ],
    notes: [
      `commits held back: peak ${Math.round(peak)}/s (constant route ${Math.round(constant_rate)}/s), goodput ${Math.round(goodput)}/s, ` +
        `asked ${Math.round(3 * peak)}/s, refused ${result.tolerated}, committed ${committed}`,
    ],
  }
}

/** As much as can be asked, twice; then, at once, the load of before. */
async function measureFullSpeed(context: Context, arm: LoadArm): Promise<Held> {
  const { seconds } = context.settings
  context.progress('peak at full speed')
  const peak = (await measureLoad(context, arm, seconds)).sample.value
  const plan = {
    ...planOf(context, arm, Math.max(5, seconds)),
    connections: BUYERS_AT_FULL_SPEED,
    tolerate: OVERLOAD,
  }
  const overloads: { result: LoadResult; peak_mb: number }[] = []
  for (const name of ['overload at full speed', 'overload at full speed, again']) {
    context.progress(name)
    arm.server.forgetPeakMemory()
    const result = await context.drivers.drive(plan)
    overloads.push({ result, peak_mb: arm.server.peakMemory() / 1e6 })
  }
  const [first, second] = overloads as [(typeof overloads)[0], (typeof overloads)[0]]
  const { result } = second
  context.progress('after the overload')
  const after = await context.drivers.drive(planOf(context, arm, LOOKED_AFTER_SECONDS))
  const recovered = recoveredAfter(after, peak * 0.95)
  const faults = [...faultsOf(first.result, Infinity), ...faultsOf(result, Infinity)]
  return {
    rows: [
      judge('p99 of the admitted at full speed, s', result.latency.p99_us / 1e6, { at_most: 1 }, faults),
      judge('peak memory again ÷ before', second.peak_mb / first.peak_mb, { at_most: MEMORY_GROWTH_MAX }, faults),
      judge('back to 0.95 of peak after, s', recovered, { at_most: RECOVERY_SECONDS }, faultsOf(after, Infinity)),
    ],
    notes: [
      `full speed: peak ${Math.round(peak)}/s; ${BUYERS_AT_FULL_SPEED} connections had ${Math.round(perSecond(result, result.accepted))}/s held ` +
        `and ${Math.round(perSecond(result, result.tolerated))}/s refused; memory ${Math.round(first.peak_mb)} MB, then ${Math.round(second.peak_mb)} MB`,
    ],
  }
}

function perSecond(result: LoadResult, count: number): number {
  return (count / result.elapsed_ms) * 1000
}

function rateBetween(result: LoadResult, from_seconds: number, to_seconds: number): number {
  const from = (from_seconds * 1000) / result.interval_ms
  const to = (to_seconds * 1000) / result.interval_ms
  return result.timeline.slice(from, to).reduce((sum, count) => sum + count, 0) / (to_seconds - from_seconds)
}

/** From when on the rate was reached, for two seconds; if it never was, all the time that was looked at. */
function recoveredAfter(result: LoadResult, rate: number): number {
  for (let second = 0; second <= RECOVERY_SECONDS; second += result.interval_ms / 1000) {
    if (rateBetween(result, second, second + 2) >= rate) return second
  }
  return LOOKED_AFTER_SECONDS
}
