import { until, type Clock } from './clock.ts'
import type { Customer, Plan } from './plan.ts'
import { openRoom, type Place, type Room } from './room.ts'
import type { Level, Shop, Told, Units } from './shop.ts'

/**
 * A day in the shop. Every wait of a customer is bounded: by the lock timeout, and by patience. Invariant: whoever came has
 * bought or has left in the end, and no units are in anybody's hands.
 */

export type DayOptions = {
  /** How many may be inside at once; Infinity for a shop without a door. */
  places: number
  /** How long a customer waits for a place, or for the shelf; Infinity without a bound of its own. */
  lock_timeout_ms: number
  /** How long after arriving a customer who found too little waits for more. */
  patience_ms: number
}

/** What can go wrong for a customer; anything else is the code of a refusal. */
export const FAILURES = {
  sold_out: 'sold out',
  no_place: 'no place in time',
  lock_timeout: 'lock timeout',
} as const

/** How a visit ended. */
export type Visit = {
  customer: Customer
  /** From arriving to having the units, or to leaving without. */
  waited_ms: number
  /** Undefined for one who bought. */
  failure: string | undefined
}

/** Something that happened, and the stock as it was a moment later. */
export type Happening = Event & { at_ms: number; level: Level }

export type Day = { visits: Visit[]; told: Told; deliveries: number; inside_peak: number; duration_ms: number }

type Event =
  | { kind: 'opened' }
  | { kind: 'restocked'; units: number }
  | { kind: 'bought' | 'waits'; customer: Customer }
  | { kind: 'left'; customer: Customer; failure: string }

/**
 * Lets all customers of the plan come, and deliveries until the last of them has gone.
 *
 * @param tell hears of everything when it happens, with the stock as it is a moment later
 * @throws what the shop throws: a fault of the simulation or of the service
 */
export async function spendDay(
  plan: Plan,
  shop: Shop,
  clock: Clock,
  options: DayOptions,
  tell: (happening: Happening) => void,
): Promise<Day> {
  let telling = Promise.resolve()
  const day: DayInProgress = {
    shop,
    clock,
    options,
    room: openRoom(clock, options.places),
    shelf: openShelf(clock),
    leftovers: [],
    note(event) {
      const at_ms = clock.now()
      // One after the other, so that lines come in the order of what they tell.
      telling = telling.then(async () => tell({ at_ms, level: await shop.level(), ...event }))
      telling.catch(() => undefined)
    },
  }
  day.note({ kind: 'opened' })
  const deliveries = deliver(day, plan)
  let visits: Visit[]
  let delivered: Delivered
  try {
    visits = await Promise.all(plan.customers.map((customer) => visit(day, customer)))
  } finally {
    delivered = await deliveries.stop()
  }
  await Promise.all(day.leftovers)
  await telling
  const sold = visits.reduce((sum, { customer, failure }) => sum + (failure === undefined ? customer.quantity : 0), 0)
  return {
    visits,
    told: { initial: plan.initial, restocked: delivered.units, sold },
    deliveries: delivered.count,
    inside_peak: day.room.peak(),
    duration_ms: clock.now(),
  }
}

type DayInProgress = {
  shop: Shop
  clock: Clock
  options: DayOptions
  room: Room
  shelf: Shelf
  /** What goes on after somebody has left: units that came too late are put back. */
  leftovers: Promise<void>[]
  note(event: Event): void
}

async function visit(day: DayInProgress, customer: Customer): Promise<Visit> {
  const { clock, options } = day
  await until(clock, customer.arrives_ms)
  const arrived = clock.now()
  const patience_ends = arrived + options.patience_ms
  for (let tries = 1; ; tries++) {
    const place = await day.room.enter(customer, Math.min(patience_ends, clock.now() + options.lock_timeout_ms))
    if (place === undefined) return leave(day, customer, arrived, FAILURES.no_place)
    const deliveries_seen = day.shelf.changes()
    const found = await shopFor(day, customer, place, arrived)
    if (found !== FAILURES.sold_out) return found
    if (tries === 1 && clock.now() < patience_ends) day.note({ kind: 'waits', customer })
    if (!(await day.shelf.changed(customer, deliveries_seen, patience_ends))) {
      return leave(day, customer, arrived, FAILURES.sold_out)
    }
  }
}

/** From the door to the till. @returns how the visit ended; sold out if the customer may wait for more outside */
async function shopFor(
  day: DayInProgress,
  customer: Customer,
  place: Place,
  arrived: number,
): Promise<Visit | typeof FAILURES.sold_out> {
  try {
    const taken = await takeInTime(day, customer.quantity)
    const has_at = day.clock.now()
    place.served()
    if (taken === FAILURES.sold_out) return taken
    if (typeof taken === 'string') return leave(day, customer, arrived, taken)
    await until(day.clock, has_at + customer.pays_ms)
    const unpaid = await taken.pay()
    if (unpaid !== undefined) return leave(day, customer, arrived, unpaid)
    day.note({ kind: 'bought', customer })
    return { customer, waited_ms: has_at - arrived, failure: undefined }
  } finally {
    place.leave()
  }
}

function leave({ clock, note }: DayInProgress, customer: Customer, arrived: number, failure: string): Visit {
  note({ kind: 'left', customer, failure })
  return { customer, waited_ms: clock.now() - arrived, failure }
}

/** @returns the units, or why there are none. Units that come when nobody waits for them any more go back by themselves. */
async function takeInTime({ shop, shelf, clock, options, leftovers }: DayInProgress, quantity: number) {
  const gone = new AbortController()
  const taking = shop.take(quantity, gone.signal)
  const answer = taking.then((taken): Units | string => {
    if (taken.kind === 'taken') return taken.units
    return taken.kind === 'sold_out' ? FAILURES.sold_out : taken.reason
  })
  let callOff = (): void => undefined
  const timeout = new Promise<string>((resolve) => {
    callOff = clock.at(clock.now() + options.lock_timeout_ms, () => resolve(FAILURES.lock_timeout))
  })
  const first = await Promise.race([answer, timeout])
  callOff()
  if (first !== FAILURES.lock_timeout) return first
  gone.abort()
  leftovers.push(putBackWhatComes(answer, shelf))
  return first
}

async function putBackWhatComes(answer: Promise<Units | string>, shelf: Shelf): Promise<void> {
  const late = await answer
  if (typeof late === 'string') return
  await late.putBack()
  shelf.change()
}

type Shelf = {
  /** Units came onto it. */
  change(): void
  /** How often that happened. */
  changes(): number
  /** @returns true as soon as units have come since so many times, false if none had until then */
  changed(customer: Customer, seen: number, until_ms: number): Promise<boolean>
}

function openShelf(clock: Clock): Shelf {
  type Watching = { customer: Customer; tell: () => void }
  const watching = new Set<Watching>()
  let changes = 0
  return {
    change() {
      changes += 1
      // Who is told first is first at the door.
      const order = [...watching].toSorted(
        (a, b) => Number(b.customer.vip) - Number(a.customer.vip) || a.customer.number - b.customer.number,
      )
      watching.clear()
      for (const { tell } of order) tell()
    },
    changes: () => changes,
    changed(customer, seen, until_ms) {
      if (changes > seen) return Promise.resolve(true)
      return new Promise((resolve) => {
        const one: Watching = {
          customer,
          tell() {
            callOff()
            resolve(true)
          },
        }
        const callOff = clock.at(until_ms, () => {
          watching.delete(one)
          resolve(false)
        })
        watching.add(one)
      })
    },
  }
}

type Delivered = { units: number; count: number }

function deliver({ shop, shelf, clock, note }: DayInProgress, plan: Plan): { stop(): Promise<Delivered> } {
  const delivered: Delivered = { units: 0, count: 0 }
  let [callOff, called_off] = [(): void => undefined, false]
  const delivering = (async () => {
    for (const { at_ms, units } of plan.deliveries()) {
      await new Promise<void>((resolve) => {
        const off = clock.at(at_ms, resolve)
        callOff = () => {
          off()
          resolve()
        }
        if (called_off) callOff()
      })
      if (called_off) return
      await shop.restock(units)
      delivered.units += units
      delivered.count += 1
      shelf.change()
      note({ kind: 'restocked', units })
    }
  })()
  // Looked at when the shop closes; until then it is nobody's unhandled rejection.
  delivering.catch(() => undefined)
  return {
    async stop() {
      called_off = true
      callOff()
      await delivering
      return delivered
    },
  }
}
