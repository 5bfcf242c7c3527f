import { E_TIMEOUT, Mutex, withTimeout } from 'async-mutex'
import { refused } from '../../errors.ts'
import { Blocked } from '../blocked.ts'
import type { Outcome, Reserve } from '../plan.ts'
import { blockedSkus, flyAlone } from './alone.ts'
import type { Strategy, StrategyParts } from './strategy.ts'
import { createTurns, LENGTH_MAX } from '../../database/turns.ts'

/**
 * A lock in this process's memory around read, check and write: one for each SKU, so that only those who want the same thing
 * wait for each other, taken in the order of their names, so that crossed orders can't block each other.
 *
 * It serialises THIS PROCESS ONLY. Another process, or WORKERS=2, has locks of its own and knows nothing of these; that
 * nothing is oversold then is owed to the conditional UPDATE at the end, as everywhere. Within one process reserves of a
 * SKU win in the order in which they came.
 */
export function createMutex(parts: MutexParts): Strategy {
  const { turns, known_locked, meter } = parts
  // Who waits for a lock keeps no connection from others, but counts as taken.
  const inside = createTurns({ at_once_max: LENGTH_MAX })
  const locks = createLocks()
  /** By SKU the last one who waits for it in the queue's lane. */
  const apart = new Map<string, Promise<Outcome>>()

  /** Whoever comes once a row is free must not be faster than those who wait for it apart. */
  async function letThemPass(skus: readonly string[]): Promise<void> {
    if (apart.size === 0 || skus.some((sku) => known_locked.has(sku))) return
    await Promise.allSettled(skus.flatMap((sku) => apart.get(sku) ?? []))
  }

  function waitApart(operation: Reserve, signal: AbortSignal | undefined, blocked: Blocked): Promise<Outcome> {
    const answer = parts.submit(operation, signal)
    for (const sku of blockedSkus(blocked, operation)) {
      apart.set(sku, answer)
      const leave = (): void => {
        if (apart.get(sku) === answer) apart.delete(sku)
      }
      answer.then(leave, leave)
    }
    return answer
  }

  async function work(operation: Reserve, signal: AbortSignal | undefined, until: number): Promise<Outcome> {
    const started = performance.now()
    const skus = operation.lines.map((line) => line.sku)
    const unlock = await locks.lock(skus, until)
    meter.lockWait(performance.now() - started)
    if (unlock === undefined) return refused({ code: 'overloaded', detail: 'Too many want the same SKUs at once.' })
    let waiting: Promise<Outcome>
    try {
      await letThemPass(skus)
      const attempt = (): Promise<Outcome> => {
        meter.attempt()
        return flyAlone(parts, operation, { onConflict: meter.conflict })
      }
      return await turns.take(attempt, { signal, until })
    } catch (error) {
      if (!(error instanceof Blocked)) throw error
      // While the lock is still had, so that they join the lane in the order in which they came.
      waiting = waitApart(operation, signal, error)
    } finally {
      unlock()
    }
    return waiting
  }

  return {
    name: 'mutex',
    reserve: (operation, signal) => inside.take((until) => work(operation, signal, until), { signal }),
    hasRoom: (requests) => inside.hasRoom(requests) && turns.hasRoom(requests),
    async stop() {
      // Those inside need turns to the end.
      await inside.stop()
      await turns.stop()
    },
  }
}

type MutexParts = Pick<StrategyParts, 'turns' | 'fly' | 'known_locked' | 'submit' | 'meter'>

type Lock = { mutex: Mutex; users: number }

/** A lock for each SKU that somebody wants right now. */
function createLocks() {
  const locks = new Map<string, Lock>()

  async function lockOne(sku: string, until: number): Promise<(() => void) | undefined> {
    const lock = locks.get(sku) ?? { mutex: new Mutex(), users: 0 }
    locks.set(sku, lock)
    lock.users += 1
    const leave = () => {
      lock.users -= 1
      if (lock.users === 0) locks.delete(sku)
    }
    try {
      const release = await withTimeout(lock.mutex, Math.max(0, until - performance.now())).acquire()
      return () => {
        release()
        leave()
      }
    } catch (error) {
      leave()
      if (error !== E_TIMEOUT) throw error
      return undefined
    }
  }

  return {
    /** @returns what unlocks them; undefined if one was not to be had until then, and none is locked */
    async lock(skus: readonly string[], until: number): Promise<(() => void) | undefined> {
      const held: (() => void)[] = []
      const unlock = () => held.forEach((release) => release())
      for (const sku of skus.toSorted()) {
        const release = await lockOne(sku, until)
        if (release === undefined) {
          unlock()
          return undefined
        }
        held.push(release)
      }
      return unlock
    },
  }
}
