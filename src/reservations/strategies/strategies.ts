import type { StrategyName } from '../../strategy_names.ts'
import { createBatched } from './batched.ts'
import { createConditional } from './conditional.ts'
import { createPubsubLock } from './pubsub_lock.ts'
import { createRedisStrategy } from './redis.ts'
import { createRedlock } from './redlock.ts'
import { createSpinlock } from './spinlock.ts'
import { createMutex } from './mutex.ts'
import { createOptimistic } from './optimistic.ts'
import { createPessimistic } from './pessimistic.ts'
import { CannotStart, type Strategy, type StrategyParts } from './strategy.ts'

/** Every way to win the race for a counter, by name. */
const STRATEGIES: Partial<Record<StrategyName, (parts: StrategyParts) => Strategy>> = {
  batched: createBatched,
  conditional: createConditional,
  redis: createRedisStrategy,
  spinlock: createSpinlock,
  redlock: createRedlock,
  'pubsub-lock': createPubsubLock,
  pessimistic: createPessimistic,
  optimistic: createOptimistic,
  mutex: createMutex,
}

/** @throws CannotStart if this build lacks it */
export function createStrategy(name: StrategyName, parts: StrategyParts): Strategy {
  const create = STRATEGIES[name]
  if (create === undefined) throw new CannotStart(`there is no strategy "${name}" in this build`)
  return create(parts)
}
