import { ok, refused, type Refusal, type Result, type Shortage } from '../errors.ts'
import type { EventType } from '../outbox/append.ts'
import type { Change, Counter } from '../stock/counters.ts'
import type { KeyedReservation, ReservationInsert, StoredReservation, Transition } from './queries.ts'
import type { Closed, Line, Reservation, Reserved, ReserveRequest } from './reservation.ts'

/**
 * Decides a batch. Invariant: requests are decided in the order in which they arrived, each on what the ones before it
 * leave, so the answers are those of running them one after another. Pure: it reads a view and names what to write.
 */

export type Reserve = {
  verb: 'reserve'
  id: string
  /** Summed: each SKU once. */
  lines: Line[]
  request: ReserveRequest
  ttl_seconds: number
  /** The way by which it was sent; another one if the first could not answer. */
  strategy: string
  /** The variant of a trial of hold times that this buyer is in. */
  ttl_variant: string | null
}
export type Confirm = { verb: 'confirm'; id: string; on_expired: 'refuse' | 'reacquire' }
export type Release = { verb: 'release'; id: string; reason: string | null }
export type Extend = { verb: 'extend'; id: string; ttl_seconds: number }
export type Operation = Reserve | Confirm | Release | Extend

export type Outcome = Result<Reserved>

/** What the database said when it was looked at, in one or two reads that began after the requests arrived. */
export type View = {
  now: Date
  /** Counters by SKU; a SKU that does not exist is absent. */
  counters: Map<string, Counter>
  reservations: Map<string, StoredReservation>
  /** By {@link keyOf}; undefined while keys were not looked up, which only a replay or a refusal needs. */
  keyed: Map<string, KeyedReservation> | undefined
}

/** Reservations that change, with the steps of counters that go with it; one event each. */
export type Step = { type: EventType; reservation: Reservation; changes: Change[] }

export type Plan = {
  outcomes: Map<Operation, Outcome>
  inserts: ReservationInsert[]
  transitions: Map<string, Transition>
  steps: Step[]
  /** By id: a hold that expired and was reacquired in one batch has one end. */
  closed: Map<string, Closed>
  /** SKUs of which somebody was refused units. */
  short: Set<string>
  /** A keyed reserve was refused without looking whether its key has a reservation. */
  keys_unknown: boolean
}

export type PlanSettings = { ttl_max_seconds: number }

/** What a client's key is known by inside a batch. Clients' names hold no NUL. */
export function keyOf(client: string, key: string): string {
  return `${client}\0${key}`
}

/**
 * Decides operations on a view.
 *
 * @param denied operations that an earlier plan refused and that must stay refused, with their answers
 */
export function draw(
  operations: readonly Operation[],
  view: View,
  settings: PlanSettings,
  denied: ReadonlyMap<Operation, Outcome> = new Map(),
): Plan {
  const board = new Board(view, settings)
  for (const operation of operations) {
    board.plan.outcomes.set(operation, denied.get(operation) ?? board.decide(operation))
  }
  return board.plan
}

/** Whether what is written tests every outcome: nobody is refused, and nobody is told what only the read says. */
export function isTestedByWrites({ outcomes, transitions }: Plan): boolean {
  for (const [operation, outcome] of outcomes) {
    if (!outcome.ok) return false
    if (operation.verb === 'reserve' ? outcome.value.replayed : !transitions.has(operation.id)) return false
  }
  return true
}

/** What is left while a batch is being decided. */
class Board {
  readonly plan: Plan = {
    outcomes: new Map(),
    inserts: [],
    transitions: new Map(),
    steps: [],
    closed: new Map(),
    short: new Set(),
    keys_unknown: false,
  }
  readonly #view: View
  readonly #settings: PlanSettings
  /** Reservations as those before in the batch leave them. */
  readonly #stored: Map<string, StoredReservation>
  readonly #available = new Map<string, number>()
  readonly #made = new Map<string, { request_hash: string; reservation: Reservation }>()

  constructor(view: View, settings: PlanSettings) {
    this.#view = view
    this.#settings = settings
    this.#stored = new Map(view.reservations)
    for (const [sku, counter] of view.counters) this.#available.set(sku, counter.stock - counter.temp_reserved_stock)
  }

  decide(operation: Operation): Outcome {
    if (operation.verb === 'reserve') return this.#reserve(operation)
    const stored = this.#stored.get(operation.id)
    if (stored === undefined) return refused({ code: 'reservation_not_found', id: operation.id })
    if (operation.verb === 'confirm') return this.#confirm(operation, stored)
    if (operation.verb === 'release') return this.#release(operation, stored)
    return this.#extend(operation, stored)
  }

  #reserve(operation: Reserve): Outcome {
    const earlier = this.#replay(operation)
    if (earlier !== undefined) return earlier
    const refusal = this.#take(operation.lines)
    if (refusal !== undefined) {
      if (operation.request.idempotency !== undefined && this.#view.keyed === undefined) this.plan.keys_unknown = true
      return refused(refusal)
    }
    const reservation = this.#open(operation)
    this.plan.inserts.push({ reservation, request: operation.request })
    this.plan.steps.push({
      type: 'reservation.created',
      reservation,
      changes: reservation.lines.map((line) => change('reserve', line, reservation.id)),
    })
    const { idempotency, client } = operation.request
    if (idempotency !== undefined) {
      this.#made.set(keyOf(client, idempotency.key), { request_hash: idempotency.request_hash, reservation })
    }
    return ok({ reservation, replayed: false })
  }

  #replay({ request }: Reserve): Outcome | undefined {
    if (request.idempotency === undefined) return undefined
    const key = keyOf(request.client, request.idempotency.key)
    const stored = this.#view.keyed?.get(key)
    const made =
      stored === undefined
        ? this.#made.get(key)
        : {
            request_hash: stored.request_hash,
            reservation: presentReservation(this.#stored.get(stored.id) ?? stored),
          }
    if (made === undefined) return undefined
    if (made.request_hash !== request.idempotency.request_hash) return refused({ code: 'idempotency_key_reused' })
    return ok({ reservation: made.reservation, replayed: true })
  }

  /** Takes units off what is left: of every line, or of none. */
  #take(lines: readonly Line[]): Refusal | undefined {
    const unknown = lines.filter((line) => !this.#available.has(line.sku)).map((line) => line.sku)
    if (unknown.length > 0) return { code: 'skus_not_found', skus: unknown }
    const shortages: Shortage[] = []
    for (const { sku, quantity } of lines) {
      const available = this.#available.get(sku) ?? 0
      if (available < quantity) shortages.push({ sku, requested: quantity, available: Math.max(0, available) })
    }
    if (shortages.length > 0) {
      for (const { sku } of shortages) this.plan.short.add(sku)
      return { code: 'insufficient_stock', shortages }
    }
    this.#give(lines, -1)
    return undefined
  }

  #give(lines: readonly Line[], sign: 1 | -1 = 1): void {
    for (const { sku, quantity } of lines) {
      const available = this.#available.get(sku)
      if (available !== undefined) this.#available.set(sku, available + sign * quantity)
    }
  }

  #open({ id, lines, request, ttl_seconds, strategy, ttl_variant }: Reserve): Reservation {
    return {
      id,
      status: 'pending',
      lines,
      customer_id: request.customer_id ?? null,
      reference: request.reference ?? null,
      metadata: request.metadata ?? null,
      created_at: this.#view.now,
      expires_at: new Date(this.#view.now.getTime() + ttl_seconds * 1000),
      closed_at: null,
      release_reason: null,
      strategy,
      ttl_variant,
    }
  }

  // The stored state first, then time: what is confirmed stays confirmed after expires_at.
  #confirm(operation: Confirm, stored: StoredReservation): Outcome {
    const current = presentReservation(stored)
    if (current.status === 'confirmed') return ok({ reservation: current, replayed: false })
    if (current.status === 'released') return refused({ code: 'already_released' })
    if (current.status === 'pending') {
      const confirmed = this.#close(stored, { status: 'confirmed', closed_at: this.#view.now })
      this.#step('reservation.confirmed', confirmed, [...lineChanges('confirm', confirmed)])
      return ok({ reservation: confirmed, replayed: false })
    }
    if (operation.on_expired === 'refuse') {
      return refused({ code: 'reservation_expired', expired_at: current.expires_at })
    }
    return this.#reacquire(stored, current)
  }

  /** Expire if unswept, reserve, confirm: one step for those who watch, three ledger rows for those who count. */
  #reacquire(stored: StoredReservation, current: Reservation): Outcome {
    const unswept = stored.status === 'pending'
    if (unswept) this.#give(current.lines)
    const refusal = this.#take(current.lines)
    if (refusal !== undefined) return refused(refusal)
    if (unswept) this.#step('reservation.expired', current, lineChanges('expire', current))
    const confirmed = this.#close(stored, { status: 'confirmed', closed_at: this.#view.now })
    this.#step('reservation.confirmed', confirmed, [
      ...lineChanges('reserve', confirmed),
      ...lineChanges('confirm', confirmed),
    ])
    return ok({ reservation: confirmed, replayed: false })
  }

  #release(operation: Release, stored: StoredReservation): Outcome {
    const current = presentReservation(stored)
    if (current.status === 'confirmed') return refused({ code: 'already_confirmed' })
    if (stored.status !== 'pending') return ok({ reservation: current, replayed: false })
    this.#give(current.lines)
    if (current.status === 'expired') {
      const expired = this.#close(stored, { status: 'expired', closed_at: current.expires_at })
      this.#step('reservation.expired', expired, lineChanges('expire', expired))
      return ok({ reservation: expired, replayed: false })
    }
    const released = this.#close(stored, {
      status: 'released',
      closed_at: this.#view.now,
      release_reason: operation.reason,
    })
    this.#step('reservation.released', released, lineChanges('release', released))
    return ok({ reservation: released, replayed: false })
  }

  #extend(operation: Extend, stored: StoredReservation): Outcome {
    const current = presentReservation(stored)
    if (current.status === 'confirmed') return refused({ code: 'already_confirmed' })
    if (current.status === 'released') return refused({ code: 'already_released' })
    if (current.status === 'expired') return refused({ code: 'reservation_expired', expired_at: current.expires_at })
    const expires_at = new Date(this.#view.now.getTime() + operation.ttl_seconds * 1000)
    const expires_at_max = new Date(current.created_at.getTime() + this.#settings.ttl_max_seconds * 1000)
    if (expires_at > expires_at_max) return refused({ code: 'extension_limit', expires_at_max })
    const extended = this.#change(stored, { expires_at })
    this.#step('reservation.extended', extended, [])
    return ok({ reservation: extended, replayed: false })
  }

  #close(stored: StoredReservation, end: Partial<StoredReservation> & { status: Closed['status'] }): Reservation {
    const reservation = this.#change(stored, end)
    this.plan.closed.set(stored.id, { id: stored.id, status: end.status, reference: stored.reference })
    return reservation
  }

  /** Changes a reservation for those that come later in the batch, and notes the transition from what is stored. */
  #change(stored: StoredReservation, fields: Partial<StoredReservation>): Reservation {
    const after: StoredReservation = {
      ...stored,
      ...fields,
      overdue: stored.overdue && fields.expires_at === undefined,
    }
    this.#stored.set(stored.id, after)
    const earlier = this.plan.transitions.get(stored.id)
    this.plan.transitions.set(stored.id, {
      id: stored.id,
      from: earlier?.from ?? stored.status,
      from_overdue: earlier?.from_overdue ?? stored.overdue,
      from_expires_at: earlier?.from_expires_at ?? stored.expires_at,
      to: after.status,
      expires_at: after.expires_at,
      closed_at: after.closed_at,
      release_reason: after.release_reason,
    })
    return presentReservation(after)
  }

  #step(type: EventType, reservation: Reservation, changes: Change[]): void {
    this.plan.steps.push({ type, reservation, changes })
  }
}

/** A stored reservation as it is true at the moment it was read: overdue reads expired, swept or not. */
export function presentReservation(stored: StoredReservation): Reservation {
  const expired = stored.status === 'pending' && stored.overdue
  return {
    id: stored.id,
    status: expired ? 'expired' : stored.status,
    lines: stored.skus.map((sku, index) => ({ sku, quantity: stored.quantities[index] ?? 0 })),
    customer_id: stored.customer_id,
    reference: stored.reference,
    metadata: stored.metadata,
    created_at: stored.created_at,
    expires_at: stored.expires_at,
    closed_at: expired ? stored.expires_at : stored.closed_at,
    release_reason: stored.release_reason,
    strategy: stored.strategy,
    ttl_variant: stored.ttl_variant,
  }
}

/** The ledger rows of one step of a reservation: one for each of its lines. */
export function lineChanges(kind: 'reserve' | 'confirm' | 'release' | 'expire', reservation: Reservation): Change[] {
  return reservation.lines.map((line) => change(kind, line, reservation.id))
}

const SIGNS = {
  reserve: { stock: 0, reserved: 1 },
  confirm: { stock: -1, reserved: -1 },
  release: { stock: 0, reserved: -1 },
  expire: { stock: 0, reserved: -1 },
} as const

function change(kind: keyof typeof SIGNS, { sku, quantity }: Line, reservation_id: string): Change {
  const sign = SIGNS[kind]
  return { sku, kind, stock_delta: sign.stock * quantity, reserved_delta: sign.reserved * quantity, reservation_id }
}
