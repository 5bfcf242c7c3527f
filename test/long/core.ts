import { pino, type Logger } from 'pino'
import { createPool } from '../../src/database/pool.ts'
import { createMetrics } from '../../src/metrics.ts'
import { chainHooks, type OnClosed } from '../../src/reservations/hooks.ts'
import { createReservations, type Reservations } from '../../src/reservations/reservations.ts'
import { createSweeper, type Sweeper } from '../../src/reservations/sweeper.ts'
import type { StrategyName } from '../../src/strategy_names.ts'
import { settingsOf } from '../factories.ts'
import type { Suite } from './suite.ts'

/** The core without HTTP, wired as the service wires it but for its patience; several on one database are several instances. */

/** What the service waits for a lock at most. */
export const LOCK_TIMEOUT_MS = 250
const CONNECTIONS = 6
/** The service's own bounds on waiting are shorter; a suite is not about them, and the machine may stall for seconds. */
const PATIENT_MS = 30_000

export type Core = { reservations: Reservations; sweeper: Sweeper }

export type CoreOptions = {
  url: string
  name: string
  strategy?: StrategyName
  hooks?: readonly OnClosed[]
  log?: Logger
}

/** Builds a core on a database; it is stopped when the suite ends. */
export function startCore(suite: Suite, options: CoreOptions): Core {
  const { url, name, strategy = 'batched', hooks = [], log = pino({ level: 'silent' }) } = options
  const limits = {
    url,
    acquire_timeout_ms: PATIENT_MS,
    lock_timeout_ms: LOCK_TIMEOUT_MS,
    statement_timeout_ms: PATIENT_MS,
    application_name: name,
  }
  const core = createPool({ ...limits, max: CONNECTIONS })
  const reads = createPool({ ...limits, max: CONNECTIONS })
  const metrics = createMetrics({ process_metrics: false })
  const onClosed = chainHooks(hooks)
  const reservations = createReservations({
    core,
    reads,
    strategy,
    limits: { wait_ms_max: PATIENT_MS, answer_ms_max: 2 * PATIENT_MS },
    settings: settingsOf(url),
    ttl_seconds: 1800,
    ttl_max_seconds: 86_400,
    onClosed,
    metrics,
    log,
  })
  const sweeper = createSweeper({ db: core, onClosed, metrics, log, instance: name })
  suite.onEnd(async () => {
    await Promise.all([reservations.stop(), sweeper.stop()])
    await Promise.all([core.destroy(), reads.destroy()])
  })
  return { reservations, sweeper }
}
