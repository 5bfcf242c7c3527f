import { setTimeout as delay } from 'node:timers/promises'
import type { Knex } from 'knex'
import type { TestServer } from '../database.ts'
import { rows } from '../../src/database/transaction.ts'
import { setStock } from '../../src/stock/set.ts'
import { checkVerify, countDeadlocks, percentile, readStored } from './audit.ts'
import { openDatabase, openServer } from './database.ts'
import { checkEvents, followEvents } from './event_reader.ts'
import { checkErrors, startService, type Reply, type RunningService } from './service.ts'
import { reasons, runSuite, type Suite } from './suite.ts'

/**
 * Four processes on one database, everything at once: orders of many lines in crossed order, confirms, releases,
 * extensions, holds that run out, sweepers, reclaims, adjustments and counts. Nothing may be lost, and no client may
 * meet a deadlock.
 */

const BUYERS = 40
type Run = {
  name: string
  /** One for each process. */
  strategies: string[]
  load_ms: number
  /** Pairs of requests under one key. */
  twins: number
  /** The share of answers that may be "come again". */
  busy_max: number
}

const RUNS: Run[] = [
  {
    name: 'three batched and one conditional',
    strategies: ['batched', 'batched', 'batched', 'conditional'],
    load_ms: 45_000,
    twins: 400,
    busy_max: 0.02,
  },
  // Each of these orders is a transaction that many others stand in the way of: some give up, and none does harm.
  ...['pessimistic', 'optimistic', 'mutex', 'queue'].map((name) => ({
    name: `four ${name}`,
    strategies: [name, name, name, name],
    load_ms: 6000,
    twins: 100,
    busy_max: 0.2,
  })),
]
/** A hundred of these may run out in so long a run, and accordingly fewer in a shorter one. */
const EXPIRIES_PER_SECOND = 100 / 45
const SKUS = Array.from({ length: 10 }, (_, i) => `CROSS-${i}`)
const STOCK = 60

/** What clients were told, to be held against what is stored. */
type Told = {
  replies: Map<string, number>
  unexpected: string[]
  reserved: Set<string>
  confirmed: Set<string>
  released: Set<string>
  took_ms: number[]
}

async function main(suite: Suite): Promise<void> {
  const server = await openServer(suite)
  for (const run of RUNS) await runTogether(named(suite, run.name), server, run)
}

/** The suite, with whose strategies a check is about. */
function named(suite: Suite, name: string): Suite {
  return {
    ...suite,
    check: (title, held, figures) => suite.check(`${name}: ${title}`, held, figures),
    checkInTime: (title, held, figures) => suite.checkInTime(`${name}: ${title}`, held, figures),
    note: (text) => suite.note(`${name}: ${text}`),
  }
}

async function runTogether(
  suite: Suite,
  server: TestServer,
  { strategies, load_ms, twins, busy_max }: Run,
): Promise<void> {
  const { db, url } = await openDatabase(suite, server)
  await setStock(
    db,
    SKUS.map((sku) => ({ sku, stock: STOCK })),
  )
  const services = await Promise.all(
    strategies.map((strategy) =>
      startService({
        DATABASE_URL: url,
        EXPIRY_CRON: '* * * * * *',
        RESERVATION_STRATEGY: strategy,
        // Ten SKUs and forty buyers: everybody meets somebody, and each meeting is one of these.
        OPTIMISTIC_RETRIES_MAX: '100',
        OPTIMISTIC_BACKOFF_MS: '10',
      }),
    ),
  )
  const told: Told = {
    replies: new Map(),
    unexpected: [],
    reserved: new Set(),
    confirmed: new Set(),
    released: new Set(),
    took_ms: [],
  }
  const readToEnd = followEvents(services[0]!)
  const ends_at = Date.now() + load_ms
  const isOver = () => Date.now() > ends_at
  await Promise.all([
    ...Array.from({ length: BUYERS }, () => repeat(isOver, () => buy(services, told))),
    ...Array.from({ length: 2 }, () => repeat(isOver, () => restock(services, told))),
    repeat(isOver, () => twinsOnTheWay(services, told)),
  ])
  checkReplies(suite, told, busy_max)
  await checkTwins(suite, db, services, twins)
  await Promise.all(services.slice(1).map((service) => service.stop()))
  await checkEvents(suite, db, { who: 'a reader', events: await readToEnd() })
  checkErrors(suite, services)
  suite.check('a process stops when it is told to', (await services[0]!.stop()) === 0)
  await checkStored(suite, db, told, (load_ms / 1000) * EXPIRIES_PER_SECOND)
  suite.note(`deadlocks that PostgreSQL broke up: ${await countDeadlocks(db)}`)
  await checkVerify(suite, db, 'after all of it')
}

async function repeat(isOver: () => boolean, step: () => Promise<void>): Promise<void> {
  while (!isOver()) await step()
}

/** One buyer's visit: an order of two to five SKUs, and one of the ways in which it may go on. */
async function buy(services: readonly RunningService[], told: Told): Promise<void> {
  const lines = shuffled(SKUS)
    .slice(0, 2 + Math.floor(Math.random() * 4))
    .map((sku) => ({ sku, quantity: 1 + Math.floor(Math.random() * 3) }))
  const order = { lines, ttl_seconds: 1 + Math.floor(Math.random() * 3) }
  const reply = note(told, 'reserve', await anyOf(services).send('POST', '/v1/reservations', order))
  const id = reply.body.id
  if (reply.status !== 201 || id === undefined) return
  told.reserved.add(id)
  await delay(Math.random() * 40)
  const dice = Math.random()
  if (dice < 0.12) {
    note(told, 'extend', await anyOf(services).send('POST', `/v1/reservations/${id}/extend`, { ttl_seconds: 2 }))
    if (Math.random() < 0.5) return
  }
  if (dice < 0.3) return
  // Now and then the payment's answer comes when the hold's time is running out.
  if (dice < 0.4)
    await delay(Math.max(0, Date.parse(reply.body.expires_at ?? '') - Date.now() + Math.random() * 20 - 10))
  if (dice < 0.75) await confirm(services, told, id)
  else await release(services, told, id)
}

async function confirm(services: readonly RunningService[], told: Told, id: string): Promise<void> {
  const body = Math.random() < 0.3 ? { on_expired: 'reacquire' } : undefined
  // Some clients send it twice, to two processes.
  const count = Math.random() < 0.3 ? 2 : 1
  const sent = Array.from({ length: count }, () => anyOf(services).send('POST', `/v1/reservations/${id}/confirm`, body))
  for (const reply of await Promise.all(sent)) {
    if (note(told, 'confirm', reply).status === 200) told.confirmed.add(id)
  }
}

async function release(services: readonly RunningService[], told: Told, id: string): Promise<void> {
  const sent = [anyOf(services).send('POST', `/v1/reservations/${id}/release`, { reason: 'left' })]
  if (Math.random() < 0.2) sent.push(anyOf(services).send('POST', `/v1/reservations/${id}/confirm`))
  const [released, confirmed] = await Promise.all(sent)
  if (released && note(told, 'release', released).status === 200) told.released.add(id)
  if (confirmed && note(told, 'confirm', confirmed).status === 200) told.confirmed.add(id)
}

/** Goods come in, are lost, and are counted. */
async function restock(services: readonly RunningService[], told: Told): Promise<void> {
  await delay(10 + Math.random() * 20)
  const items = shuffled(SKUS).slice(0, 1 + Math.floor(Math.random() * 4))
  if (Math.random() < 0.2) {
    const counts = { items: items.map((sku) => ({ sku, stock: STOCK + Math.floor(Math.random() * 20) })) }
    note(told, 'set', await anyOf(services).send('PUT', '/v1/stock', counts))
    return
  }
  const changes = { items: items.map((sku) => ({ sku, delta: Math.random() < 0.75 ? 6 : -4 })) }
  note(told, 'adjust', await anyOf(services).send('POST', '/v1/stock/adjustments', changes))
}

let keys = 0

/** The same request under the same key, to two processes at the same moment, under load. */
async function twinsOnTheWay(services: readonly RunningService[], told: Told): Promise<void> {
  const [first, second] = await sendTwins(services, { lines: [{ sku: SKUS[0], quantity: 1 }], ttl_seconds: 2 })
  for (const reply of [first, second]) if (note(told, 'twin', reply).status === 201) told.reserved.add(reply.body.id!)
  if (first.status === 201 && second.status === 201 && first.body.id !== second.body.id) {
    told.unexpected.push('one key has two reservations')
  }
}

async function sendTwins(services: readonly RunningService[], order: object): Promise<[Reply, Reply]> {
  const headers = { 'idempotency-key': `twin-${++keys}` }
  const sent = shuffled(services)
    .slice(0, 2)
    .map((service) => service.send('POST', '/v1/reservations', order, headers))
  return (await Promise.all(sent)) as [Reply, Reply]
}

/** So often each of two asks again under its key, with a pause, when it was told to. */
const TRIES_MAX = 50
const PAUSE_MS = 100

/** As {@link sendTwins}; who is told to come again does, and may then find what an earlier try of its own has made. */
async function insistTwins(
  services: readonly RunningService[],
  order: object,
): Promise<{ replies: [Reply, Reply]; again: boolean }> {
  const headers = { 'idempotency-key': `twin-${++keys}` }
  let again = false
  const insist = async (service: RunningService): Promise<Reply> => {
    for (let tries = 1; ; tries++) {
      const reply = await service.send('POST', '/v1/reservations', order, headers)
      const is_told_to = reply.status === 503 || reply.body.code === 'idempotency_key_in_use'
      if (!is_told_to || tries === TRIES_MAX) return reply
      again = true
      await delay(PAUSE_MS)
    }
  }
  const replies = await Promise.all(shuffled(services).slice(0, 2).map(insist))
  return { replies: replies as [Reply, Reply], again }
}

async function checkTwins(
  suite: Suite,
  db: Knex,
  services: readonly RunningService[],
  pairs_max: number,
): Promise<void> {
  const sku = 'TWINS'
  await setStock(db, [{ sku, stock: 1_000_000 }])
  const wrong: string[] = []
  let [waited, late] = [0, 0]
  for (let sent = 0; sent < pairs_max; sent += 20) {
    const pairs = await Promise.all(
      Array.from({ length: 20 }, () => insistTwins(services, { lines: [{ sku, quantity: 3 }] })),
    )
    for (const { replies, again } of pairs) {
      const [first, second] = replies
      if (again) late += 1
      if (first.status !== 201 || second.status !== 201) wrong.push(`${first.status} and ${second.status}`)
      else if (first.body.id !== second.body.id) wrong.push('two reservations')
      const replays = [first, second].filter((reply) => reply.headers['idempotent-replayed'] === 'true').length
      if (replays === 1) waited += 1
      else if (replays === 0 || !again) wrong.push(`${replays} of two were replays`)
    }
  }
  const [level] = await rows<{ held: number; seq: number }>(
    db,
    'SELECT temp_reserved_stock AS held, seq FROM stock WHERE sku = ?',
    [sku],
  )
  suite.checkInTime('none of two who share a key is told to come again', late === 0, `${late} pairs of ${pairs_max}`)
  const once = level?.held === pairs_max * 3 && level.seq === pairs_max + 1
  suite.check(
    'one effect per key, however many ask at the same moment',
    wrong.length === 0 && once,
    wrong.length === 0
      ? `${pairs_max} pairs, ${waited} answered from the other's, held ${level?.held}, seq ${level?.seq}`
      : reasons(wrong),
  )
}

const EXPECTED: Record<string, readonly string[]> = {
  reserve: ['201', '409 insufficient_stock'],
  twin: ['201', '409 insufficient_stock', '409 idempotency_key_in_use'],
  confirm: ['200', '409 already_released', '410 reservation_expired', '409 insufficient_stock'],
  release: ['200', '409 already_confirmed'],
  extend: ['200', '410 reservation_expired', '409 already_confirmed', '409 already_released'],
  adjust: ['201', '409 stock_below_reserved'],
  set: ['200', '409 stock_below_reserved'],
}

/** A disk that stalls for two seconds is a database that does not answer, which is said after 1.8 s. */
const TOO_BUSY = ['503 overloaded', '503 stock_conflict', '503 database_unavailable']

function note(told: Told, verb: string, reply: Reply): Reply {
  const answer = reply.body.code === undefined ? String(reply.status) : `${reply.status} ${reply.body.code}`
  const key = `${verb} ${answer}`
  told.replies.set(key, (told.replies.get(key) ?? 0) + 1)
  told.took_ms.push(reply.took_ms)
  if (!EXPECTED[verb]?.includes(answer) && !TOO_BUSY.includes(answer))
    told.unexpected.push(`${key} ${JSON.stringify(reply.body).slice(0, 200)}`)
  return reply
}

function checkReplies(suite: Suite, told: Told, busy_max: number): void {
  const total = [...told.replies.values()].reduce((sum, count) => sum + count, 0)
  const overloaded = [...told.replies].filter(([key]) => TOO_BUSY.some((answer) => key.endsWith(answer)))
  const refused = overloaded.reduce((sum, [, count]) => sum + count, 0)
  const kinds = [...told.replies].toSorted(([a], [b]) => a.localeCompare(b)).map(([key, count]) => `${key}: ${count}`)
  suite.note(kinds.join(', '))
  const figures = `${total} requests, p99 ${Math.round(percentile(told.took_ms, 0.99))} ms, slowest ${Math.round(percentile(told.took_ms, 1))} ms`
  suite.check(
    'no deadlock and no other fault reaches a client',
    told.unexpected.length === 0,
    told.unexpected.length ? reasons(told.unexpected) : figures,
  )
  suite.checkInTime(
    'hardly anybody is told that it is too busy',
    refused <= total * busy_max,
    `${refused} of ${total} answers were 503`,
  )
}

async function checkStored(suite: Suite, db: Knex, told: Told, expired_min: number): Promise<void> {
  const stored = await readStored(db)
  const lost = [
    ...[...told.reserved].filter((id) => !stored.has(id)).map((id) => `${id} is gone`),
    ...[...told.confirmed]
      .filter((id) => stored.get(id)?.status !== 'confirmed')
      .map((id) => `${id} was confirmed, is ${stored.get(id)?.status}`),
    // A release that came too late closes the hold as expired, and answers 200.
    ...[...told.released]
      .filter((id) => !['released', 'expired'].includes(stored.get(id)?.status ?? ''))
      .map((id) => `${id} was released, is ${stored.get(id)?.status}`),
  ]
  suite.check(
    'nothing that was acknowledged is lost',
    lost.length === 0 && told.reserved.size > 0,
    lost.length
      ? reasons(lost)
      : `${told.reserved.size} held, ${told.confirmed.size} confirmed, ${told.released.size} released`,
  )
  const [kinds] = await rows<{ expired: number; reacquired: number }>(
    db,
    `SELECT count(*) FILTER (WHERE kind = 'expire') AS expired,
            count(*) FILTER (WHERE kind = 'confirm' AND EXISTS (SELECT 1 FROM stock_ledger e
              WHERE e.reservation_id = l.reservation_id AND e.sku = l.sku AND e.kind = 'expire')) AS reacquired
     FROM stock_ledger l`,
  )
  const expired = kinds?.expired ?? 0
  const figures = `ledger: ${expired} expiries, ${kinds?.reacquired} reacquired`
  suite.check('holds ran out and were reacquired meanwhile', expired > 0, figures)
  suite.checkInTime(`more than ${Math.round(expired_min)} ran out`, expired > expired_min, figures)
}

function anyOf<T>(values: readonly T[]): T {
  return values[Math.floor(Math.random() * values.length)]!
}

function shuffled<T>(values: readonly T[]): T[] {
  return values
    .map((value) => ({ value, place: Math.random() }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ value }) => value)
}

await runSuite(main)
