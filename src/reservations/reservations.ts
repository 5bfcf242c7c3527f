import type { Knex } from 'knex'
import type { Logger } from 'pino'
import { newId } from '../ids.ts'
import { ok, type Result } from '../errors.ts'
import type { Metrics } from '../metrics.ts'
import type { StrategyName } from '../strategy_names.ts'
import type { Weighted } from '../weights.ts'
import { Batcher, type QueueState } from './batcher.ts'
import { LIMITS, type BatcherLimits } from './batcher_limits.ts'
import { fly, flyIn, type FlightDeps, type FlightOptions } from './flight.ts'
import type { OnClosed, OnMoved } from './hooks.ts'
import { lookAndDraw } from './look.ts'
import { listReservations, readReservation, type ReservationFilter, type ReservationPage } from './list.ts'
import type { Operation, Outcome, Reserve } from './plan.ts'
import { sumLines, type Reservation, type Reserved, type ReserveRequest } from './reservation.ts'
import { createSplit } from './split.ts'
import { createConflictWatch } from './strategies/conflict_watch.ts'
import { createWay } from './strategies/strategies.ts'
import type { StrategyParts, StrategySettings } from './strategies/strategy.ts'
import { reading } from '../database/transaction.ts'
import { createEntrance, createTurns } from '../database/turns.ts'

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
  /** Tells strategies that keep counters elsewhere what this process has committed by other ways than these verbs. */
  noteMoved: OnMoved
  /** Whether so many more requests would be taken; asked before a body is read. */
  hasRoom(requests: number): boolean
  /** The same for reserves, whose strategy may have a line of its own. */
  hasRoomToReserve(requests: number): boolean
  queue(): QueueState
  /** Whether this process made or changed reservations in the last tenth of a second. */
  isBusy(): boolean
  /**
   * Connects what the strategy needs; to be awaited before the first reserve.
   *
   * @throws CannotStart in words for whoever starts the service
   */
  start(): Promise<void>
  /** Takes nothing more and resolves when everything taken is answered. */
  stop(): Promise<void>
}

export type ConfirmRequest = { id: string; on_expired?: 'refuse' | 'reacquire' }
export type ReleaseRequest = { id: string; reason?: string }
export type ExtendRequest = { id: string; ttl_seconds: number }

export type ReservationsDeps = {
  /**
   * Connections of the core: one for the batch in flight, one for the look at the next, two for lanes, one for the sweeper,
   * or three while nobody buys; strategies without a queue share them.
   */
  core: Knex
  /** Connections for reads. */
  reads: Knex
  /** The way to win the race for the counters, or several that buyers are split among. */
  strategy: StrategyName | readonly Weighted<StrategyName>[]
  /** Takes what a strategy certainly wrote nothing of and can't answer. */
  fallback?: StrategyName | undefined
  settings: StrategySettings
  /** How long a hold lives if the request does not say, or several times that buyers are split among. */
  ttl_seconds: number | readonly Weighted<number>[]
  ttl_max_seconds: number
  onClosed: OnClosed | undefined
  metrics: Metrics
  log: Logger
  limits?: Partial<BatcherLimits>
}

/** So long after a flight it still counts as busy: the next one has not begun yet. */
const BUSY_MS = 100

/** Connections that a strategy without the queue leaves to others: the batch in flight and the sweeper. */
const CONNECTIONS_KEPT = 2

/** Wires the core: flights, the queue, and the strategy that decides reserves. */
export function createReservations(deps: ReservationsDeps): Reservations {
  const flights: FlightDeps = {
    db: deps.core,
    onClosed: deps.onClosed,
    known_locked: new Set(),
    ttl_max_seconds: deps.ttl_max_seconds,
    observePhase: (phase, duration_ms) => deps.metrics.phase(phase, duration_ms),
  }
  const air = createAir(flights)
  const batcher = new Batcher({
    fly: air.fly,
    look: (operations) => reading(() => lookAndDraw(flights, flights.db, operations, false)),
    log: deps.log,
    observeBatch: (size) => deps.metrics.batch(size),
    observeWait: (duration_ms) => deps.metrics.phase('wait', duration_ms),
    ...(deps.limits === undefined ? {} : { limits: deps.limits }),
  })
  const chosen = weighted(deps.strategy)
  const way = createWay({
    chosen,
    fallback: deps.fallback,
    partsOf: partsMaker(deps, { flights, fly: air.fly, batcher }),
  })
  const watch = createConflictWatch({ rates: () => deps.metrics.strategyRates(), log: deps.log })
  const counted = (operation: Operation, outcome: Outcome): Outcome => {
    const { strategy, ttl_variant } = sentBy(operation, outcome) ?? { strategy: chosen[0]!.value, ttl_variant: null }
    deps.metrics.outcome(operation.verb, codeOf(outcome), strategy, 1, ttl_variant ?? '')
    return outcome
  }
  const submit = async (operation: Operation, signal?: AbortSignal): Promise<Result<Reservation>> =>
    toReservation(counted(operation, await batcher.submit(operation, signal)))
  const inTransaction = async (tx: Knex.Transaction, operation: Operation): Promise<Outcome> =>
    counted(operation, await flyIn(flights, tx, operation))
  const toReserve = reserveMaker(weighted(deps.ttl_seconds), way.nameOf)

  return {
    reserve(request, signal) {
      const operation = toReserve(request)
      return way.reserve(operation, signal).then((outcome) => counted(operation, outcome))
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
    noteMoved: (moved) => flights.onMoved?.(moved),
    hasRoom: (requests) => batcher.hasRoom(requests),
    hasRoomToReserve: (requests) => way.hasRoom(requests) && batcher.hasRoom(requests),
    queue: () => batcher.state(),
    isBusy: air.isBusy,
    async start() {
      await way.start()
      watch.start()
    },
    async stop() {
      watch.stop()
      await Promise.all([way.stop(), batcher.stop()])
    },
  }
}

type Fly = (operations: readonly Operation[], options: FlightOptions) => Promise<Map<Operation, Outcome>>

/** Flies, and knows whether anybody does: a flight that takes long, on a machine or a database that stalls, is one too. */
function createAir(flights: FlightDeps): { fly: Fly; isBusy(): boolean } {
  let flying = 0
  let landed_at = -Infinity
  return {
    async fly(operations, options) {
      flying += 1
      try {
        return await fly(flights, operations, options)
      } finally {
        flying -= 1
        landed_at = performance.now()
      }
    },
    isBusy: () => flying > 0 || performance.now() - landed_at < BUSY_MS,
  }
}

/** What each strategy gets; all of them share the queue and the connections. */
function partsMaker(
  { core, settings, metrics, log, limits }: ReservationsDeps,
  { flights, fly: flyOn, batcher }: { flights: FlightDeps; fly: Fly; batcher: Batcher },
): (name: StrategyName) => StrategyParts {
  const flights_max = Math.max(1, connectionsOf(core) - CONNECTIONS_KEPT)
  const { answer_ms_max, wait_ms_max } = { ...LIMITS, ...limits }
  const turns = createTurns({
    at_once_max: flights_max,
    answer_ms_max,
    ...(limits?.wait_ms_max === undefined ? {} : { wait_ms_max: limits.wait_ms_max }),
  })
  const shared = {
    submit: (operation: Operation, signal?: AbortSignal) => batcher.submit(operation, signal),
    queueHasRoom: (requests: number) => batcher.hasRoom(requests),
    fly: (operations: readonly Operation[], options: Omit<FlightOptions, 'deadline'>) =>
      flyOn(operations, { ...options, deadline: performance.now() + wait_ms_max }),
    known_locked: flights.known_locked,
    onMoved(listen: OnMoved) {
      const before = flights.onMoved
      flights.onMoved = (moved) => {
        before?.(moved)
        listen(moved)
      }
    },
    flights_max,
    db: core,
    settings,
    log,
  }
  return (name) => ({ ...shared, turns: createEntrance(turns), meter: metrics.strategy(name) })
}

/** Makes operations of requests, each with the strategy and the hold time that its buyer gets. */
function reserveMaker(
  times: readonly Weighted<number>[],
  nameOf: (request: ReserveRequest, id: string) => string,
): (request: ReserveRequest) => Reserve {
  const is_split = times.length > 1
  // Made once, and not for each request.
  const holds = times.map(({ value, weight }) => ({
    value: { seconds: value, variant: is_split ? String(value) : null },
    weight,
  }))
  const holdOf = createSplit(holds, 'ttl')
  return (request) => {
    const id = request.id ?? newId()
    const hold = request.ttl_seconds === undefined ? holdOf(request, id) : undefined
    return {
      verb: 'reserve',
      id,
      lines: sumLines(request.lines),
      request,
      ttl_seconds: hold?.seconds ?? request.ttl_seconds!,
      strategy: nameOf(request, id),
      ttl_variant: hold?.variant ?? null,
    }
  }
}

function weighted<T extends string | number>(choice: T | readonly Weighted<T>[]): readonly Weighted<T>[] {
  return typeof choice === 'object' ? choice : [{ value: choice, weight: 1 }]
}

/** What an outcome is counted under: the reservation's own, also when its end is told by a process that works otherwise. */
function sentBy(operation: Operation, outcome: Outcome): Pick<Reservation, 'strategy' | 'ttl_variant'> | undefined {
  if (operation.verb === 'reserve') return operation
  return outcome.ok ? outcome.value.reservation : undefined
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
