/** The ways to win the race for a counter, by the names that settings, metrics and reservations know them by. */
export const STRATEGY_NAMES = [
  'batched',
  'conditional',
  'pessimistic',
  'optimistic',
  'mutex',
  'redis',
  'spinlock',
  'redlock',
  'pubsub-lock',
  'queue',
] as const

export type StrategyName = (typeof STRATEGY_NAMES)[number]

/** Those that can't do without a Redis. */
export const REDIS_STRATEGIES: readonly StrategyName[] = ['redis', 'spinlock', 'redlock', 'pubsub-lock']
