import { flyAlone } from './alone.ts'
import type { Strategy, StrategyParts } from './strategy.ts'

/**
 * Each reserve locks its counters (SELECT … FOR NO KEY UPDATE, in SKU order), looks at what they hold, and then writes.
 * Nobody can be faster, so nothing is ever done twice; the price is one more statement, during which the rows are locked.
 * Whom the counters do not cover by an unlocked read is refused without a lock.
 *
 * Not FOR UPDATE: it keeps out the same writers, and in addition those who only refer to the row.
 */
export function createPessimistic(parts: StrategyParts): Strategy {
  const { turns, meter } = parts
  return {
    name: 'pessimistic',
    reserve: (operation, signal) =>
      turns.take(
        () => {
          meter.attempt()
          return flyAlone(parts, operation, {
            counters: 'locked',
            onConflict: meter.conflict,
            onLocked: meter.lockWait,
          })
        },
        { signal },
      ),
    hasRoom: turns.hasRoom,
    stop: turns.stop,
  }
}
