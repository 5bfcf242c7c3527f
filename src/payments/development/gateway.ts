import type { Knex } from 'knex'
import type { Logger } from 'pino'
import { randomBytes } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import { reading, transaction } from '../../database/transaction.ts'
import { newId } from '../../ids.ts'
import {
  GatewayUnavailable,
  type Fact,
  type Gateway,
  type GatewayState,
  type RefundFact,
  type WebhookReading,
  type WebhookRequest,
} from '../gateway.ts'
import { BEHAVES, REVERSED_MS, type Behaviour } from './behaviour.ts'
import {
  insertBooked,
  insertWebhook,
  leaseWebhooks,
  lockBooked,
  markDelivered,
  updateBooked,
  type BookedPayment,
} from './queries.ts'

/**
 * A gateway to develop and test with, in the manner of the Korean ones: the shop sends the buyer to the gateway's page, the
 * buyer approves there and comes back, and the shop then has the payment approved for good (the capture). It moves no money.
 * Its books are tables of their own and its transactions never the service's, so it remembers what a killed service forgot.
 */
export type DevelopmentGateway = {
  gateway: Gateway
  /** What the buyer does on the gateway's page; the payment after it, undefined if there is none. */
  choose(payment_id: string, choice: Choice, behaviour?: Partial<Behaviour>): Promise<BookedPayment | undefined>
  read(payment_id: string): Promise<BookedPayment | undefined>
  /** Sends the webhooks that are due; how many. */
  deliver(): Promise<number>
  /** Signs a webhook as this gateway does. */
  sign(event_id: string, body: string): Record<string, string>
  start(): void
  stop(): Promise<void>
}

/** `decline`: the buyer may try again. `fail`: no more. */
export type Choice = 'approve' | 'decline' | 'fail' | 'cancel'

export type DevelopmentDeps = {
  db: Knex
  log: Logger
  /** Undefined: a new one, which nobody else knows. */
  secret: string | undefined
  /** Where webhooks go; false if they were not taken. */
  receive: (request: WebhookRequest) => Promise<boolean>
}

export const NAME = 'development'
/** Where a buyer approves a payment. */
export const PAGE_PATH = '/gateway/development/payments'

const DELIVERIES_PER_BATCH = 100
const DELIVERY_TRIES_MAX = 20
const RETRY_SECONDS = 2
const TICK_MS = 500

export function createDevelopmentGateway(deps: DevelopmentDeps): DevelopmentGateway {
  const { db, log } = deps
  const webhook = new Webhook(deps.secret ?? `whsec_${randomBytes(32).toString('base64')}`)
  let timer: NodeJS.Timeout | undefined
  let delivering: Promise<number> | undefined

  const sign = (event_id: string, body: string) => {
    const at = new Date()
    return {
      'webhook-id': event_id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': webhook.sign(event_id, at, body),
    }
  }
  const deliver = (): Promise<number> => {
    delivering ??= deliverDue(deps, sign).finally(() => (delivering = undefined))
    return delivering
  }
  const deliverSoon = () => {
    if (timer === undefined) return
    deliver().catch((error: unknown) =>
      log.warn({ err: error }, 'webhooks of the development gateway could not be sent'),
    )
  }
  /** Changes a payment in the books and queues what is to be told of it; then tells it. */
  const change = async (
    payment_id: string,
    work: (payment: BookedPayment) => EventType[],
  ): Promise<BookedPayment | undefined> => {
    const changed = await transaction(db, async (tx) => {
      const payment = await lockBooked(tx, payment_id)
      if (payment === undefined) return undefined
      const types = work(payment)
      await updateBooked(tx, payment)
      await queueWebhooks(tx, payment, types)
      return payment
    })
    deliverSoon()
    return changed
  }

  return {
    gateway: toPort(db, change, (request) => readWebhook(webhook, request)),
    choose: (payment_id, choice, behaviour = {}) =>
      change(payment_id, (payment) => {
        payment.behaviour = { ...payment.behaviour, ...behaviour }
        return CHOICES[choice](payment)
      }),
    read: (payment_id) => transaction(db, (tx) => lockBooked(tx, payment_id)),
    deliver,
    sign,
    start() {
      timer = setInterval(deliverSoon, TICK_MS)
    },
    async stop() {
      clearInterval(timer)
      timer = undefined
      await delivering?.catch(() => undefined)
    },
  }
}

type EventType = 'payment.authorised' | 'payment.captured' | 'payment.declined' | 'payment.failed' | 'payment.cancelled'

const CHOICES: Record<Choice, (payment: BookedPayment) => EventType[]> = {
  approve(payment) {
    if (!isOpen(payment)) return []
    payment.failure_code = null
    payment.status = 'authorised'
    if (!payment.behaviour.captures_itself) return ['payment.authorised']
    payment.status = 'captured'
    payment.captured_amount = payment.amount
    return ['payment.authorised', 'payment.captured']
  },
  decline(payment) {
    if (!isOpen(payment)) return []
    payment.status = 'declined'
    payment.failure_code = 'card_declined'
    return ['payment.declined']
  },
  fail(payment) {
    if (!isOpen(payment)) return []
    payment.status = 'failed'
    payment.failure_code = 'card_blocked'
    return ['payment.failed']
  },
  cancel(payment) {
    if (!isOpen(payment)) return []
    payment.status = 'cancelled'
    payment.by_buyer = true
    return ['payment.cancelled']
  },
}

function isOpen({ status }: BookedPayment): boolean {
  return status === 'requires_action' || status === 'declined'
}

type Change = (payment_id: string, work: (payment: BookedPayment) => EventType[]) => Promise<BookedPayment | undefined>

function toPort(db: Knex, change: Change, readWebhookOf: Gateway['readWebhook']): Gateway {
  const book: Gateway['authorise'] = async ({ id, order_id, amount, currency, return_url }) => {
    await reading(() => insertBooked(db, { payment_id: id, order_id, amount, currency, return_url }))
    return stateOf((await change(id, () => []))!)
  }
  return {
    name: NAME,
    authorise: book,
    look: book,
    async capture({ id }) {
      let lost = false
      const payment = await change(id, (booked) => {
        if (booked.status !== 'authorised') return []
        const { capture = BEHAVES.capture } = booked.behaviour
        if (capture === 'refused') {
          booked.status = 'failed'
          booked.failure_code = 'capture_refused'
          return []
        }
        lost = capture === 'answer_lost'
        booked.behaviour = { ...booked.behaviour, capture: 'done' }
        booked.status = 'captured'
        booked.captured_amount = booked.amount
        return ['payment.captured']
      })
      if (payment === undefined) throw new GatewayUnavailable(new Error('the gateway has no such payment'))
      if (lost) throw new GatewayUnavailable(new Error('the answer was lost'))
      return stateOf(payment)
    },
    async void(payment) {
      await book(payment)
      const voided = await change(payment.id, (booked) => {
        if (booked.status === 'captured' || booked.status === 'cancelled') return []
        booked.status = 'cancelled'
        return ['payment.cancelled']
      })
      return stateOf(voided!)
    },
    async refund({ id }, refund) {
      let lost = false
      let refused_code: string | null = null
      const payment = await change(id, (booked) => {
        const known = booked.refunds[refund.id]
        if (known === 0) refused_code = 'refund_refused'
        if (known !== undefined) return []
        const { refund: behaves = BEHAVES.refund } = booked.behaviour
        const given_back = Object.values(booked.refunds).reduce((sum, amount) => sum + amount, 0)
        if (behaves === 'refused') refused_code = 'refund_refused'
        else if (given_back + refund.amount > booked.captured_amount) refused_code = 'refund_exceeds_captured'
        booked.refunds = { ...booked.refunds, [refund.id]: refused_code === null ? refund.amount : 0 }
        lost = behaves === 'answer_lost'
        booked.behaviour = { ...booked.behaviour, refund: 'done' }
        return []
      })
      if (payment === undefined || lost) throw new GatewayUnavailable(new Error('the answer was lost'))
      return {
        gateway_refund_id: `dev_${refund.id}`,
        status: refused_code === null ? 'succeeded' : 'failed',
        failure_code: refused_code,
      }
    },
    readWebhook: readWebhookOf,
  }
}

function stateOf(payment: BookedPayment): GatewayState {
  const { payment_id, status, amount, currency, captured_amount, failure_code, by_buyer } = payment
  return {
    gateway_payment_id: `dev_${payment_id}`,
    status: status === 'failed' ? 'declined' : status,
    amount: status === 'captured' ? captured_amount : amount,
    currency,
    next_action: { type: 'redirect', url: `${PAGE_PATH}/${payment_id}` },
    failure: failure_code === null ? null : { code: failure_code, retryable: status === 'declined' },
    by_buyer,
  }
}

async function queueWebhooks(tx: Knex.Transaction, payment: BookedPayment, types: readonly EventType[]): Promise<void> {
  const { webhook_delay_ms, webhook_copies, webhooks_reversed } = { ...BEHAVES, ...payment.behaviour }
  for (const [place, type] of types.entries()) {
    const event_id = `evt_${newId()}`
    const body = JSON.stringify({ type, timestamp: new Date().toISOString(), data: stateOf(payment) })
    const late_ms = webhooks_reversed ? (types.length - 1 - place) * REVERSED_MS : 0
    for (let copy = 0; copy < webhook_copies; copy++) {
      const { payment_id } = payment
      await insertWebhook(tx, { id: newId(), payment_id, event_id, body, delay_ms: webhook_delay_ms + late_ms })
    }
  }
}

async function deliverDue({ db, receive }: DevelopmentDeps, sign: DevelopmentGateway['sign']): Promise<number> {
  let delivered = 0
  for (;;) {
    const due = await reading(() =>
      leaseWebhooks(db, { limit: DELIVERIES_PER_BATCH, tries_max: DELIVERY_TRIES_MAX, retry_seconds: RETRY_SECONDS }),
    )
    for (const { id, event_id, body } of due) {
      if (!(await receive({ headers: sign(event_id, body), body: Buffer.from(body) }))) continue
      await reading(() => markDelivered(db, id))
      delivered += 1
    }
    if (due.length < DELIVERIES_PER_BATCH) return delivered
  }
}

type Body = { type?: string; data?: (Partial<GatewayState> & { refund_id?: string; failure_code?: string }) | null }

function readWebhook(webhook: Webhook, { headers, body }: WebhookRequest): WebhookReading {
  let told: Body
  try {
    told = webhook.verify(body.toString('utf8'), headers as Record<string, string>) as Body
  } catch {
    return { ok: false, detail: 'the signature of the webhook is not right, or it is older than five minutes' }
  }
  return { ok: true, event_id: String(headers['webhook-id']), type: told.type ?? '', about: aboutOf(told) }
}

const PREFIX = 'dev_'

function aboutOf({ type = '', data: told }: Body): Extract<WebhookReading, { ok: true }>['about'] {
  const data = told ?? {}
  if (data.refund_id !== undefined) {
    const failed: RefundFact = { kind: 'refund_failed', code: data.failure_code ?? 'refund_failed' }
    return { refund_id: data.refund_id, fact: type === 'refund.failed' ? failed : { kind: 'refund_succeeded' } }
  }
  const { gateway_payment_id, amount = Number.NaN, currency = '', failure, by_buyer = false } = data
  const facts: Record<string, Fact> = {
    'payment.authorised': { kind: 'authorised', amount, currency },
    'payment.captured': { kind: 'captured', amount, currency },
    'payment.declined': { kind: 'declined', code: failure?.code ?? 'declined', retryable: true },
    'payment.failed': { kind: 'declined', code: failure?.code ?? 'failed', retryable: false },
    'payment.cancelled': { kind: 'cancelled', by_buyer },
  }
  const fact = Object.hasOwn(facts, type) ? facts[type] : undefined
  if (fact === undefined) return undefined
  if (typeof gateway_payment_id !== 'string') return undefined
  return { payment_id: gateway_payment_id.slice(PREFIX.length), gateway_payment_id, fact }
}
