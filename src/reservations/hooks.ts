import type { Knex } from 'knex'
import type { Recorded } from '../stock/counters.ts'
import type { Closed } from './reservation.ts'

/**
 * Called in the transaction that closes reservations, after they are closed and before any counter is locked, with all
 * that this transaction closes. It may lock what belongs to the caller (orders, payments), in an order of its own. What
 * it throws undoes the closing.
 */
export type OnClosed = ((tx: Knex.Transaction, closed: readonly Closed[]) => Promise<void>) & {
  /**
   * Which holds it wants to be told of; absent, all of them. A flight that closes no such hold need not wait for its first
   * statements before it sends the next.
   */
  concerns?: (closed: Closed) => boolean
}

/** A counter as a change left it. */
export type MovedCounter = Pick<Recorded, 'sku' | 'seq' | 'stock_after' | 'reserved_after'>

/** Told after COMMIT which counters were moved; of one that was moved several times the last is current. Must not throw. */
export type OnMoved = (moved: readonly MovedCounter[]) => void

/** What is called when holds are closed. */
export type ClosingHooks = { onClosed: OnClosed | undefined; onMoved?: OnMoved | undefined }

/**
 * Runs hooks one after another, in the order in which they were registered, each with the holds that concern it; undefined
 * without any.
 */
export function chainHooks(hooks: readonly OnClosed[]): OnClosed | undefined {
  if (hooks.length === 0) return undefined
  const run = async (tx: Knex.Transaction, closed: readonly Closed[]) => {
    for (const hook of hooks) {
      const own = hook.concerns === undefined ? closed : closed.filter(hook.concerns)
      if (own.length > 0) await hook(tx, own)
    }
  }
  const concerns = (closed: Closed) => hooks.some((hook) => hook.concerns?.(closed) ?? true)
  return Object.assign(run, { concerns })
}
