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
import { takeTurn } from './second_look.ts'
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
 * How long a lock lasts if nobody gives it back. Longer than a flight, which looks again for `wait_ms_max` at most, a second, and whose last
 * statement PostgreSQL ends after five; so long a SKU stays locked by a process that died.
 */
export const LOCK_TTL_MS = 8000
/**
 * Between tries: so long at random, or several processes would all come again together. Short, because only one of a process
 * asks for a SKU at a time; and it does not grow, or the process that came last would ask most often, and have the lock.
 */
const PAUSE_MS = { min: 1, max: 3 }

/** How long to wait for a lock, and whom to tell. */
export type Wait = {
  /** A moment of `performance.now()`. */
  until: number
  /** Aborted when nobody waits for the answer any more. */
  signal: AbortSignal | undefined
  /** Called after each try that found one of the SKUs locked. */
  onTaken: () => void
}

/** Somebody of this process who waits for a lock, and when that is over. */
type Place = { skus: ReadonlySet<string>; left: Promise<void> }

export type SkuLock = {
  /** The lock on all of the SKUs, or undefined if it was not had in time. @throws RedisUnavailable */
  acquire(skus: readonly string[], wait: Wait): Promise<Held | undefined>
  start(): Promise<void>
  stop(): Promise<void>
}

/**
 * A strategy that locks, flies, and gives the lock back. Whoever finds too little at a first look needs no lock: there is
 * nothing to win, and a sold-out SKU would make all of them wait for each other.
 *
 * Those of one process that want a SKU line up before one of them asks Redis for it. Otherwise whoever came in the moment in
 * which the lock is given back would always have it, and those who wait never.
 */
export function createLocked(name: StrategyName, parts: StrategyParts, lock: SkuLock): Strategy {
  const { turns, queueHasRoom, db, meter } = parts
  const line = new Set<Place>()

  async function acquire(skus: readonly string[], signal: AbortSignal | undefined): Promise<Held | Refused> {
    const started = performance.now()
    const until = started + LOCK_WAIT_MS_MAX
    let tries = 0
    const onTaken = () => {
      tries += 1
      if (tries === 1) meter.conflict()
      else meter.retry()
    }
    const ahead = [...line].filter((place) => skus.some((sku) => place.skus.has(sku)))
    const { left, leave } = createPlace()
    const place = { skus: new Set(skus), left }
    line.add(place)
    try {
      if (ahead.length > 0) onTaken()
      // Each of them came before, so its time is over before ours.
      for (const other of ahead) await other.left
      const is_late = signal?.aborted === true || performance.now() > until
      const held = is_late ? undefined : await lock.acquire(skus, { until, signal, onTaken })
      return held ?? NOT_HAD
    } catch (error) {
      if (error instanceof RedisUnavailable) return redisGone()
      throw error
    } finally {
      line.delete(place)
      leave()
      meter.lockWait(performance.now() - started)
    }
  }

  async function lockAndFly(operation: Reserve, signal: AbortSignal | undefined): Promise<Outcome> {
    meter.attempt()
    const skus = operation.lines.map((one) => one.sku)
    const held = await acquire(skus, signal)
    if ('refusal' in held) return held
    const started = performance.now()
    try {
      return await flyAlone(parts, operation, { onConflict: meter.conflict })
    } finally {
      held.release()
      meter.timing('database', performance.now() - started)
    }
  }

  return {
    name,
    reserve: (operation, signal) =>
      takeTurn(parts, { operation, signal }, async () =>
        (await isCovered(db, operation)) ? lockAndFly(operation, signal) : undefined,
      ),
    hasRoom: (requests) => turns.hasRoom(requests) && queueHasRoom(requests),
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
  // Without the database the look that follows says what is wrong with it.
  const levels = await selectLevels(db, skus).catch(() => [])
  const available = new Map(levels.map((level) => [level.sku, level.available]))
  return lines.every(({ sku, quantity }) => (available.get(sku) ?? 0) >= quantity)
}

function createPlace(): { left: Promise<void>; leave: () => void } {
  let leave = (): void => undefined
  const left = new Promise<void>((resolve) => (leave = resolve))
  return { left, leave }
}

/** Tries again and again until the lock is had or the wait is over. */
export async function poll(tryOnce: () => Promise<Held | undefined>, wait: Wait): Promise<Held | undefined> {
  for (;;) {
    const held = await tryOnce()
    if (held !== undefined) return held
    wait.onTaken()
    const left_ms = wait.until - performance.now()
    if (left_ms <= 0 || wait.signal?.aborted === true) return undefined
    await delay(Math.min(left_ms, PAUSE_MS.min + Math.random() * (PAUSE_MS.max - PAUSE_MS.min)))
  }
}
