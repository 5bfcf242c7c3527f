/**
 * Who will come to the shop and what will be delivered, drawn from a seed: the same seed and the same options give the same
 * customers and deliveries. How the races among them end is not part of it.
 */

/** From and to, both included. */
export type Range = { from: number; to: number }

export type Customer = {
  /** From 1, in the order of arrival. */
  number: number
  /** Milliseconds after the shop opened. */
  arrives_ms: number
  vip: boolean
  /** Units. */
  quantity: number
  /** Time between having the units and having paid for them. */
  pays_ms: number
}

export type Delivery = { units: number; at_ms: number }

export type Plan = {
  /** Units on the shelf when the shop opens. */
  initial: number
  customers: readonly Customer[]
  /** Deliveries for as long as the shop is open, in order. */
  deliveries(): Generator<Delivery, never>
}

export type PlanOptions = {
  seed: number
  customers: Range
  initial: Range
  restock: Range
  every_ms: Range
  arrive_ms: Range
  quantity: Range
  pay_ms: Range
  /** The share of customers who are VIPs, 0 to 1. */
  vip: number
}

export function drawPlan(options: PlanOptions): Plan {
  const { seed } = options
  const drawShop = createDraw(seed, 'shop')
  const initial = within(options.initial, drawShop())
  const count = within(options.customers, drawShop())
  const drawCustomer = createDraw(seed, 'customers')
  // Always as many draws for each, so that one option changes nothing of what another decides.
  const arrivals = Array.from({ length: count }, () => ({
    arrives_ms: within(options.arrive_ms, drawCustomer()),
    vip: drawCustomer() < options.vip,
    quantity: within(options.quantity, drawCustomer()),
    pays_ms: within(options.pay_ms, drawCustomer()),
  }))
  arrivals.sort((a, b) => a.arrives_ms - b.arrives_ms)
  return {
    initial,
    customers: arrivals.map((arrival, i) => ({ number: i + 1, ...arrival })),
    deliveries: () => drawDeliveries(options),
  }
}

function* drawDeliveries({ seed, restock, every_ms }: PlanOptions): Generator<Delivery, never> {
  const draw = createDraw(seed, 'deliveries')
  for (let at_ms = 0; ;) {
    at_ms += within(every_ms, draw())
    yield { at_ms, units: within(restock, draw()) }
  }
}

/** A whole number of the range; each is as likely. @param drawn from 0, less than 1 */
function within({ from, to }: Range, drawn: number): number {
  return from + Math.floor(drawn * (to - from + 1))
}

/** Numbers from 0, less than 1, that look random (Mulberry32); a purpose has numbers of its own. */
function createDraw(seed: number, purpose: string): () => number {
  let state = seed
  for (const letter of purpose) state = Math.imul(state ^ letter.charCodeAt(0), 0x9e3779b1)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
