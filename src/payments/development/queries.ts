import { rows, type Executor } from '../../database/transaction.ts'
import type { Behaviour } from './behaviour.ts'

/** A payment in the development gateway's books. */
export type BookedPayment = {
  payment_id: string
  order_id: string
  amount: number
  currency: string
  status: 'requires_action' | 'authorised' | 'captured' | 'declined' | 'failed' | 'cancelled'
  captured_amount: number
  /** Amounts by refund; nothing for one that was refused. */
  refunds: Record<string, number>
  failure_code: string | null
  by_buyer: boolean
  behaviour: Partial<Behaviour>
  return_url: string | null
}

const PAYMENT = `payment_id, order_id, amount, currency, status, captured_amount, refunds, failure_code, by_buyer, behaviour,
  return_url`

/** Books a payment; one that is booked stays as it is. */
export async function insertBooked(
  db: Executor,
  payment: Pick<BookedPayment, 'payment_id' | 'order_id' | 'amount' | 'currency' | 'return_url'>,
): Promise<void> {
  const { payment_id, order_id, amount, currency, return_url } = payment
  await rows(
    db,
    `INSERT INTO development_gateway_payments (payment_id, order_id, amount, currency, status, return_url)
     VALUES (?::uuid, ?::uuid, ?::bigint, ?, 'requires_action', ?) ON CONFLICT (payment_id) DO NOTHING`,
    [payment_id, order_id, amount, currency, return_url],
  )
}

/** Locks a payment of the books and reads it under the lock; undefined if it was never booked. */
export async function lockBooked(db: Executor, payment_id: string): Promise<BookedPayment | undefined> {
  const [, [payment]] = await Promise.all([
    rows(db, `SELECT 1 FROM development_gateway_payments WHERE payment_id = ?::uuid FOR UPDATE`, [payment_id]),
    rows<BookedPayment>(db, `SELECT ${PAYMENT} FROM development_gateway_payments WHERE payment_id = ?::uuid`, [
      payment_id,
    ]),
  ])
  return payment
}

/** Writes a payment back as it has become. */
export async function updateBooked(db: Executor, payment: BookedPayment): Promise<void> {
  const { payment_id, status, captured_amount, refunds, failure_code, by_buyer, behaviour } = payment
  await rows(
    db,
    `UPDATE development_gateway_payments SET status = ?, captured_amount = ?::bigint, refunds = ?::jsonb, failure_code = ?,
       by_buyer = ?::boolean, behaviour = ?::jsonb
     WHERE payment_id = ?::uuid`,
    [status, captured_amount, JSON.stringify(refunds), failure_code, by_buyer, JSON.stringify(behaviour), payment_id],
  )
}

export type BookedWebhook = { id: string; payment_id: string; event_id: string; body: string; delay_ms: number }

/** Queues a webhook. */
export async function insertWebhook(db: Executor, webhook: BookedWebhook): Promise<void> {
  const { id, payment_id, event_id, body, delay_ms } = webhook
  await rows(
    db,
    `INSERT INTO development_gateway_webhooks (id, payment_id, event_id, body, due_at)
     VALUES (?::uuid, ?::uuid, ?, ?, clock_timestamp() + ?::float8 * interval '1 millisecond')`,
    [id, payment_id, event_id, body, delay_ms],
  )
}

/** Takes webhooks that are due, and puts each off until its next try. */
export function leaseWebhooks(
  db: Executor,
  { limit, tries_max, retry_seconds }: { limit: number; tries_max: number; retry_seconds: number },
): Promise<Pick<BookedWebhook, 'id' | 'event_id' | 'body'>[]> {
  return rows<Pick<BookedWebhook, 'id' | 'event_id' | 'body'>>(
    db,
    `WITH due AS MATERIALIZED (
       SELECT id FROM development_gateway_webhooks
       WHERE delivered_at IS NULL AND due_at <= statement_timestamp() AND tries < ?
       ORDER BY due_at, id LIMIT ? FOR UPDATE SKIP LOCKED
     )
     UPDATE development_gateway_webhooks w
     SET tries = tries + 1, due_at = clock_timestamp() + ?::float8 * interval '1 second' * (tries + 1)
     FROM due WHERE w.id = due.id RETURNING w.id, w.event_id, w.body`,
    [tries_max, limit, retry_seconds],
  )
}

/** A webhook has arrived. */
export async function markDelivered(db: Executor, id: string): Promise<void> {
  await rows(db, `UPDATE development_gateway_webhooks SET delivered_at = clock_timestamp() WHERE id = ?::uuid`, [id])
}
