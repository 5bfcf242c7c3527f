import type { Clock } from '../../src/lab/simulate/clock.ts'
import type { Shop } from '../../src/lab/simulate/shop.ts'

/** Time that passes only while nobody is at work, and then at once. */
export type SimulatedTime = Clock & {
  /** A shop whose work time waits for. */
  watch(shop: Shop): Shop
  /** Lets time pass until the work is done. */
  passUntil<T>(work: Promise<T>): Promise<T>
  /** Lets everything happen up to that moment. */
  passTo(moment_ms: number): Promise<void>
}

type Timer = { moment_ms: number; work: () => void }

export function simulateTime(): SimulatedTime {
  let now = 0
  let working = 0
  const timers: Timer[] = []

  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  const counted = async <T>(work: Promise<T>): Promise<T> => {
    working += 1
    try {
      return await work
    } finally {
      working -= 1
    }
  }

  /** The next timer that is due by then, in the order in which they were set if at the same moment. */
  function takeNext(until_ms: number): Timer | undefined {
    const next = timers.toSorted((a, b) => a.moment_ms - b.moment_ms)[0]
    if (next === undefined || next.moment_ms > until_ms) return undefined
    timers.splice(timers.indexOf(next), 1)
    return next
  }

  async function step(until_ms: number): Promise<boolean> {
    await turn()
    if (working > 0) return true
    const next = takeNext(until_ms)
    if (next === undefined) return false
    now = Math.max(now, next.moment_ms)
    next.work()
    return true
  }

  return {
    now: () => now,
    at(moment_ms, work) {
      const timer = { moment_ms: Math.max(moment_ms, now), work }
      timers.push(timer)
      return () => {
        const place = timers.indexOf(timer)
        if (place >= 0) timers.splice(place, 1)
      }
    },
    watch: (shop) => ({
      take: (quantity, signal) => counted(takenBy(shop, quantity, signal, counted)),
      restock: (units) => counted(shop.restock(units)),
      level: () => counted(shop.level()),
      audit: (told) => shop.audit(told),
    }),
    async passUntil(work) {
      const state = { done: false }
      const noted = work.finally(() => (state.done = true))
      noted.catch(() => undefined)
      let idle = 0
      while (!state.done) {
        idle = (await step(Number.MAX_VALUE)) ? 0 : idle + 1
        if (idle > 1000) throw new Error('nobody is at work, nothing is to come, and it is not done')
      }
      return await noted
    },
    async passTo(moment_ms) {
      while (await step(moment_ms));
      now = Math.max(now, moment_ms)
    },
  }
}

type Counted = <T>(work: Promise<T>) => Promise<T>

async function takenBy(shop: Shop, quantity: number, signal: AbortSignal, counted: Counted) {
  const taken = await shop.take(quantity, signal)
  if (taken.kind !== 'taken') return taken
  const { units } = taken
  return { ...taken, units: { pay: () => counted(units.pay()), putBack: () => counted(units.putBack()) } }
}
