import type { Knex } from 'knex'
import { rows, transaction } from '../../src/database/transaction.ts'
import type { Result } from '../../src/errors.ts'
import type { OnClosed } from '../../src/reservations/hooks.ts'
import type { Reservation } from '../../src/reservations/reservation.ts'
import { setStock } from '../../src/stock/set.ts'
import { checkVerify, countDeadlocks, readStored } from './audit.ts'
import { startCore, type Core } from './core.ts'
import { openDatabase, openServer } from './database.ts'
import { reasons, runSuite, type Suite } from './suite.ts'

/**
 * The second door: verbs in a caller's transaction, beside the queue and the sweeper, with an order that follows its hold
 * by a hook. Order and hold move together or not at all.
 */

const SKUS = Array.from({ length: 6 }, (_, i) => `DOOR-${i}`)
const PAYMENTS = 1200
const AT_ONCE = 16
const HOLDS = 300

class Declined extends Error {}

async function main(suite: Suite): Promise<void> {
  const server = await openServer(suite)
  await payThroughBothDoors(suite, await openDatabase(suite, server))
  await undo(suite, await openDatabase(suite, server))
  await sweepPastABadHold(suite, await openDatabase(suite, server))
}

/** What a shop keeps besides: one row per order, which follows its hold. */
async function createOrders(db: Knex): Promise<void> {
  await db.raw('CREATE TABLE shop_orders (id uuid PRIMARY KEY, status text NOT NULL, moves integer NOT NULL DEFAULT 0)')
}

const followHold: OnClosed = async (tx, closed) => {
  const ids = closed.map(({ id }) => id)
  await rows(tx, 'SELECT 1 FROM shop_orders WHERE id = ANY (?::uuid[]) ORDER BY id FOR UPDATE', [ids])
  await rows(
    tx,
    `UPDATE shop_orders o SET status = c.status, moves = moves + 1
     FROM unnest(?::uuid[], ?::text[]) AS c (id, status) WHERE o.id = c.id`,
    [ids, closed.map(({ status }) => status)],
  )
}

/** Payments in transactions of their own, queue, sweeper and rivals, all on the same holds. */
async function payThroughBothDoors(suite: Suite, { db, url }: { db: Knex; url: string }): Promise<void> {
  await createOrders(db)
  await setStock(
    db,
    SKUS.map((sku) => ({ sku, stock: 250 })),
  )
  const cores = [1, 2].map((i) => startCore(suite, { url, name: `door ${i}`, hooks: [followHold] }))
  const answers: Record<string, number> = {}
  const unexpected: string[] = []
  let made = 0
  const worker = async (i: number) => {
    const core = cores[i % 2]!
    while (made < PAYMENTS) {
      made += 1
      try {
        const answer = await order(core, cores[(i + 1) % 2]!, db)
        answers[answer] = (answers[answer] ?? 0) + 1
      } catch (error) {
        unexpected.push(String(error))
      }
    }
  }
  const buyers = Promise.all(Array.from({ length: AT_ONCE }, (_, i) => worker(i)))
  const sweeping = setInterval(
    () => void cores[0]!.sweeper.run().catch((error: unknown) => unexpected.push(String(error))),
    50,
  )
  await buyers
  clearInterval(sweeping)
  await cores[0]!.sweeper.run()
  const figures = Object.entries(answers).map(([answer, count]) => `${answer} ${count}`)
  suite.check(
    'both doors serve the same holds at once',
    unexpected.length === 0,
    unexpected.length ? reasons(unexpected) : figures.join(', '),
  )
  const apart = await rows(
    db,
    `SELECT r.id, r.status, o.status AS order_status, o.moves FROM reservations r LEFT JOIN shop_orders o USING (id)
     WHERE o.status IS DISTINCT FROM CASE r.status WHEN 'pending' THEN 'open' ELSE r.status END
        OR o.moves <> (r.status <> 'pending')::int`,
  )
  suite.check('each order follows its hold, once', apart.length === 0, reasons(apart))
  const orphans = await rows(
    db,
    'SELECT o.id FROM shop_orders o LEFT JOIN reservations r USING (id) WHERE r.id IS NULL',
  )
  suite.check('no order is left of what was rolled back', orphans.length === 0, reasons(orphans))
  suite.note(`deadlocks that PostgreSQL broke up: ${await countDeadlocks(db)}`)
  await checkVerify(suite, db, 'after both doors')
}

/** One order: hold and order in one transaction, then one of its ends by either door, or by both at once. */
async function order(core: Core, other: Core, db: Knex): Promise<string> {
  const lines = SKUS.filter(() => Math.random() < 0.4).map((sku) => ({ sku, quantity: 1 }))
  if (lines.length === 0) return 'nothing'
  const held = await inTransaction(db, async (tx) => {
    const result = await core.reservations.reserveIn(tx, { lines, client: '', ttl_seconds: 3600 })
    if (!result.ok) return result
    await rows(tx, `INSERT INTO shop_orders (id, status) VALUES (?::uuid, 'open')`, [result.value.reservation.id])
    if (Math.random() < 0.05) throw new Declined()
    return { ok: true as const, value: result.value.reservation }
  })
  if (!held.ok) return held.refusal.code
  const { id } = held.value
  const dice = Math.random()
  if (dice < 0.2) return (await pay(core, db, id)) ? 'paid in a transaction' : 'not paid'
  if (dice < 0.4) {
    const [paid, confirmed] = await Promise.all([pay(core, db, id), other.reservations.confirm({ id })])
    if (!paid || !confirmed.ok) throw new Error(`${id}: paid ${paid} and confirmed ${confirmed.ok}`)
    return 'paid by both doors'
  }
  if (dice < 0.6) {
    const [paid, released] = await Promise.all([pay(core, db, id), other.reservations.release({ id })])
    if (paid === released.ok) throw new Error(`${id}: paid ${paid} and released ${released.ok}`)
    return 'paid or released'
  }
  if (dice < 0.8) {
    await rows(db, 'UPDATE reservations SET expires_at = clock_timestamp() WHERE id = ?::uuid', [id])
    return 'left to the sweeper'
  }
  const released = await inTransaction(db, (tx) => core.reservations.releaseIn(tx, { id }))
  return released.ok ? 'released in a transaction' : released.refusal.code
}

async function pay(core: Core, db: Knex, id: string): Promise<boolean> {
  return (await inTransaction(db, (tx) => core.reservations.confirmIn(tx, { id }))).ok
}

/** As a caller does it: a refusal rolls everything back, and what was only contended is tried again. */
async function inTransaction<T>(db: Knex, work: (tx: Knex.Transaction) => Promise<Result<T>>): Promise<Result<T>> {
  for (let attempt = 1; ; attempt++) {
    const result = await transaction<Result<T>>(db, async (tx, rollback) => {
      const done = await work(tx)
      return done.ok ? done : rollback(done)
    }).catch((error: unknown): Result<T> => {
      if (error instanceof Declined) return { ok: false, refusal: { code: 'not_found' } }
      throw error
    })
    if (result.ok || result.refusal.code !== 'stock_conflict' || attempt === 20) return result
  }
}

/** Whatever the caller undoes is undone with its hold, and a hook that throws undoes the closing. */
async function undo(suite: Suite, { db, url }: { db: Knex; url: string }): Promise<void> {
  await createOrders(db)
  let throwing = true
  const hook: OnClosed = async (tx, closed) => {
    await followHold(tx, closed)
    if (throwing) throw new Error('the order does not want to')
  }
  const core = startCore(suite, { url, name: 'undo', hooks: [hook] })
  const [sku] = SKUS
  await setStock(db, [{ sku: sku!, stock: 100 }])
  const hold = async () => {
    const result = await core.reservations.reserve({ lines: [{ sku: sku!, quantity: 1 }], client: '' })
    if (!result.ok) throw new Error(result.refusal.code)
    const { id } = result.value.reservation
    await rows(db, `INSERT INTO shop_orders (id, status) VALUES (?::uuid, 'open')`, [id])
    return id
  }
  const wrong: string[] = []
  const verbs: { title: string; call: (id: string) => Promise<Result<Reservation>> }[] = [
    { title: 'confirm', call: (id) => core.reservations.confirm({ id }) },
    { title: 'release', call: (id) => core.reservations.release({ id }) },
    { title: 'confirmIn', call: (id) => transaction(db, (tx) => core.reservations.confirmIn(tx, { id })) },
    { title: 'releaseIn', call: (id) => transaction(db, (tx) => core.reservations.releaseIn(tx, { id })) },
  ]
  for (const { title, call } of verbs) {
    const id = await hold()
    throwing = true
    const failed = await call(id).then(
      () => false,
      (error: unknown) => error instanceof Error && error.message === 'the order does not want to',
    )
    if (!failed) wrong.push(`${title} did not fail`)
    if ((await stateOf(db, id)) !== 'pending open') wrong.push(`${title} left ${await stateOf(db, id)}`)
    throwing = false
    const done = await call(id)
    const expected = title.startsWith('confirm') ? 'confirmed confirmed' : 'released released'
    if (!done.ok || (await stateOf(db, id)) !== expected) wrong.push(`${title} then left ${await stateOf(db, id)}`)
  }
  suite.check('a hook that throws undoes the closing, and the next try works', wrong.length === 0, reasons(wrong))
  const undone: string[] = []
  for (const { title, call } of [
    { title: 'confirmIn', call: core.reservations.confirmIn },
    { title: 'releaseIn', call: core.reservations.releaseIn },
  ]) {
    const id = await hold()
    await db
      .transaction(async (tx) => {
        await call(tx, { id })
        throw new Declined()
      })
      .catch(() => undefined)
    if ((await stateOf(db, id)) !== 'pending open') undone.push(`${title} left ${await stateOf(db, id)}`)
  }
  suite.check('what the caller rolls back is rolled back with its order', undone.length === 0, reasons(undone))
  await neighbours(suite, db, { core, hold, refuse: (on) => (throwing = on) })
  await checkVerify(suite, db, 'after what was undone')
}

/** In one batch with a hold whose hook throws, the others are served. */
async function neighbours(
  suite: Suite,
  db: Knex,
  { core, hold, refuse }: { core: Core; hold: () => Promise<string>; refuse: (on: boolean) => void },
): Promise<void> {
  refuse(false)
  const ids = await Promise.all(Array.from({ length: 40 }, hold))
  await db.raw(`ALTER TABLE shop_orders ADD CONSTRAINT not_this CHECK (id <> '${ids[17]!}' OR status = 'open')`)
  const ends = await Promise.allSettled(ids.map((id) => core.reservations.confirm({ id })))
  const failed = ends.flatMap((end, i) => (end.status === 'rejected' || !end.value.ok ? [i] : []))
  suite.check(
    'in a batch only the one whose order refuses fails',
    failed.length === 1 && failed[0] === 17,
    `failed: ${failed.join(', ')} of ${ids.length}`,
  )
}

async function stateOf(db: Knex, id: string): Promise<string> {
  const [row] = await rows<{ said: string }>(
    db,
    `SELECT r.status || ' ' || o.status AS said FROM reservations r JOIN shop_orders o USING (id) WHERE id = ?::uuid`,
    [id],
  )
  return row?.said ?? 'nothing'
}

/** One hold whose order always refuses stands at the head of the overdue: it is set aside, and the rest is given back. */
async function sweepPastABadHold(suite: Suite, { db, url }: { db: Knex; url: string }): Promise<void> {
  let bad = ''
  const hook: OnClosed = (_, closed) => {
    if (closed.some(({ id }) => id === bad)) return Promise.reject(new Error('this order never wants to'))
    return Promise.resolve()
  }
  const cores = [1, 2].map((i) => startCore(suite, { url, name: `sweep ${i}`, hooks: [hook] }))
  const [core] = cores
  await setStock(
    db,
    SKUS.map((sku) => ({ sku, stock: 1000 })),
  )
  const made = await Promise.all(
    Array.from({ length: HOLDS + 50 }, (_, i) =>
      core!.reservations.reserve({
        lines: [
          { sku: SKUS[i % 6]!, quantity: 1 },
          { sku: SKUS[(i + 1) % 6]!, quantity: 2 },
        ],
        client: '',
      }),
    ),
  )
  const ids = made.map((result) => (result.ok ? result.value.reservation.id : ''))
  const [overdue, live] = [ids.slice(0, HOLDS), ids.slice(HOLDS)]
  bad = overdue[0]!
  await rows(
    db,
    `UPDATE reservations SET expires_at = clock_timestamp() - interval '1 minute' WHERE id = ANY (?::uuid[])`,
    [overdue],
  )
  await rows(db, `UPDATE reservations SET expires_at = clock_timestamp() - interval '1 hour' WHERE id = ?::uuid`, [bad])
  await Promise.all(cores.map(({ sweeper }) => sweeper.run()))
  await core!.sweeper.run()
  const stored = await readStored(db)
  const left = overdue.filter((id) => stored.get(id)?.status !== 'expired')
  suite.check(
    'a hold that fails every sweep does not keep the rest',
    left.length === 1 && left[0] === bad,
    `${HOLDS - left.length} of ${HOLDS} given back`,
  )
  suite.check(
    'what is not overdue stays as it is',
    live.every((id) => stored.get(id)?.status === 'pending'),
    `${live.length} holds`,
  )
  const aside = () =>
    rows<{ reservation_id: string; failures: number; error: string; wait_s: number }>(
      db,
      `SELECT reservation_id, failures, error, round(extract(epoch FROM retry_at - set_aside_at))::float AS wait_s FROM sweep_set_aside`,
    )
  const [first, ...more] = await aside()
  suite.check(
    'it is set aside by name, with what it failed of',
    more.length === 0 && first?.reservation_id === bad && first.error.includes('never wants to'),
    JSON.stringify(first),
  )
  await rows(db, `UPDATE sweep_set_aside SET retry_at = clock_timestamp() - interval '1 second'`)
  const again = await core!.sweeper.run()
  const [second] = await aside()
  suite.check(
    'it is tried again later, and then waits for longer',
    again.set_aside === 1 && second!.failures > first!.failures,
    `failures ${first!.failures}, then ${second!.failures}`,
  )
  bad = ''
  await rows(db, `UPDATE sweep_set_aside SET retry_at = clock_timestamp() - interval '1 second'`)
  await core!.sweeper.run()
  suite.check(
    'once its order agrees it is given back and forgotten',
    (await aside()).length === 0 && (await readStored(db)).get(overdue[0]!)?.status === 'expired',
  )
  await checkVerify(suite, db, 'after the bad hold')
}

await runSuite(main)
