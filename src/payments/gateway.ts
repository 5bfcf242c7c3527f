import type { IncomingHttpHeaders } from 'node:http'

/**
 * The port to whoever moves card money. Each call may be repeated with the same payment and is then done once: its idempotency
 * key is made of the payment's (or the refund's) id. None is ever made inside a transaction: a gateway takes its time.
 *
 * Every method throws {@link GatewayUnavailable} if what it did is not known; whoever asks again finds out.
 */
export type Gateway = {
  name: string
  /** Begins a payment, or answers how it stands if it was begun before. */
  authorise(payment: GatewayPayment): Promise<GatewayState>
  /** How a payment stands. */
  look(payment: GatewayPayment): Promise<GatewayState>
  /** Takes the money of an authorised payment, all of it. */
  capture(payment: GatewayPayment): Promise<GatewayState>
  /** Gives up a payment that was not captured: nobody can pay it any more, and what was authorised is free again. */
  void(payment: GatewayPayment): Promise<GatewayState>
  /** Gives captured money back. */
  refund(payment: GatewayPayment, refund: { id: string; amount: number; currency: string }): Promise<RefundState>
  /** What a webhook says, if its signature is right. */
  readWebhook(request: WebhookRequest): WebhookReading
}

/** A payment as a gateway is asked about it. */
export type GatewayPayment = {
  id: string
  order_id: string
  customer_id: string
  /** In the currency's minor unit; above zero. */
  amount: number
  currency: string
  /** The gateway's own name for it; null until it has answered once. */
  gateway_payment_id: string | null
  /** Where the gateway sends the buyer back to. */
  return_url: string | null
}

/** What the browser needs to go on: where to go, or what a gateway's own script needs. */
export type NextAction =
  | { type: 'redirect'; url: string }
  | { type: 'stripe'; client_secret: string; publishable_key: string | null }

/** How a payment stands at its gateway. */
export type GatewayState = {
  /** Null if the gateway refused to begin it. */
  gateway_payment_id: string | null
  status: 'requires_action' | 'authorised' | 'captured' | 'declined' | 'cancelled'
  /** Of what is authorised or captured; else of what was asked for. */
  amount: number
  currency: string
  next_action: NextAction | null
  /** Why a payment was declined; `retryable`: the buyer may try another card. */
  failure: { code: string; retryable: boolean } | null
  /** Of a cancelled one: by the buyer's own hand. */
  by_buyer: boolean
}

export type RefundState = {
  gateway_refund_id: string
  status: 'pending' | 'succeeded' | 'failed'
  failure_code: string | null
}

/** Something that came to be at a gateway, as a webhook or an answer tells it. */
export type Fact =
  | { kind: 'authorised'; amount: number; currency: string }
  | { kind: 'captured'; amount: number; currency: string }
  | { kind: 'declined'; code: string; retryable: boolean }
  /** Given up at the gateway: by us, by the buyer, or because an authorisation ran out. */
  | { kind: 'cancelled'; by_buyer: boolean }
  /** What was authorised can't be captured, for good. */
  | { kind: 'capture_refused'; code: string }

export type RefundFact = { kind: 'refund_succeeded' } | { kind: 'refund_failed'; code: string }

/** A webhook's headers and its bytes as they came: a signature is over the bytes. */
export type WebhookRequest = { headers: IncomingHttpHeaders; body: Buffer }

/** `undefined` for `about`: an event that is nothing to us. */
export type WebhookReading =
  | { ok: false; detail: string }
  | {
      ok: true
      event_id: string
      type: string
      about:
        | { payment_id: string; gateway_payment_id: string | null; fact: Fact }
        | { refund_id: string; fact: RefundFact }
        | undefined
    }

/** A gateway did not answer, or not in a way that says what it did. */
export class GatewayUnavailable extends Error {
  constructor(cause: unknown) {
    super(`the payment gateway does not answer: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
    this.name = 'GatewayUnavailable'
  }
}

/** What a state that a gateway answered with comes to; undefined while it waits for the buyer. */
export function factOf(state: GatewayState): Fact | undefined {
  const { amount, currency, failure, by_buyer } = state
  switch (state.status) {
    case 'requires_action':
      return undefined
    case 'authorised':
    case 'captured':
      return { kind: state.status, amount, currency }
    case 'declined':
      return { kind: 'declined', code: failure?.code ?? 'declined', retryable: failure?.retryable ?? true }
    case 'cancelled':
      return { kind: 'cancelled', by_buyer }
  }
}
