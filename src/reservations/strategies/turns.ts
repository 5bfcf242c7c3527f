import { refused } from '../../errors.ts'
import type { Outcome } from '../plan.ts'

/**
 * A bounded line of reserves that wait for their turn, first in, first out. Invariant: everything that was taken is answered
 * exactly once, and no more work at once than there are turns.
 */

/** Reserves at work or waiting for their turn, past which a new one is refused at once. */
export const LENGTH_MAX = 2000
/**
 * A reserve that has waited longer for its turn is dropped unexecuted. Longer than in the batcher: a thousand buyers at once
 * are a thousand transactions here, which took 2.5 s in a process that had just started, on two of four busy cores.
 */
export const WAIT_MS_MAX = 5000

export type Turns = {
  /**
   * Works when it is the operation's turn.
   *
   * @param work is given `until`, for waits of its own
   * @param options.until the moment of `performance.now()` past which the work is dropped unexecuted
   * @returns its outcome; `overloaded` if too many wait, if it waited too long, or if `signal` was aborted before its turn
   * @throws what `work` throws
   */
  take(
    work: (until: number) => Promise<Outcome>,
    options?: { signal?: AbortSignal | undefined; until?: number },
  ): Promise<Outcome>
  hasRoom(requests: number): boolean
  /** Takes nothing more and resolves when everything taken is answered. */
  stop(): Promise<void>
}

type Waiting = {
  work: (until: number) => Promise<Outcome>
  signal: AbortSignal | undefined
  until: number
  answer: (outcome: Outcome) => void
  fail: (error: unknown) => void
}

/** @param at_once_max how many turns there are */
export function createTurns({ at_once_max }: { at_once_max: number }): Turns {
  const waiting: Waiting[] = []
  const working = new Set<Promise<void>>()
  let stopping = false

  function startNext(): void {
    while (working.size < at_once_max) {
      const next = waiting.shift()
      if (next === undefined) return
      if (next.signal?.aborted === true || performance.now() > next.until) {
        next.answer(refused({ code: 'overloaded', detail: 'This waited for too long and was not executed.' }))
        continue
      }
      const turn = next
        .work(next.until)
        .then(next.answer, next.fail)
        .finally(() => {
          working.delete(turn)
          startNext()
        })
      working.add(turn)
    }
  }

  const hasRoom = (requests: number) => !stopping && waiting.length + working.size + requests <= LENGTH_MAX

  return {
    take(work, { signal, until = performance.now() + WAIT_MS_MAX } = {}) {
      if (!hasRoom(1)) {
        return Promise.resolve(refused({ code: 'overloaded', detail: 'Too many reservations are in flight.' }))
      }
      return new Promise((answer, fail) => {
        waiting.push({ work, signal, until, answer, fail })
        startNext()
      })
    },
    hasRoom,
    async stop() {
      stopping = true
      while (working.size > 0) await Promise.all(working)
    },
  }
}

/** A strategy's own entrance to turns that it shares with others: it can be closed while they go on. */
export function createEntrance(turns: Turns): Turns {
  const inside = new Set<Promise<unknown>>()
  let stopping = false
  return {
    take(work, options) {
      if (stopping) return Promise.resolve(refused({ code: 'overloaded', detail: 'This instance is stopping.' }))
      const answer = turns.take(work, options)
      const leave = () => void inside.delete(answer)
      inside.add(answer)
      answer.then(leave, leave)
      return answer
    },
    hasRoom: (requests) => !stopping && turns.hasRoom(requests),
    async stop() {
      stopping = true
      while (inside.size > 0) await Promise.allSettled(inside)
    },
  }
}
