import { DatabaseUnavailable, refused } from '../../errors.ts'
import { Blocked, KEYS } from '../blocked.ts'
import type { FlightOptions } from '../flight.ts'
import type { Outcome, Reserve } from '../plan.ts'
import type { StrategyParts } from './strategy.ts'

/** How long one in flight may look again. */
const DEADLINE_MS = 1000

/**
 * Decides and writes one reserve in a transaction of its own. A row that another session keeps locked is waited for up to the
 * lock timeout only.
 *
 * @returns its outcome, after COMMIT
 * @throws a bug
 */
export async function flyAlone(
  fly: StrategyParts['fly'],
  operation: Reserve,
  options: Omit<FlightOptions, 'deadline'> = {},
): Promise<Outcome> {
  try {
    const outcomes = await fly([operation], { ...options, deadline: performance.now() + DEADLINE_MS })
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
