import type { Knex } from 'knex'
import { doOnce, earlierOf } from '../database/keyed.ts'
import { reading, type Executor } from '../database/transaction.ts'
import { ok, type Result } from '../errors.ts'
import { newId } from '../ids.ts'
import type { Idempotency } from '../reservations/reservation.ts'
import {
  insertCustomer,
  selectCustomerByKey,
  selectCustomers,
  selectLatestCustomers,
  type Customer,
} from './queries.ts'

/** Who buys. */

export type NewCustomer = { name: string; client: string; idempotency?: Idempotency }

export type CreatedCustomer = { customer: Customer; replayed: boolean }

/** Makes a customer, with a balance of zero. Refused with `idempotency_key_reused` or `idempotency_key_in_use`. */
export function createCustomer(db: Knex, request: NewCustomer): Promise<Result<CreatedCustomer>> {
  const id = newId()
  return doOnce<CreatedCustomer>(db, {
    claim: (tx) => claim(tx, id, request),
    work: async (tx) => ok({ customer: (await readCustomer(tx, id))!, replayed: false }),
    blocked: 'Another request is making this customer.',
  })
}

async function claim(
  tx: Knex.Transaction,
  id: string,
  { name, client, idempotency }: NewCustomer,
): Promise<Result<CreatedCustomer> | undefined> {
  const { key = null, request_hash = null } = idempotency ?? {}
  const claimed = await insertCustomer(tx, { id, name, client, key, request_hash })
  if (claimed || idempotency === undefined) return undefined
  const earlier = earlierOf(await selectCustomerByKey(tx, client, idempotency.key), idempotency.request_hash)
  if (!earlier.ok) return earlier
  return ok({ customer: (await readCustomer(tx, earlier.value.id))!, replayed: true })
}

/** A customer with the balance as it is now; undefined if there is none. @param id a UUID */
export async function readCustomer(db: Executor, id: string): Promise<Customer | undefined> {
  const [customer] = await reading(() => selectCustomers(db, [id]))
  return customer
}

/** Those of the ids that are a customer's. @param ids UUIDs */
export async function findCustomers(db: Executor, ids: readonly string[]): Promise<Set<string>> {
  return new Set((await reading(() => selectCustomers(db, ids))).map(({ id }) => id))
}

/** The customers that came last, for a login that lets one choose. @param limit 1–100 */
export function latestCustomers(db: Executor, limit: number): Promise<Customer[]> {
  return reading(() => selectLatestCustomers(db, limit))
}
