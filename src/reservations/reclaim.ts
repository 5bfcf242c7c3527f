import type { Knex } from 'knex'
import { isLockTimeout } from '../database/sqlstate.ts'
import { transaction } from '../database/transaction.ts'
import { selectUnlockedSkus } from '../stock/queries.ts'
import { expireOverdue } from './expire.ts'
import type { ClosingHooks } from './hooks.ts'
import { lockReservations, peekOverdue, selectAvailableAndOverdue } from './queries.ts'

/** Overdue holds given back by one transaction of a reclaim. */
const RECLAIM_SIZE_MAX = 500

/**
 * Gives back overdue holds of SKUs that somebody wants, so that a stalled sweeper refuses nobody. A transaction of its own
 * before the reserve, not a part of it: holds must be locked before counters, and which counters a reclaimed order of many
 * lines touches is not known before it is locked.
 *
 * @param short the SKUs, each with what was available of it when it was found to be too little
 * @param ignored ids of holds that can't be had now, locked by another session; those that are met are added
 * @param known_locked SKUs whose counters were found locked before; brought up to date. Their holds are left alone
 *   without a wait: waiting for them again with each request would keep the counters before them from everybody
 * @returns `look_again`: stock may have come back; false if, at one moment, no more was available than that and no overdue
 *   hold of these SKUs was left but the ignored ones. `blocked_skus`: counters that somebody kept locked
 */
export async function reclaim(
  db: Knex,
  short: ReadonlyMap<string, number>,
  { ignored, known_locked }: { ignored: Set<string>; known_locked: Set<string> },
  hooks: ClosingHooks,
): Promise<{ look_again: boolean; blocked_skus: string[] }> {
  const skus = [...short.keys()]
  await forgetUnlocked(db, known_locked)
  const still_locked = [...known_locked]
  const take = { limit: RECLAIM_SIZE_MAX, skus, except_skus: still_locked, except_ids: [...ignored] }
  const found = await selectAvailableAndOverdue(db, skus, take)
  if (!found.some((one) => one.overdue)) {
    const look_again = found.some((one) => one.available > (short.get(one.sku) ?? 0))
    return { look_again, blocked_skus: look_again ? [] : still_locked }
  }
  const overdue = await peekOverdue(db, take)
  if (overdue.length === 0) return { look_again: true, blocked_skus: [] }
  const { expired, failed, blocked_skus } = await expireOverdue(db, take, hooks)
  for (const sku of blocked_skus) known_locked.add(sku)
  if (expired > 0 || failed.length > 0) return { look_again: true, blocked_skus }
  const blocked = new Set(blocked_skus)
  const behind_locks = overdue.filter((hold) => hold.skus.some((sku) => blocked.has(sku)))
  // None could be locked: most likely a sweeper is giving them back this moment. Wait for it rather than refuse.
  const unavailable = behind_locks.length > 0 ? behind_locks : await waitFor(db, overdue)
  for (const { id } of unavailable) ignored.add(id)
  return { look_again: true, blocked_skus }
}

/** Brings them up to date, without a wait. */
export async function forgetUnlocked(db: Knex, known_locked: Set<string>): Promise<void> {
  if (known_locked.size === 0) return
  for (const sku of await selectUnlockedSkus(db, [...known_locked])) known_locked.delete(sku)
}

/** Waits until nobody else holds the reservations; returns those of a wait that ran into the lock timeout. */
async function waitFor<T extends { id: string }>(db: Knex, holds: readonly T[]): Promise<readonly T[]> {
  try {
    await transaction(db, (tx) =>
      lockReservations(
        tx,
        holds.map((hold) => hold.id),
      ),
    )
    return []
  } catch (error) {
    if (!isLockTimeout(error)) throw error
    return holds
  }
}
