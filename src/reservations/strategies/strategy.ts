import type { Operation, Outcome, Reserve } from '../plan.ts'

/**
 * One way to win the race for a counter. It decides reserve only; the other verbs share one path. Whatever it locks only
 * saves work: each strategy ends in the conditional UPDATE.
 */
export type Strategy = {
  name: string
  /** @throws what the operation alone threw: a bug; a lost database is a refusal */
  reserve(operation: Reserve, signal?: AbortSignal): Promise<Outcome>
  /** Whether so many more requests would be taken; asked before a body is read. */
  hasRoom(requests: number): boolean
  /** Takes nothing more and resolves when everything taken is answered. */
  stop(): Promise<void>
}

/** What strategies are made of. */
export type StrategyParts = {
  /** Queues an operation for the next batch. */
  submit: (operation: Operation, signal?: AbortSignal) => Promise<Outcome>
  queueHasRoom: (requests: number) => boolean
  /** Decides and writes operations in one transaction of their own. */
  fly: (operations: readonly Operation[], options: { deadline: number }) => Promise<Map<Operation, Outcome>>
  /** How many transactions of its own a strategy may have open at once. */
  flights_max: number
}
