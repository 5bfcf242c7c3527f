import { setImmediate as nextTurn } from 'node:timers/promises'
import type { TestServer } from '../database.ts'
import { setStock } from '../../src/stock/set.ts'
import { checkVerify, percentile } from './audit.ts'
import { startCore } from './core.ts'
import { openDatabase, openServer } from './database.ts'
import { checkEvents, followEvents } from './event_reader.ts'
import { pipeline } from './pipeline.ts'
import { createClient, startService, type Reply, type RunningService } from './service.ts'
import { reasons, runSuite, type Suite } from './suite.ts'

/** A thousand buyers want a hundred units: exactly a hundred get one, and in one process they are the first hundred. */

const BUYERS = 1000
const UNITS = 100
const ROUNDS = 12
/** The strategies that sell, and how often: each round of those with a transaction for each buyer takes some two seconds. */
const SALES = { batched: ROUNDS, conditional: ROUNDS, pessimistic: 2, optimistic: 2, mutex: 2, queue: 2 }
const TRIES_MAX = 20
/** Refusals that ask for the same request again, with the same key. */
const COME_AGAIN = new Set(['overloaded', 'stock_conflict', 'database_unavailable'])
/** Connections that carry a line of requests each, so that the order on each of them is defined. */
const LINES = 10

async function main(suite: Suite): Promise<void> {
  const server = await openServer(suite)
  for (const [strategy, rounds] of Object.entries(SALES)) await sellAtOnce(suite, server, { strategy, rounds })
  await sellInOrder(suite, server)
}

async function sellAtOnce(
  suite: Suite,
  server: TestServer,
  { strategy, rounds }: { strategy: string; rounds: number },
): Promise<void> {
  const database = await openDatabase(suite, server)
  const service = await startService({
    DATABASE_URL: database.url,
    RESERVATION_STRATEGY: strategy,
    // A buyer can lose to another at most as often as there are units.
    OPTIMISTIC_RETRIES_MAX: String(UNITS),
    OPTIMISTIC_BACKOFF_MS: '10',
  })
  const crowd = createClient(service.base, BUYERS)
  const readToEnd = followEvents(service)
  // Everybody is connected before the sale begins, and the service has been asked before.
  const early = { lines: [{ sku: 'NOT-YET-ON-SALE', quantity: 1 }] }
  await Promise.all(Array.from({ length: BUYERS }, () => crowd.send('POST', '/v1/reservations', early)))
  let told_to_come_again = 0
  const wrong: string[] = []
  const replayed_wrong: string[] = []
  const took_ms: number[] = []
  for (let round = 0; round < rounds; round++) {
    const sku = `SALE-${round}`
    await setStock(database.db, [{ sku, stock: UNITS }])
    // On a machine that is busy otherwise, or whose host gives its processors to others, somebody may wait for more than a
    // second, or the database be late: either is told to come again.
    const buy = async (buyer: number, tries = 1): Promise<Reply> => {
      const reply = await crowd.send(
        'POST',
        '/v1/reservations',
        { lines: [{ sku, quantity: 1 }], customer_id: `buyer ${buyer}` },
        { 'idempotency-key': `${sku}-${buyer}` },
      )
      if (!COME_AGAIN.has(reply.body.code ?? '') || tries === TRIES_MAX) return reply
      told_to_come_again += 1
      return buy(buyer, tries + 1)
    }
    const replies = await Promise.all(Array.from({ length: BUYERS }, (_, buyer) => buy(buyer)))
    took_ms.push(Math.max(...replies.map((reply) => reply.took_ms)))
    const counts = countAnswers(replies)
    const expected = { '201': UNITS, '409 insufficient_stock': BUYERS - UNITS }
    if (!sameCounts(counts, expected)) wrong.push(`round ${round}: ${JSON.stringify(counts)}`)
    if (new Set(replies.flatMap((reply) => reply.body.id ?? [])).size !== UNITS)
      wrong.push(`round ${round}: ids repeat`)
    if (round % 4 === 0) {
      const again = await Promise.all(replies.map((_, buyer) => buy(buyer)))
      again.forEach((reply, buyer) => {
        const first = replies[buyer]
        if (reply.status !== first?.status || reply.body.id !== first.body.id) {
          replayed_wrong.push(`buyer ${buyer}: ${first?.status} then ${reply.status} ${reply.body.code ?? ''}`)
        }
      })
    }
  }
  const figures = `${rounds} rounds, the last answer after ${Math.round(percentile(took_ms, 0.5))} ms (median), ${Math.round(Math.max(...took_ms))} ms at worst, ${told_to_come_again} times told to come again`
  suite.check(
    `${strategy}: of ${BUYERS} buyers at once ${UNITS} get 201 and ${BUYERS - UNITS} get 409`,
    wrong.length === 0,
    wrong.length === 0 ? figures : reasons(wrong),
  )
  suite.check(
    `${strategy}: whoever asks again with the same key gets the same answer`,
    replayed_wrong.length === 0,
    reasons(replayed_wrong),
  )
  if (strategy === 'batched') await sellInLines(suite, database.db, service)
  await crowd.close()
  await checkEvents(suite, database.db, { who: `${strategy}: a reader`, events: await readToEnd() })
  await service.stop()
  await checkVerify(suite, database.db, `after the sale (${strategy})`)
}

/** Requests written one after another on a connection are in order; of each connection the first ones must win. */
async function sellInLines(suite: Suite, db: Parameters<typeof setStock>[0], service: RunningService): Promise<void> {
  const wrong: string[] = []
  for (const lines of [1, LINES]) {
    for (let round = 0; round < ROUNDS; round++) {
      const sku = `LINE-${lines}-${round}`
      await setStock(db, [{ sku, stock: UNITS }])
      const answers = await Promise.all(
        Array.from({ length: lines }, () => pipeline(service.base, { lines: [{ sku, quantity: 1 }] }, BUYERS / lines)),
      )
      const sold = answers.flat().filter((status) => status === 201).length
      if (sold !== UNITS) wrong.push(`${sku}: ${sold} sold`)
      for (const statuses of answers) {
        const first_refused = statuses.indexOf(409)
        if (first_refused >= 0 && statuses.lastIndexOf(201) > first_refused) {
          wrong.push(`${sku}: request ${statuses.lastIndexOf(201)} won although request ${first_refused} had lost`)
        }
      }
    }
  }
  suite.check(
    'batched: over HTTP the first to arrive win',
    wrong.length === 0,
    wrong.length === 0
      ? `${ROUNDS} rounds on one connection, ${ROUNDS} on ${LINES}, ${BUYERS} requests each`
      : reasons(wrong),
  )
}

/** The order in which they were submitted inside one process, spread over many turns of the event loop. */
async function sellInOrder(suite: Suite, server: TestServer): Promise<void> {
  const database = await openDatabase(suite, server)
  const { reservations } = startCore(suite, { url: database.url, name: 'sale' })
  const wrong: string[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const skus = ['A', 'B', 'C'].map((letter) => `ORDER-${round}-${letter}`)
    await setStock(
      database.db,
      skus.map((sku) => ({ sku, stock: UNITS })),
    )
    const submitted = new Map<string, Promise<boolean>[]>(skus.map((sku) => [sku, []]))
    for (let buyer = 0; buyer < BUYERS; buyer++) {
      const sku = skus[Math.floor(Math.random() * skus.length)] ?? ''
      const answer = reservations.reserve({ lines: [{ sku, quantity: 1 }], client: '' }).then((result) => {
        if (!result.ok && result.refusal.code !== 'insufficient_stock') wrong.push(result.refusal.code)
        return result.ok
      })
      submitted.get(sku)?.push(answer)
      if (buyer % 37 === 0) await nextTurn()
    }
    for (const [sku, answers] of submitted) {
      const won = await Promise.all(answers)
      const winners = Math.min(UNITS, won.length)
      if (!won.every((held, place) => held === place < winners)) wrong.push(`${sku}: not the first ${winners}`)
    }
  }
  suite.check(
    'batched: inside one process the first to ask win',
    wrong.length === 0,
    wrong.length === 0 ? `${ROUNDS} rounds of ${BUYERS} for 3 SKUs` : reasons(wrong),
  )
  await checkVerify(suite, database.db, 'after the sale in order')
}

function countAnswers(replies: readonly { status: number; body: { code?: string } }[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { status, body } of replies) {
    const answer = body.code === undefined ? String(status) : `${status} ${body.code}`
    counts[answer] = (counts[answer] ?? 0) + 1
  }
  return counts
}

function sameCounts(found: Record<string, number>, expected: Record<string, number>): boolean {
  return (
    Object.keys(found).length === Object.keys(expected).length &&
    Object.entries(expected).every(([answer, count]) => found[answer] === count)
  )
}

await runSuite(main)
