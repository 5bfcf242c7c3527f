import fc from 'fast-check'
import { rows } from '../../src/database/transaction.ts'
import type { Result } from '../../src/errors.ts'
import { readEvents } from '../../src/outbox/read.ts'
import type { Line, Reservation, Reserved } from '../../src/reservations/reservation.ts'
import { adjustStock } from '../../src/stock/adjust.ts'
import { readLevels } from '../../src/stock/levels.ts'
import { setStock } from '../../src/stock/set.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  clear,
  doorOf,
  findBroken,
  keyed,
  must,
  openCore,
  stopCores,
  timePasses,
  wants,
  type Core,
  type Door,
} from '../factories.ts'
import { bodyOf, Model, type Answer, type Request } from './model.ts'

/**
 * Random sequences of everything that can be done, against the model: after each step the answers, the counters, the ledger
 * and the model agree. MODEL_RUNS lets it run for longer: MODEL_RUNS=5000 npm test -- test/model --testTimeout=3600000
 */

const RUNS = Number(process.env['MODEL_RUNS'] ?? 15)
const SKUS = ['a', 'b', 'c']
const TTL_MAX_SECONDS = 10_000

type Step =
  /** Requests that arrive in one turn of the event loop. */
  | { kind: 'together'; requests: Request[] }
  | { kind: "in a caller's transaction"; request: Request }
  | { kind: 'set'; sku: string; stock: number }
  | { kind: 'adjust'; sku: string; delta: number }
  | { kind: 'wait'; seconds: number }
  | { kind: 'sweep' }

let database: TestDatabase
let core: { batched: Core; conditional: Core }

beforeAll(async () => {
  database = await createTestDatabase()
  const options = { ttl_max_seconds: TTL_MAX_SECONDS, lock_timeout_ms: 5000 }
  core = {
    batched: openCore(database, options),
    conditional: openCore(database, { ...options, strategy: 'conditional' }),
  }
})

afterAll(async () => {
  await stopCores()
  await database.drop()
})

// No sum of waits comes within a minute of a sum of times to live: the seconds that a run itself takes decide nothing.
const ttl = fc.integer({ min: 1, max: 3 }).map((count) => count * 1000 + 500)
const seconds = fc.integer({ min: 0, max: 3 }).map((count) => count * 1000 + 10)

function requests(): fc.Arbitrary<Request> {
  const sku = fc.oneof(
    { weight: 20, arbitrary: fc.constantFrom(...SKUS) },
    { weight: 1, arbitrary: fc.constant('nowhere') },
  )
  const lines = fc.array(fc.record({ sku, quantity: fc.integer({ min: 1, max: 4 }) }), { minLength: 1, maxLength: 4 })
  const hold = fc.nat(12)
  const key = fc.constantFrom('k1', 'k2', 'k3')
  // Few bodies under few keys, so that retries and misuses come up.
  const few = fc.constantFrom<Line[]>(
    [{ sku: 'a', quantity: 1 }],
    [
      { sku: 'b', quantity: 1 },
      { sku: 'a', quantity: 2 },
    ],
  )
  return fc.oneof(
    { weight: 4, arbitrary: fc.record({ verb: fc.constant('reserve' as const), lines, ttl_seconds: ttl }) },
    {
      weight: 2,
      arbitrary: fc.record({ verb: fc.constant('reserve' as const), lines: few, ttl_seconds: fc.constant(1500), key }),
    },
    { weight: 2, arbitrary: fc.record({ verb: fc.constant('confirm' as const), hold, reacquire: fc.boolean() }) },
    { weight: 2, arbitrary: fc.record({ verb: fc.constant('release' as const), hold }) },
    { weight: 1, arbitrary: fc.record({ verb: fc.constant('extend' as const), hold, ttl_seconds: ttl }) },
  )
}

function steps(): fc.Arbitrary<Step[]> {
  const sku = fc.constantFrom(...SKUS)
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        kind: fc.constant('together' as const),
        requests: fc.array(requests(), { minLength: 1, maxLength: 6 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant("in a caller's transaction" as const), request: requests() }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('set' as const), sku, stock: fc.nat(12) }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('adjust' as const), sku, delta: fc.integer({ min: -4, max: 6 }) }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait' as const), seconds }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('sweep' as const) }) },
  )
  return fc.array(step, { minLength: 1, maxLength: 30 })
}

/** One run: the service on an emptied database, and the model beside it. */
class Run {
  readonly model = new Model(SKUS, TTL_MAX_SECONDS)
  readonly ids: string[] = []
  readonly #core: Core
  readonly #inTransaction: Door
  readonly #ordered: boolean

  /** @param ordered whether requests that arrive together are decided in that order */
  constructor(used: Core, ordered: boolean) {
    this.#core = used
    this.#ordered = ordered
    this.#inTransaction = doorOf({ batched: used, conditional: used }, "a caller's transaction")
  }

  async begin(): Promise<void> {
    await clear(database.db)
    await rows(database.db, 'UPDATE outbox_position SET last_position = 0')
    must(
      await setStock(
        database.db,
        SKUS.map((sku) => ({ sku, stock: 6 })),
      ),
    )
    for (const sku of SKUS) this.model.stock.set(sku, 6)
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case 'together':
        return this.#together(step.requests)
      case "in a caller's transaction":
        return this.#compare([step.request], [await this.#ask(this.#inTransaction, step.request)])
      case 'set':
        return this.#setStock(step.sku, step.stock, () => setStock(database.db, [{ sku: step.sku, stock: step.stock }]))
      case 'adjust':
        return this.#setStock(step.sku, (this.model.stock.get(step.sku) ?? 0) + step.delta, () =>
          adjustStock(database.db, { client: '', items: [{ sku: step.sku, delta: step.delta }] }),
        )
      case 'wait':
        await timePasses(database.db, step.seconds)
        this.model.now += step.seconds
        return
      case 'sweep':
        await this.#core.sweeper.run()
        this.model.sweep()
        expect(await this.#storedHeld()).toEqual(this.#held('lasting'))
    }
  }

  /** Counters, ledger, holds and model agree; what nobody has noticed yet may still be held. */
  async check(): Promise<void> {
    expect(await findBroken(database.db)).toEqual([])
    const levels = await readLevels(database.db, SKUS)
    expect(levels.map((level) => level.stock)).toEqual(SKUS.map((sku) => this.model.stock.get(sku)))
    for (const { sku, temp_reserved_stock } of levels) {
      const lasting = this.model.held(sku, 'lasting')
      expect(temp_reserved_stock).toBeGreaterThanOrEqual(lasting)
      expect(temp_reserved_stock).toBeLessThanOrEqual(lasting + this.model.held(sku, 'overdue'))
    }
    const { reservations } = must(await this.#core.reservations.list({ limit: 200 }))
    const found = new Map(reservations.map((one) => [one.id, { status: one.status, lines: one.lines }]))
    expect(this.ids.map((id) => found.get(id))).toEqual(
      this.model.holds.map((hold) => ({ status: this.model.statusOf(hold), lines: hold.lines })),
    )
    expect(found.size).toBe(this.ids.length)
  }

  /** Every line of every hold has the history that the model tells, in the ledger, and each hold has it in the events. */
  async checkHistory(): Promise<void> {
    await this.take({ kind: 'sweep' })
    const ledger = await rows<{ id: string; sku: string; kinds: string[] }>(
      database.db,
      `SELECT reservation_id AS id, sku, array_agg(kind ORDER BY seq) AS kinds FROM stock_ledger
       WHERE reservation_id IS NOT NULL GROUP BY 1, 2`,
    )
    const told = new Map(ledger.map(({ id, sku, kinds }) => [`${id} ${sku}`, kinds]))
    const events = await this.#events()
    for (const [i, hold] of this.model.holds.entries()) {
      for (const { sku } of hold.lines) expect(told.get(`${this.ids[i]} ${sku}`)).toEqual(hold.history)
      expect(events.get(this.ids[i]!)).toEqual(eventsOf(hold.history))
    }
  }

  async #together(all: readonly Request[]): Promise<void> {
    if (this.#ordered) {
      // Those that name a hold know only the ones that were there when they arrived.
      const known = this.ids.length
      const named = all.map((one) => (one.verb !== 'reserve' && one.hold >= known ? { ...one, hold: Infinity } : one))
      return this.#compare(named, await Promise.all(named.map((one) => this.#ask(this.#core.reservations, one))))
    }
    for (const one of all) this.#compare([one], [await this.#ask(this.#core.reservations, one)])
  }

  async #ask(door: Door, request: Request): Promise<Result<Reserved | Reservation>> {
    if (request.verb === 'reserve') {
      const { lines, ttl_seconds, key } = request
      return door.reserve(
        wants(lines, { ttl_seconds, ...(key === undefined ? {} : keyed(key, bodyOf(lines, ttl_seconds))) }),
      )
    }
    const id = this.ids[request.hold] ?? '01890000-0000-7000-8000-000000000000'
    if (request.verb === 'confirm') return door.confirm({ id, on_expired: request.reacquire ? 'reacquire' : 'refuse' })
    return request.verb === 'release' ? door.release({ id }) : door.extend({ id, ttl_seconds: request.ttl_seconds })
  }

  #compare(asked: readonly Request[], answers: readonly Result<Reserved | Reservation>[]): void {
    const expected = asked.map((request) => this.model.answer(request))
    for (const answer of answers) {
      if (answer.ok && 'replayed' in answer.value && !answer.value.replayed) this.ids.push(answer.value.reservation.id)
    }
    expect(answers.map((answer) => this.#normalise(answer))).toEqual(expected)
  }

  #normalise(answer: Result<Reserved | Reservation>): Answer {
    if (!answer.ok) {
      const { refusal } = answer
      return {
        refused: refusal.code,
        ...(refusal.code === 'insufficient_stock' ? { shortages: refusal.shortages } : {}),
      }
    }
    const { reservation, replayed } =
      'replayed' in answer.value ? answer.value : { reservation: answer.value, replayed: false }
    return { hold: this.ids.indexOf(reservation.id), status: reservation.status, replayed }
  }

  /** A count may not fall below what is held in the database, be it overdue or not. */
  async #setStock(sku: string, stock: number, act: () => Promise<Result<unknown>>): Promise<void> {
    const held = (await this.#storedHeld())[SKUS.indexOf(sku)] ?? 0
    const answer = await act()
    expect(answer.ok ? 'set' : answer.refusal.code).toBe(stock < held ? 'stock_below_reserved' : 'set')
    if (answer.ok) this.model.stock.set(sku, stock)
  }

  #held(which: 'lasting' | 'overdue'): number[] {
    return SKUS.map((sku) => this.model.held(sku, which))
  }

  async #storedHeld(): Promise<number[]> {
    return (await readLevels(database.db, SKUS)).map((level) => level.temp_reserved_stock)
  }

  async #events(): Promise<Map<string, string[]>> {
    const types = new Map<string, string[]>()
    for (let after = 0; ;) {
      const { events, next_after } = await readEvents(database.db, { after, limit: 200 })
      if (events.length === 0) return types
      after = next_after
      for (const { type, data } of events) {
        const id = data['id'] as string | undefined
        if (id === undefined || type === 'reservation.extended') continue
        types.set(id, [...(types.get(id) ?? []), type])
      }
    }
  }
}

/** Reacquiring is one event to those who watch, and two steps in the ledger. */
function eventsOf(history: readonly string[]): string[] {
  const types = { reserve: 'created', confirm: 'confirmed', release: 'released', expire: 'expired' } as Record<
    string,
    string
  >
  return history.filter((kind, i) => kind !== 'reserve' || i === 0).map((kind) => `reservation.${types[kind]}`)
}

test.each(['batched', 'conditional'] as const)(
  'whatever is done in whatever order, strategy %s: answers, counters, ledger, events and model agree after each step',
  async (strategy) => {
    await fc.assert(
      fc.asyncProperty(steps(), async (sequence) => {
        const run = new Run(core[strategy], strategy === 'batched')
        await run.begin()
        for (const step of sequence) {
          await run.take(step)
          await run.check()
        }
        await run.checkHistory()
      }),
      { numRuns: RUNS },
    )
  },
)
