import { rows } from '../../src/database/transaction.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  counters,
  doorOf,
  DOORS,
  findBroken,
  hold,
  ledger,
  must,
  openCore,
  refusal,
  stocked,
  stopCores,
  timePasses,
  wants,
  type Core,
  type Door,
} from '../factories.ts'

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

describe.each(DOORS)('through %s', (name) => {
  let door: Door

  beforeAll(() => {
    door = doorOf(core, name)
  })

  test('what is there is held, and the answer tells everything about the hold', async () => {
    const sku = await stocked(database.db, 5)
    const answer = must(
      await door.reserve(
        wants([{ sku, quantity: 2 }], { customer_id: 'c1', reference: 'order 7', metadata: { gift: true, n: [1] } }),
      ),
    )
    expect(answer).toEqual({
      replayed: false,
      reservation: {
        id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/) as string,
        status: 'pending',
        lines: [{ sku, quantity: 2 }],
        customer_id: 'c1',
        reference: 'order 7',
        metadata: { gift: true, n: [1] },
        created_at: expect.any(Date) as Date,
        expires_at: expect.any(Date) as Date,
        closed_at: null,
        release_reason: null,
        strategy: name === 'the conditional strategy' ? 'conditional' : 'batched',
        ttl_variant: null,
      },
    })
    expect(await core.batched.reservations.read(answer.reservation.id)).toEqual(answer.reservation)
    expect(await counters(database.db, sku)).toBe('5/2')
    expect(await ledger(database.db, sku)).toEqual(['set 5 0', 'reserve 0 2'])
  })

  test('lines of one SKU are summed, in the order of first mention, with one ledger row for each SKU', async () => {
    const [one, two] = [await stocked(database.db), await stocked(database.db)]
    const reservation = await hold(door, [
      { sku: two, quantity: 1 },
      { sku: one, quantity: 2 },
      { sku: two, quantity: 3 },
    ])
    expect(reservation.lines).toEqual([
      { sku: two, quantity: 4 },
      { sku: one, quantity: 2 },
    ])
    expect(await core.batched.reservations.read(reservation.id)).toMatchObject({ lines: reservation.lines })
    expect(await ledger(database.db, two)).toEqual(['set 10 0', 'reserve 0 4'])
  })

  test('lines of one SKU that only fit one by one are refused with their sum', async () => {
    const sku = await stocked(database.db, 5)
    const lines = [
      { sku, quantity: 3 },
      { sku, quantity: 3 },
    ]
    expect(refusal(await door.reserve(wants(lines)))).toEqual({
      code: 'insufficient_stock',
      shortages: [{ sku, requested: 6, available: 5 }],
    })
  })

  test('one line that finds too little refuses all, names every shortage and holds nothing', async () => {
    const [enough, little, none] = [
      await stocked(database.db, 9),
      await stocked(database.db, 1),
      await stocked(database.db, 0),
    ]
    const lines = [enough, little, none].map((sku) => ({ sku, quantity: 2 }))
    expect(refusal(await door.reserve(wants(lines)))).toEqual({
      code: 'insufficient_stock',
      shortages: [
        { sku: little, requested: 2, available: 1 },
        { sku: none, requested: 2, available: 0 },
      ],
    })
    expect(await counters(database.db, enough)).toBe('9/0')
    expect(await ledger(database.db, enough)).toEqual(['set 9 0'])
  })

  test('exactly what is there can be held, one unit more can not', async () => {
    const sku = await stocked(database.db, 1_000_000)
    expect((await door.reserve(wants([{ sku, quantity: 1_000_000 }]))).ok).toBe(true)
    expect(refusal(await door.reserve(wants(sku)))).toMatchObject({ code: 'insufficient_stock' })
  })

  test('SKUs that do not exist are all named, and nothing is held', async () => {
    const sku = await stocked(database.db)
    const lines = [
      { sku: 'nowhere', quantity: 1 },
      { sku, quantity: 1 },
      { sku: 'nothing', quantity: 1 },
    ]
    expect(refusal(await door.reserve(wants(lines)))).toEqual({ code: 'skus_not_found', skus: ['nowhere', 'nothing'] })
    expect(await counters(database.db, sku)).toBe('10/0')
  })

  test('SKUs differ by case, and may hold what SQL and arrays use as signs', async () => {
    const strange = [`a"b\\c,{d}'`, 'NULL', 'Größe 5½ €', '%_?$1:x', '😀']
    for (const sku of strange) {
      await rows(
        database.db,
        `WITH s AS (INSERT INTO stock (sku, stock, seq) VALUES (?, 3, 1) ON CONFLICT DO NOTHING RETURNING sku)
         INSERT INTO stock_ledger SELECT sku, 1, 'set', 3, 0, 3, 0, NULL, NULL, NULL, now() FROM s`,
        [sku],
      )
    }
    const lines = strange.map((sku) => ({ sku, quantity: 1 }))
    const { id } = await hold(door, lines)
    expect(await core.batched.reservations.read(id)).toMatchObject({ lines })
    expect(refusal(await door.reserve(wants('null')))).toEqual({ code: 'skus_not_found', skus: ['null'] })
  })

  test('the time it holds is the one asked for or the default, counted by the clock of the database', async () => {
    const sku = await stocked(database.db)
    const asked = await hold(door, sku, { ttl_seconds: 7 })
    const unasked = await hold(door, sku)
    expect(asked.expires_at.getTime() - asked.created_at.getTime()).toBe(7000)
    expect(unasked.expires_at.getTime() - unasked.created_at.getTime()).toBe(1_800_000)
    const [row] = await rows<{ near: boolean; exact: boolean }>(
      database.db,
      `SELECT clock_timestamp() - created_at BETWEEN '0' AND '5 seconds' AS near,
              created_at = ?::timestamptz AND expires_at = ?::timestamptz AS exact
       FROM reservations WHERE id = ?`,
      [asked.created_at.toISOString(), asked.expires_at.toISOString(), asked.id],
    )
    expect(row).toEqual({ near: true, exact: true })
  })

  test('a hold reads pending until its time has come and expired, at that time, from then on', async () => {
    const sku = await stocked(database.db)
    const held = await hold(door, sku, { ttl_seconds: 60 })
    await timePasses(database.db, 59)
    expect(await core.batched.reservations.read(held.id)).toMatchObject({ status: 'pending', closed_at: null })
    await timePasses(database.db, 1)
    const read = await core.batched.reservations.read(held.id)
    expect(read).toMatchObject({ status: 'expired', closed_at: read?.expires_at })
    expect(await counters(database.db, sku)).toBe('10/1')
  })
})

test.each(DOORS)(
  'a hundred buyers at once for ten units through %s: ten hold one, ninety are refused',
  async (name) => {
    const sku = await stocked(database.db, 10)
    const door = doorOf(core, name)
    // A caller's transaction may have to be run again: see stock_conflict.
    const buy = async (): Promise<string> => {
      const answer = await door.reserve(wants(sku))
      if (answer.ok) return 'held'
      return answer.refusal.code === 'stock_conflict' ? buy() : answer.refusal.code
    }
    const answers = await Promise.all(Array.from({ length: 100 }, buy))
    expect(answers.filter((answer) => answer === 'held')).toHaveLength(10)
    expect(answers.filter((answer) => answer === 'insufficient_stock')).toHaveLength(90)
    expect(await counters(database.db, sku)).toBe('10/10')
  },
)

test('a thousand buyers at once for a hundred units, one transaction each: nobody is turned away for want of a connection', async () => {
  // A buyer may wait for a lock as long as it takes: what a busy machine does to the lock timeout is not asked here.
  const patient = openCore(database, { strategy: 'conditional', lock_timeout_ms: 5000 })
  const sku = await stocked(database.db, 100)
  const answers = await Promise.all(Array.from({ length: 1000 }, () => patient.reservations.reserve(wants(sku))))
  const codes = answers.map((answer) => (answer.ok ? 'held' : answer.refusal.code))
  expect(codes.filter((code) => code === 'held')).toHaveLength(100)
  expect(codes.filter((code) => code === 'insufficient_stock')).toHaveLength(900)
  await patient.stop()
})

test('two buyers race for the last unit from two processes: one holds it, one is refused', async () => {
  const other = openCore(database, { instance: 'other' })
  for (let round = 0; round < 20; round++) {
    const sku = await stocked(database.db, 1)
    const answers = await Promise.all([
      core.batched.reservations.reserve(wants(sku)),
      other.reservations.reserve(wants(sku)),
    ])
    expect(answers.map((answer) => (answer.ok ? 'held' : answer.refusal.code)).toSorted()).toEqual([
      'held',
      'insufficient_stock',
    ])
  }
  await other.stop()
})

test('a hundred lines are one hold, all or none', async () => {
  const skus = await Promise.all(Array.from({ length: 100 }, () => stocked(database.db, 1)))
  const lines = skus.map((sku) => ({ sku, quantity: 1 }))
  expect((await hold(core.batched.reservations, lines)).lines).toEqual(lines)
  expect(refusal(await core.batched.reservations.reserve(wants(lines)))).toMatchObject({
    shortages: skus.map((sku) => ({ sku, requested: 1, available: 0 })),
  })
})
