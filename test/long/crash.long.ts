import { setTimeout as delay } from 'node:timers/promises'
import type { Knex } from 'knex'
import { ensureRunning, findPostmaster, initialise, stop, urlOf, type Cluster } from '../../src/database/cluster.ts'
import { createPool } from '../../src/database/pool.ts'
import { findHome, findPrograms } from '../../src/database/programs.ts'
import { rows } from '../../src/database/transaction.ts'
import { setStock } from '../../src/stock/set.ts'
import { makeDataDir, removeDataDir } from '../database.ts'
import { checkVerify, percentile } from './audit.ts'
import { checkEvents, followEvents } from './event_reader.ts'
import { startCuttingProxy } from './cutting_proxy.ts'
import { ACQUIRE_TIMEOUT_MS } from './database.ts'
import { checkErrors, createClient, startService, type Client, type Reply, type RunningService } from './service.ts'
import { reasons, runSuite, type Suite } from './suite.ts'

/**
 * The service and PostgreSQL are killed under load, again and again. What was acknowledged is there afterwards, each key
 * that is retried has one effect, and "nothing was written" is true.
 */

const SERVICE_KILLS = 5
const EMBEDDED_KILLS = 5
const OUTAGES = 2
const BACKEND_KILLS = 5
const CUT_ROUNDS = 4
const BUYERS = 40
const SKUS = Array.from({ length: 6 }, (_, i) => `CRASH-${i}`)
/** What an outage may cost a client, and what the machine adds. */
const ANSWER_MS_MAX = 2000 + 300
const RECOVERY_MS_MAX = 30_000
/** Fewer say little. */
const HELD_MIN = 500
const FAULTS_MIN = 500
/** How long it is waited for, on a machine that stalls. */
const RECOVERY_WAIT_MS_MAX = 120_000
/** How long PostgreSQL stays away in an outage. */
const AWAY_MS = 4000

const silent = { info: () => undefined, warn: () => undefined }

async function main(suite: Suite): Promise<void> {
  await killService(suite, 'batched')
  await killService(suite, 'queue')
  await killEmbedded(suite)
  await killOwnServer(suite)
  await cutCommits(suite)
}

/** What one buyer was told about one key. */
type Deed = {
  key: string
  order: { lines: { sku: string; quantity: number }[] }
  /** 'held': an id was acknowledged. 'none': nothing was written. 'unknown': no answer, or one that says so. */
  state: 'held' | 'none' | 'unknown'
  id: string | undefined
  end: 'confirm' | 'release' | undefined
  ended: 'done' | 'none' | 'unknown' | undefined
}

/** Everything that happened since the load began, of all services that it met. */
class Load {
  readonly deeds: Deed[] = []
  readonly faults: Reply[] = []
  readonly odd: string[] = []
  #running = false
  #buyers: Promise<void>[] = []
  #client: Client
  static #keys = 0

  constructor(base: string) {
    this.#client = createClient(base, BUYERS)
  }

  /** Buyers go on until {@link pause}. */
  start(): void {
    this.#running = true
    this.#buyers = Array.from({ length: BUYERS }, async () => {
      while (this.#running) await this.#buy()
    })
  }

  async pause(): Promise<void> {
    this.#running = false
    await Promise.all(this.#buyers)
  }

  /** The service has started again, most likely on another port. */
  async moveTo(base: string): Promise<void> {
    await this.#client.close()
    this.#client = createClient(base, BUYERS)
  }

  close(): Promise<void> {
    return this.#client.close()
  }

  /** Every key and every end that is in doubt is sent again, and of those that failed surely every second one. */
  async retry(): Promise<number> {
    const again = this.deeds.filter(
      ({ state, ended }, i) => state === 'unknown' || ended === 'unknown' || (state === 'none' && i % 2 === 0),
    )
    await Promise.all(again.map((deed) => (deed.state === 'held' ? this.#end(deed) : this.#reserve(deed))))
    return again.length
  }

  async #buy(): Promise<void> {
    const lines = SKUS.filter(() => Math.random() < 0.4).map((sku) => ({
      sku,
      quantity: 1 + Math.floor(Math.random() * 2),
    }))
    if (lines.length === 0) return
    const dice = Math.random()
    const deed: Deed = {
      key: `deed-${++Load.#keys}`,
      order: { lines },
      state: 'none',
      id: undefined,
      end: dice < 0.5 ? 'confirm' : dice < 0.7 ? 'release' : undefined,
      ended: undefined,
    }
    this.deeds.push(deed)
    await this.#reserve(deed)
    if (deed.state === 'held' && deed.end !== undefined) await this.#end(deed)
    // Who is refused does not come back at once.
    if (deed.state !== 'held') await delay(80)
  }

  async #reserve(deed: Deed): Promise<void> {
    const reply = await this.#client.send('POST', '/v1/reservations', deed.order, { 'idempotency-key': deed.key })
    const told = this.#understand(reply, 201)
    if (told === 'done') {
      if (deed.id !== undefined && deed.id !== reply.body.id)
        this.odd.push(`${deed.key} made ${deed.id} and ${reply.body.id}`)
      deed.id = reply.body.id
      deed.state = 'held'
    } else if (deed.state !== 'held') {
      // Once in doubt it stays so until it is acknowledged: "none" speaks of that one try.
      deed.state = deed.state === 'unknown' ? 'unknown' : told
    }
  }

  async #end(deed: Deed): Promise<void> {
    const told = this.#understand(await this.#client.send('POST', `/v1/reservations/${deed.id}/${deed.end}`), 200)
    deed.ended = told === 'done' ? 'done' : deed.ended === 'unknown' ? 'unknown' : told
  }

  #understand(reply: Reply, good: number): 'done' | 'none' | 'unknown' {
    if (reply.status === good) return 'done'
    if (reply.status === 0) return 'unknown'
    this.faults.push(reply)
    const { outcome } = reply.body
    if (reply.status === 503 && (outcome === 'none' || outcome === 'unknown')) return outcome
    this.odd.push(`${reply.status} ${JSON.stringify(reply.body).slice(0, 200)}`)
    return 'unknown'
  }
}

async function killService(suite: Suite, strategy: string): Promise<void> {
  const { url, db } = await ownCluster(suite)
  const env = { DATABASE_URL: url, RESERVATION_STRATEGY: strategy }
  let service = await startService(env)
  const load = new Load(service.base)
  let retried = 0
  for (let kill = 0; kill < SERVICE_KILLS; kill++) {
    load.start()
    await delay(700 + Math.random() * 800)
    await service.kill()
    await load.pause()
    service = await startService(env)
    await load.moveTo(service.base)
    retried += await load.retry()
    await checkDeeds(db, load)
  }
  await finish(suite, `the service was killed (${strategy})`, { db, load, kills: SERVICE_KILLS, retried })
  checkErrors(suite, [service], { who: strategy })
  await service.stop()
}

/** The service brings PostgreSQL back itself. */
async function killEmbedded(suite: Suite): Promise<void> {
  const data_dir = makeDataDir()
  suite.onEnd(() => removeDataDir(data_dir))
  const service = await startService({ DATA_DIR: data_dir, EXPIRY_CRON: '* * * * * *' })
  const cluster = clusterIn(data_dir)
  const db = openPool(suite, urlOf(cluster, findPostmaster(cluster.dir)!.port))
  await stockUp(db)
  const load = new Load(service.base)
  const recovery_ms: number[] = []
  let retried = 0
  for (let kill = 0; kill < EMBEDDED_KILLS; kill++) {
    load.start()
    await delay(700 + Math.random() * 800)
    process.kill(findPostmaster(cluster.dir)!.pid, 'SIGKILL')
    const killed_at = Date.now()
    await served(service, db)
    recovery_ms.push(Date.now() - killed_at)
    await delay(300)
    await load.pause()
    retried += await load.retry()
    await checkDeeds(db, load)
  }
  const recovered = recovery_ms.every((ms) => ms < RECOVERY_MS_MAX)
  suite.checkInTime(
    'the service starts its PostgreSQL again and goes on',
    recovered,
    `${recovery_ms.map((ms) => `${(ms / 1000).toFixed(1)} s`).join(', ')} until the next reservation`,
  )
  checkFaults(suite, 'its PostgreSQL', load)
  await finish(suite, 'the embedded PostgreSQL was killed', { db, load, kills: EMBEDDED_KILLS, retried })
  suite.check('the service stops when it is told to', (await service.stop()) === 0)
}

/** Somebody else's PostgreSQL: killed, away for a while and started again; and single sessions of it ended. */
async function killOwnServer(suite: Suite): Promise<void> {
  const { url, db, cluster } = await ownCluster(suite)
  const service = await startService({ DATABASE_URL: url, EXPIRY_CRON: '* * * * * *' })
  const load = new Load(service.base)
  const readToEnd = followEvents(service)
  let retried = 0
  for (let outage = 0; outage < OUTAGES; outage++) {
    load.start()
    await delay(1000)
    process.kill(findPostmaster(cluster.dir)!.pid, 'SIGKILL')
    await delay(AWAY_MS)
    await ensureRunning(cluster)
    await served(service, db)
    await delay(300)
    await load.pause()
    retried += await load.retry()
    await checkDeeds(db, load)
  }
  const faults_away = load.faults.length
  const figures = `${faults_away} answers of ${BUYERS} buyers in ${OUTAGES} outages of ${AWAY_MS / 1000} s`
  suite.check('while it is away clients are answered', faults_away > 0, figures)
  suite.checkInTime(`more than ${FAULTS_MIN} are`, faults_away > FAULTS_MIN, figures)
  for (let kill = 0; kill < BACKEND_KILLS; kill++) {
    load.start()
    for (let i = 0; i < 6; i++) {
      await delay(100 + Math.random() * 150)
      await rows(
        db,
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE '% core'`,
      )
    }
    await load.pause()
    retried += await load.retry()
    await checkDeeds(db, load)
  }
  checkFaults(suite, 'a PostgreSQL', load)
  await checkEvents(suite, db, { who: 'a reader through all of it', events: await readToEnd() })
  await finish(suite, `PostgreSQL was killed, and sessions ended`, {
    db,
    load,
    kills: OUTAGES + BACKEND_KILLS,
    retried,
  })
  await service.stop()
}

/** The line breaks between COMMIT and its answer: it was written, and the service can't know. */
async function cutCommits(suite: Suite): Promise<void> {
  const { url, db } = await ownCluster(suite)
  const proxy = await startCuttingProxy(url)
  suite.onEnd(() => proxy.close())
  const service = await startService({ DATABASE_URL: proxy.url })
  const load = new Load(service.base)
  let retried = 0
  for (let round = 0; round < CUT_ROUNDS; round++) {
    proxy.cutEach(20)
    load.start()
    await delay(1500)
    await proxy.untilCut(round + 1)
    await load.pause()
    proxy.cutEach(0)
    retried += await load.retry()
    await checkDeeds(db, load)
  }
  const unknown = load.faults.filter(({ body }) => body.outcome === 'unknown').length
  const figures = `${proxy.count()} COMMITs cut, ${unknown} answers were unknown`
  suite.check('who was cut off at COMMIT is told that it is unknown', proxy.count() > 0 && unknown > 0, figures)
  await finish(suite, 'COMMITs were cut off', { db, load, kills: proxy.count(), retried })
  await service.stop()
}

async function ownCluster(suite: Suite): Promise<{ url: string; db: Knex; cluster: Cluster }> {
  const data_dir = makeDataDir()
  suite.onEnd(() => removeDataDir(data_dir))
  const cluster = clusterIn(data_dir)
  await initialise(cluster)
  const url = urlOf(cluster, await ensureRunning(cluster))
  suite.onEnd(() => stop(cluster))
  const db = openPool(suite, url)
  const { migrateToLatest } = await import('../../src/database/migrations.ts')
  await migrateToLatest(db, silent)
  await stockUp(db)
  return { url, db, cluster }
}

function clusterIn(data_dir: string): Cluster {
  const home = findHome(data_dir, silent)
  return { dir: `${home.dir}/cluster`, programs: findPrograms(home), account: home.account, durable: true }
}

function openPool(suite: Suite, url: string): Knex {
  const db = createPool({
    url,
    max: 4,
    acquire_timeout_ms: ACQUIRE_TIMEOUT_MS,
    lock_timeout_ms: 0,
    statement_timeout_ms: 0,
    application_name: 'suite',
  })
  suite.onEnd(() => db.destroy())
  return db
}

async function stockUp(db: Knex): Promise<void> {
  await setStock(
    db,
    SKUS.map((sku) => ({ sku, stock: 100_000_000 })),
  )
}

/** Waits until a reservation is made again, and the suite's own connections work too. @throws if that takes too long */
async function served(service: RunningService, db: Knex): Promise<void> {
  const until = Date.now() + RECOVERY_WAIT_MS_MAX
  for (; Date.now() < until; await delay(100)) {
    const reply = await service.send('POST', '/v1/reservations', { lines: [{ sku: SKUS[0], quantity: 1 }] })
    if (reply.status !== 201) continue
    for (; Date.now() < until; await delay(100)) {
      const answered = await db.raw('SELECT 1').then(
        () => true,
        () => false,
      )
      if (answered) return
    }
  }
  throw new Error(`the service did not go on within ${RECOVERY_WAIT_MS_MAX / 1000} s`)
}

/** Holds what clients were told against what is there now. */
async function checkDeeds(db: Knex, load: Load): Promise<void> {
  const stored = await rows<{ id: string; status: string; idempotency_key: string; rows_per_line: number }>(
    db,
    `WITH made AS (
       SELECT reservation_id AS id, count(*) AS ledger_rows FROM stock_ledger WHERE kind = 'reserve' GROUP BY reservation_id
     )
     SELECT r.id, r.status, r.idempotency_key, coalesce(m.ledger_rows, 0)::float / cardinality(r.skus) AS rows_per_line
     FROM reservations r LEFT JOIN made m USING (id) WHERE r.idempotency_key IS NOT NULL`,
  )
  const by_key = new Map(stored.map((row) => [row.idempotency_key, row]))
  if (by_key.size !== stored.length) load.odd.push('a key has two reservations')
  for (const deed of load.deeds) {
    const row = by_key.get(deed.key)
    if (deed.state === 'held' && row?.id !== deed.id)
      load.odd.push(`${deed.key} was acknowledged and is ${row ? 'another' : 'gone'}`)
    if (deed.state === 'none' && row !== undefined) load.odd.push(`${deed.key} was said not to be written and is there`)
    if (row !== undefined && row.rows_per_line !== 1)
      load.odd.push(`${deed.key} has ${row.rows_per_line} ledger rows per line`)
    const expected = deed.end === 'confirm' ? 'confirmed' : 'released'
    if (deed.ended === 'done' && row?.status !== expected)
      load.odd.push(`${deed.key} was ${expected} and is ${row?.status}`)
    if (deed.ended === 'none' && row?.status !== 'pending')
      load.odd.push(`${deed.key} was said to be as it was and is ${row?.status}`)
  }
}

function checkFaults(suite: Suite, what: string, load: Load): void {
  const took_ms = load.faults.map((reply) => reply.took_ms)
  const slow = load.faults.filter((reply) => reply.took_ms > ANSWER_MS_MAX)
  const unclear = load.faults.filter(({ status, body }) => status !== 503 || body.outcome === undefined)
  const unknown = load.faults.filter(({ body }) => body.outcome === 'unknown').length
  suite.check(
    `without ${what} every answer is a 503 that says what became of it`,
    unclear.length === 0,
    unclear.length
      ? reasons(unclear.map(({ status, body }) => `${status} ${body.code}`))
      : `${load.faults.length} answers, ${unknown} of them unknown`,
  )
  suite.checkInTime(
    `without ${what} every answer comes within 2 s`,
    slow.length === 0,
    `p50 ${Math.round(percentile(took_ms, 0.5))} ms, slowest ${Math.round(percentile(took_ms, 1))} ms`,
  )
}

async function finish(
  suite: Suite,
  when: string,
  { db, load, kills, retried }: { db: Knex; load: Load; kills: number; retried: number },
): Promise<void> {
  const held = load.deeds.filter(({ state }) => state === 'held').length
  const ended = load.deeds.filter((deed) => deed.ended === 'done').length
  const none = load.deeds.filter(({ state }) => state === 'none').length
  suite.check(
    `after ${when}: what was acknowledged is there, each key has one effect, and "none" is true`,
    load.odd.length === 0 && held > 0,
    load.odd.length
      ? reasons(load.odd)
      : `${kills} times, ${held} held, ${ended} ended, ${retried} retried, ${none} surely not written`,
  )
  suite.checkInTime(`enough buyers for this to mean something (${when})`, held > HELD_MIN, `${held} held`)
  await load.close()
  await checkVerify(suite, db, `after ${when}`)
}

await runSuite(main)
