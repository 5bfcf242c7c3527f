import { arrayOf } from '../database/array.ts'
import { rows, type Executor } from '../database/transaction.ts'

export type CartRow = { sku: string; quantity: number }

/** Claims an addition's key; false if it is taken. Waits for a twin in flight. */
export async function insertAddition(
  db: Executor,
  addition: { client: string; key: string; request_hash: string; customer_id: string },
): Promise<boolean> {
  const { client, key, request_hash, customer_id } = addition
  const inserted = await rows(
    db,
    `INSERT INTO cart_additions (client, idempotency_key, request_hash, customer_id)
     VALUES (?, ?, decode(?, 'hex'), ?::uuid)
     ON CONFLICT (client, idempotency_key) DO NOTHING RETURNING client`,
    [client, key, request_hash, customer_id],
  )
  return inserted.length === 1
}

/** What an addition's key was sent with. */
export async function selectAddition(
  db: Executor,
  client: string,
  key: string,
): Promise<{ request_hash: string } | undefined> {
  const [addition] = await rows<{ request_hash: string }>(
    db,
    `SELECT encode(request_hash, 'hex') AS request_hash FROM cart_additions WHERE client = ? AND idempotency_key = ?`,
    [client, key],
  )
  return addition
}

/**
 * Locks a customer's cart, which is made if there is none. Statements behind it see what it had to wait for.
 *
 * @returns false if there is no such customer
 */
export async function lockCart(db: Executor, customer_id: string): Promise<boolean> {
  const locked = await rows(
    db,
    `INSERT INTO carts (customer_id) SELECT id FROM customers WHERE id = ?::uuid
     ON CONFLICT (customer_id) DO UPDATE SET updated_at = clock_timestamp() RETURNING customer_id`,
    [customer_id],
  )
  return locked.length === 1
}

/** Locks a customer's cart if there is one. */
export async function lockCartIfAny(db: Executor, customer_id: string): Promise<boolean> {
  const locked = await rows(
    db,
    `UPDATE carts SET updated_at = clock_timestamp() WHERE customer_id = ?::uuid RETURNING customer_id`,
    [customer_id],
  )
  return locked.length === 1
}

/** The lines of a cart, in the order in which their SKUs were first added. */
export function selectCartLines(db: Executor, customer_id: string): Promise<CartRow[]> {
  return rows<CartRow>(db, `SELECT sku, quantity FROM cart_lines WHERE customer_id = ?::uuid ORDER BY place`, [
    customer_id,
  ])
}

/** Sets the quantity of a line, which is put last if it is new. Runs under the cart's lock. */
export async function upsertCartLine(
  db: Executor,
  line: { customer_id: string; sku: string; quantity: number },
): Promise<void> {
  const { customer_id, sku, quantity } = line
  await rows(
    db,
    `INSERT INTO cart_lines (customer_id, sku, quantity, place)
     SELECT ?::uuid, ?, ?::integer, coalesce(max(place), 0) + 1 FROM cart_lines WHERE customer_id = ?::uuid
     ON CONFLICT (customer_id, sku) DO UPDATE SET quantity = excluded.quantity`,
    [customer_id, sku, quantity, customer_id],
  )
}

/** Takes lines out of a cart, all of them if no SKUs are named; returns those that were there, in the cart's order. */
export function deleteCartLines(db: Executor, customer_id: string, skus: readonly string[] | null): Promise<CartRow[]> {
  return rows<CartRow>(
    db,
    `WITH taken AS (
       DELETE FROM cart_lines WHERE customer_id = ?::uuid AND (?::text[] IS NULL OR sku = ANY (?::text[]))
       RETURNING sku, quantity, place
     )
     SELECT sku, quantity FROM taken ORDER BY place`,
    [customer_id, skus && arrayOf(skus), skus && arrayOf(skus)],
  )
}
