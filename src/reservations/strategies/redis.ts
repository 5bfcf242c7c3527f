import { DatabaseUnavailable } from '../../errors.ts'
import { createRedis, RedisUnavailable } from '../../redis/connection.ts'
import { keyPrefix } from '../../redis/keys.ts'
import { createLevels } from '../../redis/levels.ts'
import type { Outcome, Reserve } from '../plan.ts'
import { flyAlone } from './alone.ts'
import { createKeeper } from './redis_keeper.ts'
import { refreshLevels } from './redis_sync.ts'
import { needRedis, redisGone, startOn } from './redis_start.ts'
import { takeTurn } from './second_look.ts'
import type { Strategy, StrategyParts } from './strategy.ts'

/**
 * A script on Redis admits all lines of a reserve or refuses them, in one step. The database stays the truth: whoever is
 * admitted flies, and is refused there if Redis was wrong.
 *
 * Whom Redis refuses gets a second look. So Redis may be behind, or empty, or restored from an old file: that costs work, and
 * neither sells a unit twice nor refuses one that is there.
 */
export function createRedisStrategy(parts: StrategyParts): Strategy {
  const { turns, queueHasRoom, onMoved, db, settings, meter, log } = parts
  const redis = createRedis({
    url: needRedis('redis', settings.redis_url),
    name: 'stock levels',
    log,
    onReady: () => keeper.syncSoon(),
    observe: (duration_ms) => meter.timing('redis', duration_ms),
  })
  const prefix = keyPrefix(settings.database_url)
  const levels = createLevels(redis, prefix)
  const interval_seconds = settings.redis_sync_interval_seconds
  const keeper = createKeeper({ redis, levels, prefix, db, interval_seconds, meter, log })
  onMoved(keeper.note)

  /** Whether Redis lets it pass. What Redis does not know is loaded on the spot. */
  async function admit({ id, lines }: Reserve): Promise<boolean | Outcome> {
    try {
      const first = await levels.admit(id, lines)
      if (first.kind !== 'unknown') return first.kind === 'admitted'
      await refreshLevels(db, levels, first.skus)
      return (await levels.admit(id, lines)).kind === 'admitted'
    } catch (error) {
      if (error instanceof RedisUnavailable) return redisGone()
      // The look in the database that follows will say so.
      if (error instanceof DatabaseUnavailable) return false
      throw error
    }
  }

  async function flyAdmitted(operation: Reserve): Promise<Outcome> {
    const skus = operation.lines.map((line) => line.sku)
    const started = performance.now()
    meter.attempt()
    try {
      const outcome = await flyAlone(parts, operation)
      if (!outcome.ok && outcome.refusal.code === 'insufficient_stock') {
        // Redis had more than there is, and would send the next one here too.
        meter.conflict()
        await refreshLevels(db, levels, skus).catch(() => undefined)
      }
      return outcome
    } finally {
      meter.timing('database', performance.now() - started)
      keeper.settle(operation.id, skus)
    }
  }

  return {
    name: 'redis',
    reserve: (operation, signal) =>
      takeTurn(parts, { operation, signal }, async () => {
        const admitted = await admit(operation)
        if (typeof admitted !== 'boolean') return admitted
        return admitted ? flyAdmitted(operation) : undefined
      }),
    hasRoom: (requests) => turns.hasRoom(requests) && queueHasRoom(requests),
    async start() {
      await startOn([redis], log)
      keeper.start()
    },
    async stop() {
      await turns.stop()
      await keeper.stop()
      redis.close()
    },
  }
}
