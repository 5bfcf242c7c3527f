import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals'
import { rows } from '../../src/database/transaction.ts'
import { openCoreShop } from '../../src/lab/simulate/core_shop.ts'
import { drawPlan, type Customer, type Delivery, type Plan } from '../../src/lab/simulate/plan.ts'
import type { Level, Shop, Taken } from '../../src/lab/simulate/shop.ts'
import { spendDay, type DayOptions, type Happening } from '../../src/lab/simulate/simulation.ts'
import { openUnlockedShop } from '../../src/lab/simulate/unlocked_shop.ts'
import { REDIS_STRATEGIES, STRATEGY_NAMES, type StrategyName } from '../../src/strategy_names.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { clear, gate, openCore, stopCores } from '../factories.ts'
import { simulateTime } from './simulated_time.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterEach(async () => {
  await stopCores()
  await clear(database.db)
  await rows(database.db, 'DROP TABLE IF EXISTS simulate_shelf')
})
afterAll(() => database.drop())

const ALONE: readonly StrategyName[] = STRATEGY_NAMES.filter((name) => !REDIS_STRATEGIES.includes(name))

const DAY: DayOptions = { places: Infinity, lock_timeout_ms: Infinity, patience_ms: 5000 }

/** Fifty customers, of whom some are always too late. */
const crowd = (): Plan =>
  drawPlan({
    seed: 5,
    customers: { from: 50, to: 50 },
    initial: { from: 10, to: 10 },
    restock: { from: 5, to: 15 },
    every_ms: { from: 1000, to: 3000 },
    arrive_ms: { from: 0, to: 2000 },
    quantity: { from: 1, to: 3 },
    pay_ms: { from: 100, to: 400 },
    vip: 0.1,
  })

async function coreShop(initial: number, strategy: StrategyName = 'batched'): Promise<Shop> {
  // Whoever meets others often enough would run out of tries; here nobody is to be refused but for want of stock.
  const core = openCore(database, { strategy, settings: { optimistic_retries_max: 100, optimistic_backoff_ms: 10 } })
  await core.reservations.start()
  return openCoreShop(core.reservations, database.db, initial)
}

/** A day of which everything is known that happened. */
async function spend(plan: Plan, shop: Shop, options: Partial<DayOptions> = {}) {
  const time = simulateTime()
  const happened: Happening[] = []
  const tell = (happening: Happening): void => void happened.push(happening)
  const day = await time.passUntil(spendDay(plan, time.watch(shop), time, { ...DAY, ...options }, tell))
  return { day, happened, audit: await shop.audit(day.told) }
}

function customers(...list: Partial<Customer>[]): Customer[] {
  return list.map((one, i) => ({ number: i + 1, arrives_ms: i, vip: false, quantity: 1, pays_ms: 100, ...one }))
}

function planOf(initial: number, list: Customer[], deliveries: Delivery[] = []): Plan {
  function* deliver(): Generator<Delivery, never> {
    yield* deliveries
    for (;;) yield { at_ms: Number.MAX_VALUE, units: 1 }
  }
  return { initial, customers: list, deliveries: deliver }
}

/** How the visits ended, by customer. */
function ends(day: { visits: { customer: Customer; failure: string | undefined }[] }): Record<number, string> {
  return Object.fromEntries(day.visits.map(({ customer, failure }) => [customer.number, failure ?? 'bought']))
}

test.each(ALONE)(
  'with %s every unit of a crowded day is accounted for, and nobody is kept from buying',
  async (name) => {
    const plan = crowd()
    const { day, audit } = await spend(plan, await coreShop(plan.initial, name))
    expect(audit).toEqual({ clean: true, left: audit.left, said: [expect.stringContaining('verify finds nothing')] })
    expect(day.told.initial + day.told.restocked).toBe(day.told.sold + audit.left)
    expect(new Set(Object.values(ends(day)))).toEqual(new Set(['bought', 'sold out']))
    expect(day.visits.map(({ customer }) => customer.number)).toEqual(plan.customers.map(({ number }) => number))
  },
)

test('without a lock units are sold twice and go missing, and the account says how many', async () => {
  const plan = crowd()
  const { day, audit } = await spend(plan, await openUnlockedShop(database.db, plan.initial))
  expect(audit.clean).toBe(false)
  const number = (sentence: RegExp): number => Number(sentence.exec(audit.said.join(' '))?.[1] ?? 0)
  const twice = number(/sold twice, .*?: (\d+)/)
  const missing = number(/gone missing, .*?: (\d+)/)
  expect(twice).toBeGreaterThan(0)
  expect(missing).toBeGreaterThan(0)
  expect(audit.left).toBe(day.told.initial + day.told.restocked - day.told.sold + twice - missing)
})

test('without a lock and with nobody beside them, customers lose nothing', async () => {
  const plan = planOf(5, customers({}, {}, {}))
  const { audit } = await spend(plan, await openUnlockedShop(database.db, 5), { places: 1 })
  expect(audit).toMatchObject({ clean: true, left: 2 })
})

test('a unit that appears past the service is found, and so is one that was never sold', async () => {
  const shop = await coreShop(5)
  const { day } = await spend(planOf(5, customers({})), shop)
  expect((await shop.audit({ ...day.told, sold: 2 })).said).toContainEqual(
    'Units sold: 1 by the ledger, 2 as those who did it say.',
  )
  await rows(database.db, 'UPDATE stock SET stock = stock + 3')
  const audit = await shop.audit(day.told)
  expect(audit.clean).toBe(false)
  expect(audit.said).toEqual(['Units too many: 3.', expect.stringContaining('Promise 3 is broken')])
})

test.each(ALONE)('with %s a delivery goes to VIPs first, then to those who came first', async (name) => {
  const list = customers({}, {}, {}, {}, { vip: true }, { vip: true, quantity: 2 })
  const { day } = await spend(planOf(0, list, [{ at_ms: 1000, units: 4 }]), await coreShop(0, name))
  expect(ends(day)).toMatchObject({ 5: 'bought', 6: 'bought' })
  expect(Object.values(ends(day)).filter((end) => end === 'bought')).toHaveLength(3)
  if (name === 'batched') expect(ends(day)).toMatchObject({ 1: 'bought', 2: 'sold out' })
})

test('no more customers are inside than the semaphore lets in, from the shelf to the till', async () => {
  const plan = crowd()
  const shop = await coreShop(plan.initial)
  let [inside, peak] = [0, 0]
  const leaving = <T>(value: T): T => {
    inside -= 1
    return value
  }
  const counting: Shop = {
    ...shop,
    async take(quantity, signal) {
      inside += 1
      peak = Math.max(peak, inside)
      const taken = await shop.take(quantity, signal)
      if (taken.kind !== 'taken') return leaving(taken)
      return { kind: 'taken', units: { ...taken.units, pay: async () => leaving(await taken.units.pay()) } }
    },
  }
  const { day, audit } = await spend(plan, counting, { places: 3 })
  expect([peak, day.inside_peak, inside]).toEqual([3, 3, 0])
  expect(audit.clean).toBe(true)
})

test('who waits longer than the lock timeout for a place leaves without one', async () => {
  const list = customers({ pays_ms: 500 }, {}, { arrives_ms: 400 })
  const { day, audit } = await spend(planOf(5, list), await coreShop(5), { places: 1, lock_timeout_ms: 200 })
  expect(ends(day)).toEqual({ 1: 'bought', 2: 'no place in time', 3: 'bought' })
  expect(day.visits[1]?.waited_ms).toBe(200)
  expect(audit).toMatchObject({ clean: true, left: 3 })
})

test('who waits longer than the lock timeout for the shelf leaves, and units that come later go to another', async () => {
  const time = simulateTime()
  const answered = gate()
  let [left, asked] = [2, 0]
  const units = (quantity: number): Taken => ({
    kind: 'taken',
    units: { pay: async () => undefined, putBack: async () => void (left += quantity) },
  })
  const slow: Shop = {
    async take(quantity) {
      asked += 1
      if (left < quantity) return { kind: 'sold_out' }
      left -= quantity
      // The first one's transaction has committed, but the answer does not come.
      if (asked === 1) await answered.opened
      return units(quantity)
    },
    restock: async () => undefined,
    level: async () => ({ left, held: 0 }),
    audit: () => Promise.reject(new Error('nobody asks')),
  }
  const plan = planOf(2, customers({ quantity: 2 }, { quantity: 2, arrives_ms: 50 }))
  const day = spendDay(plan, slow, time, { ...DAY, lock_timeout_ms: 200 }, ({ kind }) => {
    if (kind === 'left') answered.open()
  })
  const { visits } = await time.passUntil(day)
  expect(ends({ visits })).toEqual({ 1: 'lock timeout', 2: 'bought' })
  expect(visits.map(({ waited_ms }) => waited_ms)).toEqual([200, 150])
  expect(left).toBe(0)
})

test('a customer who finds too little waits as long as patience lasts, and is told of every delivery', async () => {
  const list = customers({ quantity: 3 }, { quantity: 50 })
  const deliveries = [
    { at_ms: 1000, units: 2 },
    { at_ms: 2000, units: 2 },
    { at_ms: 9000, units: 100 },
  ]
  const { day, happened } = await spend(planOf(0, list, deliveries), await coreShop(0))
  expect(ends(day)).toEqual({ 1: 'bought', 2: 'sold out' })
  expect(day.visits.map(({ waited_ms }) => waited_ms)).toEqual([2000, 5000])
  expect(day.told).toEqual({ initial: 0, restocked: 4, sold: 3 })
  expect(happened.map(({ kind, at_ms }) => `${at_ms} ${kind}`)).toEqual([
    '0 opened',
    '0 waits',
    '1 waits',
    '1000 restocked',
    '2000 restocked',
    '2100 bought',
    '5001 left',
  ])
  const last: Level | undefined = happened.at(-1)?.level
  expect(last).toEqual({ left: 1, held: 0 })
})

test('a delivery that comes while somebody is being told "sold out" is not missed', async () => {
  const time = simulateTime()
  const delivered = gate()
  let left = 0
  const shop: Shop = {
    async take(quantity): Promise<Taken> {
      if (left < quantity) {
        await delivered.opened
        return { kind: 'sold_out' }
      }
      left -= quantity
      return { kind: 'taken', units: { pay: async () => undefined, putBack: async () => undefined } }
    },
    async restock(units) {
      left += units
    },
    level: async () => ({ left, held: 0 }),
    audit: () => Promise.reject(new Error('nobody asks')),
  }
  const plan = planOf(0, customers({}), [{ at_ms: 100, units: 1 }])
  const day = spendDay(plan, shop, time, DAY, ({ kind }) => {
    if (kind === 'restocked') delivered.open()
  })
  expect(ends(await time.passUntil(day))).toEqual({ 1: 'bought' })
})

test('a refusal of the service is a failure with its code', async () => {
  const shop = await coreShop(5)
  const refusing: Shop = { ...shop, take: async () => ({ kind: 'refused', reason: 'stock_conflict' }) }
  const { day } = await spend(planOf(5, customers({})), refusing)
  expect(ends(day)).toEqual({ 1: 'stock_conflict' })
})

test('a shop that breaks ends the day with what broke it', async () => {
  const shop = await coreShop(5)
  const broken: Shop = { ...shop, take: () => Promise.reject(new Error('the roof came down')) }
  await expect(spend(planOf(5, customers({})), broken)).rejects.toThrow('the roof came down')
})
