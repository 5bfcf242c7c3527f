import type { Logger } from 'pino'
import { DatabaseUnavailable, refused, type Refusal } from '../errors.ts'
import { createAnswers } from './answers.ts'
import { LIMITS, type BatcherLimits } from './batcher_limits.ts'
import { Blocked, KEYS, subjectOfReservation, subjectOfSku } from './blocked.ts'
import type { FlightOptions } from './flight.ts'
import { AHEAD_COMMIT_MS_MAX, AHEAD_SHARE, createLookAhead, type LookAhead } from './look_ahead.ts'
import type { Looked } from './look.ts'
import type { Operation, Outcome } from './plan.ts'

/**
 * One first-in-first-out queue, one transaction in flight. While a batch flies the next one gathers; there is no timer, so
 * an idle service adds no delay. Invariant: every request that was taken gets exactly one answer, and requests of one SKU
 * are decided in the order in which they came.
 *
 * A hot row takes one commit at a time, so a transaction for each request is bound to a few thousand a second however many
 * connections there are; many requests per commit are not.
 *
 * Requests for a row that another session keeps locked wait in a lane of their own, so that one stuck row does not stop
 * the shop.
 */

export type BatcherOptions = {
  fly: (operations: readonly Operation[], options: FlightOptions) => Promise<Map<Operation, Outcome>>
  /** Looks at what operations rest on, for a flight to come; without it every flight looks for itself. */
  look?: (operations: readonly Operation[]) => Promise<Looked>
  log: Logger
  observeBatch: (size: number) => void
  observeWait: (duration_ms: number) => void
  limits?: Partial<BatcherLimits>
}

/** A batch that meets a lock nobody holds any more is tried so often before its halves are run apart. */
const TRIES_MAX = 3

/** What the last flight counts for in the average, and how many average flights a request is left for its own. */
const FLIGHT_WEIGHT = 0.2
const FLIGHT_MARGIN = 2

/** How often waiting requests are looked through while a flight takes long. */
const WATCH_INTERVAL_MS = 100

type Waiting = {
  operation: Operation
  signal: AbortSignal | undefined
  arrived: number
  tries: number
  answer: (outcome: Outcome) => void
  fail: (error: unknown) => void
}

/** `free`: its last flight met no lock. */
type Lane = { subject: string; waiting: Waiting[]; flying: boolean; free: boolean }

export type QueueState = {
  length: number
  length_max: number
  oldest_wait_ms: number
  /** Rows that another session keeps locked, and how many requests wait for each. */
  lanes: { subject: string; length: number }[]
}

export class Batcher {
  readonly #options: BatcherOptions
  readonly #limits: BatcherLimits
  #queue: Waiting[] = []
  readonly #lanes = new Map<string, Lane>()
  #running = false
  #lanes_flying = 0
  #stopping = false
  readonly #flights = new Set<Waiting[]>()
  readonly #ahead: LookAhead
  /** How long a flight takes, as a moving average. */
  #flight_ms = 0
  /** How long it takes from the last statement of one to its end, likewise. */
  #commit_ms = 0
  readonly #answers = createAnswers(() => this.#noteIdle())
  #watch: NodeJS.Timeout | undefined
  #whenIdle: (() => void)[] = []

  constructor(options: BatcherOptions) {
    this.#options = options
    this.#limits = { ...LIMITS, ...options.limits }
    this.#ahead = createLookAhead(options.look)
  }

  /**
   * Queues an operation; answers when its transaction has committed.
   *
   * @returns its outcome; `overloaded` if the queue is full, if it waited longer than the limits allow, or if `signal` was
   *   aborted before it was executed
   * @throws what the operation alone threw: a bug
   */
  submit(operation: Operation, signal?: AbortSignal): Promise<Outcome> {
    if (!this.hasRoom(1)) {
      return Promise.resolve(overloaded(this.#stopping ? 'This instance is stopping.' : 'The queue is full.'))
    }
    return new Promise((answer, fail) => {
      this.#queue.push({ operation, signal, arrived: performance.now(), tries: 0, answer, fail })
      this.#start()
    })
  }

  /** Whether so many more requests would be taken. */
  hasRoom(requests: number): boolean {
    return !this.#stopping && this.#queue.length + requests <= this.#limits.length_max
  }

  /** How full the queue is, and which rows are waited for apart. */
  state(): QueueState {
    const oldest = this.#queue[0]
    return {
      length: this.#queue.length,
      length_max: this.#limits.length_max,
      oldest_wait_ms: oldest === undefined ? 0 : performance.now() - oldest.arrived,
      lanes: Array.from(this.#lanes.values(), ({ subject, waiting }) => ({ subject, length: waiting.length })),
    }
  }

  /** Takes nothing more and resolves when everything taken is answered. */
  async stop(): Promise<void> {
    this.#stopping = true
    while (!this.#isIdle()) await new Promise<void>((resolve) => this.#whenIdle.push(resolve))
  }

  #isIdle(): boolean {
    const waiting = [...this.#lanes.values()].some((lane) => lane.flying || lane.waiting.length > 0)
    return !this.#running && this.#queue.length === 0 && !this.#answers.isPending() && !waiting
  }

  #noteIdle(): void {
    if (!this.#isIdle()) return
    clearInterval(this.#watch)
    this.#watch = undefined
    for (const resolve of this.#whenIdle.splice(0)) resolve()
  }

  /** A database that answers nothing must not keep clients waiting: see {@link BatcherLimits}. */
  #answerOverdue(): void {
    const now = performance.now()
    for (const queue of [this.#queue, ...Array.from(this.#lanes.values(), (lane) => lane.waiting)]) {
      // In order of arrival, so the first that may wait on ends the search.
      const kept = queue.findIndex((request) => now - request.arrived <= this.#waitMax())
      for (const request of queue.splice(0, kept < 0 ? queue.length : kept)) this.#drop(request, now)
    }
    for (const batch of this.#flights) {
      for (const request of batch) {
        if (now - request.arrived <= this.#limits.answer_ms_max) continue
        request.answer(refused({ code: 'database_unavailable', outcome: 'unknown' }))
      }
    }
  }

  #start(): void {
    this.#watch ??= setInterval(() => this.#answerOverdue(), WATCH_INTERVAL_MS)
    if (this.#running) return
    this.#running = true
    // All that this turn of the event loop has read off its sockets shares the first batch.
    setImmediate(() => void this.#run())
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      const size_max = this.#ahead.lengthFrom(this.#queue[0]?.operation) ?? this.#limits.batch_size_max
      const batch = this.#assemble(this.#queue, size_max, true)
      const looked = this.#ahead.take(operationsOf(batch))
      if (batch.length === 0) continue
      const started = performance.now()
      await this.#fly(batch, undefined, looked)
      this.#flight_ms += (performance.now() - started - this.#flight_ms) * FLIGHT_WEIGHT
    }
    this.#running = false
    this.#noteIdle()
  }

  /** Looks at what would take off if the batch in flight had landed. */
  #lookAhead(flying: number): void {
    if (this.#lanes.size > 0 || this.#commit_ms > AHEAD_COMMIT_MS_MAX) return
    // Of a queue that is dropped at its head the look would be of nobody.
    if (this.state().oldest_wait_ms > this.#waitMax() / 2) return
    const { batch_size_max, batch_lines_max } = this.#limits
    const operations: Operation[] = []
    let lines = 0
    for (const { operation } of this.#queue) {
      if (operations.length >= batch_size_max || lines >= batch_lines_max) break
      lines += linesOf(operation)
      operations.push(operation)
    }
    if (operations.length >= flying * AHEAD_SHARE) this.#ahead.begin(operations)
  }

  /** Takes the next batch off a queue; who waited too long or left is answered, who needs a locked row is put apart. */
  #assemble(queue: Waiting[], size_max: number, divert: boolean): Waiting[] {
    const batch: Waiting[] = []
    const now = performance.now()
    let lines = 0
    let taken = 0
    for (const request of queue) {
      if (batch.length >= size_max || (lines >= this.#limits.batch_lines_max && batch.length > 0)) break
      taken += 1
      if (this.#drop(request, now)) continue
      const subject = divert ? this.#laneOf(request.operation) : undefined
      if (subject !== undefined) {
        this.#putApart(request, subject)
        continue
      }
      lines += linesOf(request.operation)
      batch.push(request)
    }
    queue.splice(0, taken)
    return batch
  }

  #drop(request: Waiting, now: number): boolean {
    if (request.signal?.aborted === true) {
      request.answer(overloaded('The client left before this was executed.'))
      return true
    }
    if (now - request.arrived <= this.#waitMax()) return false
    request.answer(overloaded('This waited for too long and was not executed.'))
    return true
  }

  /** What takes off now is answered a flight later, and then some: where flights take long, waiting must end sooner. */
  #waitMax(): number {
    const { wait_ms_max } = this.#limits
    return wait_ms_max - Math.min(this.#flight_ms * FLIGHT_MARGIN, wait_ms_max / 2)
  }

  #laneOf(operation: Operation): string | undefined {
    if (this.#lanes.size === 0) return undefined
    const subjects =
      operation.verb === 'reserve'
        ? operation.lines.map((line) => subjectOfSku(line.sku))
        : [subjectOfReservation(operation.id)]
    return subjects.find((subject) => this.#lanes.has(subject))
  }

  async #fly(batch: Waiting[], lane: Lane | undefined, looked?: Promise<Looked>): Promise<void> {
    const started = performance.now()
    let sent: number | undefined
    this.#flights.add(batch)
    this.#options.observeBatch(batch.length)
    this.#options.observeWait(started - (batch[0]?.arrived ?? started))
    const onSent = () => {
      sent = performance.now()
      this.#lookAhead(batch.length)
    }
    try {
      const outcomes = await this.#options.fly(operationsOf(batch), {
        deadline: started + this.#limits.wait_ms_max,
        looked,
        ...(lane === undefined ? { apart: this.#lanes, onSent } : { waits_for: lane.subject }),
      })
      if (sent !== undefined) this.#commit_ms += (performance.now() - sent - this.#commit_ms) * FLIGHT_WEIGHT
      // After the next batch has taken off, unless they are few.
      this.#answers.give(batch.map((request) => () => settle(request, outcomes.get(request.operation))))
      if (lane !== undefined) lane.free = true
    } catch (error) {
      if (lane !== undefined) lane.free = false
      await this.#recover(batch, lane, error)
    } finally {
      this.#flights.delete(batch)
    }
  }

  async #recover(batch: Waiting[], lane: Lane | undefined, error: unknown): Promise<void> {
    if (error instanceof DatabaseUnavailable) {
      this.#options.log.error({ err: error, requests: batch.length }, 'a batch lost its database')
      for (const request of batch) request.answer(refused({ code: 'database_unavailable', outcome: error.outcome }))
      return
    }
    const tried = Math.max(...batch.map((request) => (request.tries += 1)))
    if (error instanceof Blocked && (error.apart.size > 0 || tried < TRIES_MAX)) {
      if (lane === undefined) this.#split(batch, error)
      else this.#keepWaiting(batch, lane, error)
      return
    }
    const alone = batch[0]
    if (batch.length > 1) {
      // One bad request must fail alone, and finding it must not take a transaction for each of the others.
      this.#options.log.warn({ err: error, requests: batch.length }, 'a batch failed; its halves are run apart')
      const middle = batch.length >> 1
      for (const half of [batch.slice(0, middle), batch.slice(middle)]) {
        const now = performance.now()
        const kept = half.filter((request) => !this.#drop(request, now))
        if (kept.length > 0) await this.#fly(kept, lane)
      }
    } else if (error instanceof Blocked) {
      alone?.answer(overloaded('Another session holds a row that this needs.'))
    } else {
      alone?.fail(error)
    }
  }

  /** Who needs the locked row waits apart; the rest goes back to the head of the queue, in order. */
  #split(batch: Waiting[], { apart }: Blocked): void {
    this.#options.log.warn(
      { subjects: [...new Set(apart.values())].slice(0, 10), requests: apart.size },
      'rows are locked by another session; their requests wait apart',
    )
    const rest: Waiting[] = []
    for (const request of batch) {
      const subject = apart.get(request.operation)
      if (subject === undefined) rest.push(request)
      else this.#putApart(request, subject)
    }
    this.#queue.unshift(...rest)
  }

  #putApart(request: Waiting, subject: string): void {
    let lane = this.#lanes.get(subject)
    if (lane === undefined) {
      if (this.#lanes.size >= this.#limits.lanes_max) this.#forgetIdleLane()
      if (this.#lanes.size >= this.#limits.lanes_max) {
        request.answer(overloaded('Too many rows are held by other sessions.'))
        return
      }
      lane = { subject, waiting: [], flying: false, free: false }
      this.#lanes.set(subject, lane)
    }
    let length = 0
    for (const { waiting } of this.#lanes.values()) length += waiting.length
    if (length >= this.#limits.lanes_length_max) {
      request.answer(overloaded('Another session holds a row that this needs, and too many wait for it.'))
      return
    }
    lane.waiting.push(request)
    this.#startLanes()
  }

  #forgetIdleLane(): void {
    for (const [subject, lane] of this.#lanes) {
      if (lane.flying || lane.waiting.length > 0) continue
      this.#lanes.delete(subject)
      return
    }
  }

  #startLanes(): void {
    for (const lane of this.#lanes.values()) {
      if (this.#lanes_flying >= this.#limits.lanes_flying_max) return
      if (!lane.flying && lane.waiting.length > 0) void this.#runLane(lane)
    }
  }

  /** One flight of a lane, then another lane's turn. */
  async #runLane(lane: Lane): Promise<void> {
    lane.flying = true
    this.#lanes_flying += 1
    const batch = this.#assemble(lane.waiting, lane.subject === KEYS ? 1 : this.#limits.batch_size_max, false)
    if (batch.length > 0) await this.#fly(batch, lane)
    lane.flying = false
    this.#lanes_flying -= 1
    // To the end of the line, so that every lane gets its turn. An empty one stays while its row is still locked: the next
    // request for it must not stall the main queue to find that out again.
    if (this.#lanes.get(lane.subject) === lane) {
      this.#lanes.delete(lane.subject)
      if (lane.waiting.length > 0 || (!lane.free && lane.subject !== KEYS)) this.#lanes.set(lane.subject, lane)
    }
    this.#startLanes()
    this.#noteIdle()
  }

  /** Who needs another locked row than the lane's waits for that one from now on. */
  #keepWaiting(batch: Waiting[], lane: Lane, { apart }: Blocked): void {
    const staying: Waiting[] = []
    for (const request of batch) {
      const subject = apart.get(request.operation)
      if (subject !== undefined && subject !== lane.subject) this.#putApart(request, subject)
      // Alone, and its key still in flight elsewhere after the lock timeout.
      else if (subject === KEYS) request.answer(refused({ code: 'idempotency_key_in_use' }))
      else staying.push(request)
    }
    lane.waiting.unshift(...staying)
  }
}

function operationsOf(batch: readonly Waiting[]): Operation[] {
  return batch.map((request) => request.operation)
}

function linesOf(operation: Operation): number {
  return operation.verb === 'reserve' ? operation.lines.length : 1
}

function settle(request: Waiting, outcome: Outcome | undefined): void {
  if (outcome === undefined) request.fail(new Error('a flight left an operation without an outcome'))
  else request.answer(outcome)
}

function overloaded(detail: string): { ok: false; refusal: Refusal } {
  return refused({ code: 'overloaded', detail })
}
