import { setTimeout as delay } from 'node:timers/promises'
import { refused } from '../../errors.ts'
import type { Outcome, Reserve } from '../plan.ts'
import { flyAlone } from './alone.ts'
import type { Strategy, StrategyParts } from './strategy.ts'
import { createTurns, LENGTH_MAX } from '../../database/turns.ts'

/** No single wait before another try is longer, however often it has doubled. */
const BACKOFF_MS_MAX = 1000

/**
 * Each reserve reads its counters with their `seq` and writes only if nobody has changed them since; else it waits, reads
 * again and tries again, and ends with `stock_conflict` when its tries are used up. Good while buyers seldom meet; on a hot
 * SKU all but one of those who try at once do so in vain.
 *
 * A shortage is no conflict: it is answered from the read alone, which began after the request came.
 */
export function createOptimistic(parts: StrategyParts): Strategy {
  const { turns, settings, meter } = parts
  const { optimistic_retries_max: retries_max, optimistic_backoff_ms: backoff_ms } = settings
  // Who waits for another try keeps no connection from others, but counts as taken.
  const inside = createTurns({ at_once_max: LENGTH_MAX })

  function attempt(operation: Reserve): Promise<Outcome> {
    meter.attempt()
    return flyAlone(parts, operation, { counters: 'as_read', onConflict: meter.conflict })
  }

  async function tryAgainAndAgain(operation: Reserve, signal: AbortSignal | undefined, until: number) {
    for (let retries = 0; ; retries++) {
      const outcome = await turns.take(() => attempt(operation), { signal, until })
      if (outcome.ok || outcome.refusal.code !== 'stock_conflict') return outcome
      // Any wait up to the longest: those who collided once would otherwise collide again.
      const wait_ms = Math.random() * Math.min(backoff_ms * 2 ** retries, BACKOFF_MS_MAX)
      if (retries === retries_max || performance.now() + wait_ms > until) return refused({ code: 'stock_conflict' })
      meter.retry()
      await delay(wait_ms)
    }
  }

  return {
    name: 'optimistic',
    reserve: (operation, signal) => inside.take((until) => tryAgainAndAgain(operation, signal, until), { signal }),
    hasRoom: (requests) => inside.hasRoom(requests) && turns.hasRoom(requests),
    async stop() {
      // Those inside need turns to the end.
      await inside.stop()
      await turns.stop()
    },
  }
}
