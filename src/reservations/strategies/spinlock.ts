import { createRedis } from '../../redis/connection.ts'
import { keyPrefix } from '../../redis/keys.ts'
import { createLocks } from '../../redis/lock.ts'
import { createLocked, LOCK_TTL_MS, poll } from './locked.ts'
import { needRedis, startOn } from './redis_start.ts'
import type { Strategy, StrategyParts } from './strategy.ts'

/** A lock in Redis, asked for again and again until it is free. Whoever happens to ask first after that has it. */
export function createSpinlock(parts: StrategyParts): Strategy {
  const { settings, meter, log } = parts
  const redis = createRedis({
    url: needRedis('spinlock', settings.redis_url),
    name: 'stock spinlock',
    log,
    observe: (duration_ms) => meter.timing('redis', duration_ms),
  })
  const locks = createLocks(redis, { prefix: `${keyPrefix(settings.database_url)}lock:`, ttl_ms: LOCK_TTL_MS })

  return createLocked('spinlock', parts, {
    acquire: (skus, wait) => poll(() => locks.take(skus), wait),
    start: () => startOn([redis], log),
    async stop() {
      await locks.stop()
      redis.close()
    },
  })
}
