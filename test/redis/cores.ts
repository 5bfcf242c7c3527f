import type { TestDatabase } from '../database.ts'
import { openCore, settingsOf, type Core } from '../factories.ts'
import type { StrategyName } from '../../src/strategy_names.ts'
import type { StrategySettings } from '../../src/reservations/strategies/strategy.ts'
import type { RedisServer } from './server.ts'

/** The strategies on one Redis, and Redlock on three as well. */
export const WAYS = [
  { way: 'redis', strategy: 'redis', nodes: 1 },
  { way: 'spinlock', strategy: 'spinlock', nodes: 1 },
  { way: 'redlock on one node', strategy: 'redlock', nodes: 1 },
  { way: 'redlock on three nodes', strategy: 'redlock', nodes: 3 },
  { way: 'pubsub-lock', strategy: 'pubsub-lock', nodes: 1 },
] as const satisfies { way: string; strategy: StrategyName; nodes: number }[]

export type Way = (typeof WAYS)[number]

/** A core whose strategy works on these Redis, started. */
export async function openOn(
  database: TestDatabase,
  servers: readonly Pick<RedisServer, 'url'>[],
  options: { strategy: StrategyName; settings?: Partial<StrategySettings> } & Omit<
    NonNullable<Parameters<typeof openCore>[1]>,
    'strategy' | 'settings'
  >,
): Promise<Core> {
  const redis_urls = servers.map(({ url }) => url)
  const core = openCore(database, {
    ...options,
    settings: { ...settingsOf(database.url), redis_url: redis_urls[0], redis_urls, ...options.settings },
  })
  await core.reservations.start()
  return core
}
