import { arrayOf } from '../database/array.ts'
import { rows, type Executor } from '../database/transaction.ts'
import {
  REFERENCE_PREFIX,
  RETURN_REASON,
  type HoldState,
  type Order,
  type OrderLine,
  type OrderRow,
  type OrderStatus,
} from './order.ts'

export type KeyKind = 'order' | 'payment' | 'refund'

export type OrderKey = { client: string; kind: KeyKind; key: string; request_hash: string; made_id: string }

/** Claims a key; false if it is taken. Waits for a twin in flight up to the lock timeout. */
export async function insertOrderKey(db: Executor, claimed: OrderKey): Promise<boolean> {
  const { client, kind, key, request_hash, made_id } = claimed
  const inserted = await rows(
    db,
    `INSERT INTO order_keys (client, kind, idempotency_key, request_hash, made_id)
     VALUES (?, ?, ?, decode(?, 'hex'), ?::uuid)
     ON CONFLICT (client, kind, idempotency_key) DO NOTHING RETURNING client`,
    [client, kind, key, request_hash, made_id],
  )
  return inserted.length === 1
}

/** What a key made. */
export async function selectOrderKey(
  db: Executor,
  { client, kind, key }: Pick<OrderKey, 'client' | 'kind' | 'key'>,
): Promise<{ request_hash: string; made_id: string } | undefined> {
  const [found] = await rows<{ request_hash: string; made_id: string }>(
    db,
    `SELECT encode(request_hash, 'hex') AS request_hash, made_id FROM order_keys
     WHERE client = ? AND kind = ? AND idempotency_key = ?`,
    [client, kind, key],
  )
  return found
}

const ROW = `o.id, o.status, o.customer_id, o.currency, o.subtotal, o.discount, o.total, o.coupon_code, o.reservation_id,
  o.payment_id, o.created_at, o.paid_at, o.closed_at`

/** Adds an order that awaits payment; returns when it was made. */
export async function insertOrder(
  db: Executor,
  order: Pick<
    OrderRow,
    'id' | 'customer_id' | 'currency' | 'subtotal' | 'discount' | 'total' | 'coupon_code' | 'reservation_id'
  >,
): Promise<Date> {
  const [inserted] = await rows<{ created_at: Date }>(
    db,
    `INSERT INTO orders (id, status, customer_id, currency, subtotal, discount, total, coupon_code, reservation_id, created_at)
     VALUES (?::uuid, 'awaiting_payment', ?::uuid, ?, ?::bigint, ?::bigint, ?::bigint, ?, ?::uuid,
             date_trunc('milliseconds', clock_timestamp()))
     RETURNING created_at`,
    [
      order.id,
      order.customer_id,
      order.currency,
      order.subtotal,
      order.discount,
      order.total,
      order.coupon_code,
      order.reservation_id,
    ],
  )
  return inserted!.created_at
}

/** Adds an order's lines, in their order. */
export async function insertOrderLines(db: Executor, order_id: string, lines: readonly OrderLine[]): Promise<void> {
  await rows(
    db,
    `INSERT INTO order_lines (order_id, place, sku, product_id, name, options, quantity, unit_price, total, discount)
     SELECT ?::uuid, place, sku, product_id, name, options::jsonb, quantity, unit_price, total, discount
     FROM unnest(?::text[], ?::uuid[], ?::text[], ?::text[], ?::integer[], ?::bigint[], ?::bigint[], ?::bigint[])
       WITH ORDINALITY AS n (sku, product_id, name, options, quantity, unit_price, total, discount, place)`,
    [
      order_id,
      arrayOf(lines, ({ sku }) => sku),
      arrayOf(lines, ({ product_id }) => product_id),
      arrayOf(lines, ({ name }) => name),
      arrayOf(lines, ({ options }) => options && JSON.stringify(options)),
      arrayOf(lines, ({ quantity }) => quantity),
      arrayOf(lines, ({ unit_price }) => unit_price),
      arrayOf(lines, ({ total }) => total),
      arrayOf(lines, ({ discount }) => discount),
    ],
  )
}

export type StoredLine = OrderLine & { order_id: string }

/** The lines of these orders, each order's in its order. */
export function selectOrderLines(db: Executor, order_ids: readonly string[]): Promise<StoredLine[]> {
  return rows<StoredLine>(
    db,
    `SELECT order_id, sku, product_id, name, options, quantity, unit_price, total, discount, refunded_quantity
     FROM order_lines WHERE order_id = ANY (?::uuid[]) ORDER BY order_id, place`,
    [arrayOf(order_ids)],
  )
}

/** The hold of an order; undefined if there is no such order. */
export async function selectReservationOf(db: Executor, order_id: string): Promise<string | undefined> {
  const [order] = await rows<{ reservation_id: string }>(db, `SELECT reservation_id FROM orders WHERE id = ?::uuid`, [
    order_id,
  ])
  return order?.reservation_id
}

/** The hold of an order that awaits payment, if its time has run out and it was not swept. */
export async function selectOverdueHold(db: Executor, order_id: string): Promise<string | undefined> {
  const [hold] = await rows<{ id: string }>(
    db,
    `SELECT r.id FROM orders o JOIN reservations r ON r.id = o.reservation_id
     WHERE o.id = ?::uuid AND o.status = 'awaiting_payment' AND r.status = 'pending' AND r.expires_at <= clock_timestamp()`,
    [order_id],
  )
  return hold?.id
}

/** Locks an order; what was waited for is seen by the next statement. */
export async function lockOrder(db: Executor, order_id: string): Promise<void> {
  await rows(db, `SELECT 1 FROM orders WHERE id = ?::uuid FOR NO KEY UPDATE`, [order_id])
}

/** An order with the state of its hold, both of which this transaction has locked. */
export async function selectLockedOrder(
  db: Executor,
  order_id: string,
): Promise<(OrderRow & { hold: HoldState }) | undefined> {
  const [order] = await rows<OrderRow & { hold: HoldState }>(
    db,
    `SELECT ${ROW}, CASE WHEN r.status = 'confirmed' THEN 'confirmed' WHEN r.status <> 'pending' THEN 'gone'
       WHEN r.expires_at <= clock_timestamp() THEN 'overdue' ELSE 'live' END AS hold
     FROM orders o JOIN reservations r ON r.id = o.reservation_id WHERE o.id = ?::uuid`,
    [order_id],
  )
  return order
}

export type UnsoldOrder = OrderRow & { authorised: boolean; owes: boolean }

/**
 * Locks those orders of these holds for which nothing was sold, by id. `authorised`: a payment of theirs has confirmed the
 * hold itself, in this transaction. `owes`: money came for it that must be given back. The holds are locked already, and so
 * is whatever could change an order's payments.
 */
export function lockUnsoldOrders(db: Executor, reservation_ids: readonly string[]): Promise<UnsoldOrder[]> {
  return rows<UnsoldOrder>(
    db,
    `SELECT ${ROW},
       EXISTS (SELECT FROM payments p WHERE p.order_id = o.id AND p.status = 'authorised') AS authorised,
       EXISTS (SELECT FROM payments p WHERE p.order_id = o.id AND p.owed_amount > 0) AS owes
     FROM orders o WHERE o.reservation_id = ANY (?::uuid[]) AND o.payment_id IS NULL
     ORDER BY o.id FOR NO KEY UPDATE OF o`,
    [arrayOf(reservation_ids)],
  )
}

/** Ends orders that will not be paid, at this moment. */
export async function markEnded(
  db: Executor,
  ends: readonly { order_id: string; status: OrderStatus }[],
): Promise<void> {
  await rows(
    db,
    `UPDATE orders o SET status = n.status, closed_at = clock_timestamp()
     FROM unnest(?::uuid[], ?::text[]) AS n (id, status) WHERE o.id = n.id`,
    [arrayOf(ends, ({ order_id }) => order_id), arrayOf(ends, ({ status }) => status)],
  )
}

/** Marks orders as sold, each for its payment and with the hold that was confirmed; returns when. */
export async function markSold(
  db: Executor,
  sold: readonly { order_id: string; payment_id: string; reservation_id: string; status: OrderStatus }[],
): Promise<Date> {
  const marked = await rows<{ paid_at: Date }>(
    db,
    `WITH moment AS MATERIALIZED (SELECT date_trunc('milliseconds', clock_timestamp()) AS now)
     UPDATE orders o
     SET status = n.status, payment_id = n.payment_id, reservation_id = n.reservation_id, paid_at = m.now,
         closed_at = coalesce(o.closed_at, m.now)
     FROM unnest(?::uuid[], ?::uuid[], ?::uuid[], ?::text[]) AS n (id, payment_id, reservation_id, status), moment m
     WHERE o.id = n.id RETURNING o.paid_at`,
    [
      arrayOf(sold, ({ order_id }) => order_id),
      arrayOf(sold, ({ payment_id }) => payment_id),
      arrayOf(sold, ({ reservation_id }) => reservation_id),
      arrayOf(sold, ({ status }) => status),
    ],
  )
  return marked[0]!.paid_at
}

/** Sets the status of an order whose payment has ended one way or another. */
export async function updateOrderStatus(db: Executor, order_id: string, status: OrderStatus): Promise<void> {
  await rows(
    db,
    `UPDATE orders SET status = ?, closed_at = coalesce(closed_at, clock_timestamp()) WHERE id = ?::uuid`,
    [status, order_id],
  )
}

/** Takes units back, if no line would have taken back more than it has; returns how many lines were changed. */
export async function addRefundedUnits(
  db: Executor,
  order_id: string,
  lines: readonly { sku: string; quantity: number }[],
): Promise<number> {
  const changed = await rows(
    db,
    `UPDATE order_lines l SET refunded_quantity = l.refunded_quantity + n.quantity
     FROM unnest(?::text[], ?::integer[]) AS n (sku, quantity)
     WHERE l.order_id = ?::uuid AND l.sku = n.sku AND l.refunded_quantity + n.quantity <= l.quantity
     RETURNING l.sku`,
    [arrayOf(lines, ({ sku }) => sku), arrayOf(lines, ({ quantity }) => quantity), order_id],
  )
  return changed.length
}

/** The payment for which an order's hold is confirmed and whose money is not here yet. */
export async function selectAuthorisedPayment(db: Executor, order_id: string): Promise<string> {
  const [payment] = await rows<{ id: string }>(
    db,
    `SELECT id FROM payments WHERE order_id = ?::uuid AND status = 'authorised'`,
    [order_id],
  )
  if (payment === undefined) throw new Error(`the hold of order ${order_id} was confirmed for no payment`)
  return payment.id
}

/** Whether the hold's time has run out without a sweep, which makes its order expired. */
const RUN_OUT = `o.status = 'awaiting_payment' AND r.status = 'pending' AND r.expires_at <= clock_timestamp()`

/** The contract's format for a time inside of JSON. */
const ISO = (column: string) => `to_char(${column}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

/** An order with all that belongs to it, in the one statement that reads it. */
const ORDER = `
  SELECT o.id, CASE WHEN ${RUN_OUT} THEN 'expired' ELSE o.status END AS status, o.customer_id, o.currency, o.subtotal,
    o.discount, o.total, o.coupon_code, o.reservation_id, r.expires_at, o.created_at, o.paid_at,
    CASE WHEN ${RUN_OUT} THEN r.expires_at ELSE o.closed_at END AS closed_at, l.lines, p.payments, f.refunds
  FROM orders o JOIN reservations r ON r.id = o.reservation_id
  CROSS JOIN LATERAL (
    SELECT json_agg(json_build_object('sku', sku, 'product_id', product_id, 'name', name, 'options', options,
      'quantity', quantity, 'unit_price', unit_price, 'total', total, 'discount', discount,
      'refunded_quantity', refunded_quantity) ORDER BY place) AS lines
    FROM order_lines WHERE order_id = o.id
  ) l
  CROSS JOIN LATERAL (
    SELECT coalesce(json_agg(json_build_object('id', id, 'method', method,
      'status', CASE status WHEN 'captured' THEN 'paid' WHEN 'pending' THEN 'pending' WHEN 'authorised' THEN 'pending'
        ELSE 'failed' END,
      'amount', amount, 'refunded_amount', refunded_amount, 'owed_amount', owed_amount,
      'owed_reason', CASE WHEN owed_amount > 0 THEN owed_reason END, 'failure_code', failure_code,
      'created_at', ${ISO('created_at')}) ORDER BY id), '[]') AS payments
    FROM payments WHERE order_id = o.id
  ) p
  CROSS JOIN LATERAL (
    SELECT coalesce(json_agg(json_build_object('id', id, 'payment_id', payment_id, 'status', status, 'amount', amount,
      'lines', (SELECT coalesce(json_agg(json_build_object('sku', sku, 'quantity', quantity)), '[]')
                FROM unnest(skus, quantities) AS line (sku, quantity)),
      'restock', restock, 'failure_code', failure_code, 'created_at', ${ISO('created_at')}) ORDER BY id), '[]') AS refunds
    FROM refunds WHERE order_id = o.id
  ) f`

/** One order as it is now; undefined if there is none. */
export async function selectOrder(db: Executor, id: string): Promise<Order | undefined> {
  const [order] = await rows<Order>(db, `${ORDER} WHERE o.id = ?::uuid`, [id])
  return order
}

/** A page of orders, newest first, by what they are now. */
export function selectOrderPage(
  db: Executor,
  page: { customer_id: string | null; status: OrderStatus | null; before_id: string | null; limit: number },
): Promise<Order[]> {
  const conditions: string[] = []
  const bindings: unknown[] = []
  const where = (sql: string, ...values: unknown[]) => {
    conditions.push(sql)
    bindings.push(...values)
  }
  if (page.customer_id !== null) where('o.customer_id = ?::uuid', page.customer_id)
  if (page.before_id !== null) where('o.id < ?::uuid', page.before_id)
  if (page.status === 'awaiting_payment') where(`o.status = ? AND NOT (${RUN_OUT})`, page.status)
  else if (page.status === 'expired') where(`(o.status = ? OR (${RUN_OUT}))`, page.status)
  else if (page.status !== null) where('o.status = ?', page.status)
  return rows<Order>(
    db,
    `${ORDER} ${conditions.length > 0 ? `WHERE ${conditions.join(' AND ')}` : ''} ORDER BY o.id DESC LIMIT ?`,
    [...bindings, page.limit],
  )
}

/** What about an order does not agree with what it stands on. */
export type OrderFault = {
  broken: number
  order_id: string
  reservation_id: string
  status: OrderStatus
  hold: string | null
  faults: string[]
}

/** An order's lines beside what was sold of them, what came back, and what left the shelf. */
const UNITS = `line AS (
       SELECT l.order_id, count(*) AS lines, sum(l.total) AS total, sum(l.discount) AS discount,
         bool_and(l.refunded_quantity = 0) AS none_back, bool_and(l.refunded_quantity = l.quantity) AS all_back,
         sum(div((l.total - l.discount)::numeric * l.refunded_quantity, l.quantity)) AS money_back,
         array_agg(l.sku || ' ' || l.quantity ORDER BY l.sku) AS bought
       FROM order_lines l GROUP BY l.order_id
     ), sold AS (
       SELECT order_id, sku, sum(quantity) AS quantity, sum(amount) AS amount FROM sales GROUP BY order_id, sku
     ), back AS (
       SELECT f.order_id, b.sku, sum(b.quantity) AS units, coalesce(sum(b.quantity) FILTER (WHERE f.restock), 0) AS restocked
       FROM refunds f CROSS JOIN LATERAL unnest(f.skus, f.quantities) AS b (sku, quantity) GROUP BY f.order_id, b.sku
     ), moved AS (
       SELECT r.reference, h.sku, h.quantity AS units
       FROM reservations r CROSS JOIN LATERAL unnest(r.skus, r.quantities) AS h (sku, quantity)
       WHERE r.status = 'confirmed' AND r.reference LIKE '${REFERENCE_PREFIX}%'
       UNION ALL
       SELECT reference, sku, -stock_delta FROM stock_ledger
       WHERE kind = 'adjust' AND reason = '${RETURN_REASON}' AND reference LIKE '${REFERENCE_PREFIX}%'
     ), shelf AS (
       SELECT o.id AS order_id, m.sku, sum(m.units) AS units
       FROM moved m JOIN orders o ON '${REFERENCE_PREFIX}' || o.id = m.reference GROUP BY o.id, m.sku
     ), off AS (
       SELECT order_id,
         bool_or(CASE WHEN l.sold THEN s.quantity IS DISTINCT FROM l.quantity - l.refunded_quantity
             OR s.amount IS DISTINCT FROM
               l.total - l.discount - div((l.total - l.discount)::numeric * l.refunded_quantity, l.quantity)
           ELSE s.quantity IS NOT NULL END) AS sales,
         bool_or(coalesce(b.units, 0) <> coalesce(l.refunded_quantity, 0)) AS back,
         bool_or(coalesce(f.units, 0) <> CASE WHEN l.sold THEN l.quantity - coalesce(b.restocked, 0)
           WHEN l.held THEN l.quantity ELSE 0 END) AS shelf
       FROM (
         SELECT l.*, o.payment_id IS NOT NULL AS sold,
           o.payment_id IS NULL AND o.status = 'awaiting_payment' AND r.status = 'confirmed' AS held
         FROM order_lines l JOIN orders o ON o.id = l.order_id LEFT JOIN reservations r ON r.id = o.reservation_id
       ) l
       FULL JOIN sold s USING (order_id, sku) FULL JOIN back b USING (order_id, sku) FULL JOIN shelf f USING (order_id, sku)
       GROUP BY order_id
     )`

/** What an order's payments and refunds come to. */
const MONEY = `money AS (
       SELECT p.order_id, sum(p.owed_amount) AS owed, bool_or(p.status = 'authorised') AS authorised,
         count(*) FILTER (WHERE p.status IN ('pending', 'authorised')) AS open,
         bool_or(p.status IN ('pending', 'authorised') AND (p.amount, p.currency) <> (o.total, o.currency)) AS asks_other
       FROM payments p JOIN orders o ON o.id = p.order_id GROUP BY p.order_id
     ), returned AS (
       SELECT order_id, sum(amount) AS amount FROM refunds WHERE cardinality(skus) > 0 GROUP BY order_id
     )`

/** All that is wrong with each order. */
const JUDGED = `judged AS (
       SELECT o.id AS order_id, o.reservation_id, o.status, r.status AS hold, array_remove(ARRAY[
         CASE WHEN r.id IS NULL THEN 'it has no hold' END,
         CASE WHEN r.id IS NOT NULL AND (SELECT array_agg(h.sku || ' ' || h.quantity ORDER BY h.sku)
           FROM unnest(r.skus, r.quantities) AS h (sku, quantity)) IS DISTINCT FROM line.bought
           THEN 'its hold has other lines' END,
         CASE WHEN r.id IS NOT NULL AND NOT CASE
           WHEN o.payment_id IS NOT NULL THEN r.status = 'confirmed'
           WHEN o.status = 'awaiting_payment' THEN r.status = CASE WHEN money.authorised THEN 'confirmed' ELSE 'pending' END
           ELSE r.status <> 'pending' END THEN 'its hold is ' || r.status END,
         CASE WHEN line.total IS DISTINCT FROM o.subtotal OR line.discount IS DISTINCT FROM o.discount
           THEN 'its lines do not add up to it' END,
         CASE WHEN off.sales THEN 'its sales are not its units and money' END,
         CASE WHEN off.shelf THEN 'other units left the shelf for it than were sold' END,
         CASE WHEN off.back THEN 'its refunds took back other units' END,
         CASE WHEN coalesce(returned.amount, 0) <> line.money_back THEN 'its refunds gave back other money than its units cost' END,
         CASE WHEN money.order_id IS NULL THEN 'it has no payment' END,
         CASE WHEN money.asks_other THEN 'an open payment of it asks for another amount' END,
         CASE WHEN o.payment_id IS NOT NULL AND NOT EXISTS (
             SELECT FROM payments p WHERE p.id = o.payment_id AND p.order_id = o.id AND p.status = 'captured'
               AND p.captured_amount = o.total AND p.captured_currency = o.currency)
           THEN 'its payment is not there or not its total' END,
         CASE WHEN (coalesce(money.owed, 0) > 0) <> (o.status = 'refund_required') AND o.status <> 'awaiting_payment'
           THEN 'it owes ' || coalesce(money.owed, 0) END,
         CASE WHEN o.status = 'awaiting_payment' AND money.owed > 0 AND NOT money.authorised
           THEN 'it owes ' || money.owed || ' and awaits more' END,
         CASE WHEN o.payment_id IS NOT NULL AND o.status <> 'refund_required' AND o.status <> CASE
             WHEN line.none_back THEN 'paid' WHEN line.all_back THEN 'refunded' ELSE 'partially_refunded' END
           THEN 'its units came back otherwise' END,
         CASE WHEN o.status <> 'awaiting_payment' AND money.open > 0 THEN 'a payment of it is still open' END,
         CASE WHEN o.coupon_code IS NULL AND o.discount > 0 THEN 'it has a discount without a coupon' END,
         CASE WHEN o.coupon_code IS NOT NULL AND (o.status = 'awaiting_payment' OR o.paid_at = o.closed_at) AND NOT EXISTS (
             SELECT FROM coupon_issues i WHERE i.order_id = o.id AND i.code = o.coupon_code)
           THEN 'its coupon is not used by it' END,
         CASE WHEN EXISTS (SELECT FROM coupon_issues i WHERE i.order_id = o.id
             AND (i.code IS DISTINCT FROM o.coupon_code OR i.customer_id <> o.customer_id))
           THEN 'it uses a coupon that is not its own' END,
         CASE WHEN o.payment_id IS NULL AND o.status <> 'awaiting_payment' AND EXISTS (
             SELECT FROM coupon_issues i WHERE i.order_id = o.id)
           THEN 'its coupon did not come back' END
       ], NULL) AS faults
       FROM orders o LEFT JOIN reservations r ON r.id = o.reservation_id LEFT JOIN line ON line.order_id = o.id
       LEFT JOIN off ON off.order_id = o.id LEFT JOIN money ON money.order_id = o.id
       LEFT JOIN returned ON returned.order_id = o.id
     )`

/**
 * Orders that disagree with their hold, their lines, their money, their sales, their coupon or the shelf; one pass, each with
 * all that is wrong.
 *
 * What left the shelf for an order is what its holds confirmed, less what the service put back: the units that were sold and
 * not put back, those of a payment whose capture is still owed, else none. An order that had ended before it was paid may have
 * found its coupon used elsewhere.
 */
export function selectOrdersOff(db: Executor, limit: number): Promise<OrderFault[]> {
  return rows<OrderFault>(
    db,
    `WITH ${UNITS}, ${MONEY}, ${JUDGED}
     SELECT count(*) OVER () AS broken, order_id, reservation_id, status, hold, faults
     FROM judged WHERE cardinality(faults) > 0 ORDER BY order_id LIMIT ?`,
    [limit],
  )
}
