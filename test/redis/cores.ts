import type { Result } from '../../src/errors.ts'
import type { StrategyName } from '../../src/strategy_names.ts'
import type { StrategySettings } from '../../src/reservations/strategies/strategy.ts'
import type { TestDatabase } from '../database.ts'
import { openCore, type Core, type CoreOptions } from '../factories.ts'
import type { RedisServer } from './server.ts'

/** The strategies on one Redis, and Redlock on three as well. */
export const WAYS = [
  { way: 'redis', strategy: 'redis', nodes: 1 },
  { way: 'spinlock', strategy: 'spinlock', nodes: 1 },
  { way: 'redlock on one node', strategy: 'redlock', nodes: 1 },
  { way: 'redlock on three nodes', strategy: 'redlock', nodes: 3 },
  { way: 'pubsub-lock', strategy: 'pubsub-lock', nodes: 1 },
] as const satisfies { way: string; strategy: StrategyName; nodes: number }[]

/** The settings that name these Redis. */
export function settingsOn(servers: readonly Pick<RedisServer, 'url'>[]): Partial<StrategySettings> {
  const redis_urls = servers.map(({ url }) => url)
  return { redis_url: redis_urls[0], redis_urls }
}

/** A core whose strategy works on these Redis, started. */
export async function openOn(
  database: TestDatabase,
  servers: readonly Pick<RedisServer, 'url'>[],
  options: CoreOptions & { strategy: StrategyName },
): Promise<Core> {
  const core = openCore(database, { ...options, settings: { ...settingsOn(servers), ...options.settings } })
  await core.reservations.start()
  return core
}

/** How an answer ended: `held`, or the refusal's code. */
export function codeOf<T>(result: Result<T>): string {
  return result.ok ? 'held' : result.refusal.code
}

/** How often each word comes. */
export function count(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1
  return counts
}

/** Does it again and again until it is told that this is over. */
export async function repeat(over: AbortSignal, act: () => Promise<unknown>): Promise<void> {
  for (;;) {
    if (over.aborted) return
    await act()
  }
}
