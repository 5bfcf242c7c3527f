import type { Logger } from 'pino'
import type { StrategyRate } from '../../metrics.ts'

/** Above this share of tries that met somebody faster, a strategy is the wrong one for what is being bought. */
const RATE_MAX = 0.15
/** Of fewer tries nothing is said: two of ten are no trend. */
const ATTEMPTS_MIN = 100
const INTERVAL_MS = 60_000

/**
 * Says once a minute which strategies met conflicts too often in the last one, and what to do next.
 *
 * @param rates what strategies met in the last minute
 */
export function createConflictWatch({ rates, log }: { rates: () => readonly StrategyRate[]; log: Logger }) {
  let timer: NodeJS.Timeout | undefined

  function look(): void {
    for (const { strategy, attempts, conflicts } of rates()) {
      if (attempts < ATTEMPTS_MIN || conflicts / attempts <= RATE_MAX) continue
      const percent = Math.round((conflicts / attempts) * 100)
      log.warn(
        { strategy, attempts, conflicts, percent },
        `${percent} % of the tries of strategy "${strategy}" met somebody faster in the last minute: many buyers want the same ` +
          'SKUs. Set RESERVATION_STRATEGY=batched, or give this strategy a smaller weight',
      )
    }
  }

  return {
    look,
    start() {
      timer ??= setInterval(look, INTERVAL_MS).unref()
    },
    stop() {
      clearInterval(timer)
      timer = undefined
    },
  }
}
