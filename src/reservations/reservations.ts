import type { Knex } from 'knex'
import type { Logger } from 'pino'
import { newId } from '../ids.ts'
import { ok, type Result } from '../errors.ts'
import type { Metrics } from '../metrics.ts'
import { Batcher, type QueueState } from './batcher.ts'
import type { BatcherLimits } from './batcher_limits.ts'
import { fly, flyIn, type FlightDeps } from './flight.ts'
import type { OnClosed } from './hooks.ts'
import { listReservations, readReservation, type ReservationFilter, type ReservationPage } from './list.ts'
import type { Operation, Outcome, Reserve } from './plan.ts'
import { sumLines, type Reservation, type Reserved, type ReserveRequest } from './reservation.ts'
import { createBatched } from './strategies/batched.ts'
import { createConditional } from './strategies/conditional.ts'
import type { Strategy, StrategyParts } from './strategies/strategy.ts'

/**
 * The core's front. Each verb stands here twice: through the queue, and in a caller's transaction, for what must commit
 * with it. Requests have been validated at the door; every verb may be repeated and then answers the same.
 */
export type Reservations = {
  reserve(request: ReserveRequest, signal?: AbortSignal): Promise<Result<Reserved>>
  confirm(request: ConfirmRequest, signal?: AbortSignal): Promise<Result<Reservation>>
  release(request: ReleaseRequest, signal?: AbortSignal): Promise<Result<Reservation>>
  extend(request: ExtendRequest, signal?: AbortSignal): Promise<Result<Reservation>>
  /**
   * The verbs in a caller's transaction at READ COMMITTED, which commits or undoes them. Counters are locked last of all:
   * call these after everything else. On `stock_conflict` roll back; the transaction may be run again.
   */
  reserveIn(tx: Knex.Transaction, request: ReserveRequest): Promise<Result<Reserved>>
  confirmIn(tx: Knex.Transaction, request: ConfirmRequest): Promise<Result<Reservation>>
  releaseIn(tx: Knex.Transaction, request: ReleaseRequest): Promise<Result<Reservation>>
  extendIn(tx: Knex.Transaction, request: ExtendRequest): Promise<Result<Reservation>>
  read(id: string): Promise<Reservation | undefined>
  list(filter: ReservationFilter): Promise<Result<ReservationPage>>
  /** Whether so many more requests would be taken; asked before a body is read. */
  hasRoom(requests: number): boolean
  queue(): QueueState
  /** Whether this process made or changed reservations in the last tenth of a second. */
  isBusy(): boolean
  /** Takes nothing more and resolves when everything taken is answered. */
  stop(): Promise<void>
}

export type ConfirmRequest = { id: string; on_expired?: 'refuse' | 'reacquire' }
export type ReleaseRequest = { id: string; reason?: string }
export type ExtendRequest = { id: string; ttl_seconds: number }

export type ReservationsDeps = {
  /**
   * Connections of the core: one for the batch in flight, two for lanes, up to three for the sweeper; strategies without a
   * queue share them.
   */
  core: Knex
  /** Connections for reads. */
  reads: Knex
  strategy: 'batched' | 'conditional'
  ttl_seconds: number
  ttl_max_seconds: number
  onClosed: OnClosed | undefined
  metrics: Metrics
  log: Logger
  limits?: Partial<BatcherLimits>
}

/** So long after a flight it still counts as busy. */
const BUSY_MS = 100

/** Connections that a strategy without the queue leaves to others: the batch in flight and the sweeper. */
const CONNECTIONS_KEPT = 2

const STRATEGIES: Record<ReservationsDeps['strategy'], (parts: StrategyParts) => Strategy> = {
  batched: createBatched,
  conditional: createConditional,
}

/** Wires the core: flights, the queue, and the strategy that decides reserves. */
export function createReservations(deps: ReservationsDeps): Reservations {
  let flown_at = -Infinity
  const flights: FlightDeps = {
    db: deps.core,
    onClosed: deps.onClosed,
    known_locked: new Set(),
    strategy: deps.strategy,
    ttl_max_seconds: deps.ttl_max_seconds,
    observePhase(phase, duration_ms) {
      flown_at = performance.now()
      deps.metrics.phase(phase, duration_ms)
    },
  }
  const batcher = new Batcher({
    fly: (operations, options) => fly(flights, operations, options),
    log: deps.log,
    observeBatch: (size) => deps.metrics.batch(size),
    observeWait: (duration_ms) => deps.metrics.phase('wait', duration_ms),
    ...(deps.limits === undefined ? {} : { limits: deps.limits }),
  })
  const strategy = STRATEGIES[deps.strategy]({
    submit: (operation, signal) => batcher.submit(operation, signal),
    queueHasRoom: (requests) => batcher.hasRoom(requests),
    fly: (operations, options) => fly(flights, operations, options),
    flights_max: Math.max(1, connectionsOf(deps.core) - CONNECTIONS_KEPT),
  })
  const counted = (operation: Operation, outcome: Outcome): Outcome => {
    deps.metrics.outcome(operation.verb, codeOf(outcome), strategy.name)
    return outcome
  }
  const submit = async (operation: Operation, signal?: AbortSignal): Promise<Result<Reservation>> =>
    toReservation(counted(operation, await batcher.submit(operation, signal)))
  const inTransaction = async (tx: Knex.Transaction, operation: Operation): Promise<Outcome> =>
    counted(operation, await flyIn(flights, tx, operation))
  const toReserve = (request: ReserveRequest): Reserve => ({
    verb: 'reserve',
    id: request.id ?? newId(),
    lines: sumLines(request.lines),
    request,
    ttl_seconds: request.ttl_seconds ?? deps.ttl_seconds,
  })

  return {
    reserve(request, signal) {
      const operation = toReserve(request)
      return strategy.reserve(operation, signal).then((outcome) => counted(operation, outcome))
    },
    confirm: (request, signal) => submit(toConfirm(request), signal),
    release: (request, signal) => submit(toRelease(request), signal),
    extend: (request, signal) => submit({ verb: 'extend', ...request }, signal),
    reserveIn: (tx, request) => inTransaction(tx, toReserve(request)),
    confirmIn: async (tx, request) => toReservation(await inTransaction(tx, toConfirm(request))),
    releaseIn: async (tx, request) => toReservation(await inTransaction(tx, toRelease(request))),
    extendIn: async (tx, request) => toReservation(await inTransaction(tx, { verb: 'extend', ...request })),
    read: (id) => readReservation(deps.reads, id),
    list: (filter) => listReservations(deps.reads, filter),
    hasRoom: (requests) => strategy.hasRoom(requests) && batcher.hasRoom(requests),
    queue: () => batcher.state(),
    isBusy: () => performance.now() - flown_at < BUSY_MS,
    async stop() {
      await Promise.all([strategy.stop(), batcher.stop()])
    },
  }
}

function connectionsOf(pool: Knex): number {
  return (pool.client as { pool: { max: number } }).pool.max
}

function toConfirm({ id, on_expired = 'refuse' }: ConfirmRequest): Operation {
  return { verb: 'confirm', id, on_expired }
}

function toRelease({ id, reason = null }: { id: string; reason?: string | null }): Operation {
  return { verb: 'release', id, reason }
}

function toReservation(outcome: Outcome): Result<Reservation> {
  return outcome.ok ? ok(outcome.value.reservation) : outcome
}

function codeOf(outcome: Outcome): string {
  if (!outcome.ok) return outcome.refusal.code
  return outcome.value.replayed ? 'replayed' : 'ok'
}
