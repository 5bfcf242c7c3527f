import fc from 'fast-check'
import {
  draw,
  keyOf,
  type Operation,
  type Outcome,
  type Plan,
  type Reserve,
  type View,
} from '../../src/reservations/plan.ts'
import type { KeyedReservation, StoredReservation } from '../../src/reservations/queries.ts'
import { sumLines, type Line } from '../../src/reservations/reservation.ts'

const NOW = new Date('2026-01-01T12:00:00Z')
const SETTINGS = { ttl_max_seconds: 86_400 }

function minutes(count: number): Date {
  return new Date(NOW.getTime() + count * 60_000)
}

function reserve(id: string, lines: Line[], key?: { key: string; body?: string }): Reserve {
  const idempotency = key && { key: key.key, request_hash: key.body ?? 'body' }
  const request = { client: 'shop', lines, ...(idempotency ? { idempotency } : {}) }
  const lines_summed = sumLines(lines)
  return {
    verb: 'reserve',
    id,
    lines: lines_summed,
    request,
    ttl_seconds: 1800,
    strategy: 'batched',
    ttl_variant: null,
  }
}

function held(id: string, lines: Line[], more: Partial<StoredReservation> = {}): StoredReservation {
  const overdue = more.overdue ?? false
  return {
    id,
    status: 'pending',
    skus: lines.map((line) => line.sku),
    quantities: lines.map((line) => line.quantity),
    customer_id: null,
    reference: null,
    metadata: null,
    created_at: minutes(-60),
    expires_at: minutes(overdue ? -1 : 1),
    closed_at: more.status !== undefined && more.status !== 'pending' ? minutes(-2) : null,
    release_reason: null,
    strategy: 'batched',
    ttl_variant: null,
    overdue,
    ...more,
  }
}

function viewOf(stock: Record<string, [stock: number, reserved: number]>, stored: StoredReservation[] = []): View {
  return {
    now: NOW,
    counters: new Map(
      Object.entries(stock).map(([sku, [units, reserved]]) => [
        sku,
        { stock: units, temp_reserved_stock: reserved, seq: 1 },
      ]),
    ),
    reservations: new Map(stored.map((one) => [one.id, one])),
    keyed: undefined,
  }
}

/** The answers in short: a status, or why not. */
function answers(plan: Plan): string[] {
  return [...plan.outcomes.values()].map((outcome) =>
    outcome.ok ? `${outcome.value.reservation.status}${outcome.value.replayed ? ' again' : ''}` : outcome.refusal.code,
  )
}

test('lines of one SKU are summed, in the order of first mention', () => {
  const lines = [
    { sku: 'b', quantity: 1 },
    { sku: 'a', quantity: 2 },
    { sku: 'b', quantity: 3 },
  ]
  expect(sumLines(lines)).toEqual([
    { sku: 'b', quantity: 4 },
    { sku: 'a', quantity: 2 },
  ])
})

test('who comes first gets the last unit, and who is refused takes nothing', () => {
  const operations = [
    reserve('1', [
      { sku: 'a', quantity: 2 },
      { sku: 'b', quantity: 1 },
    ]),
    reserve('2', [
      { sku: 'a', quantity: 2 },
      { sku: 'b', quantity: 1 },
    ]),
    reserve('3', [{ sku: 'a', quantity: 1 }]),
  ]
  const plan = draw(operations, viewOf({ a: [3, 0], b: [1, 0] }), SETTINGS)
  expect(answers(plan)).toEqual(['pending', 'insufficient_stock', 'pending'])
  expect(plan.outcomes.get(operations[1]!)).toMatchObject({
    refusal: {
      shortages: [
        { sku: 'a', requested: 2, available: 1 },
        { sku: 'b', requested: 1, available: 0 },
      ],
    },
  })
  expect(plan.short).toEqual(new Set(['a', 'b']))
})

test('what one gives back in a batch the next one can have, and not the one before', () => {
  const operations: Operation[] = [
    reserve('1', [{ sku: 'a', quantity: 1 }]),
    { verb: 'release', id: 'old', reason: null },
    reserve('2', [{ sku: 'a', quantity: 1 }]),
  ]
  const plan = draw(operations, viewOf({ a: [1, 1] }, [held('old', [{ sku: 'a', quantity: 1 }])]), SETTINGS)
  expect(answers(plan)).toEqual(['insufficient_stock', 'released', 'pending'])
})

test('a confirm frees nothing: the stock falls with what was held', () => {
  const operations: Operation[] = [
    { verb: 'confirm', id: 'old', on_expired: 'refuse' },
    reserve('1', [{ sku: 'a', quantity: 1 }]),
  ]
  const plan = draw(operations, viewOf({ a: [1, 1] }, [held('old', [{ sku: 'a', quantity: 1 }])]), SETTINGS)
  expect(answers(plan)).toEqual(['confirmed', 'insufficient_stock'])
})

test('of two that would end one reservation the first decides, and the second sees its end', () => {
  const operations: Operation[] = [
    { verb: 'release', id: 'old', reason: 'left' },
    { verb: 'confirm', id: 'old', on_expired: 'reacquire' },
    { verb: 'release', id: 'old', reason: 'again' },
    { verb: 'extend', id: 'old', ttl_seconds: 60 },
  ]
  const plan = draw(operations, viewOf({ a: [1, 1] }, [held('old', [{ sku: 'a', quantity: 1 }])]), SETTINGS)
  expect(answers(plan)).toEqual(['released', 'already_released', 'released', 'already_released'])
  expect([...plan.outcomes.values()][2]).toMatchObject({ value: { reservation: { release_reason: 'left' } } })
  expect([...plan.closed.values()]).toEqual([{ id: 'old', status: 'released', reference: null }])
})

test('a hold that ends twice in a batch, expired and then reacquired, is told to the hooks with its last end only', () => {
  const operations: Operation[] = [
    { verb: 'release', id: 'old', reason: null },
    { verb: 'confirm', id: 'old', on_expired: 'reacquire' },
  ]
  const stored = [held('old', [{ sku: 'a', quantity: 1 }], { overdue: true, reference: 'order 7' })]
  const plan = draw(operations, viewOf({ a: [1, 1] }, stored), SETTINGS)
  expect(answers(plan)).toEqual(['expired', 'confirmed'])
  expect([...plan.closed.values()]).toEqual([{ id: 'old', status: 'confirmed', reference: 'order 7' }])
  expect([...plan.transitions.values()]).toMatchObject([{ from: 'pending', from_overdue: true, to: 'confirmed' }])
  const kinds = plan.steps.flatMap((step) => step.changes.map((change) => change.kind))
  expect(kinds).toEqual(['expire', 'reserve', 'confirm'])
})

test('the twin of a request in the same batch gets the same reservation', () => {
  const lines = [{ sku: 'a', quantity: 1 }]
  const operations = [reserve('1', lines, { key: 'k' }), reserve('2', lines, { key: 'k' })]
  const plan = draw(operations, viewOf({ a: [1, 0] }), SETTINGS)
  expect(answers(plan)).toEqual(['pending', 'pending again'])
  expect(plan.inserts.map(({ reservation }) => reservation.id)).toEqual(['1'])
  const [first, twin] = [...plan.outcomes.values()]
  expect(twin).toMatchObject({
    value: { reservation: (first as { value: { reservation: unknown } }).value.reservation },
  })
})

test('a key with another body is refused in the same batch too', () => {
  const lines = [{ sku: 'a', quantity: 1 }]
  const operations = [reserve('1', lines, { key: 'k' }), reserve('2', lines, { key: 'k', body: 'other' })]
  expect(answers(draw(operations, viewOf({ a: [2, 0] }), SETTINGS))).toEqual(['pending', 'idempotency_key_reused'])
})

test('a keyed request that finds too little asks for its key to be looked up, for it may be a retry', () => {
  const operations = [reserve('1', [{ sku: 'a', quantity: 1 }], { key: 'k' })]
  expect(draw(operations, viewOf({ a: [0, 0] }), SETTINGS).keys_unknown).toBe(true)
  expect(draw(operations, { ...viewOf({ a: [0, 0] }), keyed: new Map() }, SETTINGS).keys_unknown).toBe(false)
})

test('a replay shows the reservation as those before it in the batch leave it', () => {
  const lines = [{ sku: 'a', quantity: 1 }]
  const old = held('old', lines)
  const keyed: KeyedReservation = {
    ...old,
    client: 'shop',
    idempotency_key: 'k',
    request_hash: 'body',
  }
  const view = { ...viewOf({ a: [1, 1] }, [old]), keyed: new Map([[keyOf('shop', 'k'), keyed]]) }
  const operations: Operation[] = [
    { verb: 'confirm', id: 'old', on_expired: 'refuse' },
    reserve('1', lines, { key: 'k' }),
  ]
  expect(answers(draw(operations, view, SETTINGS))).toEqual(['confirmed', 'confirmed again'])
})

test('operations that were refused before stay refused, and the others are decided without them', () => {
  const operations = [reserve('1', [{ sku: 'a', quantity: 1 }]), reserve('2', [{ sku: 'a', quantity: 1 }])]
  const no: Outcome = { ok: false, refusal: { code: 'stock_conflict' } }
  const plan = draw(operations, viewOf({ a: [1, 0] }), SETTINGS, new Map([[operations[0]!, no]]))
  expect(answers(plan)).toEqual(['stock_conflict', 'pending'])
})

test('whatever a batch is made of, deciding it at once equals deciding its operations one by one', () => {
  fc.assert(
    fc.property(batches(), ({ view, operations }) => {
      const together = draw(operations, view, SETTINGS)
      const alone = oneByOne(operations, view)
      expect([...together.outcomes.values()]).toEqual(alone.outcomes)
      expect(total(together.steps.flatMap((step) => step.changes))).toEqual(total(alone.changes))
      expect(endsOf(together)).toEqual(alone.ends)
    }),
    { numRuns: 500 },
  )
})

test('whatever a batch is made of, no step of it takes more than is there', () => {
  fc.assert(
    fc.property(batches(), ({ view, operations }) => {
      const counters = structuredClone(view.counters)
      for (const change of draw(operations, view, SETTINGS).steps.flatMap((step) => step.changes)) {
        const counter = counters.get(change.sku)!
        counter.stock += change.stock_delta
        counter.temp_reserved_stock += change.reserved_delta
        expect(counter.temp_reserved_stock).toBeGreaterThanOrEqual(0)
        expect(counter.temp_reserved_stock).toBeLessThanOrEqual(counter.stock)
      }
    }),
    { numRuns: 500 },
  )
})

/** A batch, and what the database holds: stored holds count as held whether their time has run out or not. */
function batches(): fc.Arbitrary<{ view: View; operations: Operation[] }> {
  const sku = fc.constantFrom('a', 'b', 'c')
  const lines = fc.array(fc.record({ sku, quantity: fc.integer({ min: 1, max: 3 }) }), { minLength: 1, maxLength: 3 })
  const id = fc.constantFrom('r0', 'r1', 'r2', 'r3', 'r4')
  const key = fc.option(fc.constantFrom('k0', 'k1', 'k2'), { nil: undefined })
  const operation = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ verb: fc.constant('reserve' as const), lines, key, body: fc.constantFrom('x', 'y') }),
    },
    { weight: 1, arbitrary: fc.record({ verb: fc.constant('confirm' as const), id, reacquire: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ verb: fc.constant('release' as const), id }) },
    {
      weight: 1,
      arbitrary: fc.record({ verb: fc.constant('extend' as const), id, hours: fc.integer({ min: 1, max: 30 }) }),
    },
  )
  const hold = fc.record({
    lines,
    status: fc.constantFrom(
      'pending' as const,
      'pending' as const,
      'confirmed' as const,
      'released' as const,
      'expired' as const,
    ),
    overdue: fc.boolean(),
    key,
  })
  const free = fc.record({ a: fc.nat(6), b: fc.nat(6) })
  return fc
    .record({
      free,
      holds: fc.array(hold, { maxLength: 4 }),
      operations: fc.array(operation, { minLength: 1, maxLength: 10 }),
    })
    .map((drawn) => ({ view: buildView(drawn.free, drawn.holds), operations: drawn.operations.map(buildOperation) }))
}

type DrawnHold = { lines: Line[]; status: StoredReservation['status']; overdue: boolean; key: string | undefined }

function buildView(free: { a: number; b: number }, holds: DrawnHold[]): View {
  const view = viewOf({ a: [free.a, 0], b: [free.b, 0] })
  view.keyed = new Map()
  holds.forEach(({ lines, status, overdue, key }, i) => {
    // There is no SKU 'c': nothing can hold it.
    const own = sumLines(lines.map((line) => (line.sku === 'c' ? { ...line, sku: 'a' } : line)))
    const one = held(`r${i}`, own, { status, overdue: overdue || status === 'expired' })
    view.reservations.set(one.id, one)
    if (key !== undefined && !view.keyed?.has(keyOf('shop', key))) {
      const hashed = { client: 'shop', idempotency_key: key, request_hash: 'x' }
      view.keyed?.set(keyOf('shop', key), { ...one, ...hashed })
    }
    for (const { sku, quantity } of status === 'pending' ? own : []) {
      const counter = view.counters.get(sku)!
      counter.stock += quantity
      counter.temp_reserved_stock += quantity
    }
  })
  return view
}

type DrawnOperation =
  | { verb: 'reserve'; lines: Line[]; key: string | undefined; body: string }
  | { verb: 'confirm'; id: string; reacquire: boolean }
  | { verb: 'release'; id: string }
  | { verb: 'extend'; id: string; hours: number }

function buildOperation(drawn: DrawnOperation, i: number): Operation {
  switch (drawn.verb) {
    case 'reserve':
      return reserve(`n${i}`, drawn.lines, drawn.key === undefined ? undefined : { key: drawn.key, body: drawn.body })
    case 'confirm':
      return { verb: 'confirm', id: drawn.id, on_expired: drawn.reacquire ? 'reacquire' : 'refuse' }
    case 'release':
      return { verb: 'release', id: drawn.id, reason: `reason ${i}` }
    case 'extend':
      return { verb: 'extend', id: drawn.id, ttl_seconds: drawn.hours * 3600 }
  }
}

/** Decides each operation alone and applies what it wrote to the view before the next one. */
function oneByOne(operations: readonly Operation[], start: View) {
  const view: View = {
    now: start.now,
    counters: structuredClone(start.counters),
    reservations: new Map(start.reservations),
    keyed: new Map(start.keyed),
  }
  const outcomes: (Outcome | undefined)[] = []
  const changes: { sku: string; stock_delta: number; reserved_delta: number }[] = []
  const ends = new Map<string, string>()
  for (const operation of operations) {
    const plan = draw([operation], view, SETTINGS)
    outcomes.push(plan.outcomes.get(operation))
    apply(plan, view)
    changes.push(...plan.steps.flatMap((step) => step.changes))
    for (const [id, end] of endsOf(plan)) ends.set(id, end)
  }
  return { outcomes, changes, ends }
}

function apply(plan: Plan, view: View): void {
  for (const change of plan.steps.flatMap((step) => step.changes)) {
    const counter = view.counters.get(change.sku)!
    counter.stock += change.stock_delta
    counter.temp_reserved_stock += change.reserved_delta
  }
  for (const { request, reservation } of plan.inserts) {
    const one = held(reservation.id, reservation.lines, { created_at: NOW, expires_at: reservation.expires_at })
    view.reservations.set(one.id, one)
    const { idempotency, client } = request
    if (idempotency === undefined) continue
    const hashed = { client, idempotency_key: idempotency.key, request_hash: idempotency.request_hash }
    view.keyed?.set(keyOf(client, idempotency.key), { ...one, ...hashed })
  }
  for (const { id, to, expires_at, closed_at, release_reason } of plan.transitions.values()) {
    const before = view.reservations.get(id)!
    const after = { ...before, status: to, expires_at, closed_at, release_reason, overdue: expires_at <= NOW }
    view.reservations.set(id, after)
    for (const [key, one] of view.keyed ?? []) if (one.id === id) view.keyed?.set(key, { ...one, ...after })
  }
}

function endsOf(plan: Plan): Map<string, string> {
  return new Map(Array.from(plan.closed.values(), ({ id, status }) => [id, status]))
}

function total(changes: readonly { sku: string; stock_delta: number; reserved_delta: number }[]) {
  const sums: Record<string, [number, number]> = {}
  for (const { sku, stock_delta, reserved_delta } of changes) {
    const [stock, reserved] = sums[sku] ?? [0, 0]
    sums[sku] = [stock + stock_delta, reserved + reserved_delta]
  }
  return sums
}
