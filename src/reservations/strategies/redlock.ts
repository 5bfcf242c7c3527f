import { Redlock } from '@sesamecare-oss/redlock'
import { createRedis, RedisUnavailable } from '../../redis/connection.ts'
import { keyPrefix } from '../../redis/keys.ts'
import type { Held } from '../../redis/lock.ts'
import { createLocked, LOCK_TTL_MS, poll } from './locked.ts'
import { needRedis, startOn } from './redis_start.ts'
import { CannotStart, type Strategy, type StrategyParts } from './strategy.ts'

/**
 * A lock on most of several Redis that know nothing of each other, by the algorithm of that name and a library that has it.
 * It outlives the loss of fewer than half of them. Polled, like the spinlock.
 */
export function createRedlock(parts: StrategyParts): Strategy {
  const { settings, meter, log } = parts
  const nodes = urlsOf(settings.redis_urls).map((url) => createRedis({ url, name: 'stock redlock', log }))
  const quorum = Math.floor(nodes.length / 2) + 1
  const library = new Redlock(
    nodes.map(({ client }) => client),
    // Tries and pauses are ours, as with the other locks. Its scripts select a database, so it must know which.
    { retryCount: 0, db: nodes[0]!.database },
  )
  const prefix = `${keyPrefix(settings.database_url)}lock:`
  const leaving = new Set<Promise<void>>()

  async function tryOnce(skus: readonly string[]): Promise<Held | undefined> {
    const started = performance.now()
    const resources = skus.map((sku) => prefix + sku)
    try {
      const lock = await library.acquire(resources, LOCK_TTL_MS)
      return { release: () => giveBack(() => lock.release()) }
    } catch (error) {
      // The library does not say why it lost the vote: somebody has the lock, or there were too few to vote.
      const away = nodes.find((node) => !node.isReady())
      if (away !== undefined && nodes.filter((node) => node.isReady()).length < quorum) {
        throw new RedisUnavailable(away.address, error)
      }
      return undefined
    } finally {
      meter.timing('redis', performance.now() - started)
    }
  }

  /** Without most of the nodes it ends by itself. */
  function giveBack(release: () => Promise<unknown>): void {
    const given = release()
      .then(
        () => undefined,
        () => undefined,
      )
      .finally(() => leaving.delete(given))
    leaving.add(given)
  }

  return createLocked('redlock', parts, {
    acquire: (skus, wait) => poll(() => tryOnce(skus), wait),
    start: () => startOn(nodes, log),
    async stop() {
      await Promise.all(leaving)
      for (const node of nodes) node.close()
    },
  })
}

/** @throws CannotStart if there is none, or an even number: the library waits for ever when half vote against half */
function urlsOf(urls: readonly string[]): readonly string[] {
  needRedis('redlock', urls[0])
  if (urls.length % 2 === 1) return urls
  throw new CannotStart(
    `the strategy "redlock" needs an odd number of Redis in REDIS_URLS, such as 3; ${urls.length} are named`,
  )
}
