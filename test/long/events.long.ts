import { setTimeout as delay } from 'node:timers/promises'
import type { Knex } from 'knex'
import { rows } from '../../src/database/transaction.ts'
import { setStock } from '../../src/stock/set.ts'
import { checkVerify } from './audit.ts'
import { startCore } from './core.ts'
import { openDatabase, openServer } from './database.ts'
import { checkEvents, followEvents, type Event } from './event_reader.ts'
import { startService, type RunningService } from './service.ts'
import { reasons, runSuite, type Suite } from './suite.ts'

/**
 * A reader of /v1/events polls while four processes write, some of them slowly: at the end it has every event once, in an
 * order in which no SKU ever turns around.
 */

const SERVICES = 3
const READERS = 3
const BUYERS = 30
const LOAD_MS = 25_000
/** Few units, so that SKUs sell out and come back all the time. */
const SKUS = Array.from({ length: 6 }, (_, i) => `EVENT-${i}`)
const STOCK = 8

async function main(suite: Suite): Promise<void> {
  const server = await openServer(suite)
  const { db, url } = await openDatabase(suite, server)
  await setStock(
    db,
    SKUS.map((sku) => ({ sku, stock: STOCK })),
  )
  const services = await Promise.all(
    Array.from({ length: SERVICES }, () => startService({ DATABASE_URL: url, EXPIRY_CRON: '* * * * * *' })),
  )
  const ends_at = Date.now() + LOAD_MS
  const isOver = () => Date.now() > ends_at
  let extended = 0
  const load = Promise.all([
    ...Array.from({ length: BUYERS }, async () => {
      while (!isOver()) {
        const done = await visit(services)
        extended += done
      }
    }),
    restock(services, isOver),
    commitLate(suite, { db, url }, isOver),
  ])
  const readers = Array.from({ length: READERS }, (_, i) => followEvents(services[i % SERVICES]!))
  await load
  // Holds that were left run out, and the sweepers give them back.
  await settle(db)
  const read = await Promise.all(readers.map((finish) => finish()))
  for (const [i, events] of read.entries())
    await checkEvents(suite, db, { who: `reader ${i + 1} of ${READERS}`, events })
  await checkAgainstLedger(suite, db, { events: read[0]!, extended })
  for (const service of services) await service.stop()
  await checkVerify(suite, db, 'after the events')
}

/** Returns how many extensions were acknowledged. */
async function visit(services: readonly RunningService[]): Promise<number> {
  const any = () => services[Math.floor(Math.random() * services.length)]!
  const lines = SKUS.filter(() => Math.random() < 0.35).map((sku) => ({
    sku,
    quantity: 1 + Math.floor(Math.random() * 2),
  }))
  if (lines.length === 0) return 0
  const made = await any().send('POST', '/v1/reservations', { lines, ttl_seconds: 1 })
  if (made.status !== 201) return 0
  const path = `/v1/reservations/${made.body.id}`
  const dice = Math.random()
  await delay(Math.random() * 60)
  if (dice < 0.25) return 0
  if (dice < 0.5) await any().send('POST', `${path}/confirm`)
  else if (dice < 0.75) await any().send('POST', `${path}/release`)
  else if (dice < 0.9) return (await any().send('POST', `${path}/extend`, { ttl_seconds: 2 })).status === 200 ? 1 : 0
  else {
    await delay(Math.max(0, Date.parse(made.body.expires_at ?? '') - Date.now()))
    await any().send('POST', `${path}/confirm`, { on_expired: 'reacquire' })
  }
  return 0
}

async function restock(services: readonly RunningService[], isOver: () => boolean): Promise<void> {
  for (let i = 0; !isOver(); i++) {
    await delay(60)
    const sku = SKUS[i % SKUS.length]!
    if (i % 9 === 0) await services[0]!.send('PUT', `/v1/stock/${sku}`, { stock: STOCK + (i % 4) })
    else
      await services[1]!.send('POST', '/v1/stock/adjustments', {
        items: [
          { sku, delta: 3 },
          { sku, delta: -1 },
        ],
      })
  }
}

/** Transactions that are slow to commit: their events come late, behind those of others that began after them. */
async function commitLate(suite: Suite, { db, url }: { db: Knex; url: string }, isOver: () => boolean): Promise<void> {
  const { reservations } = startCore(suite, { url, name: 'late' })
  await setStock(db, [{ sku: 'LATE', stock: 1_000_000 }])
  while (!isOver()) {
    await db
      .transaction(async (tx) => {
        await reservations.reserveIn(tx, { lines: [{ sku: 'LATE', quantity: 1 }], client: '' })
        await delay(50 + Math.random() * 300)
        if (Math.random() < 0.3) throw new Error('changed my mind')
      })
      .catch(() => undefined)
    await reservations.reserve({ lines: [{ sku: 'LATE', quantity: 1 }], client: '', ttl_seconds: 1 })
  }
}

async function settle(db: Knex): Promise<void> {
  for (const until = Date.now() + 15_000; Date.now() < until; await delay(200)) {
    const [row] = await rows<{ overdue: number }>(
      db,
      `SELECT count(*) AS overdue FROM reservations WHERE status = 'pending' AND expires_at < now() + interval '3 seconds'`,
    )
    if (row?.overdue === 0) return
  }
}

type LedgerRow = {
  sku: string
  seq: number
  kind: string
  available: number
  reservation_id: string | null
}

async function checkAgainstLedger(
  suite: Suite,
  db: Knex,
  { events, extended }: { events: readonly Event[]; extended: number },
): Promise<void> {
  const ledger = await rows<LedgerRow>(
    db,
    `SELECT sku, seq, kind, stock_after - reserved_after AS available, reservation_id FROM stock_ledger ORDER BY sku, seq`,
  )
  const told = countBy(events.filter(({ data }) => data.id !== undefined).map(({ type, data }) => `${type} ${data.id}`))
  const happened = countBy([...expectedOf(ledger)])
  const told_ends = Object.entries(told).filter(([what]) => !what.startsWith('reservation.extended'))
  const wrong = [
    ...told_ends
      .filter(([what, count]) => happened[what] !== count)
      .map(([what, count]) => `${what} is told ${count} times, happened ${happened[what] ?? 0} times`),
    ...Object.keys(happened)
      .filter((what) => told[what] === undefined)
      .map((what) => `${what} is not told`),
  ]
  suite.check(
    'one event for each transition in the ledger, and no other',
    wrong.length === 0,
    wrong.length ? reasons(wrong) : JSON.stringify(countBy(events.map(({ type }) => type))),
  )
  const told_extended = events.filter(({ type }) => type === 'reservation.extended').length
  suite.check(
    'one event for each extension',
    told_extended === extended,
    `${told_extended} told, ${extended} acknowledged`,
  )

  const turns = replayAvailability(ledger)
  const told_turns = events
    .filter(({ data }) => data.sku !== undefined)
    .map(({ type, data }) => `${data.sku} ${data.seq} ${type}`)
  const sorted = (values: readonly string[]) => values.toSorted()
  const differing = difference(sorted(turns), sorted(told_turns))
  suite.check(
    'sold out and back again are told as a replay of the ledger has them',
    differing.length === 0,
    differing.length ? reasons(differing) : `${turns.length} turns`,
  )
  const wrong_turns: string[] = []
  const last = new Map<string, string>()
  for (const { type, data } of events) {
    if (data.sku === undefined) continue
    if (last.get(data.sku) === type) wrong_turns.push(`${data.sku} is ${type} twice in a row`)
    last.set(data.sku, type)
  }
  suite.check('sold out and back again take turns', wrong_turns.length === 0, reasons(wrong_turns))
}

const TYPES: Record<string, string> = {
  confirm: 'reservation.confirmed',
  release: 'reservation.released',
  expire: 'reservation.expired',
}

/** The events that a ledger calls for: one for each step of a reservation, however many lines it has. */
function* expectedOf(ledger: readonly LedgerRow[]): Generator<string> {
  const seen = new Set<string>()
  for (const { kind, reservation_id } of ledger) {
    if (reservation_id === null) continue
    const type = kind === 'reserve' ? 'reservation.created' : TYPES[kind]
    const event = `${type} ${reservation_id}`
    // No reservation is created, confirmed, released or expired twice: verify has looked at that.
    if (!seen.has(event)) yield event
    seen.add(event)
  }
}

function replayAvailability(ledger: readonly LedgerRow[]): string[] {
  const turns: string[] = []
  const available = new Map<string, number>()
  for (const row of ledger) {
    const before = available.get(row.sku)
    available.set(row.sku, row.available)
    if (before === undefined) continue
    if (before > 0 && row.available === 0) turns.push(`${row.sku} ${row.seq} stock.sold_out`)
    if (before === 0 && row.available > 0) turns.push(`${row.sku} ${row.seq} stock.back`)
  }
  return turns
}

function difference(left: readonly string[], right: readonly string[]): string[] {
  const [in_left, in_right] = [new Set(left), new Set(right)]
  return [...left.filter((value) => !in_right.has(value)), ...right.filter((value) => !in_left.has(value))]
}

function countBy(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1
  return counts
}

await runSuite(main)
