/** The bounds of the queue, its lanes, and flights beside it. */

export type BatcherLimits = {
  /** Waiting requests past which a new one is refused at once. */
  length_max: number
  /** Requests and lines that share a transaction: beyond a few hundred a batch gains nothing and only adds latency. */
  batch_size_max: number
  batch_lines_max: number
  /**
   * A request that has waited longer is dropped unexecuted: its client has most likely given up. Down to half of it where
   * flights take long, so that the answer comes in time too. Nor does a flight look again once it has lasted so long.
   */
  wait_ms_max: number
  /** So long after it came a request is answered even if the database has not said whether it was written. */
  answer_ms_max: number
  /** Rows waited for apart at one time, requests that wait in them, and how many of them fly at once. */
  lanes_max: number
  lanes_length_max: number
  lanes_flying_max: number
}

/** What the service runs with; tests make some of them smaller or larger. */
export const LIMITS: BatcherLimits = {
  length_max: 10_000,
  batch_size_max: 300,
  batch_lines_max: 3000,
  wait_ms_max: 1000,
  answer_ms_max: 1800,
  lanes_max: 16,
  lanes_length_max: 1000,
  lanes_flying_max: 2,
}
