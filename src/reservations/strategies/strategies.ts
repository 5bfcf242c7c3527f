import type { StrategyName } from '../../strategy_names.ts'
import type { Weighted } from '../../weights.ts'
import { createSplit } from '../split.ts'
import type { ReserveRequest } from '../reservation.ts'
import { withLane } from './alone.ts'
import { createBatched } from './batched.ts'
import { createConditional } from './conditional.ts'
import { createPubsubLock } from './pubsub_lock.ts'
import { createRedisStrategy } from './redis.ts'
import { createRedlock } from './redlock.ts'
import { createSpinlock } from './spinlock.ts'
import { withFallback } from './fallback.ts'
import { createMutex } from './mutex.ts'
import { createOptimistic } from './optimistic.ts'
import { createPessimistic } from './pessimistic.ts'
import { createQueue } from './queue.ts'
import { CannotStart, type Strategy, type StrategyParts } from './strategy.ts'

/** Every way to win the race for a counter, by name. */
const STRATEGIES: Partial<Record<StrategyName, (parts: StrategyParts) => Strategy>> = {
  batched: createBatched,
  conditional: withLane(createConditional),
  redis: withLane(createRedisStrategy),
  spinlock: withLane(createSpinlock),
  redlock: withLane(createRedlock),
  'pubsub-lock': withLane(createPubsubLock),
  pessimistic: withLane(createPessimistic),
  optimistic: withLane(createOptimistic),
  mutex: createMutex,
  queue: createQueue,
}

/** What decides the reserves of this process: one strategy, or several that buyers are split among. */
export type Way = Omit<Strategy, 'name'> & {
  /** The strategy that a buyer's reserve goes to; it stands on the operation. */
  nameOf(request: ReserveRequest, id: string): StrategyName
  start(): Promise<void>
}

export type WayOptions = {
  /** At least one. */
  chosen: readonly Weighted<StrategyName>[]
  /** Takes what another certainly wrote nothing of and can't answer. */
  fallback?: StrategyName | undefined
  partsOf: (name: StrategyName) => StrategyParts
}

/**
 * Makes the strategies. One alone is handed through as it is, so that it costs nothing that there might be more.
 *
 * @throws CannotStart if this build lacks one
 */
export function createWay({ chosen, fallback, partsOf }: WayOptions): Way {
  const other = fallback === undefined ? undefined : createStrategy(fallback, partsOf(fallback))
  const arms = new Map<string, Strategy>()
  for (const { value: name } of chosen) {
    if (name === other?.name) {
      arms.set(name, other)
      continue
    }
    const parts = partsOf(name)
    const strategy = createStrategy(name, parts)
    arms.set(name, other === undefined ? strategy : withFallback(strategy, other, parts))
  }
  const all = [...new Set([...(other === undefined ? [] : [other]), ...arms.values()])]
  const [only] = arms.values()
  if (only === undefined) throw new Error('no strategy was chosen')
  return {
    nameOf: createSplit(chosen, 'strategy'),
    reserve:
      arms.size === 1
        ? (operation, signal) => only.reserve(operation, signal)
        : (operation, signal) => arms.get(operation.strategy)!.reserve(operation, signal),
    // Whose body has not been read may go to any of them; one that has none left refuses by itself.
    hasRoom: (requests) => {
      for (const arm of arms.values()) if (arm.hasRoom(requests)) return true
      return false
    },
    async start() {
      for (const strategy of all) await strategy.start?.()
    },
    async stop() {
      // The fallback last: the others may have something for it to the end.
      await Promise.all(all.filter((strategy) => strategy !== other).map((strategy) => strategy.stop()))
      await other?.stop()
    },
  }
}

function createStrategy(name: StrategyName, parts: StrategyParts): Strategy {
  const create = STRATEGIES[name]
  if (create === undefined) throw new CannotStart(`there is no strategy "${name}" in this build`)
  return create(parts)
}
