import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import Stripe from 'stripe'

/**
 * As much of Stripe's HTTP API as the adapter speaks, in memory: PaymentIntents with manual capture, refunds, idempotency
 * keys that are remembered with their first answer, and webhooks signed as Stripe signs them.
 */
export type FakeStripe = {
  url: string
  intents: Map<string, Intent>
  refunds: Map<string, RefundObject>
  /** Every request that came in, as `POST /v1/payment_intents`. */
  requests: string[]
  /** Called before a request is answered, after it was done; what it returns is answered instead. */
  onRequest:
    | ((request: { path: string; done: boolean; intent: Intent | undefined }) => Promise<'drop' | void> | 'drop' | void)
    | undefined
  /** A day goes by. */
  forgetKeys(): void
  /** What the buyer does in the browser, with the events that Stripe sends for it. */
  pay(intent_id: string): StripeEvent[]
  decline(intent_id: string, decline_code: string): StripeEvent[]
  /** An event of a PaymentIntent as it is now. */
  event(type: string, object: unknown): StripeEvent
  /** What a webhook's body and headers are. */
  sign(event: StripeEvent, secret?: string): { body: string; headers: Record<string, string> }
  close(): Promise<void>
}

export type Intent = {
  id: string
  object: 'payment_intent'
  amount: number
  amount_capturable: number
  amount_received: number
  currency: string
  status: string
  client_secret: string
  metadata: Record<string, string>
  last_payment_error: { code: string; decline_code?: string } | null
  cancellation_reason: string | null
}

type RefundObject = {
  id: string
  object: 'refund'
  amount: number
  payment_intent: string
  status: string
  metadata: Record<string, string>
}
export type StripeEvent = { id: string; object: 'event'; type: string; data: { object: unknown } }

export const WEBHOOK_SECRET = 'whsec_of_the_tests'

export async function startFakeStripe(): Promise<FakeStripe> {
  const remembered = new Map<string, { request: string; status: number; answer: unknown }>()
  let made = 0
  const fake: Omit<FakeStripe, 'url' | 'close'> = {
    intents: new Map(),
    refunds: new Map(),
    requests: [],
    onRequest: undefined,
    forgetKeys: () => remembered.clear(),
    pay(id) {
      const intent = fake.intents.get(id)!
      if (!['requires_payment_method', 'requires_action'].includes(intent.status)) return []
      Object.assign(intent, { status: 'requires_capture', amount_capturable: intent.amount, last_payment_error: null })
      return [fake.event('payment_intent.amount_capturable_updated', intent)]
    },
    decline(id, decline_code) {
      const intent = fake.intents.get(id)!
      Object.assign(intent, {
        status: 'requires_payment_method',
        last_payment_error: { code: 'card_declined', decline_code },
      })
      return [fake.event('payment_intent.payment_failed', intent)]
    },
    event: (type, object) => ({
      id: `evt_${++made}`,
      object: 'event',
      type,
      data: { object: structuredClone(object) },
    }),
    sign(event, secret = WEBHOOK_SECRET) {
      const body = JSON.stringify(event)
      const signature = new Stripe('sk_test_unused').webhooks.generateTestHeaderString({ payload: body, secret })
      return { body, headers: { 'stripe-signature': signature, 'content-type': 'application/json' } }
    },
  }

  const server = createServer((request, response) => {
    void answer(request).then((answered) => {
      if (answered === undefined) return request.socket.destroy()
      response.writeHead(answered.status, { 'content-type': 'application/json', 'request-id': `req_${++made}` })
      return response.end(JSON.stringify(answered.answer))
    })
  })

  async function answer(request: IncomingMessage): Promise<{ status: number; answer: unknown } | undefined> {
    const path = `${request.method} ${request.url}`
    const form = new URLSearchParams(await read(request))
    const asked = `${path} ${form.toString()}`
    fake.requests.push(path)
    const intent = intentOf(path, form)
    if ((await fake.onRequest?.({ path, done: false, intent })) === 'drop') return undefined
    const key = request.headers['idempotency-key'] as string | undefined
    const known = key === undefined ? undefined : remembered.get(key)
    const answered = known ?? handle(path, form)
    if (known !== undefined && known.request !== asked) return refuse('idempotency_error', 'idempotency_key_in_use')
    if (key !== undefined) remembered.set(key, { request: asked, ...structuredClone(answered) })
    if ((await fake.onRequest?.({ path, done: true, intent: intent ?? intentOf(path, form) })) === 'drop')
      return undefined
    return answered
  }

  function intentOf(path: string, form: URLSearchParams): Intent | undefined {
    const id = /payment_intents\/([^/?]+)/.exec(path)?.[1] ?? form.get('payment_intent') ?? ''
    const payment_id = form.get('metadata[payment_id]')
    return fake.intents.get(id) ?? [...fake.intents.values()].find((one) => one.metadata.payment_id === payment_id)
  }

  function handle(path: string, form: URLSearchParams): { status: number; answer: unknown } {
    if (path === 'POST /v1/payment_intents') return ok(create(form))
    if (path === 'POST /v1/refunds') return refund(form)
    if (path.startsWith('GET /v1/refunds?')) return list(new URLSearchParams(path.slice(path.indexOf('?') + 1)))
    const [, verb, id = '', action] = /^(GET|POST) \/v1\/payment_intents\/(\w+)(?:\/(\w+))?$/.exec(path) ?? []
    const intent = fake.intents.get(id)
    if (intent === undefined) return refuse('invalid_request_error', 'resource_missing', 404)
    if (verb === 'GET') return ok(intent)
    return action === 'capture' ? capture(intent) : cancel(intent, form)
  }

  function create(form: URLSearchParams): Intent {
    const metadata = Object.fromEntries(
      [...form].flatMap(([name, value]) => {
        const field = /^metadata\[(\w+)\]$/.exec(name)?.[1]
        return field === undefined ? [] : [[field, value]]
      }),
    )
    if (form.get('capture_method') !== 'manual') throw new Error('the capture must be manual')
    const id = `pi_${++made}`
    const intent: Intent = {
      id,
      object: 'payment_intent',
      amount: Number(form.get('amount')),
      amount_capturable: 0,
      amount_received: 0,
      currency: form.get('currency') ?? '',
      status: 'requires_payment_method',
      client_secret: `${id}_secret`,
      metadata,
      last_payment_error: null,
      cancellation_reason: null,
    }
    fake.intents.set(id, intent)
    return intent
  }

  function capture(intent: Intent) {
    if (intent.status !== 'requires_capture') return refuse('invalid_request_error', 'payment_intent_unexpected_state')
    Object.assign(intent, { status: 'succeeded', amount_received: intent.amount_capturable, amount_capturable: 0 })
    return ok(intent)
  }

  function cancel(intent: Intent, form: URLSearchParams) {
    if (['succeeded', 'canceled', 'processing'].includes(intent.status)) {
      return refuse('invalid_request_error', 'payment_intent_unexpected_state')
    }
    Object.assign(intent, {
      status: 'canceled',
      amount_capturable: 0,
      cancellation_reason: form.get('cancellation_reason'),
    })
    return ok(intent)
  }

  function list(query: URLSearchParams) {
    const data = [...fake.refunds.values()].filter(
      ({ payment_intent }) => payment_intent === query.get('payment_intent'),
    )
    return ok({ object: 'list', url: '/v1/refunds', has_more: false, data })
  }

  function refund(form: URLSearchParams) {
    const payment_intent = form.get('payment_intent') ?? ''
    const amount = Number(form.get('amount'))
    const intent = fake.intents.get(payment_intent)
    const back = [...fake.refunds.values()]
      .filter((one) => one.payment_intent === payment_intent)
      .reduce((sum, one) => sum + one.amount, 0)
    if (intent === undefined || back + amount > intent.amount_received)
      return refuse('invalid_request_error', 'charge_already_refunded')
    const made_refund: RefundObject = {
      id: `re_${++made}`,
      object: 'refund',
      amount,
      payment_intent,
      status: 'succeeded',
      metadata: { refund_id: form.get('metadata[refund_id]') ?? '' },
    }
    fake.refunds.set(made_refund.id, made_refund)
    return ok(made_refund)
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(fake, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => closeServer(server),
  })
}

const ok = (object: unknown) => ({ status: 200, answer: structuredClone(object) })
const refuse = (type: string, code: string, status = 400) => ({
  status,
  answer: { error: { type, code, message: code } },
})

async function read(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request as AsyncIterable<Buffer>) text += chunk.toString()
  return text
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
