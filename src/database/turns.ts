import { ok, refused, type Refusal, type Result } from '../errors.ts'

/**
 * Turns at a pool: so many callers' transactions at once, the others wait in the order in which they came. Without it a
 * thousand that come together would all wait for a connection, run into the pool's own timeout, and keep reads from theirs.
 */

/** Work in flight or waiting past which more is refused at once. */
const LENGTH_MAX = 4000
/** Who has waited longer is refused unexecuted. A thousand checkouts at once took 2 s on two of four busy cores. */
const WAIT_MS_MAX = 5000

export type Turns = {
  /** Runs work when its turn comes; refused with `overloaded` if it does not come in time. @throws what the work throws */
  run<T>(work: () => Promise<T>): Promise<Result<T>>
  /** Whether one more would be taken. */
  hasRoom(): boolean
  /** Takes nothing more and resolves when everything taken has ended. */
  stop(): Promise<void>
}

type Waiting = { start: () => void; refuse: () => void; arrived: number }

/** @param at_once_max how many may work at a time: fewer than the pool has connections, so that reads find one */
export function createTurns({
  at_once_max,
  length_max = LENGTH_MAX,
}: {
  at_once_max: number
  length_max?: number
}): Turns {
  const waiting: Waiting[] = []
  let working = 0
  let stopping = false
  const idle: (() => void)[] = []

  const take = () => (working < at_once_max ? waiting.shift() : undefined)

  function startNext(): void {
    for (let next = take(); next !== undefined; next = take()) {
      if (performance.now() - next.arrived > WAIT_MS_MAX) next.refuse()
      else next.start()
    }
    if (isIdle()) for (const resolve of idle.splice(0)) resolve()
  }

  const isIdle = () => working === 0 && waiting.length === 0

  const hasRoom = () => !stopping && waiting.length + working < length_max

  return {
    run<T>(work: () => Promise<T>) {
      if (!hasRoom()) return Promise.resolve(refused(TOO_MANY))
      return new Promise<Result<T>>((resolve, reject) => {
        const start = () => {
          working += 1
          work()
            .then((value) => resolve(ok(value)), reject)
            .finally(() => {
              working -= 1
              startNext()
            })
        }
        waiting.push({ start, refuse: () => resolve(refused(TOO_LATE)), arrived: performance.now() })
        startNext()
      })
    },
    hasRoom,
    async stop() {
      stopping = true
      if (!isIdle()) await new Promise<void>((resolve) => idle.push(resolve))
    },
  }
}

const TOO_MANY: Refusal = { code: 'overloaded', detail: 'too many transactions are in flight' }
const TOO_LATE: Refusal = { code: 'overloaded', detail: 'this waited for too long and was not executed' }
