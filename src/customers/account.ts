import type { Knex } from 'knex'
import { reading, type Executor } from '../database/transaction.ts'
import { ok, refused, type Result } from '../errors.ts'
import {
  lockAccount,
  moveBalance,
  selectCustomers,
  selectEntries,
  selectEntryOf,
  type AccountEntry,
  type Move,
} from './queries.ts'

/**
 * The balance of a customer and its history. Invariant: an entry for every change, numbered without gaps, its amounts adding
 * up to the balance, which is never below zero; and one entry at most for each charge, payment and refund.
 */

/** An entry, and whether it was there before. */
export type Moved = { entry: AccountEntry; replayed: boolean }

/**
 * Spends from a balance for a payment, in the caller's transaction at READ COMMITTED. A payment spends once, however often
 * and from however many sessions this is called for it: later calls answer with the first entry. The account stays locked
 * until the transaction ends.
 *
 * @param spend.amount 0 or more, in the currency's minor unit
 * @returns refused with `insufficient_balance` or `customer_not_found`, having written nothing
 */
export function spendIn(
  tx: Knex.Transaction,
  { customer_id, amount, payment_id }: { customer_id: string; amount: number; payment_id: string },
): Promise<Result<Moved>> {
  return moveIn(tx, { customer_id, kind: 'payment', amount: -amount, created_by: { payment_id } })
}

/**
 * Gives money of a payment back to a balance, in the caller's transaction: once for each refund, like {@link spendIn}.
 *
 * @param refund.amount 0 or more, in the currency's minor unit; that no more comes back than was paid is the caller's care
 * @returns refused with `balance_limit` or `customer_not_found`, having written nothing
 */
export function refundIn(
  tx: Knex.Transaction,
  refund: { customer_id: string; amount: number; payment_id: string; refund_id: string },
): Promise<Result<Moved>> {
  const { customer_id, amount, payment_id, refund_id } = refund
  return moveIn(tx, { customer_id, kind: 'refund', amount, created_by: { payment_id, refund_id } })
}

/** Moves a balance within its bounds, once for each cause. */
export async function moveIn(tx: Knex.Transaction, move: Move): Promise<Result<Moved>> {
  // Both are sent before either is waited for. The second has a snapshot of its own, taken under the lock: a twin that had to
  // be waited for is seen.
  const [balance, entry] = await Promise.all([lockAccount(tx, move.customer_id), moveBalance(tx, move)])
  if (entry !== undefined) return ok({ entry, replayed: false })
  if (balance === undefined) return refused({ code: 'customer_not_found', id: move.customer_id })
  const earlier = await selectEntryOf(tx, move.created_by)
  if (earlier !== undefined) return replay(earlier, move)
  return refused(
    move.amount < 0 ? { code: 'insufficient_balance', balance, amount: -move.amount } : { code: 'balance_limit' },
  )
}

function replay(entry: AccountEntry, { customer_id, amount }: Move): Result<Moved> {
  if (entry.customer_id === customer_id && entry.amount === amount) return ok({ entry, replayed: true })
  throw new Error(
    `entry ${entry.seq} of account ${entry.customer_id} has the same cause, but another account or amount`,
  )
}

/**
 * A page of an account's entries, newest first; undefined if there is no such customer.
 *
 * @param page `limit` 1–201; `before_seq` the last seq of the page before
 */
export function readEntries(
  db: Executor,
  customer_id: string,
  page: { limit: number; before_seq?: number },
): Promise<AccountEntry[] | undefined> {
  return reading(async () => {
    const entries = await selectEntries(db, { customer_id, limit: page.limit, before_seq: page.before_seq ?? null })
    if (entries.length === 0 && (await selectCustomers(db, [customer_id])).length === 0) return undefined
    return entries
  })
}
