import type { Knex } from 'knex'
import { createTask } from 'node-cron'
import { reading } from '../database/transaction.ts'
import { selectBacklog, selectSweeperRuns, type SweeperRun } from './queries.ts'

/** What is held and what expiry has left to do, over all instances. */
export type Stats = {
  /** Stored as pending; {@link COUNT_MAX} stands for that many or more. */
  pending: number
  /** Of these, past their time and not swept yet. */
  overdue: number
  oldest_overdue_seconds: number
  /** Holds that failed to expire and wait for their next try. */
  set_aside: number
  /** What the sweeper of each instance did last, the latest first. */
  sweeper: SweeperRun[]
  stalled: boolean
}

/** Counting stops here, so that a backlog of millions is not counted at every scrape. */
export const COUNT_MAX = 100_000

/** A hold may be overdue for so long, or for three turns of the schedule, before expiry counts as stalled. */
const STALLED_SECONDS_MIN = 60
const STALLED_TURNS = 3

/**
 * Reads the statistics: two short statements over partial indexes, 30 ms with 100,000 holds pending.
 *
 * @param options.stalled_after_seconds see {@link stalledAfterSeconds}
 * @throws DatabaseUnavailable
 */
export function readStats(db: Knex, options: { stalled_after_seconds?: number } = {}): Promise<Stats> {
  const { stalled_after_seconds = STALLED_SECONDS_MIN } = options
  return reading(async () => {
    const [{ oldest_waiting_seconds, ...backlog }, sweeper] = await Promise.all([
      selectBacklog(db, COUNT_MAX),
      selectSweeperRuns(db),
    ])
    return {
      ...backlog,
      sweeper,
      stalled: isSweeperStalled({ oldest_waiting_seconds, sweeper, stalled_after_seconds }),
    }
  })
}

/**
 * Expiry has stalled when a hold that should have been swept has waited for too long and no sweeper has succeeded for as
 * long either. Set-aside holds wait on purpose, and a sweeper that works through a long backlog is slow, not stalled.
 */
export function isSweeperStalled(state: {
  /** Age of the oldest overdue hold that is not set aside; 0 where there is none. */
  oldest_waiting_seconds: number
  sweeper: readonly Pick<SweeperRun, 'succeeded_seconds_ago'>[]
  stalled_after_seconds: number
}): boolean {
  if (state.oldest_waiting_seconds <= state.stalled_after_seconds) return false
  return !state.sweeper.some(({ succeeded_seconds_ago: ago }) => ago !== null && ago <= state.stalled_after_seconds)
}

/** How long a hold may stay overdue under a schedule before expiry counts as stalled. */
export function stalledAfterSeconds(expiry_cron: string | undefined): number {
  if (expiry_cron === undefined) return STALLED_SECONDS_MIN
  const task = createTask(expiry_cron, () => undefined)
  const turns = task.getNextRuns(STALLED_TURNS + 1).map((turn) => turn.getTime())
  void task.destroy()
  const seconds = turns.length > 1 ? (turns.at(-1)! - turns[0]!) / 1000 : 0
  return Math.max(STALLED_SECONDS_MIN, seconds)
}
