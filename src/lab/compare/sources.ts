import type { StrategyName } from '../../strategy_names.ts'
import type { Load } from './loads.ts'

/**
 * What others measured or expected, on machines and programs of their own: no number to be met, but the order in which they
 * stand is worth looking at.
 */

const AT_ONCE: Partial<Record<StrategyName, string>> = {
  pessimistic: '6.0 s',
  redlock: '11.0 s',
  'pubsub-lock': '7.0 s',
}
const AT_ONCE_BUYERS = 1000

/** By requests a second. */
const AT_RATE: Partial<Record<StrategyName, Record<number, string>>> = {
  pessimistic: { 100: '3.6 s', 500: '> 10 s', 1000: 'failed' },
  optimistic: { 100: '1.2 s', 500: '2.5 s', 1000: '5.0 s' },
  redis: { 100: '0.8 s', 500: '1.5 s', 1000: '2.0 s' },
}

/** What the sources say of a contender under such a load; undefined if nothing. */
export function sourceOf(name: string, { buyers, rate, meet_percent }: Load): string | undefined {
  const strategy = name as StrategyName
  if (meet_percent !== undefined) return undefined
  if (rate !== undefined) return AT_RATE[strategy]?.[rate]
  return buyers === AT_ONCE_BUYERS ? AT_ONCE[strategy] : undefined
}

/** What has to be said beside them. */
export const OF_SOURCES =
  'The sources measured on machines and programs of their own; their numbers at a rate are as their author expected them.'
