import type { Knex } from 'knex'
import { rows, type Executor, type Work } from '../../database/transaction.ts'
import { violatedConstraint } from '../../database/sqlstate.ts'
import type { Reservation } from '../../reservations/reservation.ts'
import { skuName } from '../load/scenario.ts'

/**
 * Two ways to lower a counter that are wrong, to show what breaks: the only place where a number that was read before is
 * written, or where nothing tests what is written. They run on tables without a CHECK, or on the service's own, where
 * the database stops them.
 */

/**
 * `none` reads, checks, and writes the number that it has worked out. `unguarded` checks, and then increments whatever the
 * counter is by then.
 */
export const UNSAFE_NAMES = ['none', 'unguarded'] as const
export type UnsafeName = (typeof UNSAFE_NAMES)[number]

/** Tables of the comparison's own without any CHECK, or the service's. */
export const TABLES = ['scratch', 'real'] as const
export type Tables = (typeof TABLES)[number]

export type Wanted = Pick<Reservation, 'id' | 'created_at' | 'expires_at'> & { sku: string; quantity: number }

/** What came of one try; `stopped_by` is the constraint that refused what the code would have done. */
export type Tried = { held: boolean } | { stopped_by: string }

/** What a transaction needs to be run in; the same for all strategies. */
export type Transact = <T>(work: Work<T>) => Promise<T>

/** Reserves the wrong way, in a transaction of its own. @throws what is no refusal of a constraint */
export async function reserveUnsafely(
  { name, tables, transact }: { name: UnsafeName; tables: Tables; transact: Transact },
  wanted: Wanted,
): Promise<Tried> {
  const sell = tables === 'scratch' ? sellFromScratch : sellFromStock
  try {
    return { held: await transact((tx) => sell(tx, name, wanted)) }
  } catch (error) {
    const constraint = violatedConstraint(error)
    if (constraint === undefined) throw error
    return { stopped_by: constraint }
  }
}

async function sellFromScratch(tx: Executor, name: UnsafeName, { id, sku, quantity }: Wanted): Promise<boolean> {
  const [counter] = await rows<{ stock: number; reserved: number }>(
    tx,
    `SELECT stock, reserved FROM scratch_stock WHERE sku = ?`,
    [sku],
  )
  if (counter === undefined || counter.stock - counter.reserved < quantity) return false
  await (name === 'none'
    ? rows(tx, `UPDATE scratch_stock SET reserved = ? WHERE sku = ?`, [counter.reserved + quantity, sku])
    : rows(tx, `UPDATE scratch_stock SET reserved = reserved + ? WHERE sku = ?`, [quantity, sku]))
  await rows(tx, `INSERT INTO scratch_holds (id, sku, quantity) VALUES (?, ?, ?)`, [id, sku, quantity])
  return true
}

type Counter = { stock: number; temp_reserved_stock: number; seq: number }

/** With every row that the service writes for a hold: the counter, the reservation, the ledger. */
async function sellFromStock(tx: Executor, name: UnsafeName, wanted: Wanted): Promise<boolean> {
  const { id, sku, quantity, created_at, expires_at } = wanted
  const [read] = await rows<Counter>(tx, `SELECT stock, temp_reserved_stock, seq FROM stock WHERE sku = ?`, [sku])
  if (read === undefined || read.stock - read.temp_reserved_stock < quantity) return false
  const [moved] = await (name === 'none'
    ? rows<Counter>(
        tx,
        `UPDATE stock SET temp_reserved_stock = ?, seq = ?, updated_at = clock_timestamp() WHERE sku = ?
         RETURNING stock, temp_reserved_stock, seq`,
        [read.temp_reserved_stock + quantity, read.seq + 1, sku],
      )
    : rows<Counter>(
        tx,
        `UPDATE stock SET temp_reserved_stock = temp_reserved_stock + ?, seq = seq + 1, updated_at = clock_timestamp()
         WHERE sku = ? RETURNING stock, temp_reserved_stock, seq`,
        [quantity, sku],
      ))
  await rows(
    tx,
    `INSERT INTO reservations (id, status, skus, quantities, created_at, expires_at, strategy, client)
     VALUES (?, 'pending', ARRAY[?], ARRAY[?::integer], ?, ?, ?, '')`,
    [id, sku, quantity, created_at, expires_at, name],
  )
  await rows(
    tx,
    `INSERT INTO stock_ledger (sku, seq, kind, stock_delta, reserved_delta, stock_after, reserved_after, reservation_id, created_at)
     VALUES (?, ?, 'reserve', 0, ?, ?, ?, ?, clock_timestamp())`,
    [sku, moved!.seq, quantity, moved!.stock, moved!.temp_reserved_stock, id],
  )
  return true
}

/** Counters and holds as they are often made first: nothing in them says what a right number is. */
export async function createScratchTables(db: Knex): Promise<void> {
  await rows(
    db,
    `CREATE TABLE scratch_stock (sku text COLLATE "C" PRIMARY KEY, stock integer NOT NULL, reserved integer NOT NULL)
     WITH (fillfactor = 50)`,
  )
  await rows(db, `CREATE TABLE scratch_holds (id uuid PRIMARY KEY, sku text NOT NULL, quantity integer NOT NULL)`)
}

/** The same stock as the service's own tables have. */
export async function fillScratchTables(db: Knex): Promise<void> {
  await rows(db, `INSERT INTO scratch_stock SELECT sku, stock, temp_reserved_stock FROM stock`)
}

/** What stands in the tables when a sale is over, over all its SKUs. */
export type Stand = {
  /** Units of the holds that are there, row by row. */
  held: number
  /** What the counters say is left. */
  left: number
  /** Units held beyond the stock that there was, SKU by SKU. */
  oversold: number
  /** Units held that the counters know nothing of: each will be sold once more. */
  uncounted: number
}

/** @param skus the first and the last of the sale, by number */
export async function readStand(db: Knex, tables: Tables, skus: { first: number; last: number }): Promise<Stand> {
  const [stand] = await rows<Stand>(db, tables === 'scratch' ? SCRATCH_STAND : REAL_STAND, [
    skuName(skus.first),
    skuName(skus.last),
  ])
  return stand!
}

const STAND = `
  SELECT coalesce(sum(h.units), 0)::bigint AS held, sum(s.stock - s.reserved)::bigint AS left,
         coalesce(sum(greatest(0, h.units - s.stock)), 0)::bigint AS oversold,
         coalesce(sum(greatest(0, h.units - s.reserved)), 0)::bigint AS uncounted
  FROM s LEFT JOIN h USING (sku)`

const SCRATCH_STAND = `
  WITH s AS (SELECT * FROM scratch_stock WHERE sku BETWEEN ? AND ?),
       h AS (SELECT sku, sum(quantity) AS units FROM scratch_holds GROUP BY sku) ${STAND}`

const REAL_STAND = `
  WITH s AS (SELECT sku, stock, temp_reserved_stock AS reserved FROM stock WHERE sku BETWEEN ? AND ?),
       h AS (SELECT u.sku, sum(u.quantity) AS units
             FROM reservations r, unnest(r.skus, r.quantities) AS u (sku, quantity)
             WHERE r.status = 'pending' GROUP BY u.sku) ${STAND}`
