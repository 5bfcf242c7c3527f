import type { Knex } from 'knex'
import { setTimeout as delay } from 'node:timers/promises'
import { refused } from '../../errors.ts'
import { RedisUnavailable } from '../../redis/connection.ts'
import type { Held } from '../../redis/lock.ts'
import type { StrategyName } from '../../strategy_names.ts'
import { selectLevels } from '../../stock/queries.ts'
import type { Outcome, Reserve } from '../plan.ts'
import { flyAlone } from './alone.ts'
import { redisGone } from './redis_start.ts'
import type { Strategy, StrategyParts } from './strategy.ts'

/**
 * A lock on the SKUs of a reserve around its transaction. One lock for all of its SKUs, taken in one step: nobody holds a
 * part of what others need while waiting for the rest, so crossed orders can't deadlock and need no order among them.
 *
 * The lock only saves work. It is a lease, so it may be lost while its holder still flies (a pause, a Redis that forgot it),
 * and two then fly at once: the flight's conditional UPDATE decides between them, as it does without any lock.
 */

/** A reserve that has not got its lock by then is refused unexecuted. */
const LOCK_WAIT_MS_MAX = 1000
/**
 * How long a lock lasts if nobody gives it back. Longer than a flight, which looks again for a second at most and whose last
 * statement PostgreSQL ends after five; so long a SKU stays locked by a process that died.
 */
export const LOCK_TTL_MS = 8000
/**
 * Between tries: so long at random, or those who wait would all come again together. It may be short, because no more of a
 * process wait than there are turns; and it does not grow, or who came last would come most often, and have the lock.
 */
const PAUSE_MS = { min: 1, max: 9 }

/** How long to wait for a lock, and whom to tell. */
export type Wait = {
  /** A moment of `performance.now()`. */
  until: number
  /** Aborted when nobody waits for the answer any more. */
  signal: AbortSignal | undefined
  /**
   * Others of this process wait for one of the SKUs: they are first. Whoever comes in the moment in which the lock is given
   * back would otherwise always have it, and those who wait never.
   */
  is_behind: boolean
  /** Called after each try that found one of the SKUs locked. */
  onTaken: () => void
}

export type SkuLock = {
  /** The lock on all of the SKUs, or undefined if it was not had in time. @throws RedisUnavailable */
  acquire(skus: readonly string[], wait: Wait): Promise<Held | undefined>
  start(): Promise<void>
  stop(): Promise<void>
}

/**
 * A strategy that locks, flies, and gives the lock back. Whom a look at the counters finds too late flies without a lock: there
 * is nothing to win, and a sold-out SKU would make all of them wait for each other.
 */
export function createLocked(name: StrategyName, { turns, fly, db, meter }: StrategyParts, lock: SkuLock): Strategy {
  const waiting = new Map<string, number>()

  async function acquire(skus: readonly string[], signal: AbortSignal | undefined): Promise<Held | Refused> {
    const started = performance.now()
    const is_behind = skus.some((sku) => waiting.has(sku))
    let tries = 0
    for (const sku of skus) waiting.set(sku, (waiting.get(sku) ?? 0) + 1)
    try {
      const held = await lock.acquire(skus, {
        until: started + LOCK_WAIT_MS_MAX,
        signal,
        is_behind,
        onTaken() {
          tries += 1
          if (tries === 1) meter.conflict()
          else meter.retry()
        },
      })
      return held ?? NOT_HAD
    } catch (error) {
      if (error instanceof RedisUnavailable) return redisGone()
      throw error
    } finally {
      for (const sku of skus) leave(waiting, sku)
      meter.lockWait(performance.now() - started)
    }
  }

  async function lockAndFly(operation: Reserve, signal: AbortSignal | undefined): Promise<Outcome> {
    meter.attempt()
    const skus = operation.lines.map((line) => line.sku)
    const held = (await isCovered(db, operation)) ? await acquire(skus, signal) : undefined
    if (held !== undefined && 'refusal' in held) return held
    const started = performance.now()
    try {
      return await flyAlone(fly, operation, { onConflict: meter.conflict })
    } finally {
      held?.release()
      meter.timing('database', performance.now() - started)
    }
  }

  return {
    name,
    reserve: (operation, signal) => turns.take(() => lockAndFly(operation, signal), { signal }),
    hasRoom: turns.hasRoom,
    start: () => lock.start(),
    async stop() {
      await turns.stop()
      await lock.stop()
    },
  }
}

type Refused = ReturnType<typeof refused>

const NOT_HAD = refused({ code: 'overloaded', detail: 'The lock on these SKUs was not had in time.' })

/** Whether there is enough of every line, at this moment. */
async function isCovered(db: Knex, { lines }: Reserve): Promise<boolean> {
  const skus = lines.map((line) => line.sku)
  // Without the database the flight says what is wrong with it.
  const levels = await selectLevels(db, skus).catch(() => [])
  const available = new Map(levels.map((level) => [level.sku, level.available]))
  return lines.every(({ sku, quantity }) => (available.get(sku) ?? 0) >= quantity)
}

function leave(waiting: Map<string, number>, sku: string): void {
  const left = (waiting.get(sku) ?? 1) - 1
  if (left === 0) waiting.delete(sku)
  else waiting.set(sku, left)
}

/** Tries again and again until the lock is had or the wait is over. */
export async function poll(tryOnce: () => Promise<Held | undefined>, wait: Wait): Promise<Held | undefined> {
  for (let tries = wait.is_behind ? 1 : 0; ; tries++) {
    if (tries > 0) {
      const left_ms = wait.until - performance.now()
      if (left_ms <= 0 || wait.signal?.aborted === true) return undefined
      await delay(Math.min(left_ms, PAUSE_MS.min + Math.random() * (PAUSE_MS.max - PAUSE_MS.min)))
    }
    const held = await tryOnce()
    if (held !== undefined) return held
    wait.onTaken()
  }
}
