import { createRedis } from '../../redis/connection.ts'
import { keyPrefix } from '../../redis/keys.ts'
import { createLocks, type Held } from '../../redis/lock.ts'
import { createLocked, LOCK_TTL_MS, type Wait } from './locked.ts'
import { needRedis, startOn } from './redis_start.ts'
import type { Strategy, StrategyParts } from './strategy.ts'

/**
 * A waiter that heard nothing tries again after so long: messages are lost with the connection, and a lock whose holder died
 * ends without one.
 */
const UNHEARD_MS_MAX = 100

/** A process that hears the message waits for so long, one time in two, so that no other is always later. */
const COURTESY_MS = 1

type Waiter = { skus: ReadonlySet<string>; bell: Bell }

/**
 * A lock in Redis whose waiters are woken by a message when it is given back. All of a process wake, in the order in which
 * they came, and their tries reach Redis in that order; there are no more of them than turns. Among processes chance decides.
 *
 * One channel for all SKUs, listened to all the time: a waiter that had to subscribe first could miss the message between
 * its try and that.
 */
export function createPubsubLock(parts: StrategyParts): Strategy {
  const { settings, meter, log } = parts
  const url = needRedis('pubsub-lock', settings.redis_url)
  const redis = createRedis({
    url,
    name: 'stock pubsub lock',
    log,
    observe: (duration_ms) => meter.timing('redis', duration_ms),
  })
  const prefix = keyPrefix(settings.database_url)
  const channel = `${prefix}unlocked`
  const locks = createLocks(redis, { prefix: `${prefix}lock:`, ttl_ms: LOCK_TTL_MS, channel })
  // In order of arrival.
  const waiters = new Set<Waiter>()
  // A connection of its own: one that listens may, before RESP3, do nothing else.
  const listener = createRedis({
    url,
    name: 'stock pubsub lock, listening',
    log,
    onReady: () => void listener.run((client) => client.subscribe(channel)).catch(listenAgain),
  })
  listener.client.on('message', (_, message: string) => {
    const freed = message.split('\n')
    const wake = (): void => {
      for (const waiter of waiters) if (freed.some((sku) => waiter.skus.has(sku))) waiter.bell.ring()
    }
    if (Math.random() < 1 / 2) wake()
    else setTimeout(wake, COURTESY_MS)
  })

  /** Connected but not listening: that would go unnoticed until the next reconnect. */
  function listenAgain(): void {
    if (listener.isReady()) listener.client.disconnect(true)
  }

  return createLocked('pubsub-lock', parts, {
    acquire: (skus, wait) => acquireWoken(waiters, skus, wait, () => locks.take(skus)),
    start: () => startOn([redis, listener], log),
    async stop() {
      await locks.stop()
      redis.close()
      listener.close()
    },
  })
}

async function acquireWoken(
  waiters: Set<Waiter>,
  skus: readonly string[],
  { until, signal, is_behind, onTaken }: Wait,
  tryOnce: () => Promise<Held | undefined>,
): Promise<Held | undefined> {
  const waiter: Waiter = { skus: new Set(skus), bell: createBell() }
  // It listens before it tries, so that what is given back in between is heard.
  waiters.add(waiter)
  try {
    for (let tries = is_behind ? 1 : 0; ; tries++) {
      if (tries > 0) {
        const left_ms = until - performance.now()
        if (left_ms <= 0 || signal?.aborted === true) return undefined
        await waiter.bell.heard(Math.min(left_ms, UNHEARD_MS_MAX))
      }
      const held = await tryOnce()
      if (held !== undefined) return held
      onTaken()
    }
  } finally {
    waiters.delete(waiter)
  }
}

/** Heard also by who listens only after it rang. */
type Bell = { ring(): void; heard(timeout_ms: number): Promise<void> }

function createBell(): Bell {
  let rang = false
  let wake: (() => void) | undefined
  return {
    ring() {
      rang = true
      wake?.()
    },
    async heard(timeout_ms) {
      if (!rang) {
        await new Promise<void>((resolve) => {
          const limit = setTimeout(resolve, timeout_ms)
          wake = () => {
            clearTimeout(limit)
            resolve()
          }
        })
      }
      rang = false
    },
  }
}
