import { newId } from '../../src/ids.ts'
import type { ReserveRequest } from '../../src/reservations/reservation.ts'
import { createSplit } from '../../src/reservations/split.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  counters,
  findBroken,
  hold,
  inTransaction,
  keyed,
  must,
  openCore,
  refusal,
  stocked,
  stopCores,
  wants,
} from '../factories.ts'

/** Buyers split among strategies and hold times. */

const BUYERS = 10_000

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})

afterEach(async () => expect(await findBroken(database.db)).toEqual([]))

afterAll(async () => {
  await stopCores()
  await database.drop()
})

const by = (customer_id: string): ReserveRequest => wants('any', { customer_id })

/** How far a count of independent draws may lie from what is expected: five deviations, passed once in two million. */
const bound = (share: number) => 5 * Math.sqrt(BUYERS * share * (1 - share))

test.each([
  [
    [70, 30],
    [0.7, 0.3],
  ],
  [
    [1, 1, 2],
    [0.25, 0.25, 0.5],
  ],
])('weights %j split ten thousand buyers as they say', (weights, shares) => {
  const split = createSplit(
    weights.map((weight, value) => ({ value, weight })),
    'strategy',
  )
  const counts = weights.map(() => 0)
  for (let n = 0; n < BUYERS; n++) counts[split(by(`customer-${n}`), newId())]! += 1
  for (const [value, share] of shares.entries()) {
    expect(Math.abs(counts[value]! - BUYERS * share)).toBeLessThan(bound(share))
  }
})

test('a buyer gets the same every time and in every process, whatever the key and the reservation', () => {
  const weighted = ['a', 'b', 'c'].map((value) => ({ value, weight: 1 }))
  const [here, there] = [createSplit(weighted, 'strategy'), createSplit(weighted, 'strategy')]
  for (let n = 0; n < 1000; n++) {
    const request = { ...by(`customer-${n}`), ...keyed(`key ${n}`) }
    expect(there(by(`customer-${n}`), newId())).toBe(here(request, newId()))
  }
})

test('without a customer the idempotency key decides, and a retry under it gets the same', () => {
  const split = createSplit(
    ['a', 'b'].map((value) => ({ value, weight: 1 })),
    'strategy',
  )
  const found = new Set<string>()
  for (let n = 0; n < 1000; n++) {
    const arm = split(wants('any', keyed(`key ${n}`)), newId())
    expect(split(wants('any', keyed(`key ${n}`)), newId())).toBe(arm)
    found.add(arm)
  }
  expect(found).toEqual(new Set(['a', 'b']))
})

test('with neither each reservation is somebody else', () => {
  const split = createSplit(
    ['a', 'b'].map((value) => ({ value, weight: 1 })),
    'strategy',
  )
  let first = 0
  for (let n = 0; n < BUYERS; n++) if (split(wants('any'), newId()) === 'a') first += 1
  expect(Math.abs(first - BUYERS / 2)).toBeLessThan(bound(0.5))
})

test('two splits of the same buyers are independent', () => {
  const halves = ['a', 'b'].map((value) => ({ value, weight: 1 }))
  const [one, two] = [createSplit(halves, 'strategy'), createSplit(halves, 'ttl')]
  let same = 0
  for (let n = 0; n < BUYERS; n++) if (one(by(`${n}`), '') === two(by(`${n}`), '')) same += 1
  expect(Math.abs(same - BUYERS / 2)).toBeLessThan(bound(0.5))
})

test('buyers split among three strategies race for the same units: each keeps to one, and none is sold twice', async () => {
  const sku = await stocked(database.db, 40)
  const core = openCore(database, {
    strategy: [
      { value: 'batched', weight: 2 },
      { value: 'pessimistic', weight: 1 },
      { value: 'mutex', weight: 1 },
    ],
  })
  const answers = await Promise.all(
    Array.from({ length: 120 }, (_, n) => core.reservations.reserve(wants(sku, { customer_id: `customer-${n % 60}` }))),
  )
  const held = answers.flatMap((answer) => (answer.ok ? [answer.value.reservation] : []))
  expect(held).toHaveLength(40)
  expect(await counters(database.db, sku)).toBe('40/40')
  const strategies = new Map<string, Set<string>>()
  for (const { customer_id, strategy } of held) {
    strategies.set(customer_id!, (strategies.get(customer_id!) ?? new Set()).add(strategy))
  }
  for (const own of strategies.values()) expect(own.size).toBe(1)
  expect(new Set(held.map(({ strategy }) => strategy)).size).toBeGreaterThan(1)
  expect(core.metrics.rates().map(({ labels }) => labels.strategy)).toEqual(
    expect.arrayContaining(['batched', 'pessimistic', 'mutex']),
  )
  // The other verbs share one path, and are counted where the hold belongs.
  const own = held.find(({ strategy }) => strategy === 'mutex') ?? held[0]!
  must(await core.reservations.confirm({ id: own.id }))
  expect(core.metrics.rates()).toContainEqual({
    labels: { verb: 'confirm', code: 'ok', strategy: own.strategy, variant: '' },
    last_minute: 1,
  })
})

test('told to stop while buyers wait in several strategies: each of them is answered as if it went on', async () => {
  const sku = await stocked(database.db, 100)
  const core = openCore(database, {
    strategy: [
      { value: 'conditional', weight: 1 },
      { value: 'mutex', weight: 1 },
    ],
  })
  const taken = Array.from({ length: 60 }, (_, n) => core.reservations.reserve(wants(sku, { customer_id: `${n}` })))
  const stopped = core.reservations.stop()
  expect(refusal(await core.reservations.reserve(wants(sku))).code).toBe('overloaded')
  expect((await Promise.all(taken)).map((answer) => answer.ok)).toEqual(taken.map(() => true))
  await stopped
  expect(await counters(database.db, sku)).toBe('100/60')
})

describe('hold times', () => {
  const times = [
    { value: 600, weight: 1 },
    { value: 1200, weight: 1 },
  ]
  const secondsOf = ({ created_at, expires_at }: { created_at: Date; expires_at: Date }) =>
    (expires_at.getTime() - created_at.getTime()) / 1000

  test('a buyer who names none gets one of them, always the same; it stands on the hold, in its rows and in the metrics', async () => {
    const sku = await stocked(database.db, 100)
    const core = openCore(database, { ttl_seconds: times })
    const variants = new Map<string, Set<string | null>>()
    for (let n = 0; n < 40; n++) {
      const customer_id = `customer-${n % 20}`
      const reservation = await hold(core.reservations, sku, { customer_id })
      expect(['600', '1200']).toContain(reservation.ttl_variant)
      expect(String(secondsOf(reservation))).toBe(reservation.ttl_variant)
      expect(await core.reservations.read(reservation.id)).toEqual(reservation)
      variants.set(customer_id, (variants.get(customer_id) ?? new Set()).add(reservation.ttl_variant))
    }
    for (const own of variants.values()) expect(own.size).toBe(1)
    const text = await core.metrics.text()
    for (const variant of ['600', '1200']) {
      expect(text).toContain(`stock_outcomes_total{verb="reserve",code="ok",strategy="batched",variant="${variant}"}`)
    }
  })

  test("a buyer who names one gets it, and is in no variant; a caller's transaction is split like the queue", async () => {
    const sku = await stocked(database.db, 10)
    const core = openCore(database, { ttl_seconds: times })
    const named = await hold(core.reservations, sku, { customer_id: 'named', ttl_seconds: 60 })
    expect([named.ttl_variant, secondsOf(named)]).toEqual([null, 60])
    const queued = await hold(core.reservations, sku, { customer_id: 'the same' })
    const within = must(
      await inTransaction(core.callers, (tx) =>
        core.reservations.reserveIn(tx, wants(sku, { customer_id: 'the same' })),
      ),
    )
    expect(within.reservation.ttl_variant).toBe(queued.ttl_variant)
  })

  test('one hold time is no trial: there is no variant', async () => {
    const sku = await stocked(database.db)
    const core = openCore(database, { ttl_seconds: [{ value: 600, weight: 50 }] })
    const reservation = await hold(core.reservations, sku)
    expect([reservation.ttl_variant, secondsOf(reservation)]).toEqual([null, 600])
  })
})
