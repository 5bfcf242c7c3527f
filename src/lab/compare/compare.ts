import { openDatabases, type Databases } from '../bench/database.ts'
import { openHome, type BenchHome } from '../bench/home.ts'
import { describeMachine } from '../bench/machine.ts'
import { createPool } from '../../database/pool.ts'
import { startDrivers, type Drivers } from '../load/drive.ts'
import { breaksSection } from './breaks.ts'
import { couponSection } from './coupon.ts'
import { crowdSection, loadsOf, measureAll } from './crowd.ts'
import { indexesSection } from './indexes.ts'
import { httpSection } from './http.ts'
import type { Bench } from './measure.ts'
import type { Options } from './options.ts'
import { writeReport } from './files.ts'
import { findRedis } from './redis.ts'
import { count, tellLeftOut, tellSection, type Report, type Section } from './report.ts'
import { countStatements, STATEMENTS_LIBRARY } from './statements.ts'

/** Runs one comparison and tells what it came to. Nothing it started is left when it ends. */

const WARMUP_SECONDS = { full: 1.5, quick: 0.7 }

export type Told = { command: string; say: (text: string) => void; progress: (doing: string) => void }

/** @returns what was found, after it has been told and written to the files that were asked for */
export async function runCompare(options: Options, { command, say, progress }: Told): Promise<Report> {
  // Counting statements costs a little of each: not where speed is the question.
  const home = await openHome(options.mode.kind === 'http' ? {} : { preload: STATEMENTS_LIBRARY })
  let databases: Databases | undefined
  let drivers: Drivers | undefined
  const admin = createPool({
    url: home.url,
    max: 2,
    lock_timeout_ms: 0,
    statement_timeout_ms: 0,
    application_name: 'stock compare',
  })
  try {
    databases = await openDatabases(home.url)
    drivers = await startDrivers(1)
    const redis = await findRedis()
    const machine = describeMachine(home.data, { postgresql: home.postgres_version, pgbench: 'not used' })
    const report: Report = { date: new Date().toISOString(), command, machine, sections: [], left_out: [] }
    const ground = { dir: home.dir, build: home.build, redis }
    const warmup_seconds = WARMUP_SECONDS[options.quick ? 'quick' : 'full']
    const { processes, pool_max } = options
    const bench: Bench = { ground, databases, admin, drivers, processes, pool_max, warmup_seconds, progress }
    await fill(report, options, { bench, home, say: (section) => say(tellSection(section)) })
    progress('')
    if (report.left_out.length > 0) say(tellLeftOut(report.left_out))
    writeReport(report, options)
    return report
  } finally {
    drivers?.stop()
    await databases?.close()
    await admin.destroy()
    await home.close()
  }
}

type Way = { bench: Bench; home: BenchHome; say: (section: Section) => void }

async function fill(report: Report, options: Options, { bench, home, say }: Way): Promise<void> {
  const add = (section: Section): void => {
    bench.progress('')
    report.sections.push(section)
    say(section)
  }
  switch (options.mode.kind) {
    case 'indexes':
      return add(await indexesSection(bench, options))
    case 'http': {
      const { section, left_out } = await httpSection(bench, home, options)
      report.left_out.push(...left_out)
      return add(section)
    }
    case 'coupon': {
      const { section, left_out } = await couponSection(bench, options)
      report.left_out.push(...left_out)
      return add(section)
    }
    case 'sale':
    case 'rate':
    case 'conflict':
      return crowd(report, options, { bench, home, say: add })
  }
}

async function crowd(report: Report, options: Options, { bench, say }: Way): Promise<void> {
  const loads = loadsOf(options)
  const { contenders, rounds, mode } = options
  await countStatements(bench.admin)
  const findings = await measureAll(bench, { contenders, loads, rounds })
  report.left_out.push(...findings.left_out)
  say(crowdSection(titleOf(options), findings, loads))
  const unsafe = contenders.filter((contender) => 'unsafe' in contender)
  if (mode.kind === 'sale' && unsafe.length > 0) say(await breaksSection(bench, unsafe, options.buyers))
}

function titleOf({ mode, buyers, stock, sku_count, processes, pool_max }: Options): string {
  const skus = sku_count === 1 ? 'one SKU' : `${count(sku_count)} SKUs`
  const served = `${processes === 1 ? 'one process' : `${processes} processes`}, DATABASE_POOL_MAX=${pool_max}`
  if (mode.kind === 'rate') return `Buyers at a rate, ${mode.seconds} s each: ${skus}, ${served}`
  if (mode.kind === 'conflict') return `${count(buyers)} buyers, some of whom meet on one SKU: ${served}`
  return `${count(buyers)} buyers at once for ${count(stock ?? buyers)} units: ${skus}, ${served}`
}
