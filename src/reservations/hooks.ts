import type { Knex } from 'knex'
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
