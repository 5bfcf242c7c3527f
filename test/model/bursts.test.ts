import fc from 'fast-check'
import { rows } from '../../src/database/transaction.ts'
import type { Result } from '../../src/errors.ts'
import type { Reservation, Reserved } from '../../src/reservations/reservation.ts'
import { adjustStock } from '../../src/stock/adjust.ts'
import { setStock } from '../../src/stock/set.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  clear,
  doorOf,
  DOORS,
  findBroken,
  hold,
  keyed,
  makeOverdue,
  must,
  openCore,
  stopCores,
  wants,
  type Core,
} from '../factories.ts'

/** Everything at once, from several processes: no order is known, so the promises are what is asked for. */

const RUNS = Number(process.env['MODEL_RUNS'] ?? 4)
const SKUS = ['a', 'b', 'c']

let database: TestDatabase
let cores: Core[]

beforeAll(async () => {
  database = await createTestDatabase()
  const options = { lock_timeout_ms: 5000, limits: { wait_ms_max: 10_000, answer_ms_max: 20_000 } }
  cores = [
    openCore(database, { ...options, instance: 'one' }),
    openCore(database, { ...options, instance: 'two' }),
    openCore(database, { ...options, instance: 'three', strategy: 'conditional' }),
  ]
})

afterAll(async () => {
  await stopCores()
  await database.drop()
})

type Act = { verb: string; which: number; by: number; lines: { sku: string; quantity: number }[]; key: string }

const acts = fc.array(
  fc.record({
    verb: fc.constantFrom(
      'reserve',
      'reserve',
      'retry',
      'confirm',
      'reacquire',
      'release',
      'extend',
      'adjust',
      'sweep',
    ),
    which: fc.nat(29),
    by: fc.nat(2),
    lines: fc.array(fc.record({ sku: fc.constantFrom(...SKUS), quantity: fc.integer({ min: 1, max: 2 }) }), {
      minLength: 1,
      maxLength: 3,
    }),
    key: fc.constantFrom('k1', 'k2', 'k3', 'k4'),
  }),
  { minLength: 120, maxLength: 160 },
)

type Said = { act: Act; id: string | undefined; answer: Result<Reserved | Reservation> }

async function perform(act: Act, held: readonly string[]): Promise<Said | undefined> {
  const core = cores[act.by]!
  // Every third goes in a caller's transaction.
  const door = doorOf({ batched: core, conditional: core }, act.which % 3 === 0 ? DOORS[2] : DOORS[0])
  const id = held[act.which % held.length]!
  const say = async (answer: Promise<Result<Reserved | Reservation>>, about?: string): Promise<Said> => ({
    act,
    id: about,
    answer: await answer,
  })
  switch (act.verb) {
    case 'reserve':
      return say(door.reserve(wants(act.lines)))
    case 'retry':
      return say(door.reserve(wants('a', keyed(act.key))))
    case 'confirm':
      return say(door.confirm({ id }), id)
    case 'reacquire':
      return say(door.confirm({ id, on_expired: 'reacquire' }), id)
    case 'release':
      return say(door.release({ id }), id)
    case 'extend':
      return say(door.extend({ id, ttl_seconds: 60 }), id)
    case 'adjust':
      await adjustStock(database.db, { client: '', items: [{ sku: 'b', delta: act.which % 2 === 0 ? 1 : -1 }] })
      return undefined
    default:
      await core.sweeper.run()
      return undefined
  }
}

/** What a request may be refused with here; anything else would be a fault of ours. */
const REFUSALS = [
  'insufficient_stock',
  'already_confirmed',
  'already_released',
  'reservation_expired',
  'stock_conflict',
  // By `conditional`, where the machine is slow.
  'overloaded',
]

/** What may have happened to one line of a hold, in the words of the ledger. */
const HISTORY = /^reserve( (confirm|release|expire( reserve confirm)?))?$/

async function checkHistories(): Promise<void> {
  const found = await rows<{ id: string; status: string; histories: string[] }>(
    database.db,
    `SELECT r.id, r.status, array_agg(DISTINCT l.kinds) AS histories
     FROM reservations r
     JOIN LATERAL (SELECT sku, string_agg(kind, ' ' ORDER BY seq) AS kinds FROM stock_ledger
                   WHERE reservation_id = r.id GROUP BY sku) l ON true
     GROUP BY r.id, r.status`,
  )
  for (const { status, histories } of found) {
    // One history for all lines of a hold: all of them, or none, went each way.
    expect(histories).toHaveLength(1)
    expect(histories[0]).toMatch(HISTORY)
    const last = histories[0]!.split(' ').at(-1)
    expect(last).toBe({ pending: 'reserve', confirmed: 'confirm', released: 'release', expired: 'expire' }[status])
  }
}

async function checkAnswers(said: readonly Said[]): Promise<void> {
  const stored = new Map(
    (await rows<{ id: string; status: string }>(database.db, 'SELECT id, status FROM reservations')).map((row) => [
      row.id,
      row.status,
    ]),
  )
  const by_key = new Map<string, Set<string>>()
  for (const { act, id, answer } of said) {
    if (!answer.ok) {
      expect(REFUSALS).toContain(answer.refusal.code)
      if (answer.refusal.code === 'already_confirmed') expect(stored.get(id!)).toBe('confirmed')
      if (answer.refusal.code === 'already_released') expect(stored.get(id!)).toBe('released')
      continue
    }
    const reservation = 'replayed' in answer.value ? answer.value.reservation : answer.value
    expect(stored.has(reservation.id)).toBe(true)
    if (act.verb === 'retry') by_key.set(act.key, (by_key.get(act.key) ?? new Set()).add(reservation.id))
    if (act.verb === 'confirm' || act.verb === 'reacquire') expect(stored.get(reservation.id)).toBe('confirmed')
    // Released is final; what a release found expired may have been reacquired afterwards.
    if (act.verb === 'release' && reservation.status === 'released') expect(stored.get(reservation.id)).toBe('released')
  }
  for (const ids of by_key.values()) expect(ids.size).toBe(1)
}

test('whatever arrives at once from three processes with sweepers: counters, ledger, holds and every answer agree', async () => {
  await fc.assert(
    fc.asyncProperty(acts, async (burst) => {
      await clear(database.db)
      must(
        await setStock(
          database.db,
          SKUS.map((sku) => ({ sku, stock: 60 })),
        ),
      )
      const held: string[] = []
      for (let i = 0; i < 15; i++) {
        const lines = SKUS.slice(i % 3).map((sku) => ({ sku, quantity: 1 + (i % 2) }))
        held.push((await hold(cores[0]!.reservations, i % 2 === 0 ? lines : lines.toReversed())).id)
      }
      await makeOverdue(
        database.db,
        held.filter((_, i) => i % 3 === 0),
      )
      const said = await Promise.all(burst.map((act) => perform(act, held)))
      expect(await findBroken(database.db)).toEqual([])
      await checkHistories()
      await checkAnswers(said.filter((one) => one !== undefined))
    }),
    { numRuns: RUNS, endOnFailure: true },
  )
})
