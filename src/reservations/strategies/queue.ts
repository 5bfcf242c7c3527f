import { setTimeout as delay } from 'node:timers/promises'
import { describeError, isUnavailable } from '../../database/sqlstate.ts'
import { DatabaseUnavailable, refused } from '../../errors.ts'
import type { Outcome, Reserve } from '../plan.ts'
import { openJobs, type Jobs } from './queue_jobs.ts'
import { QUEUE_LIMITS, type QueueLimits } from './queue_limits.ts'
import { startWorkers, type Workers } from './queue_workers.ts'
import type { Strategy, StrategyParts } from './strategy.ts'

/**
 * Each reserve is a job in a durable queue in the same PostgreSQL, first in, first out over all processes; a request waits
 * for its job, whichever process runs it. That costs a reserve three more writes, and buys that a worker may die: another one
 * runs its jobs within the time that requests wait.
 *
 * Invariant: every request is answered once. `none` is said only of a job that ended without writing, or was withdrawn
 * before it began; of one whose end is not known in time it is `unknown`.
 */

/** Requests that share the statement which adds their jobs. */
const ADDED_AT_ONCE_MAX = 300
/** Jobs that are asked about in one statement. */
const ASKED_AT_ONCE_MAX = 500

type Waiting = {
  operation: Reserve
  signal: AbortSignal | undefined
  arrived: number
  /** `sent`: its job may exist, and anybody may have it. `here`: this process runs it. */
  state: 'gathered' | 'sent' | 'here'
  answer: (outcome: Outcome) => void
  fail: (error: unknown) => void
}

type Line = {
  parts: StrategyParts
  limits: QueueLimits
  /** By job, in the order of arrival. */
  waiting: Map<string, Waiting>
  /** Those whose jobs are yet to be added. */
  gathered: Waiting[]
  open: { jobs: Jobs; workers: Workers } | undefined
  adding: Promise<void> | undefined
  watch: NodeJS.Timeout | undefined
  looking: Promise<void> | undefined
  /** Since when the database could not be asked. */
  silent_since: number | undefined
  /** Since when a look waits for the database, which has answered nothing else either. */
  unanswered_since: number | undefined
  taken_back: number
  stopping: boolean
  onEmpty: (() => void) | undefined
}

export function createQueue(parts: StrategyParts, limits: Partial<QueueLimits> = {}): Strategy {
  const line: Line = {
    parts,
    limits: { ...QUEUE_LIMITS, ...limits },
    waiting: new Map(),
    gathered: [],
    open: undefined,
    adding: undefined,
    watch: undefined,
    looking: undefined,
    silent_since: undefined,
    unanswered_since: undefined,
    taken_back: -Infinity,
    stopping: false,
    onEmpty: undefined,
  }
  const hasRoom = (requests: number) =>
    line.open !== undefined && !line.stopping && line.waiting.size + requests <= line.limits.length_max
  return {
    name: 'queue',
    reserve(operation, signal) {
      if (!hasRoom(1)) {
        return Promise.resolve(refused({ code: 'overloaded', detail: 'Too many reservations are in flight.' }))
      }
      return new Promise((answer, fail) => {
        const arrived = performance.now()
        const request: Waiting = { operation, signal, arrived, state: 'gathered', answer, fail }
        line.waiting.set(operation.id, request)
        line.gathered.push(request)
        line.watch ??= setInterval(() => lookOnce(line), line.limits.watch_ms)
        addGathered(line)
      })
    },
    hasRoom,
    start: () => start(line),
    stop: () => stop(line),
  }
}

async function start(line: Line): Promise<void> {
  if (line.open !== undefined) return
  const { parts, limits } = line
  const jobs = await openJobs({
    db: parts.db,
    log: parts.log,
    limits,
    onAsked(is_available, began) {
      line.silent_since = is_available ? undefined : (line.silent_since ?? began)
      if (line.unanswered_since !== undefined) line.unanswered_since = performance.now()
    },
  })
  const noteDeadLetters = async (): Promise<void> => parts.meter.level('dead_letters', await jobs.countDeadLetters())
  await noteDeadLetters()
  const workers = startWorkers({
    ...parts,
    jobs,
    limits,
    at_once_max: Math.min(parts.settings.queue_workers, parts.flights_max),
    onTaken: (id) => setState(line, id, 'here'),
    onOutcome: (id, outcome) => reply(line, id, outcome),
    onLost(id) {
      setState(line, id, 'sent')
      workers.wake()
    },
    onDead(id, error) {
      settle(line, id)?.fail(error)
      noteDeadLetters().catch(() => undefined)
    },
  })
  line.open = { jobs, workers }
}

/** Takes a request out of the line; undefined if it has been answered. */
function settle(line: Line, id: string): Waiting | undefined {
  const request = line.waiting.get(id)
  line.waiting.delete(id)
  if (line.waiting.size === 0) {
    clearInterval(line.watch)
    line.watch = undefined
    line.onEmpty?.()
  }
  return request
}

function setState(line: Line, id: string, state: Waiting['state']): void {
  const request = line.waiting.get(id)
  if (request !== undefined) request.state = state
}

function reply(line: Line, id: string, outcome: Outcome): void {
  settle(line, id)?.answer(outcome)
}

function replyUnknown(line: Line, id: string): void {
  reply(line, id, refused({ code: 'database_unavailable', outcome: 'unknown' }))
}

function replyUnexecuted(line: Line, id: string, detail: string): void {
  reply(line, id, refused({ code: 'overloaded', detail }))
}

/** Adds what has gathered, one statement after the other: two at once could turn the order of arrival around. */
function addGathered(line: Line): void {
  if (line.gathered.length === 0) return
  line.adding ??= addAll(line).finally(() => {
    line.adding = undefined
    // Who came at the very end.
    addGathered(line)
  })
}

async function addAll(line: Line): Promise<void> {
  // All that this turn of the event loop has read off its sockets shares the first statement.
  await new Promise((resolve) => setImmediate(resolve))
  while (line.gathered.length > 0) {
    const batch = line.gathered.splice(0, ADDED_AT_ONCE_MAX).filter(({ operation }) => line.waiting.has(operation.id))
    if (batch.length > 0) await add(line, batch)
  }
}

async function add(line: Line, batch: readonly Waiting[]): Promise<void> {
  const started = performance.now()
  for (const request of batch) request.state = 'sent'
  try {
    await line.open?.jobs.add(
      batch.map(({ operation, arrived }) => ({ operation, waited_ms: Math.ceil(started - arrived) })),
    )
    line.parts.meter.timing('add', performance.now() - started)
    line.open?.workers.wake()
  } catch (error) {
    if (error instanceof DatabaseUnavailable) {
      const { outcome } = error
      for (const { operation } of batch) reply(line, operation.id, refused({ code: 'database_unavailable', outcome }))
    } else if (batch.length === 1) {
      for (const { operation } of batch) settle(line, operation.id)?.fail(error)
    } else {
      // What can't be added must fail alone.
      const middle = batch.length >> 1
      for (const half of [batch.slice(0, middle), batch.slice(middle)]) await add(line, half)
    }
  }
}

/** Looks through the line: who waited too long or has left, and whose job others have ended. */
function lookOnce(line: Line): void {
  const now = performance.now()
  line.parts.meter.level('waiting', line.waiting.size)
  // Also while the look before it has no answer: a database that is frozen gives none.
  const found = sortOut(line, now)
  if (line.looking !== undefined) return
  line.unanswered_since = now
  line.looking = lookAfter(line, found, now).finally(() => {
    line.unanswered_since = undefined
    line.looking = undefined
  })
}

type Found = { unwanted: string[]; oldest: string[]; takes_long: boolean }

async function lookAfter(line: Line, found: Found, now: number): Promise<void> {
  const { jobs, workers } = line.open!
  const { limits, parts } = line
  try {
    if (found.unwanted.length > 0) await withdraw(line, jobs, found.unwanted, UNWANTED)
    if (found.oldest.length > 0) await askAbout(line, jobs, found.oldest)
    if (found.takes_long && now - line.taken_back > limits.take_back_ms) {
      line.taken_back = now
      await jobs.takeBack()
      workers.wake()
    }
  } catch (error) {
    if (error instanceof DatabaseUnavailable || isUnavailable(error)) return
    parts.log.warn({ error: describeError(error) }, 'jobs could not be looked after')
  }
}

const STOPPING = 'This instance is stopping.'
const UNWANTED = 'This waited for too long, or its client left, and it was not executed.'

/**
 * Answers whom nothing can be told any more, and names those whose jobs are to be withdrawn or asked about: the oldest, because
 * whoever takes jobs takes those first.
 */
function sortOut(line: Line, now: number): Found {
  const { limits } = line
  const found: Found = { unwanted: [], oldest: [], takes_long: false }
  const silent_since = Math.min(line.silent_since ?? Infinity, line.unanswered_since ?? Infinity)
  const is_silent = now - silent_since > limits.silence_ms
  for (const [id, { state, arrived, signal }] of line.waiting) {
    const waited_ms = now - arrived
    const is_unwanted = waited_ms > limits.wait_ms_max || signal?.aborted === true
    const is_in_vain = is_silent && waited_ms > limits.silence_ms
    if (state === 'gathered') {
      if (is_in_vain) reply(line, id, refused({ code: 'database_unavailable', outcome: 'none' }))
      else if (is_unwanted) replyUnexecuted(line, id, UNWANTED)
    } else if (is_in_vain || waited_ms > limits.answer_ms_max) replyUnknown(line, id)
    else if (state === 'sent') {
      if (is_unwanted) found.unwanted.push(id)
      if (found.oldest.length < ASKED_AT_ONCE_MAX) found.oldest.push(id)
      if (waited_ms > limits.take_back_ms) found.takes_long = true
    }
  }
  return found
}

async function withdraw(line: Line, jobs: Jobs, ids: readonly string[], detail: string): Promise<void> {
  // What has begun goes on, and how it ends can still be told.
  for (const id of await jobs.withdraw(ids)) replyUnexecuted(line, id, detail)
}

async function askAbout(line: Line, jobs: Jobs, ids: readonly string[]): Promise<void> {
  for (const ended of await jobs.readEnded(ids)) {
    if ('error' in ended) settle(line, ended.id)?.fail(ended.error)
    else reply(line, ended.id, ended.outcome)
  }
}

/** Goes on until everything taken is answered, for a bounded time; what is left then is withdrawn, or unknown. */
async function stop(line: Line): Promise<void> {
  line.stopping = true
  if (line.open === undefined) return
  const { jobs, workers } = line.open
  if (line.waiting.size > 0) {
    const limit = new AbortController()
    const empty = new Promise<void>((resolve) => (line.onEmpty = resolve))
    await Promise.race([
      empty,
      delay(line.limits.stop_ms_max, undefined, { signal: limit.signal }).catch(() => undefined),
    ])
    limit.abort()
  }
  for (const [id, { state }] of line.waiting) if (state === 'gathered') replyUnexecuted(line, id, STOPPING)
  const left = [...line.waiting.keys()]
  if (left.length > 0) await withdraw(line, jobs, left, STOPPING).catch(() => undefined)
  for (const id of line.waiting.keys()) replyUnknown(line, id)
  await Promise.all([line.adding, line.looking])
  await workers.stop()
  await jobs.close()
}
