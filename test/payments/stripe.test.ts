import { newId } from '../../src/ids.ts'
import { GatewayUnavailable, type Gateway, type GatewayPayment } from '../../src/payments/gateway.ts'
import { createStripeGateway } from '../../src/payments/stripe.ts'
import { startFakeStripe, WEBHOOK_SECRET, type FakeStripe, type StripeEvent } from './fake_stripe.ts'

/** The Stripe adapter against a stand-in for Stripe's HTTP API, and webhooks signed by Stripe's own helper. */

let stripe: FakeStripe
let gateway: Gateway

beforeAll(async () => {
  stripe = await startFakeStripe()
  gateway = createStripeGateway({
    secret_key: 'sk_test_of_the_tests',
    webhook_secret: WEBHOOK_SECRET,
    publishable_key: 'pk_test_1',
    api_url: stripe.url,
  })
})

afterAll(() => stripe.close())

beforeEach(() => {
  stripe.onRequest = undefined
  stripe.requests.length = 0
})

function payment(more: Partial<GatewayPayment> = {}): GatewayPayment {
  return {
    id: newId(),
    order_id: newId(),
    customer_id: newId(),
    amount: 5000,
    currency: 'KRW',
    gateway_payment_id: null,
    return_url: null,
    ...more,
  }
}

async function begun(): Promise<GatewayPayment & { gateway_payment_id: string }> {
  const one = payment()
  const { gateway_payment_id } = await gateway.authorise(one)
  return { ...one, gateway_payment_id: gateway_payment_id! }
}

test('a payment becomes a PaymentIntent with manual capture that names it, whatever often it is begun', async () => {
  const one = payment()
  const states = await Promise.all([gateway.authorise(one), gateway.authorise(one)])
  const again = await gateway.authorise(one)
  expect(new Set([...states, again].map(({ gateway_payment_id }) => gateway_payment_id)).size).toBe(1)
  const intent = stripe.intents.get(again.gateway_payment_id!)!
  expect(intent).toMatchObject({
    amount: 5000,
    currency: 'krw',
    metadata: { payment_id: one.id, order_id: one.order_id },
  })
  expect(again).toEqual({
    gateway_payment_id: intent.id,
    status: 'requires_action',
    amount: 5000,
    currency: 'KRW',
    next_action: { type: 'stripe', client_secret: intent.client_secret, publishable_key: 'pk_test_1' },
    failure: null,
    by_buyer: false,
  })
})

test('authorised, captured, refunded: each done once, however often it is asked for', async () => {
  const one = await begun()
  stripe.pay(one.gateway_payment_id)
  expect(await gateway.look(one)).toMatchObject({ status: 'authorised', amount: 5000 })
  for (let i = 0; i < 2; i++)
    expect(await gateway.capture(one)).toMatchObject({ status: 'captured', amount: 5000, currency: 'KRW' })
  const refund = { id: newId(), amount: 2000, currency: 'KRW' }
  for (let i = 0; i < 2; i++) expect(await gateway.refund(one, refund)).toMatchObject({ status: 'succeeded' })
  expect([...stripe.refunds.values()].filter(({ metadata }) => metadata.refund_id === refund.id)).toHaveLength(1)
  expect(await gateway.refund(one, { ...refund, id: newId(), amount: 4000 })).toMatchObject({
    status: 'failed',
    failure_code: 'charge_already_refunded',
  })
})

test('a void gives up what was not captured; what was captured is answered as money', async () => {
  const open = await begun()
  for (let i = 0; i < 2; i++) expect(await gateway.void(open)).toMatchObject({ status: 'cancelled', by_buyer: false })
  const paid = await begun()
  stripe.pay(paid.gateway_payment_id)
  await gateway.capture(paid)
  expect(await gateway.void(paid)).toMatchObject({ status: 'captured', amount: 5000 })
})

test('a void of a payment whose beginning was never heard of finds it by its key', async () => {
  const one = payment()
  stripe.onRequest = ({ path, done }) => (done && path === 'POST /v1/payment_intents' ? 'drop' : undefined)
  await expect(gateway.authorise(one)).rejects.toBeInstanceOf(GatewayUnavailable)
  stripe.onRequest = undefined
  expect(await gateway.void(one)).toMatchObject({ status: 'cancelled' })
  expect([...stripe.intents.values()].filter(({ metadata }) => metadata.payment_id === one.id)).toMatchObject([
    { status: 'canceled' },
  ])
})

test('a capture of what was cancelled is answered as cancelled', async () => {
  const one = await begun()
  stripe.pay(one.gateway_payment_id)
  await gateway.void(one)
  expect(await gateway.capture(one)).toMatchObject({ status: 'cancelled' })
})

test('a void that was refused for the moment is done later', async () => {
  const one = await begun()
  const intent = stripe.intents.get(one.gateway_payment_id)!
  intent.status = 'processing'
  expect(await gateway.void(one)).toMatchObject({ status: 'requires_action' })
  Object.assign(intent, { status: 'requires_capture', amount_capturable: 5000 })
  expect(await gateway.void(one)).toMatchObject({ status: 'cancelled' })
})

test('a refund that is asked for again after Stripe has forgotten its key is done once', async () => {
  const one = await begun()
  stripe.pay(one.gateway_payment_id)
  await gateway.capture(one)
  const refund = { id: newId(), amount: 2000, currency: 'KRW' }
  const first = await gateway.refund(one, refund)
  stripe.forgetKeys()
  expect(await gateway.refund(one, refund)).toEqual(first)
  expect([...stripe.refunds.values()].filter(({ metadata }) => metadata.refund_id === refund.id)).toHaveLength(1)
})

test('a capture whose answer is lost is tried again, and done once', async () => {
  const one = await begun()
  stripe.pay(one.gateway_payment_id)
  let lost = 0
  stripe.onRequest = ({ path, done }) => {
    if (!done || !path.endsWith('/capture') || lost === 1) return undefined
    lost += 1
    return 'drop'
  }
  expect(await gateway.capture(one)).toMatchObject({ status: 'captured' })
  expect(lost).toBe(1)
})

test('a gateway that is away, or answers that it does not know itself, is not taken for a no', async () => {
  const away = createStripeGateway({
    secret_key: 'sk_test_away',
    webhook_secret: 'w',
    publishable_key: undefined,
    api_url: 'http://127.0.0.1:1',
  })
  await expect(away.authorise(payment())).rejects.toBeInstanceOf(GatewayUnavailable)
  await expect(away.capture(payment({ gateway_payment_id: 'pi_1' }))).rejects.toBeInstanceOf(GatewayUnavailable)
  await expect(
    away.refund(payment({ gateway_payment_id: 'pi_1' }), { id: newId(), amount: 1, currency: 'KRW' }),
  ).rejects.toBeInstanceOf(GatewayUnavailable)
})

describe('webhooks', () => {
  const read = (event: StripeEvent, secret?: string) => {
    const { body, headers } = stripe.sign(event, secret)
    return gateway.readWebhook({ headers, body: Buffer.from(body) })
  }

  test('each event that matters becomes a fact about our payment', async () => {
    const one = await begun()
    const intent = stripe.intents.get(one.gateway_payment_id)!
    const [authorised] = stripe.pay(intent.id)
    expect(read(authorised!)).toEqual({
      ok: true,
      event_id: authorised!.id,
      type: 'payment_intent.amount_capturable_updated',
      about: {
        payment_id: one.id,
        gateway_payment_id: intent.id,
        fact: { kind: 'authorised', amount: 5000, currency: 'KRW' },
      },
    })
    await gateway.capture(one)
    expect(read(stripe.event('payment_intent.succeeded', intent))).toMatchObject({
      about: { fact: { kind: 'captured', amount: 5000, currency: 'KRW' } },
    })
    expect(
      read(stripe.event('payment_intent.canceled', { ...intent, cancellation_reason: 'requested_by_customer' })),
    ).toMatchObject({
      about: { fact: { kind: 'cancelled', by_buyer: true } },
    })
  })

  test.each([
    ['insufficient_funds', true],
    ['generic_decline', true],
    ['stolen_card', false],
    ['fraudulent', false],
  ])('a card that is declined for %s may be tried again: %s', async (code, retryable) => {
    const one = await begun()
    const [event] = stripe.decline(one.gateway_payment_id, code)
    expect(read(event!)).toMatchObject({ about: { fact: { kind: 'declined', code, retryable } } })
  })

  test('a refund that fails after all is told', () => {
    const refund_id = newId()
    const refund = {
      id: 're_1',
      object: 'refund',
      metadata: { refund_id },
      status: 'failed',
      failure_reason: 'expired_or_canceled_card',
    }
    expect(read(stripe.event('refund.failed', refund))).toMatchObject({
      about: { refund_id, fact: { kind: 'refund_failed', code: 'expired_or_canceled_card' } },
    })
  })

  test('what is not about a payment of ours is nothing to us', async () => {
    const intent = stripe.intents.get((await begun()).gateway_payment_id)!
    expect(read(stripe.event('payment_intent.succeeded', { ...intent, metadata: {} }))).toMatchObject({
      ok: true,
      about: undefined,
    })
    expect(read(stripe.event('customer.created', { id: 'cus_1' }))).toMatchObject({ ok: true, about: undefined })
  })

  test('a wrong signature, a changed body, an old one and none at all are refused', async () => {
    const [event] = stripe.pay((await begun()).gateway_payment_id)
    const { body, headers } = stripe.sign(event!)
    expect(read(event!, 'whsec_of_somebody_else')).toMatchObject({ ok: false })
    expect(gateway.readWebhook({ headers, body: Buffer.from(body.replace('5000', '50')) })).toMatchObject({ ok: false })
    expect(gateway.readWebhook({ headers: {}, body: Buffer.from(body) })).toMatchObject({ ok: false })
    const old = headers['stripe-signature']!.replace(/t=\d+/, 't=1000000000')
    expect(gateway.readWebhook({ headers: { 'stripe-signature': old }, body: Buffer.from(body) })).toMatchObject({
      ok: false,
    })
  })
})
