import type { Looked } from './look.ts'
import type { Operation } from './plan.ts'

/**
 * The next batch is looked at while the last one commits, so that it can write as soon as it takes off. Its requests stay in
 * the queue meanwhile: if one of them leaves it, or is put apart, nobody uses the look.
 */

/**
 * So large a part of the last batch's size the next one must have by then: who comes later is not in it, and many small
 * batches cost more than waiting for the look.
 */
export const AHEAD_SHARE = 0.75
/** Where commits take longer nothing is looked at ahead: who comes during one would wait for two. */
export const AHEAD_COMMIT_MS_MAX = 50

export type LookAhead = {
  /** Looks at the first that wait, unless others are being looked at. */
  begin(operations: readonly Operation[]): void
  /** How many operations were looked at, if this is the first of them; else the look is forgotten. */
  lengthFrom(first: Operation | undefined): number | undefined
  /** The look, if it is of these operations and of no others; it is forgotten in any case. */
  take(operations: readonly Operation[]): Promise<Looked> | undefined
}

/** @param look without it nothing is looked at ahead */
export function createLookAhead(look: ((operations: readonly Operation[]) => Promise<Looked>) | undefined): LookAhead {
  let ahead: { operations: readonly Operation[]; looked: Promise<Looked> } | undefined

  return {
    begin(operations) {
      if (look === undefined || ahead !== undefined) return
      const looked = look(operations)
      // A batch that meets a look that failed looks for itself.
      looked.catch(() => undefined)
      ahead = { operations, looked }
    },
    lengthFrom(first) {
      if (ahead?.operations[0] !== first) ahead = undefined
      return ahead?.operations.length
    },
    take(operations) {
      const taken = ahead
      ahead = undefined
      if (taken === undefined || taken.operations.length !== operations.length) return undefined
      return operations.every((operation, i) => operation === taken.operations[i]) ? taken.looked : undefined
    },
  }
}
