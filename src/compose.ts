import type { Server } from 'node:http'
import type { Knex } from 'knex'
import type { Logger } from 'pino'
import type { Config } from './config.ts'
import { openShop, ownersOf, SHOP_HOOKS, type Shop } from './compose_storefront.ts'
import { latestCustomers } from './customers/customers.ts'
import { createPool } from './database/pool.ts'
import type { Result } from './errors.ts'
import { createApp } from './http/app.ts'
import { createHttpServer } from './http/server.ts'
import { createSessions } from './http/sessions.ts'
import { createAuthenticator } from './keys/authenticate.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { readClock } from './operations/clock.ts'
import { createReadinessCheck } from './operations/readiness.ts'
import { readStats, stalledAfterSeconds } from './operations/stats.ts'
import { createPositioner } from './outbox/positioner.ts'
import { readEvents } from './outbox/read.ts'
import { chainHooks, type OnClosed, type OnMoved } from './reservations/hooks.ts'
import { createReservations, type Reservations } from './reservations/reservations.ts'
import { createSweeper, type Sweeper } from './reservations/sweeper.ts'
import { adjustStock } from './stock/adjust.ts'
import { createLevelReader, listLevels, readLevels, type Level } from './stock/levels.ts'
import { readLedger } from './stock/ledger.ts'
import { setStock } from './stock/set.ts'
import { createWatch, type Watch } from './stock/watch.ts'

/** Where rooms are wired together; the storefront's part is in compose_storefront.ts. */

/** Waiting for a lock longer than this is handed to a lane: see the batcher. */
const LOCK_TIMEOUT_MS = 250
/** No statement of the service runs longer; those of the command line may. */
const STATEMENT_TIMEOUT_MS = 5000

export type Service = {
  server: Server
  reservations: Reservations
  sweeper: Sweeper
  metrics: Metrics
  shop: Shop
  /** From now on /readyz says so, and new connections are not taken. */
  drain(): void
  /**
   * Connects what the strategy needs, before the server listens.
   *
   * @throws CannotStart in words for whoever starts the service
   */
  open(): Promise<void>
  /** Starts what runs by itself: the sweeper and the numbering of events. */
  start(): void
  /** Ends everything in reverse; what was taken is answered first. */
  stop(): Promise<void>
}

export type ComposeOptions = {
  config: Config
  url: string
  log: Logger
  /** What this process is called in the database. */
  instance: string
  /** Called in the transaction that closes reservations: see {@link OnClosed}. */
  hooks?: readonly OnClosed[]
  /** What /metrics answers instead of this process's own: given its metrics, where it shares a port with others. */
  expose?: (own: Metrics) => () => Promise<string>
}

/** How many connections go to the core; the rest serve reads, stock writes and readers of events. */
export function splitPool(pool_max: number): { core: number; general: number } {
  const general = Math.max(2, Math.floor(pool_max * 0.4))
  return { core: pool_max - general, general }
}

/** Builds the service on a database that is there. Nothing runs by itself until `start`. */
export function compose(options: ComposeOptions): Service {
  const { config, url, log, instance, expose } = options
  const sizes = splitPool(config.database_pool_max)
  const limits = { lock_timeout_ms: LOCK_TIMEOUT_MS, statement_timeout_ms: STATEMENT_TIMEOUT_MS }
  // Two pools: a flood of reads must not keep the batch waiting for a connection.
  const core = createPool({ ...limits, url, max: sizes.core, application_name: `${instance} core` })
  const general = createPool({ ...limits, url, max: sizes.general, application_name: `${instance} general` })
  const metrics = createMetrics()
  const onClosed = chainHooks([...SHOP_HOOKS, ...(options.hooks ?? [])])
  const reservations = createReservations({
    core,
    reads: general,
    strategy: config.reservation_strategy,
    fallback: config.reservation_fallback,
    settings: { ...config.strategies, database_url: url },
    ttl_seconds: config.reservation_ttl_seconds,
    ttl_max_seconds: config.reservation_ttl_max_seconds,
    onClosed,
    metrics,
    log,
  })
  const { noteMoved, isBusy } = reservations
  const sweeper = createSweeper({ db: core, onClosed, onMoved: noteMoved, metrics, log, instance, isBusy })
  const positioner = createPositioner({ db: general, log })
  // One connection is left to those who only read.
  const shop = openShop({ config, db: general, at_once_max: sizes.general - 1, reservations, log })
  const stalled_after_seconds = stalledAfterSeconds(config.expiry_cron)
  watchGauges(metrics, { core, general }, reservations)
  metrics.watchExpiry(() => readStats(general, { stalled_after_seconds }))
  const watch = createWatch({ db: general, log })
  let draining = false
  const app = createApp({
    log,
    metrics: expose === undefined ? metrics : { ...metrics, text: expose(metrics) },
    authenticator: createAuthenticator({ db: general }),
    reservations: { reservations, ttl_max_seconds: config.reservation_ttl_max_seconds },
    stock: stockRoom(general, { noteMoved, watch }),
    ...shop.routes,
    events: { readEvents: (page) => readEvents(general, page) },
    pages: pagesRoom(general, config),
    readStats: () => readStats(general, { stalled_after_seconds }),
    readiness: createReadinessCheck({ db: general, isDraining: () => draining, stalled_after_seconds }),
    isDraining: () => draining,
  })

  return {
    server: createHttpServer(app),
    reservations,
    sweeper,
    metrics,
    shop,
    drain() {
      draining = true
      // Streams never end by themselves, and would keep the server from closing.
      watch.stop().catch((error: unknown) => log.error({ err: error }, 'watching stock did not end well'))
    },
    open: () => reservations.start(),
    start() {
      if (config.expiry_cron !== undefined) sweeper.start(config.expiry_cron)
      positioner.start()
      shop.start()
    },
    async stop() {
      // What the shop has begun may still need the core.
      await Promise.all([sweeper.stop(), positioner.stop(), watch.stop(), shop.stop()])
      await reservations.stop()
      await Promise.all([core.destroy(), general.destroy()])
    },
  }
}

type AppDeps = Parameters<typeof createApp>[0]

function pagesRoom(db: Knex, config: Config): AppDeps['pages'] {
  return {
    sessions: createSessions({ secret: config.session_secret }),
    demo_login: config.shop_demo_login,
    currency: config.currency,
    latestCustomers: (limit) => latestCustomers(db, limit),
    readClock: () => readClock(db),
    ...ownersOf(db),
  }
}

function stockRoom(db: Knex, { noteMoved, watch }: { noteMoved: OnMoved; watch: Watch }): AppDeps['stock'] {
  const reader = createLevelReader(db)
  const told = <T extends { levels: Level[] }>(result: Result<T>): Result<T> => {
    if (result.ok) {
      noteMoved(
        result.value.levels.map(({ sku, seq, stock, temp_reserved_stock }) => ({
          sku,
          seq,
          stock_after: stock,
          reserved_after: temp_reserved_stock,
        })),
      )
    }
    return result
  }
  return {
    readLevel: (sku) => reader.read(sku),
    readLevels: (skus) => readLevels(db, skus),
    listLevels: (page) => listLevels(db, page),
    setStock: async (items, options) => told(await setStock(db, items, options)),
    adjustStock: async (request) => told(await adjustStock(db, request)),
    readLedger: (sku, page) => readLedger(db, sku, page),
    watch: (watcher) => watch.join(watcher),
  }
}

function watchGauges(metrics: Metrics, pools: Record<string, Knex>, reservations: Reservations): void {
  metrics.watchQueue(() => reservations.queue())
  for (const [name, db] of Object.entries(pools)) watchPool(metrics, name, db)
}

type Pool = {
  numUsed(): number
  numFree(): number
  numPendingAcquires(): number
  on(event: 'acquireSuccess', listener: () => void): void
}

/** Shows a pool's use in the metrics, also that of a pool which something else than the service brings along. */
export function watchPool(metrics: Metrics, name: string, db: Knex): void {
  const { pool } = db.client as { pool: Pool }
  const acquired = metrics.watchPool(name, () => ({
    used: pool.numUsed(),
    free: pool.numFree(),
    pending: pool.numPendingAcquires(),
  }))
  pool.on('acquireSuccess', () => acquired(pool.numUsed()))
}

/** The sweeper alone, for the command line: the same one, with the same hooks. */
export function composeSweeper(options: Pick<ComposeOptions, 'log' | 'instance' | 'hooks'> & { db: Knex }): Sweeper {
  const { db, log, instance, hooks = [] } = options
  return createSweeper({
    db,
    onClosed: chainHooks([...SHOP_HOOKS, ...hooks]),
    metrics: createMetrics({ process_metrics: false }),
    log,
    instance,
  })
}
