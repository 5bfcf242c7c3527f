import type { Knex } from 'knex'
import type { Logger } from 'pino'
import type { StrategyMeter } from '../../metrics.ts'
import type { StrategyName } from '../../strategy_names.ts'
import type { FlightOptions } from '../flight.ts'
import type { OnMoved } from '../hooks.ts'
import type { Operation, Outcome, Reserve } from '../plan.ts'
import type { Turns } from '../../database/turns.ts'

/**
 * One way to win the race for a counter. It decides reserve only; the other verbs share one path. Whatever it locks only
 * saves work: each strategy ends in the conditional UPDATE.
 *
 * Every wait and every queue of a strategy is bounded, and what it took is answered exactly once. Where it can't answer it
 * says which refusal: `stock_conflict` if its tries are used up, `strategy_unavailable` if something of its own (Redis) is
 * gone. Both say that nothing was written and nothing will be: another strategy may then be given the same operation.
 */
export type Strategy = {
  name: StrategyName
  /** @throws what the operation alone threw: a bug; a lost database is a refusal */
  reserve(operation: Reserve, signal?: AbortSignal): Promise<Outcome>
  /** Whether so many more requests would be taken; asked before a body is read. */
  hasRoom(requests: number): boolean
  /**
   * Connects and loads what it needs, within a few seconds; before the first reserve. May be called again if it threw.
   *
   * @throws CannotStart in words for whoever starts the service
   */
  start?(): Promise<void>
  /** Takes nothing more and resolves when everything taken is answered. */
  stop(): Promise<void>
}

/** What a strategy lacks, in words for whoever starts the service. */
export class CannotStart extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'CannotStart'
  }
}

/** What strategies are made of. */
export type StrategyParts = {
  /** Queues an operation for the next batch. */
  submit: (operation: Operation, signal?: AbortSignal) => Promise<Outcome>
  queueHasRoom: (requests: number) => boolean
  /** Decides and writes operations in one transaction of their own: see {@link FlightOptions} for how. */
  fly: (operations: readonly Operation[], options: Omit<FlightOptions, 'deadline'>) => Promise<Map<Operation, Outcome>>
  /** SKUs whose counters this process found locked by another session. */
  known_locked: Set<string>
  /** From now on the listener is told of counters that this process has moved. */
  onMoved: (listen: OnMoved) => void
  /**
   * Turns for transactions of its own, shared by all strategies of this process: one for each connection to spare. To stop
   * them stops this strategy's use of them.
   */
  turns: Turns
  /** How many transactions of its own a strategy may have open at once. */
  flights_max: number
  /** The core's connections. */
  db: Knex
  settings: StrategySettings
  meter: StrategyMeter
  log: Logger
}

/** What the environment says about strategies. */
export type StrategySettings = {
  database_url: string
  /** Undefined where no strategy needs it. */
  redis_url: string | undefined
  /** The nodes of Redlock; `redis_url` alone if nothing else is said. */
  redis_urls: readonly string[]
  redis_sync_interval_seconds: number
  queue_workers: number
  optimistic_retries_max: number
  optimistic_backoff_ms: number
}
