import cluster, { type Worker } from 'node:cluster'
import { createServer, type AddressInfo } from 'node:net'
import type { Logger } from 'pino'
import { legacyOf, sumOf, type Snapshot } from './metrics.ts'

/**
 * Several processes of the service on one port. The primary owns the database and the port and serves nobody; each worker
 * is a whole service with a queue of its own. One that dies is replaced, and none outlives the primary.
 */

/** Tells a worker from a process that somebody else's cluster has forked, and the two apart in `ps`. */
const WORKER_ARGUMENT = '--worker'
/** A worker that died sooner than this after its start may die again at once: the next one waits. */
const SHORT_LIFE_MS = 10_000
const BACKOFF_MIN_MS = 100
const BACKOFF_MAX_MS = 5000
/** Workers end within 9 s of their own; those that have not are killed. */
const KILL_MS = 9000
/** A worker that does not tell its metrics for so long is counted with what it told last. */
const SILENCE_MS = 500
/** One that has told none yet gets longer: asking a database that is away takes 1.5 s. */
const FIRST_SILENCE_MS = 2000
/** So long a worker waits for the sum. */
const SUM_TIMEOUT_MS = 3000

/** What travels between the primary (`tell`, `sum`) and its workers (`told`, `ask`, `failed`). */
type ToWorker = { tell: true } | { sum: Snapshot; for: number }
type ToPrimary = { told: Snapshot } | { ask: number } | { failed: string }

export type Workers = {
  port: number
  /** Ends when every worker has drained or was killed. */
  stop(): Promise<void>
  /** For a primary that exits at once. */
  killSync(): void
}

export type WorkersOptions = {
  count: number
  host: string
  port: number
  /** What workers get on top of this process's environment. */
  env: Record<string, string>
  log: Logger
}

/**
 * Starts the workers; resolves when all of them listen.
 *
 * @throws what kept the first of them from listening, when the others have ended
 */
export async function startWorkers(options: WorkersOptions): Promise<Workers> {
  const { count, log } = options
  const port = await findPort(options)
  // A connection is handed to the next worker in turn. Left to the kernel, most of them go to one or two.
  cluster.schedulingPolicy = cluster.SCHED_RR
  // JSON has no NaN, which a gauge may be.
  cluster.setupPrimary({ args: [...process.argv.slice(2), WORKER_ARGUMENT], serialization: 'advanced' })
  const places = createPlaces({ ...options.env, PORT: String(port), WORKERS: String(count) }, log)
  try {
    await Promise.all(Array.from({ length: count }, () => places.open()))
  } catch (error) {
    await places.close()
    throw error
  }
  return { port, stop: () => places.close(), killSync: () => places.closeSync() }
}

type Death = { code: number; signal: string; failure: string | undefined; listened: boolean; lived_ms: number }

/** Forks one worker, whose metrics count from when it listens; the hooks say how it goes on. */
function launch(
  { env, log, sums }: { env: Record<string, string>; log: Logger; sums: Sums },
  hooks: { listening(): void; died(death: Death): void },
): Worker {
  const worker = cluster.fork(env)
  const started = performance.now()
  let failure: string | undefined
  let listened = false
  // A message to one that has just died; its exit says more.
  worker.on('error', (error) => log.debug({ err: error, worker: worker.process.pid }, 'a worker was not reached'))
  worker.once('listening', () => {
    listened = true
    sums.welcome(worker)
    log.info({ worker: worker.process.pid }, 'a worker listens')
    hooks.listening()
  })
  worker.on('message', (message: ToPrimary) => {
    if ('failed' in message) failure = message.failed
    else sums.receive(worker, message)
  })
  worker.once('exit', (code, signal) => {
    sums.bury(worker)
    hooks.died({ code, signal, failure, listened, lived_ms: performance.now() - started })
  })
  return worker
}

/** Places for workers: each has one that runs, or one that is about to. */
function createPlaces(env: Record<string, string>, log: Logger) {
  const sums = createSums(log)
  const running = new Set<Worker>()
  const replacing = new Set<NodeJS.Timeout>()
  let closing = false

  /** @param deaths of workers that had this place before, one shortly after the other */
  function run(deaths: number, first?: { listening: () => void; failed: (error: WorkerError) => void }): void {
    const worker = launch(
      { env, log, sums },
      {
        listening: () => first?.listening(),
        died({ code, signal, failure, listened, lived_ms }) {
          running.delete(worker)
          if (first && !listened) {
            first.failed(new WorkerError(failure ?? `a worker ended with ${signal || code} before it listened`))
          } else if (!closing) {
            const next = lived_ms < SHORT_LIFE_MS ? deaths + 1 : 0
            const wait_ms = backoff(next)
            const fields = { worker: worker.process.pid, code, signal, failure, wait_ms }
            log[code === 0 ? 'info' : 'error'](fields, 'a worker ended; another takes its place')
            replace(next, wait_ms)
          }
        },
      },
    )
    running.add(worker)
  }

  function replace(deaths: number, wait_ms: number): void {
    const timer = setTimeout(() => {
      replacing.delete(timer)
      run(deaths)
    }, wait_ms)
    replacing.add(timer)
  }

  function stopReplacing(): void {
    closing = true
    for (const timer of replacing) clearTimeout(timer)
  }

  return {
    open: () => new Promise<void>((listening, failed) => run(0, { listening, failed })),
    async close() {
      stopReplacing()
      const limit = setTimeout(() => {
        const workers = Array.from(running, (worker) => worker.process.pid)
        log.error({ workers }, 'workers did not end in time and are killed')
        for (const worker of running) worker.process.kill('SIGKILL')
      }, KILL_MS)
      await Promise.all(Array.from(running, end))
      clearTimeout(limit)
    },
    closeSync() {
      stopReplacing()
      for (const worker of running) worker.process.kill('SIGKILL')
    },
  }
}

/** How long a place stays empty after so many short lives. */
function backoff(deaths: number): number {
  return deaths === 0 ? 0 : Math.min(BACKOFF_MIN_MS * 2 ** (deaths - 1), BACKOFF_MAX_MS)
}

/** Why a worker could not start, in words that have been chosen for people. */
export class WorkerError extends Error {}

/** Any free port for 0; the workers, and those who replace them, must all get the same one. */
function findPort({ host, port }: { host: string; port: number }): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(port, host, () => {
      const { port: found } = server.address() as AddressInfo
      server.close(() => resolve(found))
    })
  })
}

function end(worker: Worker): Promise<void> {
  return new Promise((resolve) => {
    worker.once('exit', () => resolve())
    worker.process.kill('SIGTERM')
  })
}

type Sums = {
  welcome(worker: Worker): void
  receive(worker: Worker, message: Exclude<ToPrimary, { failed: string }>): void
  bury(worker: Worker): void
}

/**
 * Adds the metrics of all workers when one of them asks. Counters must not fall when a worker dies, which Prometheus would
 * take for a restart of all, so what it told last is kept.
 */
function createSums(log: Logger): Sums {
  /** What each that listens told last. */
  const known = new Map<Worker, Snapshot | undefined>()
  const waiting = new Map<Worker, () => void>()
  let legacy: Promise<Snapshot> = Promise.resolve([])
  let gathering: Promise<Snapshot> | undefined

  function hear(worker: Worker): Promise<void> {
    return new Promise((resolve) => {
      const limit = setTimeout(done, known.get(worker) ? SILENCE_MS : FIRST_SILENCE_MS)
      function done() {
        clearTimeout(limit)
        waiting.delete(worker)
        resolve()
      }
      waiting.set(worker, done)
      send(worker, { tell: true })
    })
  }

  async function gather(): Promise<Snapshot> {
    await Promise.all(Array.from(known.keys(), hear))
    return sumOf([await legacy, ...known.values()].filter((snapshot) => snapshot !== undefined))
  }

  return {
    welcome: (worker) => void known.set(worker, undefined),
    receive(worker, message) {
      if ('told' in message) {
        if (known.has(worker)) known.set(worker, message.told)
        waiting.get(worker)?.()
        return
      }
      gathering ??= gather().finally(() => (gathering = undefined))
      gathering
        .then((sum) => send(worker, { sum, for: message.ask }))
        .catch((error: unknown) => log.error({ err: error }, 'the metrics of the workers could not be added'))
    },
    bury(worker) {
      const left = legacyOf(known.get(worker) ?? [])
      known.delete(worker)
      legacy = legacy.then((before) => sumOf([before, left]))
      waiting.get(worker)?.()
    },
  }
}

function send(worker: Worker, message: ToWorker): void {
  if (worker.isConnected()) worker.send(message)
}

/** True in a process that {@link startWorkers} has started. */
export function isWorker(): boolean {
  return cluster.isWorker && process.argv.includes(WORKER_ARGUMENT)
}

/** Resolves when this worker is to drain and end: it was told to, or the primary is gone. */
export function toldToEnd(): Promise<string> {
  return new Promise((resolve) => {
    // Ctrl-C reaches the whole group, and the primary then tells the workers too: only the first counts.
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => resolve(name))
    cluster.worker?.once('disconnect', () => {
      // Unless it is said that this was expected, Node ends the process here and now, with requests in flight.
      cluster.worker!.exitedAfterDisconnect = true
      resolve('the primary is gone')
    })
  })
}

/** Lets go of the primary, which would keep this worker alive. */
export function leavePrimary(): void {
  if (!process.connected) return
  // Otherwise Node ends the process in the same moment.
  cluster.worker!.exitedAfterDisconnect = true
  process.disconnect()
}

/** Tells the primary why this worker can't start. */
export async function reportFailure(message: string): Promise<void> {
  await new Promise((resolve) => process.send!({ failed: message } satisfies ToPrimary, resolve))
  leavePrimary()
}

/**
 * Answers the primary when it asks for this worker's metrics.
 *
 * @returns asks for the sum over all workers
 */
export function shareMetrics(own: () => Promise<Snapshot>, log: Logger): () => Promise<Snapshot> {
  const waiting = new Map<number, (sum: Snapshot) => void>()
  let questions = 0
  process.on('message', (message: ToWorker) => {
    if ('sum' in message) return waiting.get(message.for)?.(message.sum)
    own()
      .then((told) => tell({ told }))
      .catch((error: unknown) => log.error({ err: error }, 'the metrics of this worker could not be read'))
  })
  return () =>
    new Promise((resolve, reject) => {
      const question = ++questions
      const limit = setTimeout(() => settle(() => reject(new Error('the primary does not answer'))), SUM_TIMEOUT_MS)
      function settle(how: () => void) {
        clearTimeout(limit)
        waiting.delete(question)
        how()
      }
      waiting.set(question, (sum) => settle(() => resolve(sum)))
      tell({ ask: question })
    })
}

function tell(message: ToPrimary): void {
  if (process.connected) process.send!(message)
}
