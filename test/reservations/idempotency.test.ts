import type { Knex } from 'knex'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  countDeadlocks,
  counters,
  doorOf,
  DOORS,
  findBroken,
  hold,
  inTransaction,
  keyed,
  ledger,
  makeOverdue,
  must,
  openCore,
  refusal,
  stocked,
  stopCores,
  untilWaiting,
  wants,
  type Core,
  type Door,
} from '../factories.ts'

let database: TestDatabase
let core: { batched: Core; conditional: Core }
let keys = 0

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
  let key: string

  beforeAll(() => {
    door = doorOf(core, name)
  })

  beforeEach(() => {
    key = `key ${++keys}`
  })

  test('the same request again reserves nothing more and gets the same reservation', async () => {
    const sku = await stocked(database.db)
    const first = must(await door.reserve(wants(sku, keyed(key))))
    const again = must(await door.reserve(wants(sku, keyed(key))))
    expect(first.replayed).toBe(false)
    expect(again).toEqual({ replayed: true, reservation: first.reservation })
    expect(await ledger(database.db, sku)).toEqual(['set 10 0', 'reserve 0 1'])
  })

  test('again after it was confirmed, released, or ran out: the reservation as it is now', async () => {
    const sku = await stocked(database.db)
    const statuses: string[] = []
    for (const end of ['confirm', 'release', 'overdue', 'swept'] as const) {
      const request = wants(sku, keyed(`${key} ${end}`))
      const { id } = must(await door.reserve(request)).reservation
      if (end === 'confirm' || end === 'release') must(await door[end]({ id }))
      else await makeOverdue(database.db, id)
      if (end === 'swept') await core.batched.sweeper.run()
      const again = must(await door.reserve(request))
      expect([again.replayed, again.reservation.id]).toEqual([true, id])
      statuses.push(again.reservation.status)
    }
    expect(statuses).toEqual(['confirmed', 'released', 'expired', 'expired'])
  })

  test('another request under the key is refused, whatever became of the first', async () => {
    const sku = await stocked(database.db)
    const { id } = await hold(door, sku, keyed(key))
    const other = wants([{ sku, quantity: 2 }], keyed(key, 'another body'))
    expect(refusal(await door.reserve(other))).toEqual({ code: 'idempotency_key_reused' })
    must(await door.release({ id }))
    expect(refusal(await door.reserve(other))).toEqual({ code: 'idempotency_key_reused' })
    expect(await counters(database.db, sku)).toBe('10/0')
  })

  test('a retry when the SKU is sold out gets its reservation, not a refusal; another request under the key is told so', async () => {
    const sku = await stocked(database.db, 1)
    const { id } = await hold(door, sku, keyed(key))
    expect(must(await door.reserve(wants(sku, keyed(key)))).reservation.id).toBe(id)
    expect(refusal(await door.reserve(wants(sku, keyed(key, 'another body'))))).toEqual({
      code: 'idempotency_key_reused',
    })
    expect(refusal(await door.reserve(wants(sku))).code).toBe('insufficient_stock')
  })

  test('a refusal is not remembered: the key reserves once there is stock', async () => {
    const sku = await stocked(database.db, 1)
    const other = await hold(door, sku)
    expect(refusal(await door.reserve(wants(sku, keyed(key)))).code).toBe('insufficient_stock')
    expect(refusal(await door.reserve(wants('nowhere', keyed(key)))).code).toBe('skus_not_found')
    must(await door.release({ id: other.id }))
    expect(must(await door.reserve(wants(sku, keyed(key)))).replayed).toBe(false)
  })

  test('the same key of two clients is two keys', async () => {
    const sku = await stocked(database.db)
    const one = await hold(door, sku, { client: 'one', ...keyed(key) })
    const two = await hold(door, sku, { client: 'two', ...keyed(key) })
    const none = await hold(door, sku, keyed(key))
    expect(new Set([one.id, two.id, none.id]).size).toBe(3)
  })

  test('twins at once reserve once, and all get the same reservation', async () => {
    const sku = await stocked(database.db)
    const twins = await Promise.all(Array.from({ length: 8 }, () => door.reserve(wants(sku, keyed(key)))))
    const answers = twins.map(must)
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1)
    expect(new Set(answers.map(({ reservation }) => reservation.id)).size).toBe(1)
    expect(await counters(database.db, sku)).toBe('10/1')
  })

  test('twins at once for the last unit all get it', async () => {
    const sku = await stocked(database.db, 1)
    const twins = await Promise.all(Array.from({ length: 8 }, () => door.reserve(wants(sku, keyed(key)))))
    expect(new Set(twins.map((twin) => must(twin).reservation.id)).size).toBe(1)
  })

  test('a twin whose other is in flight in another transaction waits for it and gets the same reservation', async () => {
    const sku = await stocked(database.db, 5)
    const tx = await begin(database.db)
    const first = must(await core.batched.reservations.reserveIn(tx, wants(sku, keyed(key))))
    const twin = door.reserve(wants(sku, keyed(key)))
    await untilWaiting(database.db)
    await tx.commit()
    expect(must(await twin)).toEqual({ replayed: true, reservation: first.reservation })
    expect(await counters(database.db, sku)).toBe('5/1')
  })

  test('a twin whose other gives up reserves in its place', async () => {
    const sku = await stocked(database.db, 5)
    const tx = await begin(database.db)
    must(await core.batched.reservations.reserveIn(tx, wants(sku, keyed(key))))
    const twin = door.reserve(wants(sku, keyed(key)))
    await untilWaiting(database.db)
    await tx.rollback()
    expect(must(await twin).replayed).toBe(false)
    expect(await counters(database.db, sku)).toBe('5/1')
  })
})

describe.each(['batched', 'conditional'] as const)(
  'a twin of one that stays in flight beyond the lock timeout, strategy %s',
  (strategy) => {
    test('is refused as in use, and works once the other has ended', async () => {
      const { reservations } = core[strategy]
      const sku = await stocked(database.db, 5)
      const request = wants(sku, keyed(`in use ${strategy}`))
      const tx = await begin(database.db)
      must(await reservations.reserveIn(tx, request))
      expect(refusal(await reservations.reserve(request))).toEqual({ code: 'idempotency_key_in_use' })
      await tx.rollback()
      expect(must(await reservations.reserve(request)).replayed).toBe(false)
    })
  },
)

test('beside a twin of one in flight, the others of its batch are served: with keys, without, and of the same SKU', async () => {
  const { reservations } = core.batched
  // The one in flight holds its key only; its counter is not locked yet.
  const [sku, other] = [await stocked(database.db, 50), await stocked(database.db, 50)]
  const tx = await begin(database.db)
  await claimKey(tx, 'stuck beside others')
  const answers = await Promise.all([
    reservations.reserve(wants(sku)),
    reservations.reserve(wants(sku, keyed('stuck beside others'))),
    reservations.reserve(wants(sku, keyed('free beside a stuck one'))),
    reservations.reserve(wants(other, keyed('free and elsewhere'))),
    reservations.reserve(wants(other)),
  ])
  expect(answers.map((answer) => (answer.ok ? 'held' : answer.refusal.code))).toEqual([
    'held',
    'idempotency_key_in_use',
    'held',
    'held',
    'held',
  ])
  await tx.rollback()
})

test('a free key that waits beside a stuck one and then meets a locked counter is not told that its key is in use', async () => {
  const { reservations } = openCore(database, { limits: { wait_ms_max: 3000 } })
  const [sku, locked] = [await stocked(database.db, 50), await stocked(database.db, 50)]
  const keys_held = await begin(database.db)
  await claimKey(keys_held, 'stuck beside a locked counter')
  const counter_held = await begin(database.db)
  await counter_held.raw('SELECT 1 FROM stock WHERE sku = ? FOR UPDATE', [locked])
  const answers = await Promise.all([
    reservations.reserve(wants(sku, keyed('stuck beside a locked counter'))),
    reservations.reserve(wants(locked, keyed('free, of a locked counter'))),
  ])
  expect(answers.map((answer) => refusal(answer).code)).toEqual(['idempotency_key_in_use', 'overloaded'])
  await keys_held.rollback()
  await counter_held.rollback()
})

/** Inserts what a reserve under the key inserts first, and nothing else. */
async function claimKey(tx: Knex.Transaction, key: string): Promise<void> {
  await tx.raw(
    `INSERT INTO reservations (id, status, skus, quantities, created_at, expires_at, strategy, client, idempotency_key, request_hash)
     VALUES (gen_random_uuid(), 'pending', '{x}', '{1}', now(), now(), 'batched', '', ?, '')`,
    [key],
  )
}

test('batches of two processes that share keys in opposite order: no deadlock, each key reserves once', async () => {
  const before = await countDeadlocks(database.db)
  const one = openCore(database, { instance: 'one', lock_timeout_ms: 5000 })
  const other = openCore(database, { instance: 'other', lock_timeout_ms: 5000 })
  const sku = await stocked(database.db, 100)
  const names = ['crossed a', 'crossed b', 'crossed c']
  // Both batches stop at the second key: whoever came from the other side would have the first one of the other by now.
  const tx = await begin(database.db)
  await claimKey(tx, 'crossed b')
  const answers = Promise.all([
    ...names.map((key) => one.reservations.reserve(wants(sku, keyed(key)))),
    ...names.toReversed().map((key) => other.reservations.reserve(wants(sku, keyed(key)))),
  ])
  await untilWaiting(database.db, 2)
  await tx.rollback()
  expect(new Set((await answers).map((answer) => must(answer).reservation.id)).size).toBe(3)
  expect(await counters(database.db, sku)).toBe('100/3')
  await Promise.all([one.stop(), other.stop()])
  expect(await countDeadlocks(database.db)).toBe(before)
})

test('a key that was claimed by a transaction that is then undone is free again', async () => {
  const sku = await stocked(database.db)
  const undone = inTransaction(core.batched.callers, async (tx) => {
    must(await core.batched.reservations.reserveIn(tx, wants(sku, keyed('undone'))))
    return { ok: false as const, refusal: { code: 'stock_conflict' as const } }
  })
  expect((await undone).ok).toBe(false)
  expect(await counters(database.db, sku)).toBe('10/0')
  expect(must(await core.batched.reservations.reserve(wants(sku, keyed('undone')))).replayed).toBe(false)
})
