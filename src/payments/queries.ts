import { arrayOf } from '../database/array.ts'
import { rows, type Executor } from '../database/transaction.ts'
import type { Line } from '../reservations/reservation.ts'
import type { GatewayPayment, NextAction } from './gateway.ts'
import type { OwedReason, Payment } from './payment.ts'

const PAYMENT = `p.id, p.order_id, p.method, p.gateway, p.status, p.amount, p.currency, p.captured_amount,
  p.captured_currency, p.refunded_amount,
  p.owed_amount, p.owed_reason, p.failure_code, p.gateway_payment_id, p.next_action, p.return_url, p.next_try_at, p.tries,
  p.created_at`

/** Adds an open payment for which no method was chosen yet; returns when it was made. */
export async function insertPayment(
  db: Executor,
  payment: Pick<Payment, 'id' | 'order_id' | 'amount' | 'currency'>,
): Promise<Date> {
  const { id, order_id, amount, currency } = payment
  const [inserted] = await rows<{ created_at: Date }>(
    db,
    `INSERT INTO payments (id, order_id, status, amount, currency) VALUES (?::uuid, ?::uuid, 'pending', ?::bigint, ?)
     RETURNING created_at`,
    [id, order_id, amount, currency],
  )
  return inserted!.created_at
}

/** Writes down payments of which somebody else has the money. */
export async function insertExternalPayments(
  db: Executor,
  payments: readonly Pick<Payment, 'id' | 'order_id' | 'amount' | 'currency'>[],
): Promise<void> {
  await rows(
    db,
    `INSERT INTO payments (id, order_id, method, status, amount, currency, captured_amount, captured_currency, closed_at)
     SELECT id, order_id, 'external', 'captured', amount, currency, amount, currency, clock_timestamp()
     FROM unnest(?::uuid[], ?::uuid[], ?::bigint[], ?::text[]) AS n (id, order_id, amount, currency)`,
    [
      arrayOf(payments, ({ id }) => id),
      arrayOf(payments, ({ order_id }) => order_id),
      arrayOf(payments, ({ amount }) => amount),
      arrayOf(payments, ({ currency }) => currency),
    ],
  )
}

/** One payment; undefined if there is none. */
export async function selectPayment(db: Executor, id: string): Promise<Payment | undefined> {
  const [payment] = await rows<Payment>(db, `SELECT ${PAYMENT} FROM payments p WHERE p.id = ?::uuid`, [id])
  return payment
}

/** All payments of an order, the oldest first. */
export function selectPaymentsOf(db: Executor, order_id: string): Promise<Payment[]> {
  return rows<Payment>(db, `SELECT ${PAYMENT} FROM payments p WHERE p.order_id = ?::uuid ORDER BY p.id`, [order_id])
}

/** The open payment of an order for which no method was chosen yet. */
export async function selectUnchosen(db: Executor, order_id: string): Promise<string | undefined> {
  const [payment] = await rows<{ id: string }>(
    db,
    `SELECT id FROM payments WHERE order_id = ?::uuid AND status = 'pending' AND method IS NULL`,
    [order_id],
  )
  return payment?.id
}

/** A card payment as its gateway is asked about it; undefined if there is none. */
export async function selectGatewayPayment(
  db: Executor,
  payment_id: string,
): Promise<(GatewayPayment & Pick<Payment, 'status' | 'gateway' | 'next_try_at' | 'tries'>) | undefined> {
  const [payment] = await rows<GatewayPayment & Pick<Payment, 'status' | 'gateway' | 'next_try_at' | 'tries'>>(
    db,
    `SELECT p.id, p.order_id, o.customer_id, p.amount, p.currency, p.gateway_payment_id, p.return_url, p.status, p.gateway,
       p.next_try_at, p.tries
     FROM payments p JOIN orders o ON o.id = p.order_id WHERE p.id = ?::uuid AND p.method = 'card'`,
    [payment_id],
  )
  return payment
}

/** In how many seconds a gateway is asked again if nothing else happens before; written by the database's clock. */
type InSeconds = number

/** Chooses the card for a payment; the gateway is asked next, and again later if that is not heard of. */
export async function markCard(
  db: Executor,
  payment: { id: string; gateway: string; return_url: string | null; next_try: InSeconds },
): Promise<void> {
  await rows(
    db,
    `UPDATE payments SET method = 'card', gateway = ?, return_url = ?,
       next_try_at = clock_timestamp() + ?::float8 * interval '1 second'
     WHERE id = ?::uuid`,
    [payment.gateway, payment.return_url, payment.next_try, payment.id],
  )
}

/** Notes what the gateway made of a payment that still waits; one that ended meanwhile keeps its end. */
export async function noteAtGateway(
  db: Executor,
  payment: { id: string; gateway_payment_id: string | null; next_action: NextAction | null; next_try: InSeconds },
): Promise<void> {
  await rows(
    db,
    `UPDATE payments SET gateway_payment_id = coalesce(?, gateway_payment_id), next_action = coalesce(?::jsonb, next_action),
       next_try_at = CASE WHEN status IN ('pending', 'declined')
         THEN clock_timestamp() + ?::float8 * interval '1 second' ELSE next_try_at END
     WHERE id = ?::uuid`,
    [
      payment.gateway_payment_id,
      payment.next_action && JSON.stringify(payment.next_action),
      payment.next_try,
      payment.id,
    ],
  )
}

/** The hold is confirmed for it, its capture owed. */
export async function markAuthorised(
  db: Executor,
  payment: { id: string; gateway_payment_id: string | null; next_try: InSeconds },
): Promise<void> {
  await rows(
    db,
    `UPDATE payments SET status = 'authorised', failure_code = NULL, tries = 0,
       gateway_payment_id = coalesce(?, gateway_payment_id),
       next_try_at = clock_timestamp() + ?::float8 * interval '1 second'
     WHERE id = ?::uuid`,
    [payment.gateway_payment_id, payment.next_try, payment.id],
  )
}

/** Its money is here; `owed` of it must be given back. */
export async function markCaptured(
  db: Executor,
  payment: {
    id: string
    method: 'balance' | 'card'
    gateway: string | null
    gateway_payment_id: string | null
    amount: number
    currency: string
    owed: number
    owed_reason: OwedReason | null
  },
): Promise<void> {
  await rows(
    db,
    `UPDATE payments SET status = 'captured', method = ?, gateway = ?, captured_amount = ?::bigint, captured_currency = ?,
       owed_amount = ?::bigint, owed_reason = ?, failure_code = NULL, gateway_payment_id = coalesce(?, gateway_payment_id),
       next_try_at = NULL, last_error = NULL, closed_at = clock_timestamp()
     WHERE id = ?::uuid`,
    [
      payment.method,
      payment.gateway,
      payment.amount,
      payment.currency,
      payment.owed,
      payment.owed_reason,
      payment.gateway_payment_id,
      payment.id,
    ],
  )
}

/** A failed attempt of a payment that may still succeed. */
export async function markDeclined(db: Executor, id: string, failure_code: string): Promise<void> {
  await rows(db, `UPDATE payments SET status = 'declined', failure_code = ? WHERE id = ?::uuid`, [failure_code, id])
}

/** Ends a payment that has no money. `void_owed`: the gateway must still be told. */
export async function markFailed(
  db: Executor,
  payment: { id: string; method: 'balance' | 'card'; failure_code: string; void_owed: boolean },
): Promise<void> {
  await rows(
    db,
    `UPDATE payments SET status = 'failed', method = ?, failure_code = ?, tries = 0,
       next_try_at = CASE WHEN ?::boolean THEN clock_timestamp() END, closed_at = clock_timestamp()
     WHERE id = ?::uuid`,
    [payment.method, payment.failure_code, payment.void_owed, payment.id],
  )
}

/** Owes the gateway a void of a payment that is over. */
export async function oweVoid(db: Executor, id: string, gateway_payment_id: string | null): Promise<void> {
  await rows(
    db,
    `UPDATE payments SET gateway_payment_id = coalesce(?, gateway_payment_id), next_try_at = clock_timestamp(), tries = 0
     WHERE id = ?::uuid AND status IN ('failed', 'cancelled')`,
    [gateway_payment_id, id],
  )
}

/** The gateway knows that nobody wants the payment; nothing is owed to it any more. */
export async function clearVoid(db: Executor, id: string): Promise<void> {
  await rows(
    db,
    `UPDATE payments SET next_try_at = NULL, last_error = NULL WHERE id = ?::uuid AND status IN ('failed', 'cancelled')`,
    [id],
  )
}

/** Ends what is still open of these orders' payments, but for `except`. What a gateway may have is voided there next. */
export async function cancelPaymentsOf(
  db: Executor,
  ends: readonly { order_id: string; code: string }[],
  options: { except?: string; authorised?: boolean } = {},
): Promise<void> {
  await rows(
    db,
    `UPDATE payments p SET status = 'cancelled', failure_code = n.code, tries = 0, closed_at = clock_timestamp(),
       next_try_at = CASE WHEN p.method = 'card' THEN clock_timestamp() END
     FROM unnest(?::uuid[], ?::text[]) AS n (order_id, code)
     WHERE p.order_id = n.order_id AND p.id IS DISTINCT FROM ?::uuid
       AND (p.status IN ('pending', 'declined') OR (?::boolean AND p.status = 'authorised'))`,
    [
      arrayOf(ends, ({ order_id }) => order_id),
      arrayOf(ends, ({ code }) => code),
      options.except ?? null,
      options.authorised ?? false,
    ],
  )
}

/** Gives captured money back, if so much of it is left; returns whether there was. `owed`: of what is owed. */
export async function takeRefund(
  db: Executor,
  refund: { payment_id: string; amount: number; owed: boolean },
): Promise<boolean> {
  const taken = await rows(
    db,
    `UPDATE payments SET refunded_amount = refunded_amount + ?::bigint,
       owed_amount = CASE WHEN ?::boolean THEN owed_amount - ?::bigint ELSE owed_amount END
     WHERE id = ?::uuid AND refunded_amount + owed_amount + CASE WHEN ?::boolean THEN 0 ELSE ?::bigint END <= captured_amount
     RETURNING id`,
    [refund.amount, refund.owed, refund.amount, refund.payment_id, refund.owed, refund.amount],
  )
  return taken.length === 1
}

/** What was to be given back and was not is owed. */
export async function oweRefund(db: Executor, payment_id: string, amount: number): Promise<void> {
  await rows(
    db,
    `UPDATE payments SET refunded_amount = refunded_amount - ?::bigint, owed_amount = owed_amount + ?::bigint,
       owed_reason = 'refund_failed'
     WHERE id = ?::uuid`,
    [amount, amount, payment_id],
  )
}

export type Refund = {
  id: string
  order_id: string
  payment_id: string
  status: 'pending' | 'succeeded' | 'failed'
  amount: number
  currency: string
  skus: string[]
  quantities: number[]
  restock: boolean
  failure_code: string | null
  tries: number
  created_at: Date
}

const REFUND =
  'id, order_id, payment_id, status, amount, currency, skus, quantities, restock, failure_code, tries, created_at'

/** Adds a refund: `pending` with a gateway to be asked at once, else done. */
export async function insertRefund(
  db: Executor,
  refund: Pick<Refund, 'id' | 'order_id' | 'payment_id' | 'amount' | 'currency' | 'restock'> & {
    lines: readonly Line[]
    next_try: InSeconds | null
  },
): Promise<Refund> {
  const { id, order_id, payment_id, amount, currency, lines, restock, next_try } = refund
  const [inserted] = await rows<Refund>(
    db,
    `INSERT INTO refunds (id, order_id, payment_id, status, amount, currency, skus, quantities, restock, next_try_at, closed_at)
     SELECT ?::uuid, ?::uuid, ?::uuid, CASE WHEN wait IS NULL THEN 'succeeded' ELSE 'pending' END, ?::bigint, ?,
       ?::text[], ?::integer[], ?::boolean, clock_timestamp() + wait * interval '1 second',
       CASE WHEN wait IS NULL THEN clock_timestamp() END
     FROM (SELECT ?::float8 AS wait) AS n
     RETURNING ${REFUND}`,
    [
      id,
      order_id,
      payment_id,
      amount,
      currency,
      arrayOf(lines, ({ sku }) => sku),
      arrayOf(lines, ({ quantity }) => quantity),
      restock,
      next_try,
    ],
  )
  return inserted!
}

/** One refund; undefined if there is none. */
export async function selectRefund(db: Executor, id: string): Promise<Refund | undefined> {
  const [refund] = await rows<Refund>(db, `SELECT ${REFUND} FROM refunds WHERE id = ?::uuid`, [id])
  return refund
}

/** Ends a refund; false if it had ended before. One that succeeded may still turn out to have failed. */
export async function endRefund(
  db: Executor,
  end: { id: string; status: 'succeeded' | 'failed'; gateway_refund_id: string | null; failure_code: string | null },
): Promise<boolean> {
  const ended = await rows(
    db,
    `UPDATE refunds SET status = ?, failure_code = ?, gateway_refund_id = coalesce(?, gateway_refund_id),
       next_try_at = NULL, last_error = NULL, closed_at = clock_timestamp()
     WHERE id = ?::uuid AND (status = 'pending' OR (status = 'succeeded' AND ? = 'failed')) RETURNING id`,
    [end.status, end.failure_code, end.gateway_refund_id, end.id, end.status],
  )
  return ended.length === 1
}

/** Takes what is due at gateways, the longest due first, and puts it off for others while it is looked after. */
export async function leaseDue(
  db: Executor,
  { limit, lease }: { limit: number; lease: InSeconds },
): Promise<{ payments: string[]; refunds: string[] }> {
  const leased = (table: 'payments' | 'refunds') =>
    rows<{ id: string }>(
      db,
      `WITH due AS MATERIALIZED (
         SELECT id FROM ${table} WHERE next_try_at <= statement_timestamp()
         ORDER BY next_try_at LIMIT ? FOR NO KEY UPDATE SKIP LOCKED
       )
       UPDATE ${table} t SET next_try_at = clock_timestamp() + ?::float8 * interval '1 second'
       FROM due WHERE t.id = due.id RETURNING t.id`,
      [limit, lease],
    )
  const [payments, refunds] = [await leased('payments'), await leased('refunds')]
  return { payments: payments.map(({ id }) => id), refunds: refunds.map(({ id }) => id) }
}

/** Puts off what could not be done: the wait doubles with every try, from 5 s to an hour. Returns how often it was tried. */
export async function putOff(
  db: Executor,
  table: 'payments' | 'refunds',
  { id, error }: { id: string; error: string },
): Promise<number> {
  const [row] = await rows<{ tries: number }>(
    db,
    `UPDATE ${table} SET tries = tries + 1, last_error = ?,
       next_try_at = clock_timestamp() + least(interval '5 seconds' * power(2, least(tries, 12)), interval '1 hour')
     WHERE id = ?::uuid AND next_try_at IS NOT NULL RETURNING tries`,
    [error, id],
  )
  return row?.tries ?? 0
}

/** Puts off the next look at a payment that waits for its buyer. */
export async function lookLater(db: Executor, id: string, next_try: InSeconds): Promise<void> {
  await rows(
    db,
    `UPDATE payments SET tries = 0, last_error = NULL, next_try_at = clock_timestamp() + ?::float8 * interval '1 second'
     WHERE id = ?::uuid AND status IN ('pending', 'declined') AND method = 'card'`,
    [next_try, id],
  )
}

/** The payments of an order that owe their gateway a capture or a void. */
export async function selectOwingOf(db: Executor, order_id: string): Promise<string[]> {
  const found = await rows<{ id: string }>(
    db,
    `SELECT id FROM payments WHERE order_id = ?::uuid AND next_try_at IS NOT NULL AND status IN ('authorised', 'failed', 'cancelled')`,
    [order_id],
  )
  return found.map(({ id }) => id)
}

export type WebhookEvent = { gateway: string; event_id: string; type: string }

/** Claims a webhook's event; false if it was handled before. Waits for a twin in flight up to the lock timeout. */
export async function insertWebhookEvent(
  db: Executor,
  { gateway, event_id, type }: WebhookEvent,
  outcome: string,
): Promise<boolean> {
  const inserted = await rows(
    db,
    `INSERT INTO webhook_events (gateway, event_id, type, outcome) VALUES (?, ?, ?, ?)
     ON CONFLICT (gateway, event_id) DO NOTHING RETURNING event_id`,
    [gateway, event_id, type, outcome],
  )
  return inserted.length === 1
}

/** Writes down what an event came to. */
export async function noteWebhookOutcome(
  db: Executor,
  { gateway, event_id }: WebhookEvent,
  noted: { payment_id: string | null; outcome: string },
): Promise<void> {
  await rows(db, `UPDATE webhook_events SET payment_id = ?::uuid, outcome = ? WHERE gateway = ? AND event_id = ?`, [
    noted.payment_id,
    noted.outcome,
    gateway,
    event_id,
  ])
}

/** What about a payment does not agree with the order, the refunds or the account it belongs to. */
export type PaymentFault = {
  broken: number
  payment_id: string
  order_id: string
  status: string
  captured_amount: number
  refunded_amount: number
  owed_amount: number
  faults: string[]
}

/** Captured money that neither paid for goods nor is owed or given back, and payments whose refunds or entries are off. */
export function selectPaymentsOff(db: Executor, limit: number): Promise<PaymentFault[]> {
  return rows<PaymentFault>(
    db,
    `WITH back AS (
       SELECT payment_id, sum(amount) FILTER (WHERE status <> 'failed') AS amount FROM refunds GROUP BY payment_id
     ), account AS (
       SELECT payment_id, -sum(amount) FILTER (WHERE kind = 'payment') AS spent,
         coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0) AS returned
       FROM account_entries WHERE payment_id IS NOT NULL GROUP BY payment_id
     ), judged AS (
       SELECT p.id AS payment_id, p.order_id, p.status, p.captured_amount, p.refunded_amount, p.owed_amount, array_remove(ARRAY[
         CASE WHEN p.captured_amount > p.refunded_amount + p.owed_amount AND o.payment_id IS DISTINCT FROM p.id
           THEN 'money was kept for which nothing was sold' END,
         CASE WHEN p.refunded_amount <> coalesce(b.amount, 0) THEN 'its refunds add up to ' || coalesce(b.amount, 0) END,
         CASE WHEN p.method = 'balance' AND p.status = 'captured' AND (a.spent IS DISTINCT FROM p.captured_amount
             OR a.returned IS DISTINCT FROM p.refunded_amount)
           THEN 'the account says ' || coalesce(a.spent, 0) || ' spent, ' || coalesce(a.returned, 0) || ' returned' END,
         CASE WHEN (p.method IS DISTINCT FROM 'balance' OR p.status <> 'captured') AND a.payment_id IS NOT NULL
           THEN 'the account spent for it' END
       ], NULL) AS faults
       FROM payments p JOIN orders o ON o.id = p.order_id
       LEFT JOIN back b ON b.payment_id = p.id LEFT JOIN account a ON a.payment_id = p.id
     )
     SELECT count(*) OVER () AS broken, judged.* FROM judged WHERE cardinality(faults) > 0 ORDER BY payment_id LIMIT ?`,
    [limit],
  )
}
