import { createRequire } from 'node:module'
import type Stripe from 'stripe'
import {
  GatewayUnavailable,
  type Fact,
  type Gateway,
  type GatewayPayment,
  type GatewayState,
  type RefundFact,
  type WebhookReading,
  type WebhookRequest,
} from './gateway.ts'

/**
 * Stripe, with manual capture: a PaymentIntent is authorised first and captured when the hold is confirmed. Its metadata
 * names our payment, so a webhook finds it even where the answer that made it was lost.
 *
 * Only what makes something has an idempotency key: the payment's id begins it, the refund's id gives back. A PaymentIntent is
 * captured or cancelled once by nature, and under a key Stripe would repeat its first answer for a day, also where that was
 * "not now" or a fault of its own. It forgets a key after a day at the earliest: by then the PaymentIntent is known by its own
 * id, and a refund is looked for before it is made.
 */
export type StripeDeps = {
  secret_key: string
  webhook_secret: string
  publishable_key: string | undefined
  api_url: string
}

/** Stripe's library, loaded where it is used: it takes 18 MB and a fifth of a second, and most services do without. */
const require = createRequire(import.meta.url)
const loadStripe = () => require('stripe') as typeof Stripe

const TIMEOUT_MS = 8000
const NETWORK_RETRIES = 1
/** Refunds of one payment among which one is looked for: Stripe's most for a page. */
const REFUNDS_MAX = 100

/** Declines after which the same buyer should not be asked for the same card again; for the rest another try may do. */
const FINAL_DECLINES = new Set([
  'fraudulent',
  'lost_card',
  'merchant_blacklist',
  'pickup_card',
  'restricted_card',
  'security_violation',
  'stolen_card',
])

export function createStripeGateway(deps: StripeDeps): Gateway {
  const { hostname, port, protocol } = new URL(deps.api_url)
  const stripe = new (loadStripe())(deps.secret_key, {
    host: hostname,
    protocol: protocol === 'http:' ? 'http' : 'https',
    ...(port === '' ? {} : { port }),
    timeout: TIMEOUT_MS,
    maxNetworkRetries: NETWORK_RETRIES,
    telemetry: false,
  })
  const toState = (intent: Stripe.PaymentIntent) => stateOf(intent, deps.publishable_key ?? null)
  const begin = async (payment: GatewayPayment): Promise<GatewayState> => {
    try {
      const intent = await stripe.paymentIntents.create(paramsOf(payment), { idempotencyKey: payment.id })
      return toState(intent)
    } catch (error) {
      return declinedAtOnce(payment, error)
    }
  }
  const look = async (payment: GatewayPayment): Promise<GatewayState> => {
    if (payment.gateway_payment_id === null) return begin(payment)
    return toState(await known(stripe.paymentIntents.retrieve(payment.gateway_payment_id)))
  }
  /** Does something to a PaymentIntent. One that is not in a state for it is answered as it is. */
  const change = async (
    payment: GatewayPayment,
    verb: (intent_id: string) => Promise<Stripe.PaymentIntent>,
  ): Promise<GatewayState> => {
    const { gateway_payment_id } = payment.gateway_payment_id === null ? await begin(payment) : payment
    if (gateway_payment_id === null) return begin(payment)
    try {
      return toState(await verb(gateway_payment_id))
    } catch (error) {
      if (!isRefusal(error)) throw new GatewayUnavailable(error)
      return look({ ...payment, gateway_payment_id })
    }
  }

  return {
    name: 'stripe',
    authorise: look,
    look,
    capture: (payment) => change(payment, (id) => stripe.paymentIntents.capture(id)),
    void: (payment) => change(payment, (id) => stripe.paymentIntents.cancel(id, { cancellation_reason: 'abandoned' })),
    async refund(payment, { id, amount }) {
      const { gateway_payment_id } = payment
      if (gateway_payment_id === null) throw new GatewayUnavailable(new Error('the PaymentIntent is not known'))
      try {
        const made = await stripe.refunds.list({ payment_intent: gateway_payment_id, limit: REFUNDS_MAX })
        const refund =
          made.data.find(({ metadata }) => metadata?.refund_id === id) ??
          (await stripe.refunds.create(
            { payment_intent: gateway_payment_id, amount, metadata: { refund_id: id } },
            { idempotencyKey: id },
          ))
        const status = refundStatus(refund.status)
        return { gateway_refund_id: refund.id, status, failure_code: refund.failure_reason ?? null }
      } catch (error) {
        if (!isRefusal(error)) throw new GatewayUnavailable(error)
        return { gateway_refund_id: '', status: 'failed', failure_code: codeOf(error) }
      }
    },
    readWebhook: (request) => readWebhook(stripe, deps.webhook_secret, request),
  }
}

function paramsOf({ id, order_id, customer_id, amount, currency }: GatewayPayment): Stripe.PaymentIntentCreateParams {
  return {
    amount,
    currency: currency.toLowerCase(),
    capture_method: 'manual',
    automatic_payment_methods: { enabled: true },
    metadata: { payment_id: id, order_id, customer_id },
  }
}

async function known<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    throw new GatewayUnavailable(error)
  }
}

/** Stripe understood and said no, as against not having been reached or not knowing itself. */
function isRefusal(error: unknown): error is Stripe.errors.StripeError {
  const { errors } = loadStripe()
  return error instanceof errors.StripeInvalidRequestError || error instanceof errors.StripeCardError
}

function codeOf(error: Stripe.errors.StripeError): string {
  return error.code ?? error.type
}

/** What can't even be begun (an amount below Stripe's least) is declined; the buyer may pay in another way. */
function declinedAtOnce({ amount, currency }: GatewayPayment, error: unknown): GatewayState {
  if (!isRefusal(error)) throw new GatewayUnavailable(error)
  return {
    gateway_payment_id: null,
    status: 'declined',
    amount,
    currency,
    next_action: null,
    failure: { code: codeOf(error), retryable: true },
    by_buyer: false,
  }
}

function stateOf(intent: Stripe.PaymentIntent, publishable_key: string | null): GatewayState {
  const { id, status, amount, currency, client_secret, last_payment_error } = intent
  return {
    gateway_payment_id: id,
    status: statusOf(intent),
    amount:
      status === 'requires_capture'
        ? intent.amount_capturable
        : status === 'succeeded'
          ? intent.amount_received
          : amount,
    currency: currency.toUpperCase(),
    next_action: client_secret === null ? null : { type: 'stripe', client_secret, publishable_key },
    failure: last_payment_error === null ? null : failureOf(last_payment_error),
    by_buyer: intent.cancellation_reason === 'requested_by_customer',
  }
}

function statusOf({ status, last_payment_error }: Stripe.PaymentIntent): GatewayState['status'] {
  switch (status) {
    case 'succeeded':
      return 'captured'
    case 'requires_capture':
      return 'authorised'
    case 'canceled':
      return 'cancelled'
    case 'requires_payment_method':
      return last_payment_error === null ? 'requires_action' : 'declined'
    case 'processing':
    case 'requires_action':
    case 'requires_confirmation':
      return 'requires_action'
    // What Stripe may add waits, as far as we know.
    default:
      return 'requires_action'
  }
}

function failureOf(error: { code?: string; decline_code?: string }): NonNullable<GatewayState['failure']> {
  const code = error.decline_code ?? error.code ?? 'declined'
  return { code, retryable: !FINAL_DECLINES.has(code) }
}

function refundStatus(status: string | null): 'pending' | 'succeeded' | 'failed' {
  if (status === 'succeeded') return 'succeeded'
  return status === 'failed' || status === 'canceled' ? 'failed' : 'pending'
}

function readWebhook(stripe: Stripe, secret: string, { headers, body }: WebhookRequest): WebhookReading {
  const signature = headers['stripe-signature']
  let event: Stripe.Event
  try {
    event = stripe.webhooks.constructEvent(body, typeof signature === 'string' ? signature : '', secret)
  } catch {
    return { ok: false, detail: 'the signature of the webhook is not right, or it is older than five minutes' }
  }
  return { ok: true, event_id: event.id, type: event.type, about: aboutOf(event) }
}

type About = Extract<WebhookReading, { ok: true }>['about']

function aboutOf(event: Stripe.Event): About {
  if (event.type === 'payment_intent.amount_capturable_updated') {
    return aboutIntent(event.data.object, ({ amount_capturable, currency }) => {
      return { kind: 'authorised', amount: amount_capturable, currency: currency.toUpperCase() }
    })
  }
  if (event.type === 'payment_intent.succeeded') {
    return aboutIntent(event.data.object, ({ amount_received, currency }) => {
      return { kind: 'captured', amount: amount_received, currency: currency.toUpperCase() }
    })
  }
  if (event.type === 'payment_intent.payment_failed') {
    return aboutIntent(event.data.object, ({ last_payment_error }) => {
      return { kind: 'declined', ...failureOf(last_payment_error ?? {}) }
    })
  }
  if (event.type === 'payment_intent.canceled') {
    return aboutIntent(event.data.object, ({ cancellation_reason }) => {
      return { kind: 'cancelled', by_buyer: cancellation_reason === 'requested_by_customer' }
    })
  }
  if (event.type === 'refund.updated' || event.type === 'refund.failed') return aboutRefund(event.data.object)
  return undefined
}

/** Other uses of the same Stripe account have payments too; ours name theirs. */
function aboutIntent(intent: Stripe.PaymentIntent, toFact: (intent: Stripe.PaymentIntent) => Fact): About {
  const { payment_id } = intent.metadata
  return payment_id === undefined ? undefined : { payment_id, gateway_payment_id: intent.id, fact: toFact(intent) }
}

function aboutRefund({ metadata, status, failure_reason }: Stripe.Refund): About {
  const refund_id = metadata?.refund_id
  const settled = refundStatus(status)
  if (refund_id === undefined || settled === 'pending') return undefined
  const failed: RefundFact = { kind: 'refund_failed', code: failure_reason ?? 'refund_failed' }
  return { refund_id, fact: settled === 'failed' ? failed : { kind: 'refund_succeeded' } }
}
