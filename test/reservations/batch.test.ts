import { rows } from '../../src/database/transaction.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  counters,
  cure,
  findBroken,
  hold,
  keyed,
  must,
  openCore,
  poison,
  refusal,
  stocked,
  stopCores,
  until,
  untilWaiting,
  wants,
  type Core,
} from '../factories.ts'

/** What those who share a transaction see of it: nothing. */

let database: TestDatabase
let core: Core

beforeAll(async () => {
  database = await createTestDatabase()
  core = openCore(database, { lock_timeout_ms: 50 })
})

afterEach(async () => expect(await findBroken(database.db)).toEqual([]))

afterAll(async () => {
  await stopCores()
  await database.drop()
})

/** How each of several requests that are made at once is answered. */
async function codes(answers: Promise<{ ok: boolean; refusal?: { code: string } }>[]): Promise<string[]> {
  return (await Promise.all(answers)).map((answer) => (answer.ok ? 'ok' : (answer.refusal?.code ?? '')))
}

test('who comes first is served first: of fifty at once for twenty units the first twenty', async () => {
  const sku = await stocked(database.db, 20)
  const answers = await codes(Array.from({ length: 50 }, () => core.reservations.reserve(wants(sku))))
  expect(answers).toEqual([
    ...Array.from({ length: 20 }, () => 'ok'),
    ...Array.from({ length: 30 }, () => 'insufficient_stock'),
  ])
})

test('requests of all kinds in one batch are answered as one after the other', async () => {
  const { reservations } = core
  const sku = await stocked(database.db, 3)
  const [paid, left] = [await hold(reservations, sku), await hold(reservations, [{ sku, quantity: 2 }])]
  const answers = codes([
    reservations.reserve(wants(sku)),
    reservations.release({ id: left.id }),
    reservations.reserve(wants(sku, keyed('in a batch'))),
    reservations.confirm({ id: paid.id }),
    reservations.extend({ id: paid.id, ttl_seconds: 60 }),
    reservations.reserve(wants([{ sku, quantity: 2 }])),
    reservations.reserve(wants(sku)),
    reservations.reserve(wants(sku, keyed('in a batch'))),
    reservations.confirm({ id: left.id }),
    reservations.reserve(wants('nowhere')),
  ])
  expect(await answers).toEqual([
    'insufficient_stock',
    'ok',
    'ok',
    'ok',
    'already_confirmed',
    'insufficient_stock',
    'ok',
    'ok',
    'already_released',
    'skus_not_found',
  ])
  expect(await counters(database.db, sku)).toBe('2/2')
})

test('a request that the database can not carry out fails alone, without any of its values in the error', async () => {
  const { reservations } = core
  const sku = await stocked(database.db, 100)
  const broken = await hold(reservations, sku)
  const paid = await hold(reservations, sku)
  await poison(database.db, broken.id)
  const failing = reservations.confirm({ id: broken.id })
  const others = codes([
    ...Array.from({ length: 5 }, () => reservations.reserve(wants(sku))),
    reservations.confirm({ id: paid.id }),
  ])
  const error = await failing.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toMatchObject({ code: '23514', constraint: 'stock_covers_reserved' })
  expect(String(error)).not.toMatch(/Failing row|1000000/)
  expect(await others).toEqual(Array.from({ length: 6 }, () => 'ok'))
  await cure(database.db, broken)
  expect(await codes([reservations.confirm({ id: broken.id })])).toEqual(['ok'])
})

test('a counter that was tampered with fails its own buyers, and nobody else', async () => {
  const { reservations } = core
  const [sku, other] = [await stocked(database.db, 10), await stocked(database.db, 10)]
  const held = await hold(reservations, sku)
  await rows(database.db, `UPDATE stock SET temp_reserved_stock = 0 WHERE sku = ?`, [sku])
  const failing = reservations.release({ id: held.id }).catch((error: { constraint?: string }) => error.constraint)
  expect(await codes([reservations.reserve(wants(other)), reservations.reserve(wants(other))])).toEqual(['ok', 'ok'])
  expect(await failing).toBe('stock_covers_reserved')
  await rows(database.db, `UPDATE stock SET temp_reserved_stock = 1 WHERE sku = ?`, [sku])
})

describe('while another session keeps a counter locked', () => {
  test('other SKUs are served, its own buyers are answered in bounded time, and served again after it', async () => {
    const bounded = openCore(database, { lock_timeout_ms: 50, limits: { wait_ms_max: 200 } })
    const [stuck, other] = [await stocked(database.db, 50), await stocked(database.db, 50)]
    const held = await hold(bounded.reservations, stuck)
    const tx = await begin(database.db)
    await tx.raw('SELECT 1 FROM stock WHERE sku = ? FOR UPDATE', [stuck])
    const waiting = [
      bounded.reservations.reserve(wants(stuck)),
      bounded.reservations.reserve(wants([other, stuck].map((sku) => ({ sku, quantity: 1 })))),
      bounded.reservations.confirm({ id: held.id }),
    ]
    await until(() => bounded.reservations.queue().lanes.length > 0)
    expect(bounded.reservations.queue().lanes).toEqual([
      { subject: `sku:${stuck}`, length: expect.any(Number) as number },
    ])
    const began = performance.now()
    for (let i = 0; i < 10; i++) await hold(bounded.reservations, other)
    // One that had to find out about the lock first would have taken the lock timeout.
    expect(performance.now() - began).toBeLessThan(10 * 50)
    expect(await codes(waiting)).toEqual(['overloaded', 'overloaded', 'overloaded'])
    await tx.rollback()
    expect(
      await codes([bounded.reservations.reserve(wants(stuck)), bounded.reservations.confirm({ id: held.id })]),
    ).toEqual(['ok', 'ok'])
    expect(bounded.reservations.queue().lanes).toEqual([])
    await bounded.stop()
  })

  test('its buyers who still wait when it is free are served in order', async () => {
    const sku = await stocked(database.db, 3)
    const tx = await begin(database.db)
    await tx.raw('SELECT 1 FROM stock WHERE sku = ? FOR UPDATE', [sku])
    const waiting = codes(Array.from({ length: 5 }, () => core.reservations.reserve(wants(sku))))
    await until(() => core.reservations.queue().lanes.length > 0)
    await tx.rollback()
    expect(await waiting).toEqual(['ok', 'ok', 'ok', 'insufficient_stock', 'insufficient_stock'])
  })
})

test('a reservation that another session keeps locked holds up nobody but those who want it', async () => {
  const { reservations } = core
  const sku = await stocked(database.db, 50)
  const [stuck, other] = [await hold(reservations, sku), await hold(reservations, sku)]
  const tx = await begin(database.db)
  await tx.raw('SELECT 1 FROM reservations WHERE id = ? FOR UPDATE', [stuck.id])
  const waiting = reservations.confirm({ id: stuck.id })
  const others = codes([reservations.confirm({ id: other.id }), reservations.reserve(wants(sku))])
  expect(await others).toEqual(['ok', 'ok'])
  expect(reservations.queue().lanes).toMatchObject([{ subject: `reservation:${stuck.id}` }])
  await tx.rollback()
  expect((await waiting).ok).toBe(true)
})

test.each(['batched', 'conditional'] as const)(
  'a counter locked for good, strategy %s: a buyer is refused as overloaded',
  async (strategy) => {
    const bounded = openCore(database, { strategy, lock_timeout_ms: 20, limits: { wait_ms_max: 100 } })
    const sku = await stocked(database.db, 50)
    const tx = await begin(database.db)
    await tx.raw('SELECT 1 FROM stock WHERE sku = ? FOR UPDATE', [sku])
    expect(refusal(await bounded.reservations.reserve(wants(sku))).code).toBe('overloaded')
    await tx.rollback()
    await bounded.stop()
  },
)

test('stopping answers everything that was taken, then takes nothing more', async () => {
  for (const strategy of ['batched', 'conditional'] as const) {
    const stopping = openCore(database, { strategy })
    const sku = await stocked(database.db, 100)
    let answered = 0
    const answers = codes(
      Array.from({ length: 40 }, () => stopping.reservations.reserve(wants(sku)).finally(() => (answered += 1))),
    )
    const stopped = stopping.reservations.stop()
    expect(stopping.reservations.hasRoom(1)).toBe(false)
    expect(refusal(await stopping.reservations.reserve(wants(sku))).code).toBe('overloaded')
    await stopped
    expect(answered).toBe(40)
    expect(await answers).toEqual(Array.from({ length: 40 }, () => 'ok'))
    await stopping.stop()
  }
})

test('past the bound of the queue there is no room and a request is refused at once', async () => {
  const small = openCore(database, { limits: { length_max: 5 } })
  const sku = await stocked(database.db, 100)
  const answers = codes(Array.from({ length: 7 }, () => small.reservations.reserve(wants(sku))))
  expect(small.reservations.hasRoom(1)).toBe(false)
  expect(await answers).toEqual(['ok', 'ok', 'ok', 'ok', 'ok', 'overloaded', 'overloaded'])
  expect(small.reservations.hasRoom(5)).toBe(true)
  await small.stop()
})

test('a request of very many units does not keep others of its batch from their answer', async () => {
  const { reservations } = core
  const [sku, other] = [await stocked(database.db, 1_000_000), await stocked(database.db, 5)]
  await rows(
    database.db,
    `WITH held AS (
       INSERT INTO reservations (id, status, skus, quantities, created_at, expires_at, strategy, client)
       SELECT gen_random_uuid(), 'pending', ARRAY[?], '{100}', now() - interval '2 hours', now() - interval '1 hour', 'batched', ''
       FROM generate_series(1, 8000) RETURNING id
     ), ledger AS (
       INSERT INTO stock_ledger
       SELECT ?, 1 + row_number() OVER (), 'reserve', 0, 100, 1000000, 100 * row_number() OVER (), id, NULL, NULL, now() FROM held
     )
     UPDATE stock SET temp_reserved_stock = 800000, seq = 8001 WHERE sku = ?`,
    [sku, sku, sku],
  )
  const answers = codes([
    reservations.reserve(wants([{ sku, quantity: 1_000_000 }])),
    reservations.reserve(wants(other)),
    reservations.reserve(wants(sku)),
  ])
  // More than is taken back for one batch, so it is refused as overloaded, but never for want of stock.
  expect(await answers).toEqual(['overloaded', 'ok', 'ok'])
})

test('a confirm that waits for a lock with others of its batch is answered with them', async () => {
  const patient = openCore(database, { lock_timeout_ms: 5000 })
  const sku = await stocked(database.db, 5)
  const held = await hold(patient.reservations, sku)
  const tx = await begin(database.db)
  must(await core.reservations.reserveIn(tx, wants(sku)))
  const answers = codes([patient.reservations.confirm({ id: held.id }), patient.reservations.reserve(wants(sku))])
  await untilWaiting(database.db)
  await tx.commit()
  expect(await answers).toEqual(['ok', 'ok'])
  await patient.stop()
})
