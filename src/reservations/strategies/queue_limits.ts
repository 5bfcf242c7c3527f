import { LENGTH_MAX, WAIT_MS_MAX } from '../../database/turns.ts'

/** The bounds of the job queue. */

export type QueueLimits = {
  /** Requests that wait for their job, past which a new one is refused at once. */
  length_max: number
  /** A request that has waited longer has its job withdrawn; one that has begun by then goes on. */
  wait_ms_max: number
  /** So long after it came a request is answered even if nobody knows how its job ended. */
  answer_ms_max: number
  /** A worker that has not ended a job by then counts as dead, and the job is handed out again. */
  expire_seconds: number
  /** A job that failed is tried so often again, then it is a dead letter. */
  retries_max: number
  /** How often waiting requests are looked through, and jobs that others have are asked about. */
  watch_ms: number
  /** How often a process without work looks for that of others; its own requests wake it. */
  poll_ms: number
  /** Once somebody has waited for longer for a job that is not run here, dead workers are looked for, at most so often. */
  take_back_ms: number
  /** A database that could not be asked for so long has its requests answered: an outage takes no longer than 2 s. */
  silence_ms: number
  /** How long what was taken may go on once the service stops. */
  stop_ms_max: number
}

/** What the service runs with; tests make some of them smaller. */
export const QUEUE_LIMITS: QueueLimits = {
  length_max: LENGTH_MAX,
  wait_ms_max: WAIT_MS_MAX,
  answer_ms_max: WAIT_MS_MAX + 1800,
  expire_seconds: 2,
  retries_max: 2,
  watch_ms: 50,
  poll_ms: 500,
  take_back_ms: 1000,
  silence_ms: 1000,
  stop_ms_max: 4000,
}
