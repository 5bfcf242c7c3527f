import type { Logger } from 'pino'
import { describeError, SQLSTATE, sqlstate, violatedConstraint } from '../../database/sqlstate.ts'
import { reading } from '../../database/transaction.ts'
import { refused } from '../../errors.ts'
import type { StrategyMeter } from '../../metrics.ts'
import { Blocked } from '../blocked.ts'
import type { FlightOptions } from '../flight.ts'
import type { Outcome } from '../plan.ts'
import { forgetUnlocked } from '../reclaim.ts'
import { flyAlone } from './alone.ts'
import type { Job, Jobs } from './queue_jobs.ts'
import type { QueueLimits } from './queue_limits.ts'
import type { StrategyParts } from './strategy.ts'

/**
 * Runs jobs, those of other processes too. Invariant: what a job writes and its end are one transaction, and a refusal is
 * known to the job before anybody hears of it; so a job that is handed out twice, because its worker was slow or died,
 * still has one effect and one answer.
 */

/**
 * Jobs that this process takes ahead for each of its workers, because taking them costs a transaction; the next when half of
 * them are left. What it can't run before it dies is handed out again. So few that those whose rows are all locked, each waited
 * for up to the lock timeout (250 ms), and the one before them end before the worker counts as dead.
 */
const TAKEN_PER_WORKER = 6

export type Workers = {
  /** There may be work. */
  wake(): void
  /** Takes no more jobs, and resolves when those that it has are done. */
  stop(): Promise<void>
}

export type WorkersOptions = {
  jobs: Jobs
  fly: StrategyParts['fly']
  known_locked: StrategyParts['known_locked']
  turns: StrategyParts['turns']
  db: StrategyParts['db']
  meter: StrategyMeter
  log: Logger
  limits: Pick<QueueLimits, 'poll_ms' | 'wait_ms_max'>
  /** How many jobs run at once. */
  at_once_max: number
  /** Told of a job that was handed to this process. */
  onTaken: (id: string) => void
  /** Told how a job ended. */
  onOutcome: (id: string, outcome: Outcome) => void
  /** Told of a job that is a dead letter now. */
  onDead: (id: string, error: unknown) => void
  /** Told that somebody else decides a job that was handed to this process, or that only its row knows how it ended. */
  onLost: (id: string) => void
}

/** Thrown inside a transaction whose job is no longer this process's. */
class Superseded extends Error {}

export function startWorkers(options: WorkersOptions): Workers {
  const { jobs, at_once_max, log } = options
  const taken: Job[] = []
  const running = new Set<Promise<void>>()
  const endings = createEndings(options)
  const state = { wanted: true, stopping: false }
  let taking: Promise<void> | undefined
  const taken_max = TAKEN_PER_WORKER * at_once_max
  const isToTake = () => !state.stopping && state.wanted && taken.length < taken_max / 2

  function goOn(): void {
    while (running.size < at_once_max) {
      const job = taken.shift()
      if (job === undefined) break
      const run = runJob(options, endings, job)
        .catch((error: unknown) => {
          options.onLost(job.id)
          log.error({ job: job.id, error: describeError(error) }, 'a job could not be ended; it is handed out again')
        })
        .finally(() => {
          running.delete(run)
          goOn()
        })
      running.add(run)
    }
    if (isToTake()) taking ??= takeMore().finally(takeOn)
  }

  async function takeMore(): Promise<void> {
    while (isToTake()) {
      state.wanted = false
      const limit = taken_max - taken.length
      const started = performance.now()
      const found = await jobs.take(limit)
      options.meter.timing('take', performance.now() - started)
      if (found.length === limit) state.wanted = true
      for (const { id } of found) options.onTaken(id)
      taken.push(...found)
      goOn()
    }
  }

  /** Whoever woke it a moment ago found it still taking. */
  function takeOn(): void {
    taking = undefined
    goOn()
  }

  const wake = (): void => {
    state.wanted = true
    goOn()
  }
  const poll = setInterval(wake, options.limits.poll_ms)
  goOn()
  return {
    wake,
    async stop() {
      state.stopping = true
      clearInterval(poll)
      await taking
      while (running.size > 0) await Promise.all(running)
      await endings.done()
    },
  }
}

async function runJob(options: WorkersOptions, endings: Endings, job: Job): Promise<void> {
  const { meter, limits } = options
  const waited_ms = job.waited_ms + performance.now() - job.handed_at
  meter.attempt()
  meter.timing('in_queue', waited_ms)
  if (job.fence > 0) meter.retry()
  let written: Outcome | undefined
  let outcome: Outcome
  try {
    const alongside: FlightOptions['alongside'] = async (tx, outcomes) => {
      written = outcomes.get(job.operation)
      if (written === undefined || !(await options.jobs.endIn(tx, job, written))) throw new Superseded()
    }
    // One that waited too long is dropped here: whoever asked is told, or has been, that it was not executed.
    const work = async (): Promise<Outcome> => {
      // Nobody waits for these apart who would find out that they are free again.
      await reading(() => forgetUnlocked(options.db, options.known_locked)).catch(() => undefined)
      return await flyAlone(options, job.operation, { onConflict: meter.conflict, alongside })
    }
    outcome = await options.turns.take(work, { until: performance.now() + limits.wait_ms_max - waited_ms })
  } catch (error) {
    if (error instanceof Superseded || isMadeAlready(error)) return options.onLost(job.id)
    if (error instanceof Blocked) return endings.end(job, LOCKED)
    return await fail(options, job, error)
  }
  if (outcome === written) return options.onOutcome(job.id, outcome)
  // Whether COMMIT was heard stands in the job's row.
  if (!outcome.ok && outcome.refusal.code === 'database_unavailable' && outcome.refusal.outcome === 'unknown') {
    return options.onLost(job.id)
  }
  endings.end(job, outcome)
}

const LOCKED = refused({ code: 'overloaded', detail: 'Another session holds a row that this needs.' })

/** Another run of the job has made the reservation, and ended the job with it. */
function isMadeAlready(error: unknown): boolean {
  return sqlstate(error) === SQLSTATE.unique_violation && violatedConstraint(error) === 'reservations_pkey'
}

async function fail({ jobs, log, onDead, onLost }: WorkersOptions, job: Job, error: unknown): Promise<void> {
  await jobs.fail(job, error)
  const told = { job: job.id, try: job.fence + 1, err: error }
  if (job.is_last_try) {
    log.error(told, 'a job failed for the last time; it is a dead letter')
    onDead(job.id, error)
  } else {
    log.warn(told, 'a job failed; it is tried again')
    onLost(job.id)
  }
}

type Endings = {
  /** Ends the job, and then tells how: a worker need not wait for it. */
  end(job: Job, outcome: Outcome): void
  /** Resolves when all have been told. */
  done(): Promise<void>
}

/** Ends jobs that wrote nothing, as many in one statement as have come while the one before was under way. */
function createEndings({ jobs, meter, log, onOutcome, onLost }: WorkersOptions): Endings {
  let gathered: { job: Job; outcome: Outcome }[] = []
  let ending: Promise<void> | undefined

  async function endGathered(): Promise<void> {
    const batch = gathered
    gathered = []
    let ended = new Set<string>()
    try {
      const started = performance.now()
      ended = await jobs.end(batch)
      meter.timing('end', performance.now() - started)
    } catch (error) {
      log.warn(
        { jobs: batch.length, error: describeError(error) },
        'jobs could not be ended; they are handed out again',
      )
    }
    for (const { job, outcome } of batch) {
      if (ended.has(job.id)) onOutcome(job.id, outcome)
      else onLost(job.id)
    }
  }

  function endNext(): void {
    if (gathered.length === 0) return
    ending ??= endGathered().finally(() => {
      ending = undefined
      endNext()
    })
  }

  return {
    end(job, outcome) {
      gathered.push({ job, outcome })
      endNext()
    },
    async done() {
      for (let last = ending; last !== undefined; last = ending) await last
    },
  }
}
