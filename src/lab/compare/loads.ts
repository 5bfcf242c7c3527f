import type { Knex } from 'knex'
import { setStock } from '../../stock/set.ts'
import type { Drivers } from '../load/drive.ts'
import type { LoadPlan } from '../load/run.ts'
import { skuName, skuOfBuyer, type Buyers } from '../load/scenario.ts'

/** What buyers do to a contender, and the stock that they find. */

export type Load = {
  label: string
  buyers: number
  /** Buyers a second, sent when they are due; absent: all at once. */
  rate?: number
  /** SKUs that they buy in turn. */
  skus: number
  /** In the place of `skus`: this share wants one SKU, everybody else one of their own. */
  meet_percent?: number
  /** Units over all SKUs; where buyers meet, one for each of them. */
  stock: number
}

/** A load on SKUs of its own, by number, so that it finds fresh stock whatever was sold before. */
export type Placed = Load & { first: number; last: number }

/** SKUs of which there is always enough. */
const WARM_UP = 900_001
const PLENTY = 1_000_000_000
/** As many as setStock takes at once. */
const ITEMS_MAX = 1000
const WARM_UP_CONNECTIONS = 128
/** A request that has no answer by then never gets one: every wait of the service is shorter. */
const TIMEOUT_MS = 20_000
/** No strategy of these runs into this at once; an open loop opens what it needs. */
const CONNECTIONS_MAX = 10_000

export function place(loads: readonly Load[]): Placed[] {
  let next = 1
  return loads.map((load) => {
    const first = next
    next += load.meet_percent === undefined ? load.skus : load.buyers + 1
    return { ...load, first, last: next - 1 }
  })
}

/** Puts every load's stock on the shelf, and what warming up takes. */
export async function stockLoads(db: Knex, loads: readonly Placed[]): Promise<void> {
  const items = loads.flatMap((load) => shelfOf(load))
  items.push({ sku: skuName(WARM_UP), stock: PLENTY })
  for (let i = 0; i < items.length; i += ITEMS_MAX) {
    const set = await setStock(db, items.slice(i, i + ITEMS_MAX))
    if (!set.ok) throw new Error(`the stock could not be set: ${set.refusal.code}`)
  }
}

/** The units of a load, SKU by SKU: shared out evenly, what does not divide to the first; or, where buyers meet, one for each. */
export function shelfOf(load: Placed): { sku: string; stock: number }[] {
  const { stock, skus, first, meet_percent, buyers } = load
  if (meet_percent === undefined) {
    const even = Math.floor(stock / skus)
    return Array.from({ length: skus }, (_, i) => ({
      sku: skuName(first + i),
      stock: even + (i < stock % skus ? 1 : 0),
    }))
  }
  const wanted = new Map<string, number>()
  for (let n = 0; n < buyers; n++) {
    const sku = skuOfBuyer(buyersOf(load), n)
    wanted.set(sku, (wanted.get(sku) ?? 0) + 1)
  }
  return Array.from(wanted, ([sku, units]) => ({ sku, stock: units }))
}

function buyersOf({ buyers, skus, meet_percent, first }: Placed): Buyers {
  const meets = meet_percent === undefined ? {} : { meet_percent }
  return { kind: 'buyers', count: buyers, sku_first: first, skus, ...meets }
}

/** Sold out and come again are answers; only an answer that says what nobody asked is wrong. */
const ANSWERS = [409, 503]

export function planOf(load: Placed, ports: readonly number[], api_key: string): LoadPlan {
  const { buyers, rate } = load
  return {
    port: ports,
    api_key,
    scenario: buyersOf(load),
    connections: rate === undefined ? buyers : Math.min(buyers, CONNECTIONS_MAX),
    count_max: buyers,
    // The millisecond is for the last buyer, whose turn a fraction could take away; nobody comes after.
    duration_ms: rate === undefined ? TIMEOUT_MS : (buyers / rate) * 1000 + 1,
    ...(rate === undefined ? {} : { rate }),
    tolerate: ANSWERS,
    timeout_ms: TIMEOUT_MS,
    timed: 'answered',
  }
}

/** Lets the code of every process be compiled, and its connections be opened. */
export async function warmUp(
  drivers: Drivers,
  ports: readonly number[],
  { api_key, seconds }: { api_key: string; seconds: number },
): Promise<void> {
  const scenario: Buyers = { kind: 'buyers', count: 1, sku_first: WARM_UP, skus: 1 }
  const plan = { port: ports, api_key, scenario, connections: WARM_UP_CONNECTIONS * ports.length }
  await drivers.drive({ ...plan, duration_ms: seconds * 1000, tolerate: ANSWERS })
}
