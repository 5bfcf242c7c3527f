import type { Knex } from 'knex'
import { rows } from '../../database/transaction.ts'

/** What the service is measured against, in SQL. */

/**
 * Tables as a shop would first make them: narrow, and with no index but the keys. The lines have none at all.
 *
 * @param skus how many counters
 */
export async function createNaiveTables(db: Knex, skus: number): Promise<void> {
  await rows(
    db,
    `CREATE TABLE naive_stock (sku integer PRIMARY KEY, stock integer NOT NULL, reserved integer NOT NULL)`,
  )
  await rows(
    db,
    `CREATE TABLE naive_reservations (
       id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
       status smallint NOT NULL DEFAULT 0,
       expires_at timestamptz NOT NULL
     )`,
  )
  await rows(
    db,
    `CREATE TABLE naive_lines (reservation_id bigint NOT NULL, sku integer NOT NULL, quantity integer NOT NULL)`,
  )
  await rows(db, `INSERT INTO naive_stock SELECT n, 2000000000, 0 FROM generate_series(1, ?::integer) AS n`, [skus])
  await rows(db, `VACUUM ANALYZE naive_stock`)
}

/** The naive statement: the conditional UPDATE decides, the reservation and its line go in with it. */
export function naiveScript(skus: number): string {
  return `\\set sku random(1, ${skus})
WITH moved AS (
  UPDATE naive_stock SET reserved = reserved + 1 WHERE sku = :sku AND stock - reserved >= 1 RETURNING sku
), held AS (
  INSERT INTO naive_reservations (expires_at) SELECT now() + interval '30 minutes' FROM moved RETURNING id
)
INSERT INTO naive_lines SELECT held.id, moved.sku, 1 FROM held, moved;
`
}

export async function countNaive(db: Knex): Promise<number> {
  const [counted] = await rows<{ held: number }>(db, `SELECT count(*) AS held FROM naive_reservations`)
  return counted!.held
}

/** Five SKUs, the first of them the hot one; the others are drawn from ranges that do not overlap. */
const DRAW_FIVE = `\\set b random(2, 2500)
\\set c random(2501, 5000)
\\set d random(5001, 7500)
\\set e random(7501, 10000)
`

/** One transaction per order on the naive tables: locks in SKU order, then the counters, then the rows. */
export const NAIVE_ORDER_SCRIPT = `${DRAW_FIVE}BEGIN;
SELECT 1 FROM naive_stock WHERE sku IN (1, :b, :c, :d, :e) ORDER BY sku FOR NO KEY UPDATE;
UPDATE naive_stock SET reserved = reserved + 1 WHERE sku IN (1, :b, :c, :d, :e) AND stock - reserved >= 1;
WITH held AS (
  INSERT INTO naive_reservations (expires_at) VALUES (now() + interval '30 minutes') RETURNING id
)
INSERT INTO naive_lines SELECT held.id, n, 1 FROM held, unnest(ARRAY[1, :b, :c, :d, :e]) AS n;
COMMIT;
`

const FIVE = `ARRAY['SKU-000001', 'SKU-' || lpad(:b::text, 6, '0'), 'SKU-' || lpad(:c::text, 6, '0'),
      'SKU-' || lpad(:d::text, 6, '0'), 'SKU-' || lpad(:e::text, 6, '0')]`

/** The same on the service's tables, with every row that the service writes: reservation, ledger, events. */
export const ORDER_SCRIPT = `${DRAW_FIVE}BEGIN;
SELECT 1 FROM stock WHERE sku = ANY (${FIVE}) ORDER BY sku FOR NO KEY UPDATE;
WITH moved AS (
  UPDATE stock SET temp_reserved_stock = temp_reserved_stock + 1, seq = seq + 1, updated_at = clock_timestamp()
  WHERE sku = ANY (${FIVE}) AND stock - temp_reserved_stock >= 1
  RETURNING sku, stock, temp_reserved_stock, seq
), held AS (
  INSERT INTO reservations (id, status, skus, quantities, created_at, expires_at, strategy, client, idempotency_key, request_hash)
  SELECT id, 'pending', ${FIVE}, '{1,1,1,1,1}', clock_timestamp(), clock_timestamp() + interval '1 day', 'pgbench', 'pgbench',
    id::text, sha256(uuid_send(id))
  FROM (SELECT gen_random_uuid() AS id OFFSET 0) AS new
  RETURNING id, created_at, expires_at
), recorded AS (
  INSERT INTO stock_ledger (sku, seq, kind, stock_delta, reserved_delta, stock_after, reserved_after, reservation_id, created_at)
  SELECT m.sku, m.seq, 'reserve', 0, 1, m.stock, m.temp_reserved_stock, h.id, h.created_at FROM moved m, held h
)
INSERT INTO outbox (id, ordered_at, events, event_count)
SELECT gen_random_uuid(), h.created_at, json_build_array(json_build_object('type', 'reservation.created', 'data',
  json_build_object('id', h.id, 'status', 'pending', 'expires_at', h.expires_at,
    'lines', (SELECT json_agg(json_build_object('sku', m.sku, 'quantity', 1, 'seq', m.seq)) FROM moved m)))), 1
FROM held h;
COMMIT;
`

/**
 * Expires every overdue hold of one line with a single statement that writes the same rows as the sweep: reservations,
 * counters, the ledger numbered by window functions, and events in rows of 500.
 *
 * @returns how many it expired
 */
export async function expireAtOnce(db: Knex): Promise<number> {
  return db.transaction(async (tx) => {
    // As much memory as its sorts and hashes can use: it is to be at its best.
    await rows(tx, `SET LOCAL work_mem = '512MB'`)
    const [expired] = await rows<{ expired: number }>(tx, EXPIRE_AT_ONCE)
    return expired!.expired
  })
}

const EXPIRE_AT_ONCE = `
  WITH closed AS (
    UPDATE reservations SET status = 'expired', closed_at = expires_at
    WHERE status = 'pending' AND expires_at <= statement_timestamp()
    RETURNING *
  ), numbered AS MATERIALIZED (
    SELECT c.*, c.skus[1] AS sku, c.quantities[1] AS quantity,
           row_number() OVER by_sku AS place, sum(c.quantities[1]) OVER by_sku AS given_back,
           (row_number() OVER (ORDER BY c.skus[1], c.expires_at, c.id) - 1) / 500 AS batch
    FROM closed c
    WINDOW by_sku AS (PARTITION BY c.skus[1] ORDER BY c.expires_at, c.id ROWS UNBOUNDED PRECEDING)
  ), moved AS MATERIALIZED (
    SELECT s.sku, s.stock, s.temp_reserved_stock AS reserved_before, s.seq AS seq_before, t.changes, t.units
    FROM (SELECT sku, count(*) AS changes, sum(quantity) AS units FROM numbered GROUP BY sku) t JOIN stock s USING (sku)
  ), counters AS (
    UPDATE stock s SET temp_reserved_stock = s.temp_reserved_stock - m.units, seq = s.seq + m.changes,
                       updated_at = clock_timestamp()
    FROM moved m WHERE s.sku = m.sku
  ), recorded AS (
    INSERT INTO stock_ledger (sku, seq, kind, stock_delta, reserved_delta, stock_after, reserved_after, reservation_id, created_at)
    SELECT n.sku, m.seq_before + n.place, 'expire', 0, -n.quantity, m.stock, m.reserved_before - n.given_back, n.id,
           statement_timestamp()
    FROM numbered n JOIN moved m USING (sku)
  ), told AS (
    INSERT INTO outbox (id, ordered_at, events, event_count)
    SELECT gen_random_uuid(), statement_timestamp(), json_agg(json_build_object('type', 'reservation.expired', 'data',
             json_build_object('id', n.id, 'status', 'expired', 'customer_id', n.customer_id, 'reference', n.reference,
               'metadata', n.metadata, 'created_at', n.created_at, 'expires_at', n.expires_at, 'closed_at', n.expires_at,
               'release_reason', n.release_reason, 'strategy', n.strategy, 'ttl_variant', n.ttl_variant,
               'lines', json_build_array(json_build_object('sku', n.sku, 'quantity', n.quantity,
                 'seq', m.seq_before + n.place))))), count(*)
    FROM numbered n JOIN moved m USING (sku) GROUP BY n.batch
  )
  SELECT count(*) AS expired FROM numbered`
