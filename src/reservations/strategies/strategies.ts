import type { StrategyName } from '../../strategy_names.ts'
import { createBatched } from './batched.ts'
import { createConditional } from './conditional.ts'
import { CannotStart, type Strategy, type StrategyParts } from './strategy.ts'

/** Every way to win the race for a counter, by name. */
const STRATEGIES: Partial<Record<StrategyName, (parts: StrategyParts) => Strategy>> = {
  batched: createBatched,
  conditional: createConditional,
}

/** @throws CannotStart if this build lacks it */
export function createStrategy(name: StrategyName, parts: StrategyParts): Strategy {
  const create = STRATEGIES[name]
  if (create === undefined) throw new CannotStart(`there is no strategy "${name}" in this build`)
  return create(parts)
}
