import type { Knex } from 'knex'
import { rows } from '../../database/transaction.ts'

/** Puts into the tables what would take hours to put there over HTTP; counters and ledger agree with it. */

/** Rows of one statement. */
const CHUNK = 200_000
/** The clients that fill at once. */
const FILLERS = 3

async function inChunks(total: number, step: number, work: (from: number, to: number) => Promise<void>): Promise<void> {
  let next = 0
  const fill = async (): Promise<void> => {
    while (next < total) {
      const from = next
      next = Math.min(total, from + step)
      await work(from, next)
    }
  }
  await Promise.all(Array.from({ length: FILLERS }, fill))
}

/**
 * Holds of one unit that ran out ten minutes ago, spread evenly over the first SKUs.
 *
 * @param db with stock on those SKUs and no holds yet: their ledgers end at 1
 */
export async function fillOverdue(db: Knex, fill: { holds: number; skus: number }): Promise<void> {
  const { holds, skus } = fill
  await inChunks(holds, CHUNK, async (from, to) => {
    await rows(
      db,
      `WITH hold AS MATERIALIZED (
         SELECT gen_random_uuid() AS id, 'SKU-' || lpad((1 + i % ?::integer)::text, 6, '0') AS sku, i / ?::integer AS place,
                i, now() - interval '40 minutes' + i * interval '10 microseconds' AS created_at
         FROM generate_series(?::integer, ?::integer - 1) AS i
       ), held AS (
         INSERT INTO reservations (id, status, skus, quantities, created_at, expires_at, strategy, client, idempotency_key, request_hash)
         SELECT id, 'pending', ARRAY[sku], '{1}', created_at, created_at + interval '30 minutes', 'batched', 'fill',
                'overdue-' || i, sha256(int4send(i))
         FROM hold
       )
       INSERT INTO stock_ledger (sku, seq, kind, stock_delta, reserved_delta, stock_after, reserved_after, reservation_id, created_at)
       SELECT h.sku, 2 + h.place, 'reserve', 0, 1, s.stock, h.place + 1, h.id, h.created_at
       FROM hold h JOIN stock s USING (sku)`,
      [skus, skus, from, to],
    )
  })
  await rows(
    db,
    `UPDATE stock s SET temp_reserved_stock = h.holds, seq = 1 + h.holds
     FROM (SELECT sku, count(*) AS holds FROM stock_ledger WHERE kind = 'reserve' GROUP BY sku) h WHERE s.sku = h.sku`,
  )
  await settle(db)
}

/**
 * A shop's past: of every ten reservations eight were confirmed, one released and one expired; one in ten of all is still
 * held, not overdue. In the order of time, over the first SKUs in turn.
 *
 * @param db as {@link fillOverdue} wants it; `reservations` a multiple of ten times `skus`
 */
export async function fillHistory(db: Knex, fill: { reservations: number; skus: number }): Promise<void> {
  const { reservations, skus } = fill
  const each = reservations / skus
  const closed = each - each / 10
  await inChunks(reservations, CHUNK, async (from, to) => {
    await rows(db, FILL_HISTORY, [skus, reservations, from, to, skus, closed])
  })
  await rows(
    db,
    `UPDATE stock s SET stock = s.stock - l.sold, temp_reserved_stock = l.held, seq = l.seq
     FROM (SELECT sku, max(seq) AS seq, sum(reserved_delta) AS held, -sum(stock_delta) FILTER (WHERE kind = 'confirm') AS sold
           FROM stock_ledger GROUP BY sku) l
     WHERE s.sku = l.sku AND l.sold IS NOT NULL`,
  )
  await settle(db)
}

// The n-th closed reservation of a SKU (from 0) has the rows 2 + 2n and 3 + 2n of its ledger: each ends before the next
// begins. Of ten in a row the first eight are sold, so before it n / 10 * 8 + least(n % 10, 8) units were.
const FILL_HISTORY = `
  WITH one AS MATERIALIZED (
    SELECT gen_random_uuid() AS id, i, 'SKU-' || lpad((1 + i % ?::integer)::text, 6, '0') AS sku, p.place, p.place < p.closed AS done,
           CASE WHEN p.place >= p.closed THEN 'pending' WHEN p.place % 10 < 8 THEN 'confirmed'
                WHEN p.place % 10 = 8 THEN 'released' ELSE 'expired' END AS status,
           least(p.place, p.closed) / 10 * 8 + least(least(p.place, p.closed) % 10, 8) AS sold_before,
           p.closed,
           now() - interval '1 hour' - (?::integer - i) * interval '1 millisecond' AS created_at
    FROM generate_series(?::integer, ?::integer - 1) AS i,
         LATERAL (SELECT i / ?::integer AS place, ?::integer AS closed) p
  ), held AS (
    INSERT INTO reservations (id, status, skus, quantities, created_at, expires_at, closed_at, strategy, client, idempotency_key, request_hash)
    SELECT id, status, ARRAY[sku], '{1}', created_at,
           CASE WHEN done THEN created_at + interval '30 minutes' ELSE now() + interval '1 day' + i * interval '1 microsecond' END,
           CASE WHEN NOT done THEN NULL WHEN status = 'expired' THEN created_at + interval '30 minutes'
                ELSE created_at + interval '2 minutes' END,
           'batched', 'fill', 'history-' || i, sha256(int4send(i))
    FROM one
  ), reserved AS (
    INSERT INTO stock_ledger (sku, seq, kind, stock_delta, reserved_delta, stock_after, reserved_after, reservation_id, created_at)
    SELECT o.sku, CASE WHEN done THEN 2 + 2 * place ELSE 2 + closed + place END, 'reserve', 0, 1, s.stock - sold_before,
           CASE WHEN done THEN 1 ELSE place - closed + 1 END, id, created_at
    FROM one o JOIN stock s USING (sku)
  )
  INSERT INTO stock_ledger (sku, seq, kind, stock_delta, reserved_delta, stock_after, reserved_after, reservation_id, created_at)
  SELECT o.sku, 3 + 2 * place,
         CASE status WHEN 'confirmed' THEN 'confirm' WHEN 'released' THEN 'release' ELSE 'expire' END,
         CASE status WHEN 'confirmed' THEN -1 ELSE 0 END, -1,
         s.stock - sold_before - CASE status WHEN 'confirmed' THEN 1 ELSE 0 END, 0, id, created_at + interval '2 minutes'
  FROM one o JOIN stock s USING (sku) WHERE done`

async function settle(db: Knex): Promise<void> {
  await rows(db, 'VACUUM (FREEZE, ANALYZE)')
  await rows(db, 'CHECKPOINT')
}
