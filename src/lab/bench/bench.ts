import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { startDrivers, type Drivers } from '../load/drive.ts'
import { BUYERS } from './arms.ts'
import { openDatabases, type Databases } from './database.ts'
import { FULL, QUICK, type Context, type Goal, type GoalResult, type Settings } from './goal.ts'
import { openHome, type BenchHome } from './home.ts'
import { describeMachine } from './machine.ts'
import type { Options } from './options.ts'
import { createPatience } from './patience.ts'
import { findPgbench } from './pgbench.ts'
import { tellGoal, tellMachine, tellSummary, type Finished, type Report } from './report.ts'
import { startBare } from './servers.ts'
import { undisturbedWith, watchStolen } from './stolen.ts'

/** Runs goals one after another and tells what each came to. Nothing it started is left when it ends. */

/** Load comes from one process unless a second one can ask for so much more. */
const WORTH_A_PROCESS = 1.15
const CALIBRATION_MS = 2000

/** @returns what was found, after it has been told goal by goal */
export async function runBench(options: Options, goals: readonly Goal[], say: (text: string) => void): Promise<Report> {
  const settings = options.quick ? QUICK : FULL
  const baseline = options.baseline === undefined ? undefined : readReport(options.baseline)
  const home = await openHome()
  let databases: Databases | undefined
  let calibrated: Calibrated | undefined
  try {
    databases = await openDatabases(home.url)
    const pgbench = await findPgbench()
    const machine = describeMachine(home.data, {
      postgresql: home.postgres_version,
      pgbench: pgbench?.version ?? 'not installed',
    })
    const patience = createPatience(options.patience, { progress })
    await patience.untilLeftAlone()
    calibrated = await calibrate(home, databases.api_key)
    const { drivers, bare_rate } = calibrated
    const report: Report = { machine, quick: settings.quick, date: new Date().toISOString(), bare_rate, goals: [] }
    say(tellStart(report, settings, drivers))
    const base = {
      settings,
      home,
      databases,
      drivers,
      bare_rate,
      pgbench,
      profile_dir: options.profile,
      patience,
      undisturbed: undisturbedWith(patience),
      progress,
    }
    for (const goal of goals) {
      const finished = await runGoal(goal, base)
      report.goals.push(finished)
      progress('')
      say(tellGoal(goal, finished.result, baseline))
      if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`)
    }
    say(tellSummary(report.goals))
    return report
  } finally {
    calibrated?.drivers.stop()
    await databases?.close()
    await home.close()
  }
}

function tellStart(report: Report, settings: Settings, drivers: Drivers): string {
  const { rounds, seconds } = settings
  return [
    tellMachine(report.machine),
    `   ${settings.quick ? 'quick: ' : ''}each arm ${rounds} times for ${seconds} s, in turn; fsync, full_page_writes and synchronous_commit are on`,
    `   ${drivers.processes} load process${drivers.processes > 1 ? 'es' : ''}, ${Math.round(report.bare_rate).toLocaleString('en-US')}/s against a bare socket`,
  ].join('\n')
}

/** One line that is written over, for whoever waits; nothing where the output goes into a file. */
function progress(doing: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001B[K${doing}`)
}

async function runGoal(goal: Goal, base: Omit<Context, 'later'>): Promise<Finished> {
  const closers: (() => Promise<void>)[] = []
  await base.patience.untilLeftAlone()
  const started = performance.now()
  const stolen = watchStolen()
  const name = (doing: string): void => base.progress(`${goal.id}. ${doing}`)
  let result: GoalResult
  try {
    result = await goal.run({ ...base, progress: name, later: (close) => closers.push(close) })
  } catch (error) {
    result = failed(error)
  }
  for (const close of closers.toReversed()) {
    // What stays goes with the run's own server, at the latest.
    await close().catch((error: unknown) => result.notes.push(`left behind: ${String(error)}`))
  }
  result.notes.push(...base.patience.tell())
  const share = Math.round(stolen() * 100)
  if (share > 0) result.notes.push(`the host of this machine kept back ${share} % of its processors meanwhile`)
  return { id: goal.id, title: goal.title, result, duration_ms: Math.round(performance.now() - started) }
}

/** A goal that broke is told like one that could not be measured, and the others go on. */
function failed(error: unknown): GoalResult {
  const why = error instanceof Error ? (error.stack ?? error.message) : String(error)
  const spread = { median: Number.NaN, min: Number.NaN, max: Number.NaN }
  const row = { label: 'the whole goal', value: Number.NaN, spread, target: { at_least: 0 }, faults: [why] }
  return { arms: [], rows: [{ ...row, verdict: 'INVALID' }], notes: [] }
}

export type Calibrated = { drivers: Drivers; bare_rate: number }

/** How much load one process can make, and whether a second one makes more. */
export async function calibrate(home: BenchHome, api_key: string): Promise<Calibrated> {
  const server = await startBare(home.build, 'socket')
  const measure = async (processes: number): Promise<Calibrated> => {
    const drivers = await startDrivers(processes)
    const scenario = { kind: 'reserve' as const, skus: 1 }
    const plan = {
      port: server.port,
      api_key,
      scenario,
      connections: BUYERS,
      greets: true,
      duration_ms: CALIBRATION_MS,
    }
    let bare_rate = 0
    for (let i = 0; i < 3; i++) {
      const result = await drivers.drive(plan)
      bare_rate = Math.max(bare_rate, (result.accepted / result.elapsed_ms) * 1000)
    }
    return { drivers, bare_rate }
  }
  try {
    const one = await measure(1)
    await delay(200)
    const two = await measure(2)
    const [better, worse] = two.bare_rate > one.bare_rate * WORTH_A_PROCESS ? [two, one] : [one, two]
    worse.drivers.stop()
    return better
  } finally {
    await server.stop()
  }
}

function readReport(path: string): Report {
  return JSON.parse(readFileSync(path, 'utf8')) as Report
}
