import {
  AggregatorRegistry,
  Counter,
  Gauge,
  Histogram,
  Registry,
  collectDefaultMetrics,
  type Aggregator,
  type MetricObjectWithValues,
  type MetricValue,
} from 'prom-client'
import { createTallies, type Rate } from './tallies.ts'

/**
 * What the service counts and times, in one registry of its own. Observing is cheap enough for every request: numbers are
 * added in place, and become samples only when somebody scrapes.
 */

export type Verb = 'reserve' | 'confirm' | 'release' | 'extend' | 'expire'

export type RequestMeter = (status: number, duration_ms: number) => void

/** What one strategy counts and times. Times are in milliseconds. */
export type StrategyMeter = {
  /** A try to write one reservation. */
  attempt(): void
  /** A try that met somebody who was faster: nothing was written by it. */
  conflict(): void
  /** Another try after a conflict. */
  retry(): void
  /** A reserve handed to another strategy, because this one could not answer. */
  fallback(): void
  /** How long a lock of the strategy's own was waited for. */
  lockWait(duration_ms: number): void
  /** How long something took that only this strategy does, such as `redis` or `database`. */
  timing(what: string, duration_ms: number): void
  /** What something of the strategy's own is at now, such as `drift_units` or `memory_bytes`. */
  level(what: string, value: number): void
}

/** What a strategy met in the last minute, in this process. */
export type StrategyRate = { strategy: string; attempts: number; conflicts: number }

/** The labels by which outcomes are told apart; the variant is empty where hold times are not split. */
export type OutcomeLabel = 'verb' | 'code' | 'strategy' | 'variant'

export type QueueGauges = { length: number; length_max: number; oldest_wait_ms: number }
export type PoolGauges = { used: number; free: number; pending: number }
export type ExpiryGauges = { overdue: number; oldest_overdue_seconds: number; set_aside: number }

export type Metrics = {
  registry: Registry
  /** What counts and times the requests of one method and route, by its pattern, never its path. */
  meter(method: string, route: string): RequestMeter
  /** How a verb ended: `ok`, `replayed` or the refusal's code; `variant` is the hold's `ttl_variant`. */
  outcome(verb: Verb, code: string, strategy: string, count?: number, variant?: string): void
  /** Outcomes of the last minute, of this process. */
  rates(): Rate<OutcomeLabel>[]
  /** What one strategy counts and times; asked for once. */
  strategy(name: string): StrategyMeter
  strategyRates(): StrategyRate[]
  /** How many requests shared a transaction. */
  batch(size: number): void
  /** Where a batch spent its time: `wait`, `read` or `write` (COMMIT included). */
  phase(name: string, duration_ms: number): void
  /** A run of the sweeper that ended well. */
  swept(run: { expired: number; set_aside: number; duration_ms: number }): void
  /** A run of the sweeper that threw. */
  sweepFailed(): void
  /** Each `watch` names where a gauge reads from when it is scraped. */
  watchQueue(read: () => QueueGauges): void
  /** @returns what notes that a connection was handed out, and how many were in use with it */
  watchPool(name: string, read: () => PoolGauges): (in_use: number) => void
  /** May ask the database; when it can't be asked the gauges keep what they had. */
  watchExpiry(read: () => Promise<ExpiryGauges>): void
  /** The exposition that Prometheus reads. */
  text(): Promise<string>
  /** All of it as data, for {@link sumOf}. */
  snapshot(): Promise<Snapshot>
}

/** The metrics of a process as they were at one moment. */
export type Snapshot = MetricObjectWithValues<MetricValue<string>>[]

/** Several processes as if they were one: each metric by its own aggregator, most of them as a sum. */
export function sumOf(snapshots: readonly Snapshot[]): Promise<Snapshot> {
  return AggregatorRegistry.aggregate([...snapshots]).getMetricsAsJSON()
}

/** The exposition of a {@link sumOf}. */
export function textOf(sum: Snapshot): Promise<string> {
  return AggregatorRegistry.aggregate([sum]).metrics()
}

/** What is left of a process that ended: it uses nothing any more, but what it has counted must never be taken back. */
export function legacyOf(snapshot: Snapshot): Snapshot {
  // Metrics name their type by a word, although prom-client declares a number.
  return snapshot.filter(({ type }) => ['counter', 'histogram'].includes(String(type)))
}

const REQUEST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
const PHASE_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1]
const BATCH_SIZES = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]

/**
 * The registry and its named metrics.
 *
 * @param options.process_metrics false leaves out memory, event loop and garbage collection, which start observers that
 *   live as long as the process
 */
export function createMetrics(options: { process_metrics?: boolean } = {}): Metrics {
  const registry = new Registry()
  if (options.process_metrics ?? true) collectDefaultMetrics({ register: registry })
  return {
    registry,
    ...requestMetrics(registry),
    ...outcomeMetrics(registry),
    ...strategyMetrics(registry),
    ...batchMetrics(registry),
    ...sweepMetrics(registry),
    ...poolMetrics(registry),
    ...watchedMetrics(registry),
    text: () => registry.metrics(),
    snapshot: () => registry.getMetricsAsJSON(),
  }
}

function requestMetrics(registry: Registry): Pick<Metrics, 'meter'> {
  const counts = new Map<string, { labels: { method: string; route: string }; by_status: Map<number, number> }>()
  new Counter({
    name: 'stock_http_requests_total',
    help: 'HTTP requests answered, by method, route pattern and status.',
    labelNames: ['method', 'route', 'status'],
    registers: [registry],
    collect() {
      this.reset()
      for (const { labels, by_status } of counts.values()) {
        for (const [status, count] of by_status) this.inc({ ...labels, status: String(status) }, count)
      }
    },
  })
  const flushes: (() => void)[] = []
  const durations = new Histogram({
    name: 'stock_http_request_duration_seconds',
    help: 'Time from the request head to the answer, by method and route pattern.',
    labelNames: ['method', 'route'],
    buckets: REQUEST_SECONDS,
    registers: [registry],
    collect() {
      for (const flush of flushes) flush()
    },
  })
  return {
    meter(method, route) {
      const key = `${method} ${route}`
      const { by_status } = counts.get(key) ?? { by_status: new Map<number, number>() }
      counts.set(key, { labels: { method, route }, by_status })
      const child = durations.labels(method, route)
      const { observe, flush } = gather((seconds) => child.observe(seconds))
      flushes.push(flush)
      return (status, duration_ms) => {
        by_status.set(status, (by_status.get(status) ?? 0) + 1)
        observe(duration_ms / 1000)
      }
    },
  }
}

function outcomeMetrics(registry: Registry): Pick<Metrics, 'outcome' | 'rates'> {
  const outcomes = createTallies<OutcomeLabel>(['verb', 'code', 'strategy', 'variant'])
  new Counter({
    name: 'stock_outcomes_total',
    help: 'How reservations, confirmations, releases, extensions and expiries ended, by strategy and variant.',
    labelNames: outcomes.labels,
    registers: [registry],
    collect() {
      this.reset()
      for (const { labels, count } of outcomes.all()) {
        const { variant, ...others } = labels
        this.inc(variant === '' ? others : labels, count)
      }
    },
  })
  return {
    outcome: (verb, code, strategy, count = 1, variant = '') => outcomes.add(count, verb, code, strategy, variant),
    rates: () => outcomes.lastMinute(),
  }
}

const STRATEGY_EVENTS = ['attempt', 'conflict', 'retry', 'fallback'] as const

function strategyMetrics(registry: Registry): Pick<Metrics, 'strategy' | 'strategyRates'> {
  const events = createTallies(['strategy', 'event'])
  new Counter({
    name: 'stock_strategy_events_total',
    help: 'What strategies met: attempts to write, conflicts with somebody faster, retries, reserves handed to the fallback.',
    labelNames: events.labels,
    registers: [registry],
    collect() {
      this.reset()
      for (const { labels, count } of events.all()) this.inc(labels, count)
    },
  })
  const lock_waits = new Histogram({
    name: 'stock_strategy_lock_wait_seconds',
    help: "How long a lock of a strategy's own was waited for.",
    labelNames: ['strategy'],
    buckets: REQUEST_SECONDS,
    registers: [registry],
  })
  const durations = new Histogram({
    name: 'stock_strategy_duration_seconds',
    help: 'How long something took that only this strategy does.',
    labelNames: ['strategy', 'what'],
    buckets: PHASE_SECONDS,
    registers: [registry],
  })
  const levels = new Gauge({
    name: 'stock_strategy_level',
    help: "What something of a strategy's own is at.",
    labelNames: ['strategy', 'what'],
    aggregator: 'max',
    registers: [registry],
  })
  return {
    strategy(name) {
      for (const event of STRATEGY_EVENTS) events.add(0, name, event)
      const lock_wait = lock_waits.labels({ strategy: name })
      const timed = observers(durations)
      return {
        attempt: () => events.add(1, name, 'attempt'),
        conflict: () => events.add(1, name, 'conflict'),
        retry: () => events.add(1, name, 'retry'),
        fallback: () => events.add(1, name, 'fallback'),
        lockWait: (duration_ms) => lock_wait.observe(duration_ms / 1000),
        timing: (what, duration_ms) => timed(duration_ms / 1000, name, what),
        level: (what, value) => levels.set({ strategy: name, what }, value),
      }
    },
    strategyRates() {
      const rates = new Map<string, StrategyRate>()
      for (const { labels, last_minute } of events.lastMinute()) {
        const { strategy } = labels
        const rate = rates.get(strategy) ?? { strategy, attempts: 0, conflicts: 0 }
        rates.set(strategy, rate)
        if (labels.event === 'attempt') rate.attempts = last_minute
        if (labels.event === 'conflict') rate.conflicts = last_minute
      }
      return [...rates.values()]
    },
  }
}

function batchMetrics(registry: Registry): Pick<Metrics, 'batch' | 'phase'> {
  const sizes = new Histogram({
    name: 'stock_batch_size',
    help: 'Requests that shared one transaction.',
    buckets: BATCH_SIZES,
    registers: [registry],
  })
  const phases = observers(
    new Histogram({
      name: 'stock_batch_phase_duration_seconds',
      help: 'Where a batch spent its time.',
      labelNames: ['phase'],
      buckets: PHASE_SECONDS,
      registers: [registry],
    }),
  )
  return {
    batch: (size) => sizes.observe(size),
    phase: (name, duration_ms) => phases(duration_ms / 1000, name),
  }
}

function sweepMetrics(registry: Registry): Pick<Metrics, 'swept' | 'sweepFailed'> {
  const expired = new Counter({
    name: 'stock_expiry_expired_total',
    help: 'Reservations closed as expired by this instance.',
    registers: [registry],
  })
  const set_aside = new Counter({
    name: 'stock_expiry_set_aside_total',
    help: 'Reservations that failed to expire alone and were set aside by this instance.',
    registers: [registry],
  })
  const runs = new Counter({
    name: 'stock_expiry_runs_total',
    help: 'Runs of the sweeper of this instance, by result.',
    labelNames: ['result'],
    registers: [registry],
  })
  const duration = new Histogram({
    name: 'stock_expiry_run_duration_seconds',
    help: 'How long a run of the sweeper took.',
    buckets: REQUEST_SECONDS,
    registers: [registry],
  })
  const last_success = new Gauge({
    name: 'stock_expiry_last_success_timestamp_seconds',
    help: 'When the sweeper of this instance last finished well; 0 before the first time.',
    aggregator: 'max',
    registers: [registry],
  })
  runs.inc({ result: 'ok' }, 0)
  runs.inc({ result: 'failed' }, 0)
  return {
    swept(run) {
      expired.inc(run.expired)
      set_aside.inc(run.set_aside)
      runs.inc({ result: 'ok' })
      duration.observe(run.duration_ms / 1000)
      last_success.setToCurrentTime()
    },
    sweepFailed: () => runs.inc({ result: 'failed' }),
  }
}

function poolMetrics(registry: Registry): Pick<Metrics, 'watchPool'> {
  const pools = new Map<string, () => PoolGauges>()
  new Gauge({
    name: 'stock_pool_connections',
    help: 'Database connections by pool: in use, free, and callers that wait for one.',
    labelNames: ['pool', 'state'],
    registers: [registry],
    collect() {
      for (const [pool, read] of pools) {
        for (const [state, value] of Object.entries(read())) this.set({ pool, state }, value)
      }
    },
  })
  // A counter for each number in use, not a gauge of the most: between two scrapes the highest that grew is the peak, for
  // any number of readers, and the sum over processes is right.
  const acquired = new Map<string, number[]>()
  new Counter({
    name: 'stock_pool_acquired_total',
    help: 'Database connections handed out, by pool and by how many were in use with it.',
    labelNames: ['pool', 'in_use'],
    registers: [registry],
    collect() {
      this.reset()
      for (const [pool, counts] of acquired) {
        for (const [in_use, count] of counts.entries()) if (count > 0) this.inc({ pool, in_use: String(in_use) }, count)
      }
    },
  })
  return {
    watchPool(name, read) {
      pools.set(name, read)
      const counts: number[] = []
      acquired.set(name, counts)
      return (in_use) => {
        while (counts.length <= in_use) counts.push(0)
        counts[in_use]! += 1
      }
    },
  }
}

function watchedMetrics(registry: Registry): Pick<Metrics, 'watchQueue' | 'watchExpiry'> {
  const gauge = (name: string, help: string, read: () => number, aggregator: Aggregator = 'sum') =>
    new Gauge({
      name,
      help,
      aggregator,
      registers: [registry],
      collect() {
        this.set(read())
      },
    })
  return {
    watchQueue(read) {
      gauge('stock_queue_length', 'Requests that wait for a batch.', () => read().length)
      gauge('stock_queue_length_max', 'Past so many waiting requests a new one is refused.', () => read().length_max)
      const oldest = () => read().oldest_wait_ms / 1000
      gauge('stock_queue_oldest_wait_seconds', 'How long the oldest has waited.', oldest, 'max')
    },
    watchExpiry(read) {
      let last: ExpiryGauges = { overdue: 0, oldest_overdue_seconds: 0, set_aside: 0 }
      let asked: Promise<ExpiryGauges> | undefined
      // The three are collected at the same time, so they share one answer.
      const ask = () =>
        (asked ??= read()
          .catch(() => last)
          .then((answer) => (last = answer))
          .finally(() => (asked = undefined)))
      const shared = (name: string, help: string, field: keyof ExpiryGauges) =>
        new Gauge({
          name,
          help,
          // Each process counts the same database.
          aggregator: 'max',
          registers: [registry],
          async collect() {
            this.set((await ask())[field])
          },
        })
      shared('stock_expiry_backlog', 'Overdue reservations that no sweep has closed yet, in the database.', 'overdue')
      shared(
        'stock_expiry_oldest_overdue_seconds',
        'How long ago the oldest of them expired.',
        'oldest_overdue_seconds',
      )
      shared('stock_expiry_set_aside', 'Reservations that failed to expire alone and wait for a retry.', 'set_aside')
    },
  }
}

const GATHERED = 256

/** Finding a value's bucket is cheaper when many are done together than amid other work. */
function gather(observe: (value: number) => void): { observe: (value: number) => void; flush: () => void } {
  const values = new Float64Array(GATHERED)
  let count = 0
  const flush = () => {
    for (let i = 0; i < count; i++) observe(values[i]!)
    count = 0
  }
  return {
    observe(value) {
      values[count] = value
      count += 1
      if (count === GATHERED) flush()
    },
    flush,
  }
}

/** A histogram whose labelled children are resolved once. */
function observers(histogram: Histogram): (value: number, ...labels: string[]) => void {
  const children = new Map<string, { observe: (value: number) => void }>()
  return (value, ...labels) => {
    const key = labels.join('\n')
    let child = children.get(key)
    if (!child) children.set(key, (child = histogram.labels(...labels)))
    child.observe(value)
  }
}
