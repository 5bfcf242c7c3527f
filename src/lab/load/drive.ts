import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Histogram, type LatencySummary, type PackedHistogram } from './histogram.ts'
import { INTERVAL_MS, type LoadCounts, type LoadPlan } from './run.ts'

/** Load from processes of its own, so that what makes it shares neither thread nor heap with what is measured. */

export type LoadResult = Omit<LoadCounts, 'latencies'> & {
  /** From the first request until nothing was left to wait for. */
  elapsed_ms: number
  /** From the first request to the last answer; less than `elapsed_ms` if a request never got one. */
  last_answer_ms: number
  latency: LatencySummary
  /** The same apart, for the time before, between and after the plan's cuts. */
  latencies: LatencySummary[]
  interval_ms: number
}

export type Drivers = {
  /** Runs a plan, shared out among the processes. One plan at a time. */
  drive(plan: LoadPlan): Promise<LoadResult>
  /** How many processes. */
  processes: number
  stop(): void
}

/** Beyond a plan's time and its timeout: connecting, and a machine that has much to do. */
const PATIENCE_MS = 30_000

/** Starts processes that wait for plans; they stay warm from one plan to the next, unless one fails: then new ones are started. */
export async function startDrivers(processes: number): Promise<Drivers> {
  let children: ChildProcess[] = []
  const stop = (): void => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
    process.off('exit', stop)
  }
  const startAll = async (): Promise<void> => {
    process.on('exit', stop)
    children = Array.from({ length: processes }, startDriver)
    await Promise.all(children.map((child) => nextMessage(child, PATIENCE_MS)))
  }
  const askAll = (messageFor: (index: number) => LoadPlan | 'start', limit_ms: number): Promise<unknown[]> =>
    Promise.all(
      children.map((child, i) => {
        const answer = nextMessage(child, limit_ms)
        child.send(messageFor(i))
        return answer
      }),
    )
  await startAll()
  return {
    processes,
    async drive(plan) {
      const limit_ms = plan.duration_ms + (plan.timeout_ms ?? 0) + PATIENCE_MS
      try {
        if (children.length === 0) await startAll()
        await askAll((i) => share(plan, i, processes), PATIENCE_MS)
        return merge((await askAll(() => 'start', limit_ms)) as LoadCounts[])
      } catch (error) {
        // What the others wait for will not come.
        stop()
        throw error
      }
    },
    stop,
  }
}

/** Runs one plan in processes that are started for it. */
export async function drive(plan: LoadPlan, processes = 1): Promise<LoadResult> {
  const drivers = await startDrivers(processes)
  try {
    return await drivers.drive(plan)
  } finally {
    drivers.stop()
  }
}

function startDriver(): ChildProcess {
  // The same file whether this runs from source or from a build.
  const source = import.meta.url.endsWith('.ts')
  const entry = fileURLToPath(new URL(source ? './driver.ts' : './driver.js', import.meta.url))
  return fork(entry, {
    execArgv: source ? ['--import', 'tsx'] : [],
    env: {},
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
}

function nextMessage(child: ChildProcess, limit_ms: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      clearTimeout(limit)
      child.off('message', take)
      child.off('exit', fail)
    }
    const take = (message: unknown): void => {
      done()
      resolve(message)
    }
    const fail = (): void => {
      done()
      reject(new Error('a load driver ended before its plan did'))
    }
    const limit = setTimeout(() => {
      done()
      reject(new Error(`a load driver has not answered for ${limit_ms} ms`))
    }, limit_ms)
    child.once('message', take)
    child.once('exit', fail)
  })
}

function share(plan: LoadPlan, index: number, processes: number): LoadPlan {
  const part = (whole: number): number =>
    Math.floor((whole * (index + 1)) / processes) - Math.floor((whole * index) / processes)
  const { scenario, count_max = 0 } = plan
  const first = Math.floor((count_max * index) / processes)
  return {
    ...plan,
    scenario: scenario.kind === 'buyers' ? { ...scenario, first: (scenario.first ?? 0) + first } : scenario,
    connections: part(plan.connections),
    ...(plan.rate === undefined ? {} : { rate: plan.rate / processes }),
    ...(plan.count_max === undefined ? {} : { count_max: part(plan.count_max) }),
  }
}

/** What several processes saw, as one. */
export function merge(parts: readonly LoadCounts[]): LoadResult {
  const sum = (of: (part: LoadCounts) => number): number => parts.reduce((total, part) => total + of(part), 0)
  const windows = parts[0]?.latencies.map((_, i) => parts.map((part) => part.latencies[i]!)) ?? []
  const started_at = Math.min(...parts.map((part) => part.started_at))
  const ended_at = Math.max(...parts.map((part) => part.ended_at))
  const last_answer_at = Math.max(...parts.map((part) => part.last_answer_at))
  const length = Math.max(...parts.map((part) => part.timeline.length))
  return {
    sent: sum((part) => part.sent),
    accepted: sum((part) => part.accepted),
    tolerated: sum((part) => part.tolerated),
    wrong: sum((part) => part.wrong),
    unsent: sum((part) => part.unsent),
    errors: sumByName(parts.map((part) => part.errors)),
    by_status: sumByName(parts.map((part) => part.by_status)),
    examples: parts.flatMap((part) => part.examples).slice(0, 3),
    body_bytes: sum((part) => part.body_bytes),
    started_at,
    ended_at,
    last_answer_at,
    elapsed_ms: ended_at - started_at,
    last_answer_ms: last_answer_at - started_at,
    latency: summaryOf(windows.flat()),
    latencies: windows.map(summaryOf),
    timeline: Array.from({ length }, (_, i) => sum((part) => part.timeline[i] ?? 0)),
    interval_ms: INTERVAL_MS,
  }
}

function summaryOf(parts: readonly PackedHistogram[]): LatencySummary {
  const histogram = new Histogram()
  for (const part of parts) histogram.add(part)
  return histogram.summary()
}

function sumByName(parts: readonly Record<string, number>[]): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const part of parts) for (const [name, count] of Object.entries(part)) sums[name] = (sums[name] ?? 0) + count
  return sums
}
