import { refused, type Result } from '../errors.ts'

/**
 * A bounded line of requests that wait for their turn at a pool's connections, first in, first out. Invariant: everything that
 * was taken is answered exactly once, and no more work at once than there are turns. Without it a thousand that come together
 * would all wait for a connection, run into the pool's own timeout, and keep reads from theirs.
 */

/** Requests at work or waiting for their turn, past which a new one is refused at once. */
export const LENGTH_MAX = 2000
/**
 * A request that has waited longer for its turn is dropped unexecuted. Longer than in the batcher: a thousand buyers at once
 * are a thousand transactions here, which took 2.5 s in a process that had just started, on two of four busy cores.
 */
export const WAIT_MS_MAX = 5000

/** How often those who wait and those at work are looked through: a database that answers nothing ends no turn. */
const WATCH_INTERVAL_MS = 100

export type Turns = {
  /**
   * Works when it is the request's turn.
   *
   * @param work is given `until`, for waits of its own
   * @param options.until the moment of `performance.now()` past which the work is dropped unexecuted
   * @returns its outcome; `overloaded` if too many wait, if it waited too long, or if `signal` was aborted before its turn
   * @throws what `work` throws
   */
  take<T>(
    work: (until: number) => Promise<Result<T>>,
    options?: { signal?: AbortSignal | undefined; until?: number },
  ): Promise<Result<T>>
  /** Whether so many more would be taken, one unless told. */
  hasRoom(requests?: number): boolean
  /** Takes nothing more and resolves when everything taken is answered. */
  stop(): Promise<void>
}

type Waiting = {
  work: (until: number) => Promise<Result<unknown>>
  signal: AbortSignal | undefined
  until: number
  answer: (outcome: Result<unknown>) => void
  fail: (error: unknown) => void
}

type Working = { began: number; answer: Waiting['answer'] }

const TOO_MANY = refused({ code: 'overloaded', detail: 'Too many requests are in flight.' })
const TOO_LATE = refused({ code: 'overloaded', detail: 'This waited for too long and was not executed.' })
const UNKNOWN = refused({ code: 'database_unavailable', outcome: 'unknown' })

export type TurnsOptions = {
  /** How many turns there are. */
  at_once_max: number
  /** At work or waiting, past which a new one is refused at once. */
  length_max?: number
  /** So long a request waits for its turn that does not say until when. */
  wait_ms_max?: number
  /** So long after it got its turn it is answered that its outcome is unknown; its turn it keeps. */
  answer_ms_max?: number
}

/** Makes a line whose bounds are those of this file, where nothing else is said. */
export function createTurns(options: TurnsOptions): Turns {
  const { at_once_max, answer_ms_max, length_max = LENGTH_MAX, wait_ms_max = WAIT_MS_MAX } = options
  let waiting: Waiting[] = []
  const working = new Map<Promise<void>, Working>()
  let stopping = false
  let watch: NodeJS.Timeout | undefined

  function isTooLate({ signal, until }: Waiting): boolean {
    return signal?.aborted === true || performance.now() > until
  }

  function answerOverdue(): void {
    const kept: Waiting[] = []
    for (const one of waiting) {
      if (isTooLate(one)) one.answer(TOO_LATE)
      else kept.push(one)
    }
    waiting = kept
    watchOrNot()
    if (answer_ms_max === undefined) return
    const latest = performance.now() - answer_ms_max
    for (const { began, answer } of working.values()) if (began < latest) answer(UNKNOWN)
  }

  function watchOrNot(): void {
    if (waiting.length > 0 || (answer_ms_max !== undefined && working.size > 0)) {
      watch ??= setInterval(answerOverdue, WATCH_INTERVAL_MS)
    } else {
      clearInterval(watch)
      watch = undefined
    }
  }

  function startNext(): void {
    while (working.size < at_once_max) {
      const next = waiting.shift()
      if (next === undefined) break
      if (isTooLate(next)) {
        next.answer(TOO_LATE)
        continue
      }
      const turn = next
        .work(next.until)
        .then(next.answer, next.fail)
        .finally(() => {
          working.delete(turn)
          startNext()
        })
      working.set(turn, { began: performance.now(), answer: next.answer })
    }
    watchOrNot()
  }

  const hasRoom = (requests = 1) => !stopping && waiting.length + working.size + requests <= length_max

  return {
    take<T>(
      work: (until: number) => Promise<Result<T>>,
      { signal, until = performance.now() + wait_ms_max }: Parameters<Turns['take']>[1] = {},
    ) {
      if (!hasRoom()) return Promise.resolve(TOO_MANY)
      return new Promise<Result<T>>((answer, fail) => {
        waiting.push({ work, signal, until, answer: (outcome) => answer(outcome as Result<T>), fail })
        startNext()
      })
    },
    hasRoom,
    async stop() {
      stopping = true
      while (working.size > 0) await Promise.all(working.keys())
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
