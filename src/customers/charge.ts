import type { Knex } from 'knex'
import { doOnce, earlierOf } from '../database/keyed.ts'
import { ok, refused, type Result } from '../errors.ts'
import { newId } from '../ids.ts'
import type { Idempotency } from '../reservations/reservation.ts'
import { moveIn, type Moved } from './account.ts'
import { insertCharge, selectChargeByKey, selectEntryOf } from './queries.ts'

export type ChargeRequest = {
  customer_id: string
  /** 1 or more, in the currency's minor unit. */
  amount: number
  client: string
  /** Required: a charge whose answer was lost must be repeatable. */
  idempotency: Idempotency
}

/**
 * Adds money to a balance, once for each key.
 *
 * @returns the entry that it made. Refused with `customer_not_found`, `balance_limit`, `idempotency_key_reused`, or
 *   `idempotency_key_in_use`
 */
export function chargeBalance(db: Knex, request: ChargeRequest): Promise<Result<Moved>> {
  const { customer_id, amount } = request
  const charge_id = newId()
  return doOnce(db, {
    claim: (tx) => claim(tx, charge_id, request),
    work: (tx) => moveIn(tx, { customer_id, kind: 'charge', amount, created_by: { charge_id } }),
    blocked: 'Another transaction holds this account.',
  })
}

async function claim(
  tx: Knex.Transaction,
  id: string,
  { customer_id, amount, client, idempotency }: ChargeRequest,
): Promise<Result<Moved> | undefined> {
  const { key, request_hash } = idempotency
  if (await insertCharge(tx, { id, customer_id, amount, client, key, request_hash })) return undefined
  const stored = await selectChargeByKey(tx, client, key)
  if (stored === undefined) return refused({ code: 'customer_not_found', id: customer_id })
  const earlier = earlierOf(stored, request_hash)
  if (!earlier.ok) return earlier
  return ok({ entry: (await selectEntryOf(tx, { charge_id: earlier.value.id }))!, replayed: true })
}
