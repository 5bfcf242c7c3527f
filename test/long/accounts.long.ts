import { setTimeout as delay } from 'node:timers/promises'
import type { Knex } from 'knex'
import { createCoupon } from '../../src/coupons/coupons.ts'
import { rows } from '../../src/database/transaction.ts'
import { manyCustomers, must } from '../factories.ts'
import { checkVerify } from './audit.ts'
import { startCuttingProxy } from './cutting_proxy.ts'
import { openDatabase, openServer } from './database.ts'
import { checkErrors, startService, type Reply, type RunningService } from './service.ts'
import { reasons, runSuite, type Suite } from './suite.ts'

/**
 * Balances are charged and coupons are given out through two processes that are killed again and again, and over
 * connections that break at COMMIT. Whoever got no answer asks again under the same key: everything has happened once.
 */

const KILLS = 6
const CUT_ROUNDS = 4
const CLERKS = 30
const CUSTOMERS = 20
const COUPONS = 400
const COUPON_QUANTITY = 8
const ROUND_MS = 900

async function main(suite: Suite): Promise<void> {
  const server = await openServer(suite)
  const killed = await openDatabase(suite, server)
  await killProcesses(suite, killed.url, killed.db)
  const cut = await openDatabase(suite, server)
  await cutCommits(suite, cut.url, cut.db)
}

/** What was asked for under one key, and what was said to it at last. */
type Deed = {
  key: string
  path: string
  body: { amount: number } | { customer_id: string }
  said: Reply | undefined
}

/** Clerks who charge accounts and give coupons to customers, and what came of it. */
class Desk {
  readonly deeds: Deed[] = []
  readonly odd: string[] = []
  retried = 0
  unknown = 0
  readonly #customers: string[]
  #running = false
  #clerks: Promise<void>[] = []

  constructor(customers: string[]) {
    this.#customers = customers
  }

  /** @param services asked in turn */
  start(services: readonly RunningService[]): void {
    this.#running = true
    this.#clerks = Array.from({ length: CLERKS }, async (_, clerk) => {
      while (this.#running) {
        const deed = this.#nextDeed()
        this.deeds.push(deed)
        await this.#send(deed, services[clerk % services.length]!)
        if (deed.said === undefined) await delay(20)
      }
    })
  }

  async pause(): Promise<void> {
    this.#running = false
    await Promise.all(this.#clerks)
  }

  /** Whoever got no answer asks again until there is one, and every tenth of the others asks again too. */
  async retry(services: readonly RunningService[]): Promise<void> {
    const again = this.deeds.filter(({ said }, i) => said === undefined || i % 10 === 0)
    this.retried += again.length
    const lines = Array.from({ length: CLERKS }, (_, clerk) => again.filter((__, i) => i % CLERKS === clerk))
    await Promise.all(
      lines.map(async (line, clerk) => {
        for (const deed of line) {
          for (let tries = 0; tries === 0 || (deed.said === undefined && tries < 20); tries++) {
            await this.#send(deed, services[(clerk + tries) % services.length]!)
          }
          if (deed.said === undefined) this.odd.push(`${deed.key} never got an answer`)
        }
      }),
    )
  }

  #nextDeed(): Deed {
    const key = `deed ${this.deeds.length}`
    const customer = this.#customers[Math.floor(Math.random() * this.#customers.length)]!
    if (Math.random() < 0.5) {
      const body = { amount: 1 + Math.floor(Math.random() * 999) }
      return { key, path: `/v1/customers/${customer}/charges`, body, said: undefined }
    }
    const coupon = Math.floor(Math.random() * COUPONS)
    return { key, path: `/v1/coupons/C-${coupon}/issues`, body: { customer_id: customer }, said: undefined }
  }

  async #send(deed: Deed, service: RunningService): Promise<void> {
    const reply = await service.send('POST', deed.path, deed.body, { 'idempotency-key': deed.key })
    const { status, body } = reply
    if (status === 0 || status === 503) {
      if (body.outcome === 'unknown') this.unknown += 1
      return
    }
    const may_be = status === 201 || body.code === 'coupon_exhausted' || body.code === 'coupon_already_issued'
    if (!may_be) this.odd.push(`${deed.key}: ${status} ${JSON.stringify(body).slice(0, 200)}`)
    const before = deed.said
    if (before !== undefined && textOf(before) !== textOf(reply)) {
      this.odd.push(`${deed.key} was told ${textOf(before)}, then ${textOf(reply)}`)
    }
    deed.said = reply
  }
}

/** What an answer says; a refusal's request has an id of its own. */
function textOf({ status, body }: Reply): string {
  return JSON.stringify([status, status === 201 ? body : body.code])
}

async function killProcesses(suite: Suite, url: string, db: Knex): Promise<void> {
  const env = { DATABASE_URL: url, EXPIRY_CRON: 'off' }
  const services = await Promise.all([startService(env), startService(env)])
  const desk = new Desk(await openShop(db))
  for (let kill = 0; kill < KILLS; kill++) {
    desk.start(services)
    await delay(ROUND_MS * (0.5 + Math.random()))
    await services[kill % 2]!.kill()
    await delay(100)
    await desk.pause()
    services[kill % 2] = await startService(env)
    await desk.retry(services)
  }
  checkErrors(suite, services)
  await finish(suite, db, desk, `${KILLS} kills of one of two processes`)
  await Promise.all(services.map((service) => service.stop()))
}

async function cutCommits(suite: Suite, url: string, db: Knex): Promise<void> {
  const proxy = await startCuttingProxy(url)
  suite.onEnd(() => proxy.close())
  const service = await startService({ DATABASE_URL: proxy.url, EXPIRY_CRON: 'off' })
  const desk = new Desk(await openShop(db))
  for (let round = 0; round < CUT_ROUNDS; round++) {
    proxy.cutEach(33)
    desk.start([service])
    await delay(ROUND_MS)
    await proxy.untilCut(round + 1)
    await desk.pause()
    proxy.cutEach(0)
    await desk.retry([service])
  }
  suite.check(
    'who was cut off at COMMIT is told that it is unknown',
    proxy.count() > 0 && desk.unknown > 0,
    `${proxy.count()} COMMITs cut, ${desk.unknown} answers were unknown`,
  )
  await finish(suite, db, desk, `${proxy.count()} COMMITs that were cut`)
  await service.stop()
}

async function openShop(db: Knex): Promise<string[]> {
  for (let i = 0; i < COUPONS; i++) {
    must(await createCoupon(db, { code: `C-${i}`, discount: { percent: 10 }, quantity: COUPON_QUANTITY, client: '' }))
  }
  return manyCustomers(db, CUSTOMERS)
}

async function finish(suite: Suite, db: Knex, desk: Desk, after: string): Promise<void> {
  const wrong = [...desk.odd, ...(await findWrongBalances(db, desk)), ...(await findWrongCoupons(db, desk))]
  const charged = desk.deeds.filter(({ path, said }) => path.endsWith('/charges') && said?.status === 201).length
  const given = desk.deeds.filter(({ path, said }) => path.endsWith('/issues') && said?.status === 201).length
  suite.check(
    `after ${after} each key has one effect and one answer`,
    wrong.length === 0 && charged > 0 && given > 0,
    wrong.length > 0 ? reasons(wrong) : `${charged} charges, ${given} coupons, ${desk.retried} asked again`,
  )
  suite.checkInTime(
    `enough charges and coupons for this to mean something (${after})`,
    charged > 100 && given > 100,
    `${charged} and ${given}`,
  )
  await checkVerify(suite, db, `after ${after}`)
}

/** Every balance against the charges that were acknowledged: all of them have been, by now. */
async function findWrongBalances(db: Knex, { deeds }: Desk): Promise<string[]> {
  const expected = new Map<string, number>()
  for (const { path, body, said } of deeds) {
    const customer = /^\/v1\/customers\/(.+)\/charges$/.exec(path)?.[1]
    if (customer === undefined || said?.status !== 201 || !('amount' in body)) continue
    expected.set(customer, (expected.get(customer) ?? 0) + body.amount)
  }
  const found = await rows<{ id: string; balance: number }>(db, 'SELECT id, balance FROM customers')
  return found.flatMap(({ id, balance }) =>
    balance === (expected.get(id) ?? 0) ? [] : [`${id} has ${balance}, was charged ${expected.get(id) ?? 0}`],
  )
}

/** Every coupon against whom it was acknowledged to. */
async function findWrongCoupons(db: Knex, { deeds }: Desk): Promise<string[]> {
  const acknowledged = new Set(
    deeds.flatMap(({ path, said }) =>
      path.endsWith('/issues') && said?.status === 201
        ? [`${String(said.body.code)} ${String(said.body.number)} ${String(said.body.customer_id)}`]
        : [],
    ),
  )
  const found = await rows<{ issue: string }>(
    db,
    `SELECT format('%s %s %s', code, number, customer_id) AS issue FROM coupon_issues`,
  )
  const stored = new Set(found.map(({ issue }) => issue))
  return [
    ...[...acknowledged].filter((issue) => !stored.has(issue)).map((issue) => `${issue} was given and is gone`),
    ...[...stored].filter((issue) => !acknowledged.has(issue)).map((issue) => `${issue} was given to nobody`),
  ]
}

await runSuite(main)
