import { ok, refused, type Result } from '../errors.ts'
import { isUuid } from '../ids.ts'
import type { Gateway, WebhookReading, WebhookRequest } from './gateway.ts'
import { owesGateway } from './payment.ts'
import { insertWebhookEvent, noteWebhookOutcome } from './queries.ts'
import { settle, type Around, type SettleDeps } from './settle.ts'
import { settleRefund } from './settle_refund.ts'

/** What gateways tell. Invariant: each event is handled once, whatever the order, because it is claimed with what it does. */

export type WebhookDeps = SettleDeps & {
  gateway: Gateway | undefined
  pursue: (payment_id: string) => void
}

/** What an event came to: `repeated` if it had been handled before, `ignored` if it is nothing to us. */
export type Received = { outcome: string }

const REPEATED = 'repeated'

/**
 * Handles a webhook.
 *
 * @returns refused with `not_found` for a gateway that is not set up, with `unauthenticated` if the signature is not
 *   right, with `overloaded`, `idempotency_key_in_use` or `stock_conflict`: the gateway sends it again
 */
export async function receiveWebhook(
  deps: WebhookDeps,
  gateway_name: string,
  request: WebhookRequest,
): Promise<Result<Received>> {
  const { gateway } = deps
  if (gateway === undefined || gateway.name !== gateway_name) return refused({ code: 'not_found' })
  const reading = gateway.readWebhook(request)
  if (!reading.ok) return refused({ code: 'unauthenticated', detail: reading.detail })
  const { about } = reading
  if (about === undefined) return ok({ outcome: 'ignored' })
  const of_refund = 'refund_id' in about
  if (!isUuid(of_refund ? about.refund_id : about.payment_id)) {
    return ok({ outcome: of_refund ? 'unknown_refund' : 'unknown_payment' })
  }
  const around = claimEvent(gateway_name, reading)
  const settled = of_refund
    ? await settleRefund(deps, { ...about, gateway_refund_id: null }, around)
    : await settle(deps, about, around)
  if (!settled.ok) return settled
  const { outcome, payment } = settled.value
  if (payment !== undefined && owesGateway(payment)) deps.pursue(payment.id)
  return ok({ outcome })
}

function claimEvent(gateway: string, { event_id, type }: Extract<WebhookReading, { ok: true }>): Around {
  const event = { gateway, event_id, type }
  return {
    async claim(tx) {
      if (await insertWebhookEvent(tx, event, 'claimed')) return undefined
      return ok({ outcome: REPEATED, payment: undefined })
    },
    async after(tx, { outcome, payment }) {
      await noteWebhookOutcome(tx, event, { payment_id: payment?.id ?? null, outcome })
    },
  }
}
