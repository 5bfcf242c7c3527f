import { BrokenCircuitError, circuitBreaker, CircuitState, ConsecutiveBreaker, handleWhenResult } from 'cockatiel'
import { refused } from '../../errors.ts'
import type { Outcome, Reserve } from '../plan.ts'
import { CannotStart, type Strategy, type StrategyParts } from './strategy.ts'

/** So many reserves in a row that the first strategy could not answer, and it is left alone. */
export const FAILURES_MAX = 5
/** For so long; then one reserve tries it again. */
export const OPEN_MS = 10_000

/**
 * A strategy that hands what it can't answer to another. Invariant: only what certainly wrote nothing, and never will, is
 * handed on, as the same operation with the same id and key; so nothing is reserved twice.
 *
 * Not handed on: an unknown outcome, which may have been written; a database that is away, which is the other strategy's too;
 * overload, which would only move.
 *
 * A circuit breaker keeps buyers from waiting for what is gone: while it is open they go to the other strategy at once.
 */
export function withFallback(
  first: Strategy,
  other: Strategy,
  { meter, log }: Pick<StrategyParts, 'meter' | 'log'>,
): Strategy {
  const names = { strategy: first.name, fallback: other.name }
  const circuit = circuitBreaker(handleWhenResult(isUnanswered), {
    halfOpenAfter: OPEN_MS,
    breaker: new ConsecutiveBreaker(FAILURES_MAX),
  })
  meter.level('circuit_open', 0)
  circuit.onStateChange((state) => meter.level('circuit_open', state === CircuitState.Closed ? 0 : 1))
  circuit.onBreak(() => log.warn(names, 'the strategy can not answer; its buyers go to the fallback'))
  circuit.onReset(() => log.info(names, 'the strategy answers again'))
  let is_started = false
  let starting: Promise<Outcome | undefined> | undefined

  async function startFirst(): Promise<Outcome | undefined> {
    try {
      await first.start?.()
      is_started = true
      return undefined
    } catch (error) {
      if (!(error instanceof CannotStart)) throw error
      log.warn({ ...names, err: error }, 'the strategy can not be started; its buyers go to the fallback')
      return refused({ code: 'strategy_unavailable', detail: error.message })
    }
  }

  /** Starts it, once for all who ask meanwhile; a refusal if it can't be. */
  function ensureStarted(): Promise<Outcome | undefined> {
    return (starting ??= startFirst().finally(() => (starting = undefined)))
  }

  async function tryFirst(operation: Reserve, signal: AbortSignal | undefined): Promise<Outcome> {
    const refusal = is_started ? undefined : await ensureStarted()
    return refusal ?? first.reserve(operation, signal)
  }

  /** Undefined if the first strategy was not asked. */
  async function ask(operation: Reserve, signal: AbortSignal | undefined): Promise<Outcome | undefined> {
    // One tries it again; those who come meanwhile need not wait for how that ends.
    if (circuit.state === CircuitState.HalfOpen) return undefined
    try {
      return await circuit.execute(() => tryFirst(operation, signal))
    } catch (error) {
      if (error instanceof BrokenCircuitError) return undefined
      throw error
    }
  }

  return {
    name: first.name,
    async reserve(operation, signal) {
      const outcome = await ask(operation, signal)
      if (outcome !== undefined && !isUnanswered(outcome)) return outcome
      meter.fallback()
      operation.strategy = other.name
      return other.reserve(operation, signal)
    },
    // Half open, one asks the first; all others go to the other.
    hasRoom: (requests) => (circuit.state === CircuitState.Closed && is_started ? first : other).hasRoom(requests),
    async start() {
      const refusal = await ensureStarted()
      if (refusal === undefined) return
      // As if so many buyers had met it already.
      for (let n = 0; n < FAILURES_MAX; n++) await circuit.execute(() => refusal)
    },
    async stop() {
      await starting?.catch(() => undefined)
      await first.stop()
    },
  }
}

/** Whether an outcome says that this strategy can't answer, and that it has written nothing and never will. */
function isUnanswered(result: unknown): boolean {
  const outcome = result as Outcome
  if (outcome.ok) return false
  const { code } = outcome.refusal
  return code === 'stock_conflict' || code === 'strategy_unavailable'
}
