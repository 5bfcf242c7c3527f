import { DatabaseUnavailable, refused } from '../../errors.ts'
import { Blocked, KEYS, rowOf, subjectOfSku } from '../blocked.ts'
import type { FlightOptions } from '../flight.ts'
import type { Outcome, Reserve } from '../plan.ts'
import type { Strategy, StrategyParts } from './strategy.ts'

/**
 * Decides and writes one reserve in a transaction of its own. A counter that another session keeps locked is waited for up to
 * the lock timeout, and by nobody else who comes while it is known to be: those who keep turns waiting for it would stop the
 * shop.
 *
 * @returns its outcome, after COMMIT
 * @throws Blocked if it is to wait apart for a counter, nothing being written; a bug
 */
export async function flyAlone(
  { fly, known_locked }: Pick<StrategyParts, 'fly' | 'known_locked'>,
  operation: Reserve,
  options: Omit<FlightOptions, 'deadline'> = {},
): Promise<Outcome> {
  const locked = operation.lines.find((line) => known_locked.has(line.sku))
  if (locked !== undefined) throw new Blocked(new Map([[operation, subjectOfSku(locked.sku)]]))
  try {
    const outcomes = await fly([operation], options)
    const outcome = outcomes.get(operation)
    if (outcome === undefined) throw new Error('a flight left an operation without an outcome')
    return outcome
  } catch (error) {
    if (error instanceof DatabaseUnavailable) return refused({ code: 'database_unavailable', outcome: error.outcome })
    if (error instanceof Blocked && error.apart.get(operation) === KEYS) {
      return refused({ code: 'idempotency_key_in_use' })
    }
    throw error
  }
}

/**
 * A strategy that hands whom {@link flyAlone} found blocked to the queue, where those who need a locked row wait in a lane of
 * their own: as the same operation, with the same id and key. Its turn has been given back by then.
 */
export function withLane(create: (parts: StrategyParts) => Strategy): (parts: StrategyParts) => Strategy {
  return (parts) => {
    const strategy = create(parts)
    return {
      ...strategy,
      async reserve(operation, signal) {
        try {
          return await strategy.reserve(operation, signal)
        } catch (error) {
          if (!(error instanceof Blocked)) throw error
          return parts.submit(operation, signal)
        }
      },
    }
  }
}

/** The SKUs for which a blocked reserve waits apart; all of its own if by now none of them is locked. */
export function blockedSkus({ apart }: Blocked, operation: Reserve): string[] {
  const row = rowOf(apart.get(operation) ?? '')
  return row !== undefined && 'sku' in row ? [row.sku] : operation.lines.map((line) => line.sku)
}
