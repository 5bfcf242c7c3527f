import type { Knex } from 'knex'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { describeError } from '../database/sqlstate.ts'
import type { Metrics } from '../metrics.ts'
import { startJob, type Job } from '../schedule.ts'
import { expireBatch, expireOverdue, findKeptLocked, findStillLocked, STILL_LOCKED_MAX } from './expire.ts'
import type { ClosingHooks } from './hooks.ts'
import { forgetSetAside, noteSweepFinished, noteSweepStarted, type Take } from './queries.ts'

/**
 * Gives back what nobody paid for. Invariant: expiry is a property of time, so nothing here decides anything; a sweeper
 * that stalls oversells nothing, it only keeps units from being seen.
 */

/** Holds given back by one transaction. It keeps a hot counter locked, so it must end in a few tens of milliseconds. */
const SWEEP_SIZE_MAX = 500
/** Transactions at a time beside the first, while this process serves no buyers. Those of other processes are not known here. */
const HANDS_LENT_MAX = 2
/**
 * While this process serves buyers a sweep gives way: it takes fewer at a time and rests for so many times as long as each has
 * taken. That still gave back 500 holds a second beside a sale at half of what this process can do (four cores, 2026-11-21);
 * a rest of three times did 1,000, and one buyer in a hundred then waited half as long again. Buyers of what is overdue do
 * not wait for it: they reclaim it.
 */
const SWEEP_SIZE_BESIDE_BUYERS = 50
const REST_PER_WORK = 7
const REST_MS_MAX = 200
/** Transactions of one run: five million holds. A run is bounded; what is left is the next one's. */
const BATCHES_MAX = 10_000

export type SweepSummary = {
  expired: number
  batches: number
  set_aside: number
  blocked_skus: string[]
  duration_ms: number
}

export type Sweeper = {
  /** Sweeps at the times of a six-field cron expression, never twice at once. */
  start(cron: string): void
  /** Lets a running sweep end its batch, and starts none. */
  stop(): Promise<void>
  /** Sweeps once, until a batch comes back short. @throws DatabaseUnavailable */
  run(): Promise<SweepSummary>
}

export type SweeperDeps = ClosingHooks & {
  db: Knex
  metrics: Metrics
  log: Logger
  /** What this process is called in sweeper_runs. */
  instance: string
  /** Whether this process serves buyers at this moment. Absent: never; the command line was asked to sweep now. */
  isBusy?: () => boolean
}

/** The sweeper of one instance. Any number may run on one database: they skip what another has locked. */
export function createSweeper(deps: SweeperDeps): Sweeper {
  let job: Job | undefined
  let running: Promise<SweepSummary> | undefined
  let stopping = false
  let locked_before: readonly string[] = []

  const run = (): Promise<SweepSummary> => {
    running ??= sweep(deps, locked_before, () => stopping)
      .then((summary) => {
        locked_before = summary.blocked_skus
        return summary
      })
      .finally(() => (running = undefined))
    return running
  }

  return {
    start(cron) {
      job = startJob({ cron, name: 'expiry', log: deps.log }, run)
    },
    async stop() {
      stopping = true
      await job?.stop()
      await running?.catch(() => undefined)
    },
    run,
  }
}

/** @param locked_before SKUs whose counters the run before found locked */
async function sweep(
  deps: SweeperDeps,
  locked_before: readonly string[],
  isStopping: () => boolean,
): Promise<SweepSummary> {
  const started = performance.now()
  const summary: SweepSummary = { expired: 0, batches: 0, set_aside: 0, blocked_skus: [], duration_ms: 0 }
  try {
    await noteSweepStarted(deps.db, deps.instance)
    const first = takeBeside(summary, deps.isBusy?.() === true ? SWEEP_SIZE_BESIDE_BUYERS : SWEEP_SIZE_MAX)
    summary.blocked_skus.push(...(await findKeptLocked(deps.db, first, locked_before)))
    await sweepTogether(deps, summary, isStopping)
    await forgetSetAside(deps.db)
    summary.duration_ms = performance.now() - started
    await finish(deps, summary, null)
    deps.metrics.swept(summary)
    if (summary.expired > 0) deps.log.info(summary, 'swept')
    if (summary.blocked_skus.length > 0) {
      deps.log.warn(
        { skus: summary.blocked_skus.slice(0, 10) },
        'holds of locked SKUs stay overdue until the next sweep',
      )
    }
    return summary
  } catch (error) {
    deps.metrics.sweepFailed()
    await finish(deps, summary, error).catch(() => undefined)
    throw error
  }
}

/**
 * One hand and, when there is much to do, others beside it. What the others can't expire they leave to the first, which finds
 * out what is wrong with it. A counter that one hand found locked may have been another's, on a machine that stalled for longer
 * than the lock timeout: those that are free when all have ended are swept after all, once.
 *
 * @throws what the first hand threw, when all have ended
 */
async function sweepTogether(deps: SweeperDeps, summary: SweepSummary, isStopping: () => boolean): Promise<void> {
  const looked_at = new Set(summary.blocked_skus)
  for (let again = true; again && !isStopping();) {
    const lent: Promise<'done' | 'amiss'>[] = []
    const lendHand = () => {
      if (lent.length < HANDS_LENT_MAX) lent.push(lendOne(deps, summary, isStopping).catch(() => 'amiss' as const))
    }
    await sweepOn(deps, summary, isStopping, lendHand).finally(() => Promise.all(lent))
    if (isStopping()) return
    const found = summary.blocked_skus.filter((sku) => !looked_at.has(sku)).slice(0, STILL_LOCKED_MAX)
    for (const sku of found) looked_at.add(sku)
    const locked = await findStillLocked(deps.db, found)
    const freed = found.filter((sku) => !locked.includes(sku))
    summary.blocked_skus = summary.blocked_skus.filter((sku) => !freed.includes(sku))
    again = freed.length > 0 || (await Promise.all(lent)).includes('amiss')
  }
}

/** Works beside the first hand until a batch comes back short or buyers come. @throws what a batch could not stand */
async function lendOne(deps: SweeperDeps, summary: SweepSummary, isStopping: () => boolean): Promise<'done'> {
  while (summary.batches < BATCHES_MAX && !isStopping() && deps.isBusy?.() !== true) {
    summary.batches += 1
    const expired = await expireBatch(deps.db, takeBeside(summary, SWEEP_SIZE_MAX), deps)
    summary.expired += expired
    deps.metrics.outcome('expire', 'ok', 'sweep', expired)
    if (expired < SWEEP_SIZE_MAX) break
  }
  return 'done'
}

function takeBeside(summary: SweepSummary, limit: number): Take {
  return { limit, skus: null, except_skus: [...summary.blocked_skus], except_ids: [] }
}

/**
 * Gives back batch after batch until one comes back short.
 *
 * @param lendHand called when there is more to do: others then work beside this, so that some find their holds while one
 *   writes
 */
async function sweepOn(
  deps: SweeperDeps,
  summary: SweepSummary,
  isStopping: () => boolean,
  lendHand: () => void,
): Promise<void> {
  const isBusy = deps.isBusy ?? (() => false)
  for (let full = true; full && summary.batches < BATCHES_MAX && !isStopping();) {
    const busy = isBusy()
    const started = performance.now()
    const limit = busy ? SWEEP_SIZE_BESIDE_BUYERS : SWEEP_SIZE_MAX
    summary.batches += 1
    const { expired, failed, blocked_skus } = await expireOverdue(deps.db, takeBeside(summary, limit), deps)
    for (const { id, failures, error } of failed) {
      deps.log.error({ err: error, reservation_id: id, failures }, 'a hold could not be expired and was set aside')
    }
    summary.expired += expired
    summary.set_aside += failed.length
    summary.blocked_skus.push(...blocked_skus.filter((sku) => !summary.blocked_skus.includes(sku)))
    deps.metrics.outcome('expire', 'ok', 'sweep', expired)
    // Whatever was left out makes a batch come back short although more is waiting behind it.
    full = expired === limit || failed.length > 0 || blocked_skus.length > 0
    if (expired === SWEEP_SIZE_MAX) lendHand()
    if (full && isBusy()) await delay(Math.min(REST_MS_MAX, (performance.now() - started) * REST_PER_WORK))
  }
}

function finish(deps: SweeperDeps, summary: SweepSummary, error: unknown): Promise<void> {
  const { expired, set_aside } = summary
  const message = error === null ? null : describeError(error)
  return noteSweepFinished(deps.db, { instance: deps.instance, expired, set_aside, error: message })
}
