import { setTimeout as delay } from 'node:timers/promises'
import type { Knex } from 'knex'
import { rows } from '../../src/database/transaction.ts'
import { setStock } from '../../src/stock/set.ts'
import { checkVerify, percentile } from './audit.ts'
import { openDatabase, openServer } from './database.ts'
import { startService, type Reply, type RunningService } from './service.ts'
import { reasons, runSuite, type Suite } from './suite.ts'

/**
 * Two processes share the job queue; buyers ask one of them, and the other one is killed with their jobs in its hands. The one
 * that is left runs them, and no buyer need know.
 */

const KILLS = 3
const BUYERS = 150
const SKU = 'JOBS'
/** The other process runs jobs for so long before it is killed. */
const LOAD_MS = 1000
/** A worker that died is noticed within three seconds, and requests wait for five. */
const ANSWER_MS_MAX = 5000

const TRIES_MAX = 50
const PAUSE_MS = 100

async function main(suite: Suite): Promise<void> {
  const server = await openServer(suite)
  const { db, url } = await openDatabase(suite, server)
  await setStock(db, [{ sku: SKU, stock: 1_000_000 }])
  const env = { DATABASE_URL: url, RESERVATION_STRATEGY: 'queue', EXPIRY_CRON: 'off' }
  const asked = await startService(env, { connections: BUYERS })
  const replies: Reply[] = []
  let [buyers_count, again] = [0, 0]
  for (let kill = 0; kill < KILLS; kill++) {
    const helping = await startService(env)
    const over = new AbortController()
    const buyers = Array.from({ length: BUYERS }, async () => {
      while (!over.signal.aborted) {
        const reply = await insist(asked, `buyer-${++buyers_count}`)
        again += reply.tries - 1
        replies.push(reply)
      }
    })
    await delay(LOAD_MS)
    await helping.kill()
    await delay(LOAD_MS / 4)
    over.abort()
    await Promise.all(buyers)
  }
  const others = replies.filter(({ status }) => status !== 201)
  const took_ms = replies.map((reply) => reply.took_ms)
  suite.check(
    'every buyer holds a unit, whoever had the job',
    others.length === 0,
    others.length > 0
      ? reasons(others.map(({ status, body }) => `${status} ${body.code} ${body.outcome}`))
      : `${replies.length} buyers`,
  )
  suite.checkInTime('none is told to come again', again === 0, `${again} times`)
  suite.checkInTime(
    'and is told in time',
    Math.max(...took_ms) < ANSWER_MS_MAX,
    `p50 ${Math.round(percentile(took_ms, 0.5))} ms, slowest ${Math.round(Math.max(...took_ms))} ms`,
  )
  let stored = await count(db)
  // A job whose buyer has come again under the same key may still run, and then changes nothing.
  for (let tries = 1; stored.left > 0 && tries < TRIES_MAX; tries++) {
    await delay(PAUSE_MS)
    stored = await count(db)
  }
  suite.check('jobs of the dead were run by the living', stored.taken_over > 0, `${stored.taken_over} jobs`)
  suite.check(
    'each once',
    stored.held === replies.length && stored.left + stored.failed === 0,
    `${stored.held} reservations, ${stored.left} jobs left, ${stored.failed} failed`,
  )
  suite.check('the process stops when it is told to', (await asked.stop()) === 0)
  await checkVerify(suite, db, 'after all of it')
}

type Stored = { held: number; taken_over: number; left: number; failed: number }

async function count(db: Knex): Promise<Stored> {
  const [stored] = await rows<Stored>(
    db,
    `SELECT (SELECT count(*) FROM reservations) AS held,
            (SELECT count(*) FROM pgboss.job WHERE retry_count > 0 AND state = 'completed') AS taken_over,
            (SELECT count(*) FROM pgboss.job WHERE state IN ('created', 'retry', 'active')) AS left,
            (SELECT count(*) FROM pgboss.job WHERE state = 'failed') AS failed`,
  )
  return stored!
}

/** Asks for a unit, and again under the same key when told to. @returns the last answer, with the time from the first try */
async function insist(service: RunningService, key: string): Promise<Reply & { tries: number }> {
  const started = performance.now()
  for (let tries = 1; ; tries++) {
    const reply = await service.send(
      'POST',
      '/v1/reservations',
      { lines: [{ sku: SKU, quantity: 1 }] },
      { 'idempotency-key': key },
    )
    const is_told_to = reply.status === 503 || reply.body.code === 'idempotency_key_in_use'
    if (!is_told_to || tries === TRIES_MAX) return { ...reply, took_ms: performance.now() - started, tries }
    await delay(PAUSE_MS)
  }
}

await runSuite(main)
