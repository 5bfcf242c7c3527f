import { flyAlone } from './alone.ts'
import type { Strategy, StrategyParts } from './strategy.ts'

/**
 * A transaction for each reserve, ending in one conditional UPDATE; the row's lock queues them in PostgreSQL. No more fly
 * at once than there are connections for them: a thousand that all wait for a connection would time out there, and keep
 * confirms and the sweeper from theirs. Order of arrival is kept only up to the last few in flight.
 */
export function createConditional(parts: StrategyParts): Strategy {
  const { turns, meter } = parts
  return {
    name: 'conditional',
    reserve: (operation, signal) =>
      turns.take(
        () => {
          meter.attempt()
          return flyAlone(parts, operation, { onConflict: meter.conflict })
        },
        { signal },
      ),
    hasRoom: turns.hasRoom,
    stop: turns.stop,
  }
}
