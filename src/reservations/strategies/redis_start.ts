import type { Logger } from 'pino'
import { refused, type Refusal } from '../../errors.ts'
import type { RedisConnection } from '../../redis/connection.ts'
import type { StrategyName } from '../../strategy_names.ts'
import { CannotStart } from './strategy.ts'

/** What the strategies on Redis share of how they start, and of how they say that it is gone. */

/** The URL. @throws CannotStart if there is none */
export function needRedis(strategy: StrategyName, url: string | undefined): string {
  if (url !== undefined) return url
  throw new CannotStart(`the strategy "${strategy}" needs a Redis: set REDIS_URL, such as redis://localhost:6379`)
}

/**
 * Connects. Without Redis the service starts all the same, because confirms, releases and reads need none, and it will be
 * used when it comes; until then reserves say that it is gone.
 */
export async function startOn(connections: readonly RedisConnection[], log: Logger): Promise<void> {
  const there = await Promise.all(connections.map((redis) => redis.open()))
  const away = connections.filter((_, index) => !there[index]).map(({ address }) => address)
  if (away.length > 0) log.error({ redis: away }, 'started without Redis; it is used as soon as it can be reached')
}

/** Nothing was written, and nothing will be. Where Redis is and what is wrong with it is in the log, not for the buyer. */
export function redisGone(): { ok: false; refusal: Refusal } {
  return refused({ code: 'strategy_unavailable', detail: 'Redis, which is asked first, does not answer.' })
}
