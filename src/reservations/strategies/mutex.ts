import { E_TIMEOUT, Mutex, withTimeout } from 'async-mutex'
import { refused } from '../../errors.ts'
import { flyAlone } from './alone.ts'
import type { Strategy, StrategyParts } from './strategy.ts'
import { createTurns, LENGTH_MAX } from './turns.ts'

/**
 * A lock in this process's memory around read, check and write: one for each SKU, so that only those who want the same thing
 * wait for each other, taken in the order of their names, so that crossed orders can't block each other.
 *
 * It serialises THIS PROCESS ONLY. Another process, or WORKERS=2, has locks of its own and knows nothing of these; that
 * nothing is oversold then is owed to the conditional UPDATE at the end, as everywhere. Within one process reserves of a
 * SKU win in the order in which they came.
 */
export function createMutex({ turns, fly, meter }: Pick<StrategyParts, 'turns' | 'fly' | 'meter'>): Strategy {
  // Who waits for a lock keeps no connection from others, but counts as taken.
  const inside = createTurns({ at_once_max: LENGTH_MAX })
  const locks = createLocks()
  return {
    name: 'mutex',
    reserve: (operation, signal) =>
      inside.take(
        async (until) => {
          const started = performance.now()
          const unlock = await locks.lock(
            operation.lines.map((line) => line.sku),
            until,
          )
          meter.lockWait(performance.now() - started)
          if (unlock === undefined) {
            return refused({ code: 'overloaded', detail: 'Too many want the same SKUs at once.' })
          }
          try {
            return await turns.take(
              () => {
                meter.attempt()
                return flyAlone(fly, operation, { onConflict: meter.conflict })
              },
              { signal, until },
            )
          } finally {
            unlock()
          }
        },
        { signal },
      ),
    hasRoom: (requests) => inside.hasRoom(requests) && turns.hasRoom(requests),
    async stop() {
      // Those inside need turns to the end.
      await inside.stop()
      await turns.stop()
    },
  }
}

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
