import { LRUCache } from 'lru-cache'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'

/**
 * Slows down who tries one API key after the other. An address that has failed too often is not even asked about any
 * more, because asking costs the database a look-up; keys that this process has let in before go on working from there.
 */

/** Failed attempts of one address, after which it has to wait. */
const FAILURES_MAX = 30
const FAILURES_WINDOW_SECONDS = 60
const TRUSTED_MAX = 1000

export type Guesses = {
  /** For how many seconds this attempt must wait; 0 if it may be made now. */
  wait(address: string, secret: string | undefined): number
  /** Notes a failed attempt. @returns for how many seconds the address must wait now; 0 if it need not */
  failed(address: string): Promise<number>
  succeeded(secret: string): void
}

/** @param now a clock in milliseconds, for tests */
export function createGuesses(now = () => performance.now()): Guesses {
  const failures = new RateLimiterMemory({ points: FAILURES_MAX, duration: FAILURES_WINDOW_SECONDS })
  const waiting = new Map<string, number>()
  const trusted = new LRUCache<string, true>({ max: TRUSTED_MAX })

  return {
    wait(address, secret) {
      // Nearly always: nobody guesses.
      if (waiting.size === 0) return 0
      const until = waiting.get(address)
      if (until === undefined || (secret !== undefined && trusted.has(secret))) return 0
      if (until > now()) return Math.ceil((until - now()) / 1000)
      waiting.delete(address)
      return 0
    },
    async failed(address) {
      try {
        await failures.consume(address)
        return 0
      } catch (error) {
        if (!(error instanceof RateLimiterRes)) throw error
        for (const [other, until] of waiting) if (until <= now()) waiting.delete(other)
        waiting.set(address, now() + error.msBeforeNext)
        return Math.max(1, Math.ceil(error.msBeforeNext / 1000))
      }
    },
    succeeded: (secret) => void trusted.set(secret, true),
  }
}
