import { ok, refused, type Result } from '../errors.ts'
import { isUuid } from '../ids.ts'
import type { Gateway, WebhookReading, WebhookRequest } from './gateway.ts'
import { owesGateway } from './payment.ts'
import { insertWebhookEvent, noteWebhookOutcome } from './queries.ts'
import { settleRefund, type AroundRefund } from './pursue.ts'
import { settle, type Around, type SettleDeps } from './settle.ts'

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
  if ('refund_id' in about) return receiveRefund(deps, gateway_name, { ...reading, about })
  const { payment_id } = about
  if (!isUuid(payment_id)) return ok({ outcome: 'unknown_payment' })
  const settled = await settle(deps, about, claimEvent(gateway_name, reading))
  if (!settled.ok) return settled
  const { payment } = settled.value
  if (payment !== undefined && owesGateway(payment)) deps.pursue(payment_id)
  return ok({ outcome: settled.value.outcome })
}

type Event = Extract<WebhookReading, { ok: true }>

function claimEvent(gateway: string, { event_id, type }: Event): Around {
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

async function receiveRefund(
  deps: WebhookDeps,
  gateway: string,
  { event_id, type, about }: Event & { about: { refund_id: string } & Record<string, unknown> },
): Promise<Result<Received>> {
  if (!isUuid(about.refund_id)) return ok({ outcome: 'unknown_refund' })
  const event = { gateway, event_id, type }
  const around: AroundRefund = {
    async claim(tx) {
      return (await insertWebhookEvent(tx, event, 'claimed')) ? undefined : ok(REPEATED)
    },
    after: (tx, outcome) => noteWebhookOutcome(tx, event, { payment_id: null, outcome }),
  }
  const { refund_id, fact } = about as Extract<Event['about'], { refund_id: string }>
  const settled = await settleRefund(deps, { refund_id, gateway_refund_id: null, fact }, around)
  return settled.ok ? ok({ outcome: settled.value }) : settled
}
