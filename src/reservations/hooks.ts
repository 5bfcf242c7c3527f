import type { Knex } from 'knex'
import type { Closed } from './reservation.ts'

/**
 * Called in the transaction that closes reservations, after they are closed and before any counter is locked, with all
 * that this transaction closes. It may lock what belongs to the caller (orders, payments), in an order of its own. What
 * it throws undoes the closing.
 */
export type OnClosed = (tx: Knex.Transaction, closed: readonly Closed[]) => Promise<void>

/** Runs hooks one after another, in the order in which they were registered; undefined without any. */
export function chainHooks(hooks: readonly OnClosed[]): OnClosed | undefined {
  if (hooks.length === 0) return undefined
  return async (tx, closed) => {
    if (closed.length === 0) return
    for (const hook of hooks) await hook(tx, closed)
  }
}
