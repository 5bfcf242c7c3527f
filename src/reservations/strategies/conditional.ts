import { DatabaseUnavailable, refused } from '../../errors.ts'
import { Blocked, KEYS } from '../blocked.ts'
import type { Outcome, Reserve } from '../plan.ts'
import type { Strategy, StrategyParts } from './strategy.ts'

/** Reserves in flight or waiting for their turn, past which a new one is refused at once. */
const LENGTH_MAX = 2000
/**
 * A reserve that has waited longer for its turn is dropped unexecuted. Longer than in the batcher: a thousand buyers at once
 * are a thousand transactions here, which took 2.5 s in a process that had just started, on two of four busy cores.
 */
const WAIT_MS_MAX = 5000
/** How long one in flight may look again. */
const DEADLINE_MS = 1000

type Waiting = {
  operation: Reserve
  signal: AbortSignal | undefined
  arrived: number
  answer: (outcome: Outcome) => void
  fail: (error: unknown) => void
}

/**
 * A transaction for each reserve, ending in one conditional UPDATE; the row's lock queues them in PostgreSQL. No more fly
 * at once than there are connections for them: a thousand that all wait for a connection would time out there, and keep
 * confirms and the sweeper from theirs. Order of arrival is kept only up to the last few in flight.
 */
export function createConditional({ fly, flights_max }: StrategyParts): Strategy {
  const waiting: Waiting[] = []
  const flights = new Set<Promise<void>>()
  let stopping = false

  function startNext(): void {
    while (flights.size < flights_max) {
      const next = waiting.shift()
      if (next === undefined) return
      if (next.signal?.aborted === true || performance.now() - next.arrived > WAIT_MS_MAX) {
        next.answer(refused({ code: 'overloaded', detail: 'This waited for too long and was not executed.' }))
        continue
      }
      const flight = flyAlone(next.operation)
        .then(next.answer, next.fail)
        .finally(() => {
          flights.delete(flight)
          startNext()
        })
      flights.add(flight)
    }
  }

  async function flyAlone(operation: Reserve): Promise<Outcome> {
    try {
      const outcomes = await fly([operation], { deadline: performance.now() + DEADLINE_MS })
      const outcome = outcomes.get(operation)
      if (outcome === undefined) throw new Error('a flight left an operation without an outcome')
      return outcome
    } catch (error) {
      if (error instanceof DatabaseUnavailable) return refused({ code: 'database_unavailable', outcome: error.outcome })
      if (!(error instanceof Blocked)) throw error
      if ([...error.apart.values()].includes(KEYS)) return refused({ code: 'idempotency_key_in_use' })
      return refused({ code: 'overloaded', detail: 'Another session holds a row that this needs.' })
    }
  }

  const hasRoom = (requests: number) => !stopping && waiting.length + flights.size + requests <= LENGTH_MAX

  return {
    name: 'conditional',
    reserve(operation, signal) {
      if (!hasRoom(1)) {
        return Promise.resolve(refused({ code: 'overloaded', detail: 'Too many reservations are in flight.' }))
      }
      return new Promise((answer, fail) => {
        waiting.push({ operation, signal, arrived: performance.now(), answer, fail })
        startNext()
      })
    },
    hasRoom,
    async stop() {
      stopping = true
      while (flights.size > 0) await Promise.all(flights)
    },
  }
}
