import { BUYERS, finish, measureLoad, ONE_SKU, openShop, warmUp, loadArm, type LoadArm } from '../bench/arms.ts'
import { calibrate } from '../bench/bench.ts'
import type { BenchDatabase } from '../bench/database.ts'
import { FULL, interleave, judgeRatio, QUICK, type Context, type Row } from '../bench/goal.ts'
import type { BenchHome } from '../bench/home.ts'
import { IMPATIENT } from '../bench/patience.ts'
import { number } from '../bench/report.ts'
import type { Series } from '../bench/series.ts'
import { undisturbedWith } from '../bench/stolen.ts'
import { LeftOut, startContender, type Contender } from './contenders.ts'
import type { Bench } from './measure.ts'
import type { Options } from './options.ts'
import type { Durability } from './redis.ts'
import type { Report, Section } from './report.ts'

/** One SKU and the same HTTP for all: how many durable reservations a second, each strategy at its best. */

const BASE: Contender = { name: 'batched', strategy: 'batched' }
/** The default of DATABASE_POOL_MAX: one transaction is in flight at a time, so more connections change nothing. */
const BASE_POOL = 10
/** DATABASE_POOL_MAX of the others, among which the best is sought. */
const POOLS = { full: [4, 8, 16, 32, 64], quick: [4, 16, 64] }
const GOAL = { at_least: 1 }

type Rival = { arm: Series; base: Series; pool_max: number; row: Row; notes: string[] }

export async function httpSection(
  bench: Bench,
  home: BenchHome,
  { contenders, quick, rounds }: Options,
): Promise<{ section: Section; left_out: Report['left_out'] }> {
  const { drivers, bare_rate } = await calibrate(home, bench.databases.api_key)
  const closers: (() => Promise<void>)[] = [() => Promise.resolve(drivers.stop())]
  const context: Context = {
    settings: { ...(quick ? QUICK : FULL), rounds },
    home,
    databases: bench.databases,
    drivers,
    bare_rate,
    pgbench: undefined,
    profile_dir: undefined,
    later: (close) => void closers.push(close),
    progress: bench.progress,
    patience: IMPATIENT,
    undisturbed: undisturbedWith(IMPATIENT),
  }
  const rivals: Rival[] = []
  const left_out: Report['left_out'] = []
  try {
    const shop = await openShop(context, 1)
    const base = await startArm(bench, context, BASE, { shop, pool_max: BASE_POOL })
    await warmUp(context, [base])
    for (const contender of rivalsOf(contenders)) {
      try {
        rivals.push(await measureRival({ bench, context, base, pools: POOLS[quick ? 'quick' : 'full'] }, contender))
      } catch (error) {
        if (!(error instanceof LeftOut)) throw error
        left_out.push({ name: contender.name, why: error.message })
      }
    }
    const verified = await finish(context, [shop], { arms: [], rows: rivals.map(({ row }) => row) })
    return { section: sectionOf(rivals, verified), left_out }
  } finally {
    for (const close of closers.toReversed()) await close()
  }
}

/** Everything that is chosen and safe, but for batched itself; redis also with what it was told written to disk. */
function rivalsOf(contenders: readonly Contender[]): Contender[] {
  return contenders.flatMap((contender): Contender[] => {
    if ('unsafe' in contender || contender.strategy === 'batched') return []
    if (contender.strategy !== 'redis') return [contender]
    const durable = (['everysec', 'always'] as Durability[]).map((durability) => ({
      ...contender,
      name: `redis, appendfsync ${durability}`,
      redis: { nodes: 1, durability },
    }))
    return [contender, ...durable]
  })
}

type Field = { bench: Bench; context: Context; base: LoadArm; pools: readonly number[] }

/** One rival against batched, in turn; only these two run. */
async function measureRival({ bench, context, base, pools }: Field, contender: Contender): Promise<Rival> {
  const closers: (() => Promise<void>)[] = []
  const own: Context = { ...context, later: (close) => void closers.push(close) }
  try {
    const shop = await openShop(own, 1)
    const pool_max = await bestPool(bench, own, contender, { shop, pools })
    const rival = await startArm(bench, own, contender, { shop, pool_max })
    await warmUp(own, [rival])
    const arms = [base, rival].map((arm) => loadArm(own, arm))
    const [above, below] = await interleave(arms, own.settings.rounds, own)
    const row = judgeRatio(`batched ÷ ${contender.name}`, above!, below!, GOAL)
    const { rows, notes } = await finish(own, [shop], { arms: [], rows: [row] })
    return { arm: below!, base: above!, pool_max, row: rows[0]!, notes }
  } finally {
    for (const close of closers.toReversed()) await close()
  }
}

type Shop = { shop: BenchDatabase; pool_max: number }

async function startArm(
  bench: Bench,
  context: Context,
  contender: Contender,
  { shop, pool_max }: Shop,
): Promise<LoadArm> {
  const running = await startContender(bench.ground, contender, { url: shop.url, processes: 1, pool_max })
  context.later(() => running.stop())
  // An optimistic strategy tells buyers to come again; they do, and only what commits is counted.
  return { name: contender.name, server: running.servers[0]!, scenario: ONE_SKU, db: shop.db, tolerate: [503] }
}

async function bestPool(
  bench: Bench,
  context: Context,
  contender: Contender,
  { shop, pools }: { shop: BenchDatabase; pools: readonly number[] },
): Promise<number> {
  let best = { pool_max: pools[0]!, rate: 0 }
  for (const pool_max of pools) {
    context.progress(`${contender.name} with DATABASE_POOL_MAX=${pool_max}`)
    const closers: (() => Promise<void>)[] = []
    const trial: Context = { ...context, later: (close) => void closers.push(close) }
    try {
      const arm = await startArm(bench, trial, contender, { shop, pool_max })
      await measureLoad(trial, arm, trial.settings.warmup_seconds)
      const { sample } = await measureLoad(trial, arm, trial.settings.trial_seconds)
      if (sample.value > best.rate) best = { pool_max, rate: sample.value }
    } finally {
      for (const close of closers.toReversed()) await close()
    }
  }
  return best.pool_max
}

function sectionOf(rivals: readonly Rival[], batched: { rows: readonly Row[]; notes: readonly string[] }): Section {
  const rows = rivals.map(({ row }, i) => ({ ...row, ...batched.rows[i]! }))
  const rate = ({ median, min, max }: Series): string => `${number(median)} (${number(min)}–${number(max)})`
  return {
    title: `One SKU, ${BUYERS} connections, one process: durable reservations a second`,
    tables: [
      {
        title: '',
        head: [
          'strategy',
          'its best DATABASE_POOL_MAX',
          'a second',
          'batched in turn with it',
          'batched ÷ it',
          'min–max',
          'goal',
          '',
        ],
        rows: rivals.map(({ arm, base, pool_max }, i) => {
          const { value, spread, verdict } = rows[i]!
          const cells = [arm.name, String(pool_max), rate(arm), rate(base), number(value)]
          return [...cells, `${number(spread.min)}–${number(spread.max)}`, `≥ ${GOAL.at_least}`, verdict ?? '']
        }),
      },
    ],
    notes: [
      'Medians of rounds in turn, least and greatest in brackets; what committed is counted in the database.',
      ...batched.notes,
    ],
    faults: [...new Set(rows.flatMap(({ label, faults }) => faults.map((fault) => `${label}: ${fault}`)))],
    chart: {
      title: 'One SKU: durable reservations',
      unit: 'a second',
      groups: [
        {
          name: '',
          bars: [
            ...rivals.slice(0, 1).map(({ base }) => ({ name: 'batched', value: base.median, kind: 'ours' as const })),
            ...rivals.map(({ arm }) => ({ name: arm.name, value: arm.median, kind: 'other' as const })),
          ],
        },
      ],
    },
    data: rivals.map(({ arm, base, pool_max }, i) => ({ arm, base, pool_max, row: rows[i] })),
  }
}
