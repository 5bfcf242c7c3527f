/** The time of a shop, which tests turn by hand. */
export type Clock = {
  /** Milliseconds since the shop opened. */
  now(): number
  /** Does something when that moment comes, which is never for Infinity; returns what calls it off. */
  at(moment_ms: number, work: () => void): () => void
}

/** The real time, from now on. */
export function startClock(): Clock {
  const opened = performance.now()
  const now = (): number => performance.now() - opened
  return {
    now,
    at(moment_ms, work) {
      if (moment_ms === Infinity) return () => undefined
      const timer = setTimeout(work, Math.max(0, moment_ms - now()))
      return () => clearTimeout(timer)
    },
  }
}

/** Resolves when that moment comes. */
export function until(clock: Clock, moment_ms: number): Promise<void> {
  return new Promise((resolve) => void clock.at(moment_ms, resolve))
}
