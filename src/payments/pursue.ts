import type { Knex } from 'knex'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { describeError } from '../database/sqlstate.ts'
import { reading } from '../database/transaction.ts'
import { DatabaseUnavailable, type Result } from '../errors.ts'
import { factOf, GatewayUnavailable, type Fact, type Gateway, type GatewayState, type RefundFact } from './gateway.ts'
import { LOOK_SECONDS } from './pay.ts'
import {
  leaseDue,
  lookLater,
  noteAtGateway,
  putOff,
  selectGatewayPayment,
  selectOwingOf,
  selectRefund,
} from './queries.ts'
import { settle, type SettleDeps } from './settle.ts'
import { settleRefund } from './settle_refund.ts'

/**
 * Finishes what is owed to gateways: captures, voids, refunds, and looks at payments of which nothing was heard. What is
 * owed is written with the state that makes it so, before the gateway is asked; so wherever a process dies, another
 * finds it. Everything here may be done twice: the gateway knows each payment and refund by its id.
 */

/** What this process has heard of is looked after at once, so many at a time; past the bound it is left to the job. */
const AT_ONCE_MAX = 4
const WAITING_MAX = 2000
/** The job takes so many at a time, and comes back for more so often in one run. */
const DUE_PER_BATCH = 100
const BATCHES_MAX = 20
/** For so long nobody else tries what this job has taken. */
const LEASE_SECONDS = 30
/** A gateway that takes its time must not keep a stop waiting: what is cut off here is finished elsewhere. */
const STOP_MS = 1500
/** From so many tries on it is said loudly: somebody should look at the gateway. */
const TRIES_QUIET_MAX = 6

export type Pursuer = {
  /** Looks after what a payment owes its gateway, soon. */
  payment(payment_id: string): void
  refund(refund_id: string): void
  /** The same for all payments of an order that has just ended. */
  paymentsOf(order_id: string): void
  /** Looks after everything that is due. @returns how much that was */
  run(): Promise<number>
  /** Resolves when nothing that this process was told of is under way. */
  idle(): Promise<void>
  /** Takes nothing more and waits for what is under way; the rest is left to the next process. */
  stop(): Promise<void>
}

export type PursuerDeps = SettleDeps & { db: Knex; gateway: Gateway | undefined; log: Logger }

export function createPursuer(deps: PursuerDeps): Pursuer {
  const waiting = new Map<string, () => Promise<void>>()
  const working = new Set<Promise<void>>()
  let stopping = false

  function startNext(): void {
    for (const [name, work] of waiting) {
      if (working.size >= AT_ONCE_MAX) return
      waiting.delete(name)
      const done: Promise<void> = work().finally(() => {
        working.delete(done)
        startNext()
      })
      working.add(done)
    }
  }
  function add(name: string, work: () => Promise<void>): void {
    if (stopping || waiting.size >= WAITING_MAX) return
    waiting.set(name, work)
    startNext()
  }
  async function idle(): Promise<void> {
    while (working.size > 0) await Promise.all(working)
  }
  const payment = (id: string) => add(id, () => pursuePayment(deps, id))
  const refund = (id: string) => add(id, () => pursueRefund(deps, id))

  return {
    payment,
    refund,
    paymentsOf: (order_id) =>
      add(`of ${order_id}`, async () => {
        const owing = await reading(() => selectOwingOf(deps.db, order_id)).catch(() => [])
        for (const id of owing) payment(id)
      }),
    async run() {
      let total = 0
      for (let batch = 0; batch < BATCHES_MAX; batch++) {
        if (stopping) break
        const due = await reading(() => leaseDue(deps.db, { limit: DUE_PER_BATCH, lease: LEASE_SECONDS }))
        for (const id of due.payments) payment(id)
        for (const id of due.refunds) refund(id)
        await idle()
        const taken = due.payments.length + due.refunds.length
        total += taken
        if (taken < DUE_PER_BATCH) break
      }
      return total
    },
    idle,
    async stop() {
      stopping = true
      waiting.clear()
      await Promise.race([idle(), delay(STOP_MS, undefined, { ref: false })])
    },
  }
}

/** Asks the gateway for what a payment's state owes it, and settles the answer. Never throws. */
async function pursuePayment(deps: PursuerDeps, id: string): Promise<void> {
  try {
    const payment = await reading(() => selectGatewayPayment(deps.db, id))
    if (payment === undefined || payment.next_try_at === null) return
    const { gateway } = deps
    if (gateway === undefined || gateway.name !== payment.gateway) {
      throw new GatewayUnavailable(new Error(`the gateway ${payment.gateway} is not set up`))
    }
    switch (payment.status) {
      case 'authorised':
        return await settleState(deps, id, await gateway.capture(payment), captureFact)
      case 'failed':
      case 'cancelled':
        return await settleState(deps, id, await gateway.void(payment), voidFact)
      case 'pending':
      case 'declined':
        return await look(deps, id, await gateway.look(payment))
      case 'captured':
        return undefined
    }
  } catch (error) {
    await later(deps, 'payments', id, error)
  }
}

/** What the answer to a capture comes to; undefined if it was not captured yet. */
function captureFact(state: GatewayState): Fact | undefined {
  if (state.status === 'captured') return factOf(state)
  if (state.status === 'authorised') return undefined
  return { kind: 'capture_refused', code: state.failure?.code ?? 'capture_refused' }
}

/** What the answer to a void comes to: money that was faster is money. */
function voidFact(state: GatewayState): Fact | undefined {
  if (state.status === 'captured') return factOf(state)
  // What was declined has nothing to be given up.
  if (state.status === 'cancelled' || state.status === 'declined') return { kind: 'cancelled', by_buyer: false }
  return undefined
}

async function settleState(
  deps: PursuerDeps,
  id: string,
  state: GatewayState,
  toFact: (state: GatewayState) => Fact | undefined,
): Promise<void> {
  const fact = toFact(state)
  if (fact === undefined) throw new GatewayUnavailable(new Error(`the gateway says ${state.status}`))
  const { gateway_payment_id } = state
  mustSettle(await settle(deps, { payment_id: id, gateway_payment_id, fact }))
}

/** A payment of which nothing was heard: its webhooks may be late or lost. */
async function look(deps: PursuerDeps, id: string, state: GatewayState): Promise<void> {
  const { gateway_payment_id, next_action } = state
  await reading(() => noteAtGateway(deps.db, { id, gateway_payment_id, next_action, next_try: LOOK_SECONDS }))
  const fact = factOf(state)
  if (fact === undefined || fact.kind === 'declined') return reading(() => lookLater(deps.db, id, LOOK_SECONDS))
  mustSettle(await settle(deps, { payment_id: id, gateway_payment_id, fact }))
  return pursuePayment(deps, id)
}

function mustSettle(settled: Result<unknown>): void {
  if (!settled.ok) throw new Error(`it could not be settled: ${settled.refusal.code}`)
}

async function pursueRefund(deps: PursuerDeps, id: string): Promise<void> {
  try {
    const refund = await reading(() => selectRefund(deps.db, id))
    if (refund === undefined || refund.status !== 'pending') return
    const payment = await reading(() => selectGatewayPayment(deps.db, refund.payment_id))
    const { gateway } = deps
    if (payment === undefined || gateway === undefined || gateway.name !== payment.gateway) {
      throw new GatewayUnavailable(new Error('the gateway of this refund is not set up'))
    }
    const state = await gateway.refund(payment, { id, amount: refund.amount, currency: refund.currency })
    // One that the gateway still works on is as good as done; if it fails after all, it says so.
    const fact: RefundFact =
      state.status === 'failed'
        ? { kind: 'refund_failed', code: state.failure_code ?? 'refund_failed' }
        : { kind: 'refund_succeeded' }
    mustSettle(await settleRefund(deps, { refund_id: id, gateway_refund_id: state.gateway_refund_id, fact }))
  } catch (error) {
    await later(deps, 'refunds', id, error)
  }
}

/** Puts a try off. What fails again and again is said loudly, because money waits for it. */
async function later(deps: PursuerDeps, table: 'payments' | 'refunds', id: string, error: unknown): Promise<void> {
  const { db, log } = deps
  const fields = { err: error, [table === 'payments' ? 'payment_id' : 'refund_id']: id }
  try {
    const tries = await putOff(db, table, { id, error: describeError(error) })
    const is_expected = error instanceof GatewayUnavailable || error instanceof DatabaseUnavailable
    const level = is_expected && tries <= TRIES_QUIET_MAX ? 'warn' : 'error'
    log[level]({ ...fields, tries }, 'what is owed to the payment gateway could not be finished; it is tried again')
  } catch (failure) {
    // The database is away too. The try stays due, and is found when it is back.
    log.warn({ ...fields, failure }, 'what is owed to the payment gateway could not be finished nor put off')
  }
}
