import type { Knex } from 'knex'
import { ok, type Result } from '../errors.ts'
import { lockOrderIn } from '../orders/lock.ts'
import { orderEvent } from '../orders/order.ts'
import { updateOrderStatus } from '../orders/queries.ts'
import { appendEvents } from '../outbox/append.ts'
import type { RefundFact } from './gateway.ts'
import { endRefund, oweRefund, selectPayment, selectRefund } from './queries.ts'
import { ALONE, type Around, type SettleDeps, type Settled } from './settle.ts'

/** A fact about a refund. `gateway_refund_id` null where the gateway has told none. */
export type ToldOfRefund = { refund_id: string; gateway_refund_id: string | null; fact: RefundFact }

/**
 * Ends a refund as its gateway says. Money that could not be given back is owed again, and its order says so.
 *
 * @returns refused with `overloaded` or `stock_conflict`; told again later it is settled then
 */
export function settleRefund(
  { transact }: Pick<SettleDeps, 'transact'>,
  told: ToldOfRefund,
  { claim, after }: Around = ALONE,
): Promise<Result<Settled>> {
  return transact<Settled>({
    claim,
    async work(tx) {
      const settled = await settleRefundIn(tx, told)
      if (settled.ok) await after(tx, settled.value)
      return settled
    },
    blocked: 'Another session holds the order of this refund.',
  })
}

async function settleRefundIn(
  tx: Knex.Transaction,
  { refund_id, gateway_refund_id, fact }: ToldOfRefund,
): Promise<Result<Settled>> {
  const refund = await selectRefund(tx, refund_id)
  if (refund === undefined) return ok({ outcome: 'unknown_refund', payment: undefined })
  const { order_id, payment_id, amount, currency } = refund
  const locked = await lockOrderIn(tx, order_id)
  if (!locked.ok) return locked
  const [status, failure_code] =
    fact.kind === 'refund_failed' ? (['failed', fact.code] as const) : (['succeeded', null] as const)
  const ended = await endRefund(tx, { id: refund_id, status, gateway_refund_id, failure_code })
  if (ended && status === 'failed') {
    await oweRefund(tx, payment_id, amount)
    await updateOrderStatus(tx, order_id, 'refund_required')
    const more = { payment_id, refund_id, amount, currency, reason: 'refund_failed' }
    await appendEvents(tx, [orderEvent(locked.value, 'refund_required', more)], null)
  }
  const outcome = !ended ? 'nothing' : status === 'failed' ? 'owe:refund_failed' : status
  return ok({ outcome, payment: await selectPayment(tx, payment_id) })
}
