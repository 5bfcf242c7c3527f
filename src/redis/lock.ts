import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { RedisUnavailable, type RedisConnection } from './connection.ts'
import { evaluate, script } from './script.ts'

/**
 * A lock over several names, all of them or none, in one step. So nobody holds one name while waiting for another: two orders
 * of the same names can't deadlock in whatever order they name them, and an order of many asks Redis once.
 *
 * It is a lease: it ends by itself after its time, and whoever held it is not told. It may only save work.
 */

/** SET NX PX of several keys. The token is random, so that nobody gives back the lock of another. */
const LOCK = script(`
for _, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then return 0 end
end
for _, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
return 1`)

/** Compare and delete: after its time has run out the key may be somebody else's. Tells who listens, if it gave any back. */
const UNLOCK = script(`
local freed = 0
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then freed = freed + redis.call('DEL', key) end
end
if freed > 0 and ARGV[2] ~= '' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return freed`)

/** Between attempts to give a lock back while Redis is away. */
const UNLOCK_RETRY_MS = 200

export type Held = {
  /** Gives the lock back, in the background: without Redis it ends by itself. */
  release(): void
}

export type Locks = {
  /** Takes all names if all are free, else undefined. @throws RedisUnavailable */
  take(names: readonly string[]): Promise<Held | undefined>
  /** Waits for what is being given back, but not for a Redis that is away. */
  stop(): Promise<void>
}

export type LockOptions = {
  /** What the keys begin with. */
  prefix: string
  ttl_ms: number
  /** Where names that were given back are told, one to a line; nowhere without it. */
  channel?: string
}

/** Locks on one Redis. */
export function createLocks(redis: RedisConnection, { prefix, ttl_ms, channel = '' }: LockOptions): Locks {
  const leaving = new Set<Promise<void>>()
  let stopping = false

  async function giveBack(names: readonly string[], token: string): Promise<void> {
    const keys = names.map((name) => prefix + name)
    const ends_at = performance.now() + ttl_ms
    while (performance.now() < ends_at) {
      try {
        await redis.run((client) => evaluate(client, UNLOCK, keys, [token, channel, names.join('\n')]))
        return
      } catch (error) {
        if (!(error instanceof RedisUnavailable)) throw error
        if (stopping) return
        await delay(UNLOCK_RETRY_MS, undefined, { ref: false })
      }
    }
  }

  function release(names: readonly string[], token: string): void {
    const given = giveBack(names, token).finally(() => leaving.delete(given))
    leaving.add(given)
  }

  return {
    async take(names) {
      const token = randomUUID()
      const keys = names.map((name) => prefix + name)
      try {
        const taken = await redis.run((client) => evaluate<number>(client, LOCK, keys, [token, ttl_ms]))
        return taken === 1 ? { release: () => release(names, token) } : undefined
      } catch (error) {
        // A Redis that hung may still do what it was asked.
        if (error instanceof RedisUnavailable && error.is_in_doubt) release(names, token)
        throw error
      }
    },
    async stop() {
      stopping = true
      await Promise.all(leaving)
    },
  }
}
