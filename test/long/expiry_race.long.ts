import type { Knex } from 'knex'
import { setTimeout as delay } from 'node:timers/promises'
import { createPool } from '../../src/database/pool.ts'
import { rows, transaction } from '../../src/database/transaction.ts'
import type { Refusal, Result } from '../../src/errors.ts'
import type { Reservation } from '../../src/reservations/reservation.ts'
import { setStock } from '../../src/stock/set.ts'
import { checkVerify, readStored } from './audit.ts'
import { startCore, type Core } from './core.ts'
import { ACQUIRE_TIMEOUT_MS, openDatabase, openServer } from './database.ts'
import { reasons, runSuite, type Suite } from './suite.ts'

/**
 * Confirms, releases, extensions and sweeps meet the end of a hold's time at the same millisecond; and a confirm that
 * waited for a lock past that moment is refused.
 */

const ROUNDS = 60
const HOLDS = 80
const SKUS = ['RACE-A', 'RACE-B', 'RACE-C']
/** From the moment the end is set until it comes, and for so long requests are fired after it. */
const BEFORE_MS = 120
const AFTER_MS = 40
const REQUESTS_PER_HOLD = 3

type Verb = 'confirm' | 'confirm in a transaction' | 'release' | 'extend'
type Answer = { verb: Verb; id: string; result: Result<Reservation> }

async function main(suite: Suite): Promise<void> {
  const server = await openServer(suite)
  await race(suite, await openDatabase(suite, server))
  await waitPastTheEnd(suite, await openDatabase(suite, server))
}

async function race(suite: Suite, { db, url }: { db: Knex; url: string }): Promise<void> {
  const cores = [startCore(suite, { url, name: 'race 1' }), startCore(suite, { url, name: 'race 2' })]
  await setStock(
    db,
    SKUS.map((sku) => ({ sku, stock: 1_000_000 })),
  )
  const answers: Answer[] = []
  const unexpected: string[] = []
  let sweeps = 0
  for (let round = 0; round < ROUNDS; round++) {
    const ids = await hold(cores[0]!, HOLDS)
    const ends_at = await endIn(db, ids, BEFORE_MS)
    const fired: Promise<unknown>[] = []
    for (let i = 0; i < HOLDS * REQUESTS_PER_HOLD; i++) {
      const id = ids[i % HOLDS]!
      const at = ends_at - BEFORE_MS + Math.random() * (BEFORE_MS + AFTER_MS)
      fired.push(
        fireAt(at, cores[i % 2]!, db, id).then(
          (answer) => answers.push(answer),
          (error: unknown) => unexpected.push(String(error)),
        ),
      )
    }
    for (let i = 0; i < 12; i++) {
      sweeps += 1
      fired.push(delay(Math.max(0, ends_at - Date.now() + i * 3 - 6)).then(() => cores[i % 2]!.sweeper.run()))
    }
    await Promise.all(fired)
  }
  await cores[0]!.sweeper.run()
  const stored = await readStored(db)
  const wrong = answers.flatMap((answer) => contradiction(answer, stored) ?? [])
  const refusals = answers.flatMap(({ result }) => (result.ok ? [] : [result.refusal.code]))
  unexpected.push(...refusals.filter((code) => !EXPECTED.has(code)))
  const ends = countBy([...stored.values()].map(({ status }) => status))
  const figures = `${stored.size} holds, ${answers.length} requests, ${sweeps} sweeps: ${JSON.stringify(ends)}`
  suite.check(
    'each answer at the last millisecond matches the stored end',
    wrong.length === 0,
    wrong.length ? reasons(wrong) : figures,
  )
  suite.check('nobody is answered anything else', unexpected.length === 0, reasons(unexpected))
  const fewer = Math.min(ends['confirmed'] ?? 0, ends['expired'] ?? 0)
  const told = JSON.stringify(countBy(refusals))
  suite.check('the race is a race: some were confirmed and some expired', fewer > 0, told)
  suite.checkInTime('and many of each', fewer > 100, told)
  await checkBoundary(suite, db)
  await checkVerify(suite, db, 'after the race')
}

const EXPECTED = new Set<Refusal['code']>([
  'reservation_expired',
  'already_confirmed',
  'already_released',
  'stock_conflict',
])

async function hold({ reservations }: Core, count: number): Promise<string[]> {
  const made = await Promise.all(
    Array.from({ length: count }, (_, i) => {
      const lines = [SKUS[i % 3]!, SKUS[(i + 1) % 3]!].map((sku) => ({ sku, quantity: 1 }))
      return reservations.reserve({ lines: i % 2 ? lines : lines.toReversed(), client: '' })
    }),
  )
  return made.map((result) => {
    if (!result.ok) throw new Error(`a hold was refused: ${result.refusal.code}`)
    return result.value.reservation.id
  })
}

/** Makes the holds end together, in so many milliseconds by the database's clock; returns when, by ours. */
async function endIn(db: Knex, ids: readonly string[], ms: number): Promise<number> {
  const [row] = await rows<{ ends_at: Date }>(
    db,
    `WITH moment AS MATERIALIZED (SELECT date_trunc('milliseconds', clock_timestamp()) + ? * interval '1 ms' AS ends_at),
     moved AS (UPDATE reservations SET expires_at = ends_at FROM moment WHERE id = ANY (?::uuid[]))
     SELECT ends_at FROM moment`,
    [ms, ids],
  )
  return row!.ends_at.getTime()
}

async function fireAt(at: number, core: Core, db: Knex, id: string): Promise<Answer> {
  const dice = Math.random()
  const verb = dice < 0.5 ? 'confirm' : dice < 0.65 ? 'confirm in a transaction' : dice < 0.85 ? 'release' : 'extend'
  await delay(Math.max(0, at - Date.now()))
  const { reservations } = core
  if (verb === 'confirm') return { verb, id, result: await reservations.confirm({ id }) }
  if (verb === 'release') return { verb, id, result: await reservations.release({ id }) }
  if (verb === 'extend') return { verb, id, result: await reservations.extend({ id, ttl_seconds: 600 }) }
  return { verb, id, result: await confirmInTransaction(core, db, id) }
}

/** As a payment does it: what can't be settled in this transaction is rolled back and tried once more. */
async function confirmInTransaction({ reservations }: Core, db: Knex, id: string): Promise<Result<Reservation>> {
  for (let attempt = 1; ; attempt++) {
    const result = await transaction<Result<Reservation>>(db, async (tx, rollback) => {
      const confirmed = await reservations.confirmIn(tx, { id })
      return confirmed.ok ? confirmed : rollback(confirmed)
    })
    if (result.ok || result.refusal.code !== 'stock_conflict' || attempt === 3) return result
  }
}

/** What is wrong with an answer, given how the reservation ended; undefined if nothing is. */
function contradiction(
  { verb, id, result }: Answer,
  stored: ReadonlyMap<string, { status: string }>,
): string | undefined {
  const end = stored.get(id)?.status ?? 'gone'
  const wrong = () =>
    `${verb} of ${id} answered ${result.ok ? result.value.status : result.refusal.code}, stored is ${end}`
  if (result.ok) {
    if (verb === 'extend') return result.value.status === 'pending' ? undefined : wrong()
    return result.value.status === end ? undefined : wrong()
  }
  const { code } = result.refusal
  if (code === 'already_confirmed') return end === 'confirmed' ? undefined : wrong()
  if (code === 'already_released') return end === 'released' ? undefined : wrong()
  if (code === 'reservation_expired') return end === 'expired' ? undefined : wrong()
  return undefined
}

/**
 * The ledger's time is when the counters were locked. Up to then a reader was told that the hold is pending, and from its
 * end on that it has expired: a confirm that was written later would take that back.
 */
async function checkBoundary(suite: Suite, db: Knex): Promise<void> {
  const late = await rows<{ kind: string; late_ms: number }>(
    db,
    `SELECT l.kind, round(extract(epoch FROM l.created_at - r.expires_at) * 1000, 3)::float AS late_ms
     FROM stock_ledger l JOIN reservations r ON r.id = l.reservation_id
     WHERE (l.kind IN ('confirm', 'release') AND l.created_at >= r.expires_at)
        OR (l.kind = 'expire' AND l.created_at < r.expires_at)`,
  )
  suite.check(
    'every confirm was written before the end, every expiry from the end on',
    late.length === 0,
    reasons(late),
  )
}

type Blocker = { title: string; sql: (id: string, sku: string) => [string, unknown[]] }

const BLOCKERS: Blocker[] = [
  {
    title: 'the reservation, only locked',
    sql: (id) => ['SELECT 1 FROM reservations WHERE id = ?::uuid FOR UPDATE', [id]],
  },
  {
    title: 'the reservation, changed',
    sql: (id) => [`UPDATE reservations SET metadata = '{"touched": true}' WHERE id = ?::uuid`, [id]],
  },
  {
    title: 'the counter, only locked',
    sql: (_, sku) => ['SELECT 1 FROM stock WHERE sku = ? FOR UPDATE', [sku]],
  },
  {
    title: 'the counter, changed',
    sql: (_, sku) => ['UPDATE stock SET updated_at = clock_timestamp() WHERE sku = ?', [sku]],
  },
]

/** Within one wait for the lock, and after the request was put apart. */
const LOCKED_MS = [150, 650]
const REPEATS = 3

async function waitPastTheEnd(suite: Suite, { db, url }: { db: Knex; url: string }): Promise<void> {
  const core = startCore(suite, { url, name: 'waits' })
  // A caller's own connections wait longer than the service does.
  const patient = createPool({
    url,
    max: 10,
    acquire_timeout_ms: ACQUIRE_TIMEOUT_MS,
    lock_timeout_ms: ACQUIRE_TIMEOUT_MS,
    statement_timeout_ms: 0,
    application_name: 'patient',
  })
  suite.onEnd(() => patient.destroy())
  const doors: { title: string; expected: string; call: (id: string) => Promise<Result<Reservation>> }[] = [
    { title: 'confirm', expected: 'reservation_expired', call: (id) => core.reservations.confirm({ id }) },
    { title: 'confirmIn', expected: 'reservation_expired', call: (id) => confirmInTransaction(core, patient, id) },
    {
      title: 'extend',
      expected: 'reservation_expired',
      call: (id) => core.reservations.extend({ id, ttl_seconds: 60 }),
    },
    { title: 'release', expected: 'expired', call: (id) => core.reservations.release({ id }) },
    {
      title: 'confirm with reacquire',
      expected: 'confirmed',
      call: (id) => core.reservations.confirm({ id, on_expired: 'reacquire' }),
    },
  ]
  for (const { title, expected, call } of doors) {
    const wrong: string[] = []
    let tried = 0
    for (const blocker of BLOCKERS) {
      // An extension moves no counter, so it does not wait for one.
      if (title === 'extend' && blocker.title.startsWith('the counter')) continue
      for (const locked_ms of LOCKED_MS) {
        for (let repeat = 0; repeat < REPEATS; repeat++) {
          tried += 1
          const found = await behindLock(db, core, { blocker, locked_ms, call })
          if (found !== expected) wrong.push(`${blocker.title}, ${locked_ms} ms: ${found}`)
        }
      }
    }
    suite.check(
      `a ${title} that waited past the end answers ${expected}`,
      wrong.length === 0,
      wrong.length ? reasons(wrong) : `${tried} waits`,
    )
  }
  await checkBoundaryOfReacquired(suite, db)
  await checkVerify(suite, db, 'after the waits')
}

let waits = 0

async function behindLock(
  db: Knex,
  core: Core,
  {
    blocker,
    locked_ms,
    call,
  }: { blocker: Blocker; locked_ms: number; call: (id: string) => Promise<Result<Reservation>> },
): Promise<string> {
  // A counter of its own, so that no lane is left from the wait before.
  const sku = `WAIT-${++waits}`
  await setStock(db, [{ sku, stock: 10 }])
  const made = await core.reservations.reserve({ lines: [{ sku, quantity: 1 }], client: '' })
  if (!made.ok) throw new Error(made.refusal.code)
  const { id } = made.value.reservation
  const before_end_ms = locked_ms * 0.6
  const ends_at = await endIn(db, [id], before_end_ms)
  let answer: Promise<Result<Reservation>> | undefined
  await db.transaction(async (tx) => {
    await tx.raw(...(blocker.sql(id, sku) as [string, string[]]))
    answer = call(id)
    await delay(Math.max(0, ends_at - Date.now() + locked_ms * 0.4))
  })
  const result = await answer!
  return result.ok ? result.value.status : result.refusal.code
}

async function checkBoundaryOfReacquired(suite: Suite, db: Knex): Promise<void> {
  const odd = await rows(
    db,
    `SELECT r.id, string_agg(l.kind, ',' ORDER BY l.seq) AS history FROM reservations r
     JOIN stock_ledger l ON l.reservation_id = r.id
     WHERE r.status = 'confirmed' GROUP BY r.id HAVING string_agg(l.kind, ',' ORDER BY l.seq) <> 'reserve,expire,reserve,confirm'`,
  )
  suite.check('what was reacquired was given back first', odd.length === 0, reasons(odd))
}

function countBy(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1
  return counts
}

await runSuite(main)
