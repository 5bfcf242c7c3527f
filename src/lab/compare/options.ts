import { parseArgs } from 'node:util'
import { CONTENDERS, type Contender } from './contenders.ts'

/** The command line of the comparison. */

export type Options = {
  mode: Mode
  buyers: number
  stock: number | undefined
  sku_count: number
  contenders: readonly Contender[]
  processes: number
  pool_max: number
  rounds: number
  quick: boolean
  json: string | undefined
  markdown: string | undefined
  /** The place in the Markdown file; the mode's name unless given. */
  section: string
  svg: string | undefined
}

export type Mode =
  | { kind: 'sale' }
  | { kind: 'rate'; rates: number[]; seconds: number }
  | { kind: 'conflict'; percents: number[] }
  | { kind: 'coupon' }
  | { kind: 'indexes' }
  | { kind: 'http' }

export const USAGE = `npm run compare [-- --buyers N] [--stock N] [--sku-count N] [--strategies A,B] [--processes N] …

  all buyers at once, each strategy in turn on fresh stock:
  --buyers N             1 to 20,000; 1,000 unless given
  --stock N              units over all SKUs, 0 to 1,000,000,000; as many as there are buyers unless given
  --sku-count N          SKUs that they buy in turn, 1 to 10,000; 1 unless given

  or one of these in its place:
  --rate 100,500,1000    so many buyers a second, timed from when each was due; --seconds N for each, 1 to 60
  --conflict 1,5,10,20   this share of the buyers, in per cent, wants one SKU, the rest one of their own
  --scenario coupon      30 coupons, 40 customers: who gets one, in the order of the answers
  --indexes              reads and writes with and without partial and composite indexes
  --http                 one SKU, as fast as it goes: batched ÷ each other at its best DATABASE_POOL_MAX

  --strategies A,B       these alone; 'all', or 'list' to see them
  --processes N          of the service on one database, 1 to 12; 1 unless given
  --pool N               DATABASE_POOL_MAX of each, 4 to 100; 10 unless given
  --rounds N             1 to 20; 3 unless given. The middle one is told
  --quick                one round, and shorter

  --json FILE            all that was measured
  --markdown FILE        the tables; in a file that has <!-- compare NAME --> … <!-- /compare NAME --> in that place
  --section NAME         NAME, if it is not the mode's own: sale, rate, conflict, coupon, indexes, http
  --svg FILE             a chart
  --help
`

/** PostgreSQL allows 200 connections; some stay with the comparison itself, and a job queue brings its own. */
const CONNECTIONS_MAX = 160
const COUPONS = { buyers: 40, stock: 30 }
const SECONDS = { full: 5, quick: 2 }
const ROUNDS = { full: 3, quick: 1 }

/** Nothing is to be measured: what is asked for is told, and that was it. */
export type Ask = 'help' | 'list'

/** @throws with what is wrong, in one line */
export function readOptions(args: readonly string[]): Options | Ask {
  const values = parse(args)
  if (values.help) return 'help'
  if (values.strategies === 'list') return 'list'
  const mode = readMode(values)
  refuseStrangers(values, mode)
  const quick = values.quick ? 'quick' : 'full'
  const processes = whole('--processes', values.processes, 1, { from: 1, to: 12 })
  const pool_max = whole('--pool', values.pool, 10, { from: 4, to: 100 })
  if (processes * pool_max > CONNECTIONS_MAX) {
    throw new Error(`--processes times --pool must not be above ${CONNECTIONS_MAX}, the connections that there are`)
  }
  return {
    mode,
    buyers: mode.kind === 'coupon' ? COUPONS.buyers : whole('--buyers', values.buyers, 1000, { from: 1, to: 20_000 }),
    stock: mode.kind === 'coupon' ? COUPONS.stock : optional('--stock', values.stock, { from: 0, to: 1_000_000_000 }),
    sku_count: whole('--sku-count', values['sku-count'], 1, { from: 1, to: 10_000 }),
    contenders: readContenders(values.strategies ?? 'all'),
    processes,
    pool_max,
    rounds: whole('--rounds', values.rounds, ROUNDS[quick], { from: 1, to: 20 }),
    quick: values.quick,
    json: values.json,
    markdown: values.markdown,
    section: values.section ?? mode.kind,
    svg: values.svg,
  }
}

/** The flags that say what is measured, without those that say where it is written. */
export function withoutFiles(args: readonly string[]): string[] {
  const files = /^--(json|markdown|section|svg)(=|$)/
  return args.filter((arg, i) => !files.test(arg) && !/^--(json|markdown|section|svg)$/.test(args[i - 1] ?? ''))
}

type Values = ReturnType<typeof parse>

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  return parseArgs({
    args: [...args],
    options: {
      buyers: text,
      stock: text,
      'sku-count': text,
      strategies: text,
      processes: text,
      pool: text,
      rounds: text,
      rate: text,
      seconds: text,
      conflict: text,
      scenario: text,
      indexes: flag,
      http: flag,
      quick: flag,
      json: text,
      markdown: text,
      section: text,
      svg: text,
      help: flag,
    },
  }).values
}

function readMode(values: Values): Mode {
  const { rate, conflict, scenario, indexes, http } = values
  const chosen = [
    rate !== undefined && '--rate',
    conflict !== undefined && '--conflict',
    scenario !== undefined && '--scenario',
    indexes && '--indexes',
    http && '--http',
  ].filter((name) => name !== false)
  if (chosen.length > 1) throw new Error(`${chosen.join(' and ')} exclude each other`)
  if (rate !== undefined) {
    const seconds = whole('--seconds', values.seconds, values.quick ? SECONDS.quick : SECONDS.full, { from: 1, to: 60 })
    return { kind: 'rate', rates: wholes('--rate', rate, { from: 1, to: 20_000 }), seconds }
  }
  if (conflict !== undefined)
    return { kind: 'conflict', percents: wholes('--conflict', conflict, { from: 1, to: 100 }) }
  if (scenario !== undefined) {
    if (scenario !== 'coupon') throw new Error(`--scenario can be coupon, not ${JSON.stringify(scenario)}`)
    return { kind: 'coupon' }
  }
  if (indexes) return { kind: 'indexes' }
  return http ? { kind: 'http' } : { kind: 'sale' }
}

/** Flags that some modes have no use for: to leave one out silently would measure something else than was asked for. */
const USELESS: Record<Mode['kind'], readonly (keyof Values)[]> = {
  sale: ['seconds'],
  rate: ['buyers'],
  conflict: ['seconds', 'stock', 'sku-count'],
  coupon: ['seconds', 'buyers', 'stock', 'sku-count', 'rounds'],
  indexes: ['seconds', 'buyers', 'stock', 'sku-count', 'strategies', 'processes', 'pool', 'rounds'],
  http: ['seconds', 'buyers', 'stock', 'sku-count', 'processes', 'pool'],
}

function refuseStrangers(values: Values, { kind }: Mode): void {
  const useless = USELESS[kind].find((name) => values[name] !== undefined)
  const where = kind === 'sale' ? 'without --rate' : `with ${kind === 'coupon' ? '--scenario coupon' : `--${kind}`}`
  if (useless !== undefined) throw new Error(`--${useless} means nothing ${where}`)
}

function readContenders(text: string): readonly Contender[] {
  if (text === 'all') return CONTENDERS
  const names = text.split(',').map((name) => name.trim())
  const unknown = names.find((name) => !CONTENDERS.some((contender) => contender.name === name))
  if (unknown !== undefined) {
    const known = CONTENDERS.map(({ name }) => name).join(', ')
    throw new Error(`--strategies: there is no ${JSON.stringify(unknown)}; there are ${known}, and all`)
  }
  return CONTENDERS.filter(({ name }) => names.includes(name))
}

type Range = { from: number; to: number }

function whole(name: string, text: string | undefined, otherwise: number, range: Range): number {
  return optional(name, text, range) ?? otherwise
}

function optional(name: string, text: string | undefined, { from, to }: Range): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (text.trim() === '' || !Number.isInteger(value) || value < from || value > to) {
    const bounds = `a whole number from ${from.toLocaleString('en-US')} to ${to.toLocaleString('en-US')}`
    throw new Error(`${name} must be ${bounds}, not ${JSON.stringify(text)}`)
  }
  return value
}

/** So many at most, so that a comparison ends. */
const LIST_MAX = 10

function wholes(name: string, text: string, range: Range): number[] {
  const values = text.split(',').map((part) => whole(name, part, 0, range))
  if (values.length > LIST_MAX) throw new Error(`${name} takes at most ${LIST_MAX} numbers`)
  return [...new Set(values)]
}
