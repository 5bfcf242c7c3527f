import type { Options } from './options.ts'
import type { Audit } from './shop.ts'
import type { Day, Happening, Visit } from './simulation.ts'

/** What a day was like: line by line as it happens, and summed up. */

export type Summary = {
  seed: number
  /** Absent without a lock. */
  strategy: string | null
  customers: number
  successes: number
  failures: number
  failures_by_reason: Record<string, number>
  /** 0 to 1; of nobody it is 0. */
  success_rate: number
  /** From arriving to having the units or leaving without. */
  wait: Waits
  vip_wait: Waits | null
  others_wait: Waits | null
  inside_peak: number
  initial: number
  restocked: number
  deliveries: number
  sold: number
  final_stock: number
  accounted: boolean
  findings: string[]
  duration_ms: number
}

export type Waits = { customers: number; successes: number; mean_ms: number; p99_ms: number }

export function summarise(options: Options, day: Day, audit: Audit): Summary {
  const failed = day.visits.flatMap(({ failure }) => failure ?? [])
  const reasons = new Map<string, number>()
  for (const reason of failed) reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
  const customers = day.visits.length
  const vips = day.visits.filter(({ customer }) => customer.vip)
  const others = day.visits.filter(({ customer }) => !customer.vip)
  return {
    seed: options.seed,
    strategy: options.no_lock ? null : options.strategy,
    customers,
    successes: customers - failed.length,
    failures: failed.length,
    failures_by_reason: Object.fromEntries([...reasons].toSorted(([, a], [, b]) => b - a)),
    success_rate: customers === 0 ? 0 : (customers - failed.length) / customers,
    wait: waitsOf(day.visits),
    vip_wait: vips.length === 0 ? null : waitsOf(vips),
    others_wait: vips.length === 0 ? null : waitsOf(others),
    inside_peak: day.inside_peak,
    initial: day.told.initial,
    restocked: day.told.restocked,
    deliveries: day.deliveries,
    sold: day.told.sold,
    final_stock: audit.left,
    accounted: audit.clean,
    findings: audit.said,
    duration_ms: Math.round(day.duration_ms),
  }
}

function waitsOf(visits: readonly Visit[]): Waits {
  const waits = visits.map(({ waited_ms }) => waited_ms).toSorted((a, b) => a - b)
  const p99 = waits[Math.ceil(waits.length * 0.99) - 1] ?? 0
  const mean = waits.length === 0 ? 0 : waits.reduce((sum, wait) => sum + wait, 0) / waits.length
  return {
    customers: visits.length,
    successes: visits.filter(({ failure }) => failure === undefined).length,
    mean_ms: Math.round(mean),
    p99_ms: Math.round(p99),
  }
}

/** One line of the day: when, who, what, and what is left. */
export function tellHappening(happening: Happening): string {
  const { at_ms, level } = happening
  const left = `left ${level.left}${level.held > 0 ? `, held ${level.held}` : ''}`
  return `${(at_ms / 1000).toFixed(2).padStart(7)} s  ${whatOf(happening).padEnd(46)}  ${left}`
}

function whatOf(happening: Happening): string {
  if (happening.kind === 'opened') return 'the shop opens'
  if (happening.kind === 'restocked') return `a delivery of ${happening.units}`
  const { number, vip, quantity } = happening.customer
  const who = `customer ${number}${vip ? ' (VIP)' : ''}`
  switch (happening.kind) {
    case 'bought':
      return `${who} bought ${quantity}`
    case 'waits':
      return `${who} wants ${quantity} and waits`
    case 'left':
      return `${who} left without ${quantity}: ${happening.failure}`
  }
}

export function tellOpening({ seed, strategy, no_lock }: Options): string {
  const way = no_lock ? 'no lock: read, check, write' : `strategy ${strategy}`
  return `A shop with ${way}; --seed ${seed} brings the same customers and deliveries again.\n`
}

export function tellSummary(summary: Summary): string {
  const { customers, successes, failures, restocked, deliveries, initial, sold, final_stock } = summary
  const reasons = Object.entries(summary.failures_by_reason).map(([reason, count]) => `${reason} ${count}`)
  const lines: [string, string][] = [
    ['Customers', String(customers)],
    ['Successes', `${successes} (${(summary.success_rate * 100).toFixed(1)} %)`],
    ['Failures', `${failures}${failures === 0 ? '' : ` (${reasons.join(', ')})`}`],
    ['Wait', tellWaits(summary.wait)],
  ]
  if (summary.vip_wait !== null) lines.push(['  of VIPs', tellServed(summary.vip_wait)])
  if (summary.others_wait !== null) lines.push(['  of others', tellServed(summary.others_wait)])
  lines.push(
    ['Inside', `${summary.inside_peak} at most`],
    ['Restocked', `${restocked} units in ${deliveries} ${deliveries === 1 ? 'delivery' : 'deliveries'}`],
    ['Final stock', `${final_stock} units`],
    ['Accounted for', tellAccount(initial + restocked, sold + final_stock, summary)],
  )
  const table = lines.map(([name, value]) => `${name.padEnd(15)}${value}`)
  return ['', ...table, ...summary.findings.map((finding) => `${' '.repeat(15)}${finding}`)].join('\n')
}

function tellWaits({ mean_ms, p99_ms }: Waits): string {
  return `mean ${mean_ms.toLocaleString('en-US')} ms, p99 ${p99_ms.toLocaleString('en-US')} ms`
}

function tellServed(waits: Waits): string {
  return `${tellWaits(waits)}; ${waits.successes} of ${waits.customers} bought`
}

function tellAccount(came: number, went: number, summary: Summary): string {
  const { initial, restocked, sold, final_stock, accounted } = summary
  const sums = `${initial} at first + ${restocked} restocked = ${came}; ${sold} sold + ${final_stock} left = ${went}`
  return `${accounted ? 'yes' : 'NO'}: ${sums}`
}
