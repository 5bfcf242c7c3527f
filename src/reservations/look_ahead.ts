import type { Looked } from './look.ts'
import type { Operation } from './plan.ts'

/**
 * The next batch is looked at ahead if it has so large a part of the last one's size by then: who comes later is not in it,
 * and many small batches cost more than waiting for the look.
 */
export const AHEAD_SHARE = 0.75
/** Nor where commits take longer: who comes during one would wait for two. */
export const AHEAD_COMMIT_MS_MAX = 50

/**
 * The next batch is looked at while the last one commits, so that it can write as soon as it takes off. Its requests stay in
 * the queue meanwhile: if one of them leaves it, or is put apart, nobody uses the look.
 */
export class LookAhead {
  readonly #look: ((operations: readonly Operation[]) => Promise<Looked>) | undefined
  #ahead: { operations: readonly Operation[]; looked: Promise<Looked> } | undefined

  /** @param look without it nothing is looked at ahead */
  constructor(look: ((operations: readonly Operation[]) => Promise<Looked>) | undefined) {
    this.#look = look
  }

  /** How many operations were looked at, if this is the first of them; else the look is forgotten. */
  lengthFrom(first: Operation | undefined): number | undefined {
    if (this.#ahead?.operations[0] !== first) this.#ahead = undefined
    return this.#ahead?.operations.length
  }

  /** Looks at the first that wait, unless others are being looked at. */
  begin(operations: readonly Operation[]): void {
    if (this.#look === undefined || this.#ahead !== undefined) return
    const looked = this.#look(operations)
    // A batch that meets a look that failed looks for itself.
    looked.catch(() => undefined)
    this.#ahead = { operations, looked }
  }

  /** The look, if it is of these operations and of no others; it is forgotten in any case. */
  take(operations: readonly Operation[]): Promise<Looked> | undefined {
    const ahead = this.#ahead
    this.#ahead = undefined
    if (ahead === undefined || ahead.operations.length !== operations.length) return undefined
    return operations.every((operation, i) => operation === ahead.operations[i]) ? ahead.looked : undefined
  }
}
