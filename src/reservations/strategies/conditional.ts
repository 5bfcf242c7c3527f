import { DatabaseUnavailable, refused } from '../../errors.ts'
import { Blocked, KEYS } from '../blocked.ts'
import type { Outcome, Reserve } from '../plan.ts'
import type { Strategy, StrategyParts } from './strategy.ts'

/** Reserves in flight or waiting for a connection, past which a new one is refused at once. */
const IN_FLIGHT_MAX = 2000
const DEADLINE_MS = 1000

/**
 * A transaction for each reserve, ending in one conditional UPDATE; the row's lock queues them in PostgreSQL. Order of
 * arrival is kept only as far as connections are handed out in order.
 */
export function createConditional({ fly }: StrategyParts): Strategy {
  const flights = new Set<Promise<unknown>>()
  let stopping = false

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

  return {
    name: 'conditional',
    async reserve(operation, signal) {
      if (stopping || flights.size >= IN_FLIGHT_MAX || signal?.aborted === true) {
        return refused({ code: 'overloaded', detail: 'Too many reservations are in flight.' })
      }
      const flight = flyAlone(operation)
      flights.add(flight)
      try {
        return await flight
      } finally {
        flights.delete(flight)
      }
    },
    hasRoom: (requests) => !stopping && flights.size + requests <= IN_FLIGHT_MAX,
    async stop() {
      stopping = true
      await Promise.allSettled(flights)
    },
  }
}
