import { parseArgs } from 'node:util'
import { STRATEGY_NAMES, type StrategyName } from '../../strategy_names.ts'
import type { PlanOptions, Range } from './plan.ts'

/** The command line of the simulation. */
export type Options = PlanOptions & {
  strategy: StrategyName
  /** A shop on a scratch table, without any strategy. */
  no_lock: boolean
  places: number
  lock_timeout_ms: number
  patience_ms: number
  json: boolean
}

export const USAGE = `npm run simulate [-- OPTIONS]

A shop in which customers buy while stock is replenished. A range is FROM..TO, or one value; a time has a unit, ms or s.

  --customers 10..100   how many come
  --arrive 0..5s        when, after the shop has opened
  --quantity 1..3       units that each wants
  --pay 100..400ms      time between having the units and having paid
  --patience 5s         how long after arriving one waits for more, if there is too little
  --initial 20          units on the shelf at the start
  --restock 10..30      units of a delivery
  --every 1..3s         time between two deliveries, until the last customer has gone
  --strategy batched    ${wrapped(STRATEGY_NAMES)}
  --no-lock             read, check, write: on a table of its own, to see what that breaks
  --semaphore N         so many may be inside at once; without it all may
  --vip 0.1             share of customers who go first: into the shop, and to a delivery
  --lock-timeout 200ms  who waits longer for a place or for the shelf leaves
  --seed N              the same customers and deliveries again; how their races end may differ
  --json                the summary alone, for programs

Exits with 0 if every unit is accounted for, 1 if not, 2 if it could not run.
`

const DEFAULTS = {
  customers: '10..100',
  arrive: '0..5s',
  quantity: '1..3',
  pay: '100..400ms',
  patience: '5s',
  initial: '20',
  restock: '10..30',
  every: '1..3s',
  strategy: 'batched',
  vip: '0',
}

const MINUTES_10 = 600_000
const SEED_MAX = 2 ** 32 - 1

/** @throws with what is wrong, in one line */
export function readOptions(args: readonly string[], random: () => number = Math.random): Options {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      customers: text,
      arrive: text,
      quantity: text,
      pay: text,
      patience: text,
      initial: text,
      restock: text,
      every: text,
      strategy: text,
      semaphore: text,
      vip: text,
      'lock-timeout': text,
      seed: text,
      'no-lock': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  })
  if (values['no-lock'] && values.strategy !== undefined) {
    throw new Error('--no-lock is a shop without any strategy: leave out --strategy')
  }
  const given = { ...DEFAULTS, ...values }
  const lock_timeout = values['lock-timeout']
  return {
    customers: readUnits('--customers', given.customers, { from: 1, to: 10_000 }),
    arrive_ms: readTimes('--arrive', given.arrive, { from: 0, to: MINUTES_10 }),
    quantity: readUnits('--quantity', given.quantity, { from: 1, to: 1000 }),
    pay_ms: readTimes('--pay', given.pay, { from: 0, to: 60_000 }),
    patience_ms: single('--patience', readTimes('--patience', given.patience, { from: 0, to: MINUTES_10 })),
    initial: readUnits('--initial', given.initial, { from: 0, to: 1_000_000 }),
    restock: readUnits('--restock', given.restock, { from: 1, to: 100_000 }),
    every_ms: readTimes('--every', given.every, { from: 10, to: MINUTES_10 }),
    strategy: readStrategy(given.strategy),
    no_lock: values['no-lock'],
    places:
      values.semaphore === undefined
        ? Infinity
        : single('--semaphore', readUnits('--semaphore', values.semaphore, { from: 1, to: 10_000 })),
    vip: readShare('--vip', given.vip),
    lock_timeout_ms:
      lock_timeout === undefined
        ? Infinity
        : single('--lock-timeout', readTimes('--lock-timeout', lock_timeout, { from: 1, to: MINUTES_10 })),
    seed:
      values.seed === undefined
        ? Math.floor(random() * 1_000_000)
        : single('--seed', readUnits('--seed', values.seed, { from: 0, to: SEED_MAX })),
    json: values.json,
  }
}

function readUnits(flag: string, text: string, bounds: Range): Range {
  const [, from, to = from] = /^(\d+)(?:\.\.(\d+))?$/.exec(text) ?? []
  if (from === undefined || to === undefined) {
    throw new Error(`${flag} takes a whole number or a range such as ${bounds.from}..10, not ${JSON.stringify(text)}`)
  }
  return inBounds(flag, { from: Number(from), to: Number(to) }, bounds, '')
}

const TIME = String.raw`(\d+(?:\.\d+)?)(ms|s)?`
const TIMES = new RegExp(`^${TIME}(?:\\.\\.${TIME})?$`)

/** In milliseconds. The unit may stand once, behind the second of two values. */
function readTimes(flag: string, text: string, bounds: Range): Range {
  const [, from, from_unit, to = from, to_unit = from_unit] = TIMES.exec(text === '0' ? '0s' : text) ?? []
  if (from === undefined || to === undefined || to_unit === undefined) {
    throw new Error(
      `${flag} takes a time with its unit, or a range of times, such as 200ms or 1..3s, not ${JSON.stringify(text)}`,
    )
  }
  const range = { from: inMs(from, from_unit ?? to_unit), to: inMs(to, to_unit) }
  return inBounds(flag, range, bounds, ' ms')
}

function inMs(value: string, unit: string): number {
  return Math.round(Number(value) * (unit === 's' ? 1000 : 1))
}

function inBounds(flag: string, range: Range, bounds: Range, unit: string): Range {
  if (range.from > range.to) throw new Error(`${flag} goes from more to less: ${range.from}..${range.to}${unit}`)
  if (range.from < bounds.from || range.to > bounds.to) {
    throw new Error(`${flag} must lie between ${bounds.from} and ${bounds.to}${unit}`)
  }
  return range
}

function single(flag: string, { from, to }: Range): number {
  if (from !== to) throw new Error(`${flag} takes one value, not a range`)
  return from
}

function readShare(flag: string, text: string): number {
  const share = Number(text)
  if (!/^\d*\.?\d+$/.test(text) || share > 1) {
    throw new Error(`${flag} takes a share from 0 to 1, such as 0.1, not ${JSON.stringify(text)}`)
  }
  return share
}

function readStrategy(text: string): StrategyName {
  const name = STRATEGY_NAMES.find((known) => known === text)
  if (name === undefined) {
    throw new Error(`--strategy takes one of ${STRATEGY_NAMES.join(', ')}, not ${JSON.stringify(text)}`)
  }
  return name
}

function wrapped(names: readonly string[]): string {
  const middle = Math.ceil(names.length / 2)
  return [names.slice(0, middle), names.slice(middle)]
    .map((line) => line.join(', '))
    .join(',\n                        ')
}
