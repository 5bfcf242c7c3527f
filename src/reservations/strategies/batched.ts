import type { Strategy, StrategyParts } from './strategy.ts'

/** Many reserves share one transaction, in order of arrival. The default: a hot row takes one commit at a time. */
export function createBatched({ submit, queueHasRoom }: StrategyParts): Strategy {
  return { name: 'batched', reserve: submit, hasRoom: queueHasRoom, stop: () => Promise.resolve() }
}
