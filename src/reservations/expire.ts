import type { Knex } from 'knex'
import { describeError, isLockTimeout } from '../database/sqlstate.ts'
import { transaction, type Last } from '../database/transaction.ts'
import { DatabaseUnavailable } from '../errors.ts'
import type { Recorded } from '../stock/counters.ts'
import { lockLevels, selectUnlockedSkus } from '../stock/queries.ts'
import type { ClosingHooks, OnClosed } from './hooks.ts'
import { lineChanges, presentReservation, type Step } from './plan.ts'
import { expireOldest, expireOne, peekOverdue, setAside, type StoredReservation, type Take } from './queries.ts'
import { moveFor, recordMove } from './write.ts'

/** Counters that are looked at again one by one; each costs up to the lock timeout. */
export const STILL_LOCKED_MAX = 16

/** A hold that failed alone, and how often it has by now. */
export type FailedHold = { id: string; failures: number; error: unknown }

export type Expired = {
  expired: number
  /** Holds that were set aside because they failed alone. */
  failed: FailedHold[]
  /** SKUs whose counters another session kept locked; their holds stay overdue for now. */
  blocked_skus: string[]
}

/**
 * Expires one batch of overdue holds. Invariant: a hold is given back exactly once, by whoever runs this and however
 * often, because one statement locks it and ends it, in the transaction that gives back its units.
 *
 * What breaks the batch is found and left out: holds whose counters somebody keeps locked, by name of the SKU; a hold that
 * fails by itself is set aside with a back-off, so that it can't starve the rest.
 *
 * @throws DatabaseUnavailable, or what failed although no hold is overdue; everything else is in the answer
 */
export async function expireOverdue(db: Knex, take: Take, hooks: ClosingHooks): Promise<Expired> {
  try {
    return { expired: await expireBatch(db, take, hooks), failed: [], blocked_skus: [] }
  } catch (error) {
    if (error instanceof DatabaseUnavailable) throw error
    const holds = await peekOverdue(db, take)
    // No hold can be blamed: it is the sweep itself that does not work, and that must not look like having nothing to do.
    if (holds.length === 0 && !isLockTimeout(error)) throw error
    if (!isLockTimeout(error)) return expireEach(db, holds, hooks)
    const blocked_skus = await findLockedSkus(db, holds)
    if (blocked_skus.length === 0) return { expired: 0, failed: [], blocked_skus }
    const except_skus = [...take.except_skus, ...blocked_skus]
    const rest = await expireEachIfBroken(db, { ...take, except_skus }, hooks)
    return { ...rest, blocked_skus }
  }
}

/**
 * One transaction: reservations, hooks, counters, ledger and events. Holds that others have locked are skipped.
 *
 * @returns how many were expired @throws whatever one of them or the database can't stand
 */
export function expireBatch(db: Knex, take: Take, hooks: ClosingHooks): Promise<number> {
  return expire(db, (tx) => expireOldest(tx, take), hooks)
}

async function expire(
  db: Knex,
  take: (tx: Knex.Transaction) => Promise<StoredReservation[]>,
  hooks: ClosingHooks,
): Promise<number> {
  const { expired, recorded } = await transaction<GivenBack>(db, async (tx, _, last) =>
    giveBack(tx, await take(tx), hooks.onClosed, last),
  )
  hooks.onMoved?.(recorded)
  return expired
}

async function expireEachIfBroken(db: Knex, take: Take, hooks: ClosingHooks): Promise<Expired> {
  try {
    return { expired: await expireBatch(db, take, hooks), failed: [], blocked_skus: [] }
  } catch (error) {
    // Locked again, by another session: the next run will find out by whom.
    if (error instanceof DatabaseUnavailable) throw error
    if (isLockTimeout(error)) return { expired: 0, failed: [], blocked_skus: [] }
    return expireEach(db, await peekOverdue(db, take), hooks)
  }
}

async function expireEach(db: Knex, holds: readonly { id: string }[], hooks: ClosingHooks): Promise<Expired> {
  const failed: FailedHold[] = []
  let expired = 0
  for (const { id } of holds) {
    try {
      expired += await expire(db, (tx) => expireOne(tx, id), hooks)
    } catch (error) {
      if (error instanceof DatabaseUnavailable) throw error
      if (!isLockTimeout(error)) failed.push({ id, failures: await setAside(db, id, describeError(error)), error })
    }
  }
  return { expired, failed, blocked_skus: [] }
}

type GivenBack = { expired: number; recorded: readonly Recorded[] }

async function giveBack(
  tx: Knex.Transaction,
  expired: readonly StoredReservation[],
  onClosed: OnClosed | undefined,
  last: Last,
): Promise<GivenBack> {
  if (expired.length === 0) return { expired: 0, recorded: [] }
  await onClosed?.(
    tx,
    expired.map(({ id, reference }) => ({ id, reference, status: 'expired' as const })),
  )
  const steps = expired.map(toStep)
  const moved = await moveFor(tx, steps)
  if (!moved.fits) throw new Error('an overdue hold names a SKU that has no counter')
  last(recordMove(tx, steps, moved))
  return { expired: expired.length, recorded: moved.recorded }
}

function toStep(hold: StoredReservation): Step {
  const reservation = presentReservation(hold)
  return { type: 'reservation.expired', reservation, changes: lineChanges('expire', reservation) }
}

/**
 * Which counters of the next overdue holds somebody keeps locked, or keeps locked of those in `before`: asked before a
 * sweep, which would otherwise find out with other counters in its hands that everybody wants.
 */
export async function findKeptLocked(db: Knex, take: Take, before: readonly string[]): Promise<string[]> {
  const now = await findLockedSkus(db, await peekOverdue(db, take))
  return findStillLocked(db, [...new Set([...before, ...now])])
}

/**
 * Which of these counters are still locked, each waited for while nothing else is locked: a batch that met them again would
 * keep the counters before them from everybody for as long as it waits.
 */
export async function findStillLocked(db: Knex, skus: readonly string[]): Promise<string[]> {
  const locked: string[] = []
  for (const sku of skus.slice(0, STILL_LOCKED_MAX)) {
    try {
      await transaction(db, (tx) => lockLevels(tx, [sku]))
    } catch (error) {
      if (!isLockTimeout(error)) throw error
      locked.push(sku)
    }
  }
  return locked
}

async function findLockedSkus(db: Knex, holds: readonly { skus: string[] }[]): Promise<string[]> {
  const skus = [...new Set(holds.flatMap((hold) => hold.skus))]
  if (skus.length === 0) return []
  const unlocked = new Set(await selectUnlockedSkus(db, skus))
  return skus.filter((sku) => !unlocked.has(sku))
}
