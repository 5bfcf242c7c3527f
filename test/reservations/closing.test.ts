import { v7 as uuidv7 } from 'uuid'
import type { Result } from '../../src/errors.ts'
import type { Reservation } from '../../src/reservations/reservation.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  counters,
  doorOf,
  DOORS,
  findBroken,
  hold,
  ledger,
  makeOverdue,
  must,
  openCore,
  refusal,
  stocked,
  stopCores,
  stored,
  timePasses,
  wants,
  type Core,
  type Door,
} from '../factories.ts'

/** How confirm, release and extend answer in each state a reservation may be in, in time and too late, and once more. */

let database: TestDatabase
let core: { batched: Core; conditional: Core }

beforeAll(async () => {
  database = await createTestDatabase()
  core = { batched: openCore(database), conditional: openCore(database, { strategy: 'conditional' }) }
})

afterEach(async () => expect(await findBroken(database.db)).toEqual([]))

afterAll(async () => {
  await stopCores()
  await database.drop()
})

const STATES = [
  'pending',
  'overdue',
  'swept',
  'confirmed',
  'confirmed and its time over',
  'released',
  'released and its time over',
] as const
type State = (typeof STATES)[number]

/** A hold of two units of ten, brought into a state. */
async function bring(door: Door, state: State): Promise<{ id: string; sku: string }> {
  const sku = await stocked(database.db, 10)
  const { id } = await hold(door, [{ sku, quantity: 2 }])
  if (state.startsWith('confirmed')) must(await door.confirm({ id }))
  if (state.startsWith('released')) must(await door.release({ id, reason: 'first' }))
  if (state === 'overdue' || state === 'swept') await makeOverdue(database.db, id)
  if (state.endsWith('over')) await timePasses(database.db, 10_000)
  if (state === 'swept') await core.batched.sweeper.run()
  return { id, sku }
}

function inShort(result: Result<Reservation>): string {
  return result.ok ? `200 ${result.value.status}` : result.refusal.code
}

const VERBS = {
  confirm: (door: Door, id: string) => door.confirm({ id }),
  reacquire: (door: Door, id: string) => door.confirm({ id, on_expired: 'reacquire' }),
  release: (door: Door, id: string) => door.release({ id, reason: 'second' }),
  extend: (door: Door, id: string) => door.extend({ id, ttl_seconds: 60 }),
} as const

/** What each verb answers in each state, and the counters and ledger afterwards, from `10/2` with `set` and `reserve`. */
const TABLE: [State, keyof typeof VERBS, answer: string, counters: string, ledger: string[]][] = [
  ['pending', 'confirm', '200 confirmed', '8/0', ['confirm -2 -2']],
  ['pending', 'reacquire', '200 confirmed', '8/0', ['confirm -2 -2']],
  ['pending', 'release', '200 released', '10/0', ['release 0 -2']],
  ['pending', 'extend', '200 pending', '10/2', []],
  ['overdue', 'confirm', 'reservation_expired', '10/2', []],
  ['overdue', 'reacquire', '200 confirmed', '8/0', ['expire 0 -2', 'reserve 0 2', 'confirm -2 -2']],
  ['overdue', 'release', '200 expired', '10/0', ['expire 0 -2']],
  ['overdue', 'extend', 'reservation_expired', '10/2', []],
  ['swept', 'confirm', 'reservation_expired', '10/0', ['expire 0 -2']],
  ['swept', 'reacquire', '200 confirmed', '8/0', ['expire 0 -2', 'reserve 0 2', 'confirm -2 -2']],
  ['swept', 'release', '200 expired', '10/0', ['expire 0 -2']],
  ['swept', 'extend', 'reservation_expired', '10/0', ['expire 0 -2']],
  ['confirmed', 'confirm', '200 confirmed', '8/0', ['confirm -2 -2']],
  ['confirmed', 'reacquire', '200 confirmed', '8/0', ['confirm -2 -2']],
  ['confirmed', 'release', 'already_confirmed', '8/0', ['confirm -2 -2']],
  ['confirmed', 'extend', 'already_confirmed', '8/0', ['confirm -2 -2']],
  ['confirmed and its time over', 'confirm', '200 confirmed', '8/0', ['confirm -2 -2']],
  ['confirmed and its time over', 'reacquire', '200 confirmed', '8/0', ['confirm -2 -2']],
  ['confirmed and its time over', 'release', 'already_confirmed', '8/0', ['confirm -2 -2']],
  ['confirmed and its time over', 'extend', 'already_confirmed', '8/0', ['confirm -2 -2']],
  ['released', 'confirm', 'already_released', '10/0', ['release 0 -2']],
  ['released', 'reacquire', 'already_released', '10/0', ['release 0 -2']],
  ['released', 'release', '200 released', '10/0', ['release 0 -2']],
  ['released', 'extend', 'already_released', '10/0', ['release 0 -2']],
  ['released and its time over', 'confirm', 'already_released', '10/0', ['release 0 -2']],
  ['released and its time over', 'reacquire', 'already_released', '10/0', ['release 0 -2']],
  ['released and its time over', 'release', '200 released', '10/0', ['release 0 -2']],
  ['released and its time over', 'extend', 'already_released', '10/0', ['release 0 -2']],
]

test('the table has every verb in every state', () => {
  const cells = new Set(TABLE.map(([state, verb]) => `${state}, ${verb}`))
  expect(cells.size).toBe(STATES.length * Object.keys(VERBS).length)
})

test('reasons of one batch, whatever is written in them, are kept as they were said', async () => {
  const sku = await stocked(database.db, 20)
  const reasons = ['null', 'NULL', '', "a\"b\\c,{d} 'e'", 'two\nlines', 'two\nlines', '$1 ? ::text', '재고', undefined]
  const { reservations } = core.batched
  const held = await Promise.all(reasons.map(() => hold(reservations, sku)))
  const told = await Promise.all(
    reasons.map((reason, n) => reservations.release({ id: held[n]!.id, ...(reason !== undefined && { reason }) })),
  )
  const kept = await Promise.all(held.map(({ id }) => reservations.read(id)))
  const expected = reasons.map((reason) => reason ?? null)
  expect(told.map((answer) => must(answer).release_reason)).toEqual(expected)
  expect(kept.map((reservation) => reservation?.release_reason)).toEqual(expected)
})

test('what a hold carries is the same after it was read for a confirm', async () => {
  const sku = await stocked(database.db, 5)
  const metadata = { text: 'a"b\\c', list: [1, null, { deep: true }], time: '2026-11-22T00:00:00Z' }
  const request = wants([{ sku, quantity: 2 }], { customer_id: 'NULL', reference: '{a,b}', metadata })
  const made = must(await core.batched.reservations.reserve(request)).reservation
  const { status, closed_at, ...rest } = must(await core.batched.reservations.confirm({ id: made.id }))
  expect([status, closed_at]).toEqual(['confirmed', expect.any(Date)])
  expect({ ...rest, status: 'pending', closed_at: null }).toEqual(made)
})

describe.each(DOORS)('through %s', (name) => {
  let door: Door

  beforeAll(() => {
    door = doorOf(core, name)
  })

  test.each(TABLE)('one that is %s: %s answers %s', async (state, verb, answer, left, rows) => {
    const { id, sku } = await bring(door, state)
    const first = await VERBS[verb](door, id)
    expect(inShort(first)).toBe(answer)
    expect(await counters(database.db, sku)).toBe(left)
    expect(await ledger(database.db, sku)).toEqual(['set 10 0', 'reserve 0 2', ...rows])
    const again = await VERBS[verb](door, id)
    if (verb === 'extend') expect(inShort(again)).toBe(answer)
    else expect(again).toEqual(first)
    expect(await ledger(database.db, sku)).toEqual(['set 10 0', 'reserve 0 2', ...rows])
    if (first.ok) expect(await core.batched.reservations.read(id)).toEqual((again.ok ? again : first).value)
  })

  test('an unknown reservation is refused by every verb', async () => {
    const id = uuidv7()
    for (const verb of Object.values(VERBS)) {
      expect(refusal(await verb(door, id))).toEqual({ code: 'reservation_not_found', id })
    }
  })

  test('a confirm closes now, a release too and with its reason, an overdue one closed when its time came', async () => {
    const { id: paid } = await bring(door, 'pending')
    const { id: left } = await bring(door, 'pending')
    const { id: late } = await bring(door, 'overdue')
    const confirmed = must(await door.confirm({ id: paid }))
    expect(confirmed.closed_at?.getTime()).toBeGreaterThanOrEqual(confirmed.created_at.getTime())
    expect(confirmed.closed_at?.getTime()).toBeLessThan(confirmed.expires_at.getTime())
    expect(must(await door.release({ id: left, reason: 'card declined' }))).toMatchObject({
      release_reason: 'card declined',
      closed_at: expect.any(Date) as Date,
    })
    const expired = must(await door.release({ id: late, reason: 'too late to count' }))
    expect(expired).toMatchObject({ status: 'expired', release_reason: null, closed_at: expired.expires_at })
  })

  test('a refusal for lateness says when it expired', async () => {
    const { id } = await bring(door, 'overdue')
    const expired_at = (await core.batched.reservations.read(id))?.expires_at
    expect(refusal(await door.confirm({ id }))).toEqual({ code: 'reservation_expired', expired_at })
    expect(refusal(await door.extend({ id, ttl_seconds: 60 }))).toEqual({ code: 'reservation_expired', expired_at })
  })

  describe('money arrives late and the stock is gone', () => {
    test.each(['overdue', 'swept'] as const)(
      'one that is %s stays as it is, and the buyer in between keeps the units',
      async (state) => {
        const { id, sku } = await bring(door, state)
        // Nine of ten: with the two of the late one, whether they count as held or not, no two are left.
        const taken = await door.reserve(wants([{ sku, quantity: 9 }]))
        const before = [await stored(database.db, id), await ledger(database.db, sku)]
        expect(taken.ok).toBe(true)
        expect(refusal(await door.confirm({ id, on_expired: 'reacquire' }))).toEqual({
          code: 'insufficient_stock',
          shortages: [{ sku, requested: 2, available: 1 }],
        })
        expect([await stored(database.db, id), await ledger(database.db, sku)]).toEqual(before)
        expect(await core.batched.reservations.read(id)).toMatchObject({ status: 'expired' })
        expect(await counters(database.db, sku)).toBe('10/9')
      },
    )

    test('once units come back the same confirm succeeds', async () => {
      const { id, sku } = await bring(door, 'swept')
      const between = await hold(door, [{ sku, quantity: 9 }])
      expect((await door.confirm({ id, on_expired: 'reacquire' })).ok).toBe(false)
      must(await door.release({ id: between.id }))
      expect(must(await door.confirm({ id, on_expired: 'reacquire' })).status).toBe('confirmed')
      expect(await counters(database.db, sku)).toBe('8/0')
    })
  })

  test('an overdue hold of the very last units is reacquired: its own units are not in its way', async () => {
    const sku = await stocked(database.db, 2)
    const { id } = await hold(door, [{ sku, quantity: 2 }])
    await makeOverdue(database.db, id)
    expect(must(await door.confirm({ id, on_expired: 'reacquire' })).status).toBe('confirmed')
    expect(await ledger(database.db, sku)).toEqual([
      'set 2 0',
      'reserve 0 2',
      'expire 0 -2',
      'reserve 0 2',
      'confirm -2 -2',
    ])
    expect(await counters(database.db, sku)).toBe('0/0')
  })

  test('one of several lines is gone: nothing is reacquired', async () => {
    const [gone, there] = [await stocked(database.db, 1), await stocked(database.db, 5)]
    const { id } = await hold(door, [
      { sku: gone, quantity: 1 },
      { sku: there, quantity: 1 },
    ])
    await makeOverdue(database.db, id)
    await core.batched.sweeper.run()
    await hold(door, gone)
    expect(refusal(await door.confirm({ id, on_expired: 'reacquire' }))).toMatchObject({
      shortages: [{ sku: gone, requested: 1, available: 0 }],
    })
    expect(await counters(database.db, there)).toBe('5/0')
  })

  describe('extend', () => {
    test('counts from now, whether that is later or sooner, and again and again', async () => {
      const sku = await stocked(database.db)
      const { id, created_at } = await hold(door, sku, { ttl_seconds: 600 })
      await timePasses(database.db, 500)
      const longer = must(await door.extend({ id, ttl_seconds: 600 }))
      expect(longer.expires_at.getTime() - created_at.getTime()).toBeGreaterThanOrEqual(600_000)
      const sooner = must(await door.extend({ id, ttl_seconds: 10 }))
      expect(sooner.expires_at.getTime()).toBeLessThan(longer.expires_at.getTime())
      await timePasses(database.db, 11)
      expect(refusal(await door.confirm({ id })).code).toBe('reservation_expired')
    })

    test('reaches the maximum from the beginning and not a second further', async () => {
      const sku = await stocked(database.db)
      const { id } = await hold(door, sku, { ttl_seconds: 80_000 })
      await timePasses(database.db, 70_000)
      const answer = refusal(await door.extend({ id, ttl_seconds: 16_401 }))
      const read = await core.batched.reservations.read(id)
      const expires_at_max = new Date((read?.created_at.getTime() ?? 0) + 86_400_000)
      expect(answer).toEqual({ code: 'extension_limit', expires_at_max })
      expect(read?.expires_at.getTime()).toBe((read?.created_at.getTime() ?? 0) + 80_000_000)
      expect(must(await door.extend({ id, ttl_seconds: 16_399 })).expires_at <= expires_at_max).toBe(true)
    })
  })
})

test('confirm, release and sweep race for one hold from two processes: exactly one end, and all answers agree with it', async () => {
  const other = openCore(database, { instance: 'other' })
  for (let round = 0; round < 20; round++) {
    const { id, sku } = await bring(core.batched.reservations, round % 2 === 0 ? 'pending' : 'overdue')
    const [confirmed, released] = await Promise.all([
      core.batched.reservations.confirm({ id, on_expired: 'reacquire' }),
      other.reservations.release({ id }),
      core.batched.sweeper.run(),
      other.sweeper.run(),
    ])
    const end = await stored(database.db, id)
    const says = [inShort(confirmed), inShort(released)]
    if (end === 'confirmed')
      expect(['200 confirmed,already_confirmed', '200 confirmed,200 expired']).toContain(says.join())
    else expect(says).toEqual(['already_released', '200 released'])
    expect(await counters(database.db, sku)).toBe(end === 'confirmed' ? '8/0' : '10/0')
  }
  await other.stop()
})

test('another process releases the last hold of a SKU between the look of a confirm and its write: the confirm is refused', async () => {
  const sku = await stocked(database.db, 5)
  const { id } = await hold(core.batched.reservations, sku)
  const interrupted = openCore(database, {
    after: {
      statement: /FROM reservations r WHERE r\.id = ANY/,
      happens: () => core.batched.reservations.release({ id }),
    },
  })
  expect(refusal(await interrupted.reservations.confirm({ id })).code).toBe('already_released')
  expect(await counters(database.db, sku)).toBe('5/0')
  await interrupted.stop()
})
