import type { Knex } from 'knex'
import { findCustomers } from '../customers/customers.ts'
import { isLockTimeout, SQLSTATE, sqlstate } from '../database/sqlstate.ts'
import { reading, transaction, type Executor } from '../database/transaction.ts'
import { ok, refused, type Refusal, type Result } from '../errors.ts'
import type { Idempotency } from '../reservations/reservation.ts'
import {
  insertIssues,
  lockCoupon,
  selectCoupon,
  selectIssues,
  takeCoupons,
  type Coupon,
  type Issue,
  type NewIssue,
  type StoredIssue,
} from './queries.ts'

/**
 * First come, first served, exactly as many as there are, one per customer. Requests for a coupon stand in one line in the
 * order in which they came; while a batch of them is in its transaction, the next one gathers. Between processes the coupon's
 * row lock decides. Invariant: an issue's number is its place in the line, and the conditional UPDATE of `issued` is what
 * lets nobody past the last one.
 */

/** Requests of one transaction. */
const BATCH_SIZE_MAX = 200
/** Requests that wait in all lines together; more are refused. */
const WAITING_MAX = 10_000
/** Whoever has waited for longer is answered without being served: behind a coupon that stays locked there is no end. */
const WAIT_MS_MAX = 1000

export type IssueRequest = {
  code: string
  /** A UUID. */
  customer_id: string
  client: string
  idempotency?: Idempotency
}

export type Issued = { issue: Issue; replayed: boolean }

export type CouponIssuer = {
  /**
   * Gives a coupon to a customer.
   *
   * @param signal aborted: the client has left; who is still in the line is not served then
   * @returns refused with `coupon_not_found`, `unknown_customer`, `coupon_already_issued`, `coupon_exhausted`,
   *   `idempotency_key_reused`, or `overloaded`
   */
  issue(request: IssueRequest, signal?: AbortSignal): Promise<Result<Issued>>
  /** Whether one more request would be taken; asked before a body is read. */
  hasRoom(): boolean
  /** Takes nothing more and resolves when everything taken is answered. */
  stop(): Promise<void>
}

type Waiting = {
  request: IssueRequest
  signal: AbortSignal | undefined
  arrived: number
  answer: (result: Result<Issued>) => void
  fail: (error: unknown) => void
}

/** A line for each coupon that is asked for now: a stuck coupon must not stop the others. */
export function createCouponIssuer(deps: { db: Knex; waiting_max?: number; wait_ms_max?: number }): CouponIssuer {
  const { db, waiting_max = WAITING_MAX, wait_ms_max = WAIT_MS_MAX } = deps
  const lines = new Map<string, { waiting: Waiting[]; done: Promise<void> }>()
  let length = 0
  let stopping = false

  async function serve(code: string, waiting: Waiting[]): Promise<void> {
    while (waiting.length > 0) {
      const batch = waiting.splice(0, BATCH_SIZE_MAX)
      const staying = batch.filter((one) => !drop(one, wait_ms_max))
      if (staying.length > 0) await settle(db, code, staying)
      length -= batch.length
    }
    lines.delete(code)
  }

  return {
    issue(request, signal) {
      if (stopping || length >= waiting_max) return Promise.resolve(overloaded('Too many requests wait for coupons.'))
      length += 1
      return new Promise((answer, fail) => {
        const one = { request, signal, arrived: performance.now(), answer, fail }
        const line = lines.get(request.code)
        if (line !== undefined) {
          line.waiting.push(one)
          return
        }
        const waiting = [one]
        lines.set(request.code, { waiting, done: serve(request.code, waiting) })
      })
    },
    hasRoom: () => !stopping && length < waiting_max,
    async stop() {
      stopping = true
      while (lines.size > 0) await Promise.all(Array.from(lines.values(), ({ done }) => done))
    },
  }
}

function drop({ signal, arrived, answer }: Waiting, wait_ms_max: number): boolean {
  if (signal?.aborted === true) answer(overloaded('The client left before this was executed.'))
  else if (performance.now() - arrived > wait_ms_max)
    answer(overloaded('This waited for too long and was not executed.'))
  else return false
  return true
}

function overloaded(detail: string): { ok: false; refusal: Refusal } {
  return refused({ code: 'overloaded', detail })
}

/** Answers a batch. A key that another coupon's issue takes meanwhile breaks all of it: then each runs alone. */
async function settle(db: Knex, code: string, batch: readonly Waiting[], again = true): Promise<void> {
  try {
    const results = await issueAll(
      db,
      code,
      batch.map(({ request }) => request),
    )
    for (const [i, { answer }] of batch.entries()) answer(results[i]!)
  } catch (error) {
    if (isLockTimeout(error)) {
      for (const { answer } of batch) answer(overloaded('Another session holds this coupon.'))
    } else if (again && sqlstate(error) === SQLSTATE.unique_violation) {
      for (const alone of batch) await settle(db, code, [alone], false)
    } else {
      for (const { fail } of batch) fail(error)
    }
  }
}

/** Looks first, without a lock: that a coupon is exhausted is final, and saying so must be cheap. */
async function issueAll(db: Knex, code: string, requests: readonly IssueRequest[]): Promise<Result<Issued>[]> {
  const seen = draw(code, requests, await reading(() => look(db, code, requests)))
  if (seen.issues.length === 0) return seen.results()
  return transaction(db, async (tx) => {
    // Sent together; what is looked at comes after the lock.
    const [, view] = await Promise.all([lockCoupon(tx, code), look(tx, code, requests)])
    const plan = draw(code, requests, view)
    if (plan.issues.length === 0) return plan.results()
    const before = await takeCoupons(tx, code, plan.issues.length)
    if (before !== plan.issues[0]!.number - 1) throw new Error('a coupon was issued under its lock')
    return plan.results(await insertIssues(tx, code, plan.issues))
  })
}

type View = { coupon: Coupon | undefined; issues: readonly StoredIssue[]; customers: ReadonlySet<string> }

/** The coupon is read before its issues: whoever took the last one is then seen as its owner, not as too late. */
async function look(db: Executor, code: string, requests: readonly IssueRequest[]): Promise<View> {
  const customer_ids = requests.map(({ customer_id }) => customer_id)
  const keyed = requests.filter(({ idempotency }) => idempotency !== undefined)
  const coupon = await selectCoupon(db, code)
  const [issues, customers] = await Promise.all([
    selectIssues(db, {
      code,
      customer_ids,
      clients: keyed.map(({ client }) => client),
      keys: keyed.map(({ idempotency }) => idempotency!.key),
    }),
    findCustomers(db, customer_ids),
  ])
  return { coupon, issues, customers }
}

/** What each request gets, in the order of arrival: an earlier issue, a refusal, or the number of a new one. */
type Draw = {
  issues: NewIssue[]
  /** The results, once the new issues are written. */
  results: (written?: readonly Issue[]) => Result<Issued>[]
}

type Outcome = Result<Issued> | { number: number; replayed: boolean }

function draw(code: string, requests: readonly IssueRequest[], { coupon, issues, customers }: View): Draw {
  const drawn: NewIssue[] = []
  const byCustomer = new Map(
    issues.filter((issue) => issue.code === code).map((issue) => [issue.customer_id, issue.number]),
  )
  const byKey = new Map<string, { request_hash: string | null; outcome: Outcome }>()
  for (const { client, idempotency_key, request_hash, ...issue } of issues) {
    if (idempotency_key === null) continue
    byKey.set(nameOf(client, idempotency_key), { request_hash, outcome: ok({ issue, replayed: true }) })
  }

  const decide = ({ customer_id, client, idempotency }: IssueRequest): Outcome => {
    const earlier = idempotency && byKey.get(nameOf(client, idempotency.key))
    if (earlier) {
      if (earlier.request_hash === idempotency.request_hash) return earlier.outcome
      return refused({ code: 'idempotency_key_reused' })
    }
    if (coupon === undefined) return refused({ code: 'coupon_not_found', coupon: code })
    const had = byCustomer.get(customer_id)
    if (had !== undefined) return refused({ code: 'coupon_already_issued', number: had })
    if (!customers.has(customer_id)) return refused({ code: 'unknown_customer', id: customer_id })
    const number = coupon.issued + drawn.length + 1
    if (number > coupon.quantity) return refused({ code: 'coupon_exhausted', quantity: coupon.quantity })
    const { key = null, request_hash = null } = idempotency ?? {}
    drawn.push({ number, customer_id, client, key, request_hash })
    byCustomer.set(customer_id, number)
    if (key !== null) byKey.set(nameOf(client, key), { request_hash, outcome: { number, replayed: true } })
    return { number, replayed: false }
  }

  const outcomes = requests.map(decide)
  return {
    issues: drawn,
    results(written = []) {
      const byNumber = new Map(written.map((issue) => [issue.number, issue]))
      return outcomes.map((outcome) => {
        if ('ok' in outcome) return outcome
        return ok({ issue: byNumber.get(outcome.number)!, replayed: outcome.replayed })
      })
    },
  }
}

function nameOf(client: string, key: string): string {
  return JSON.stringify([client, key])
}
