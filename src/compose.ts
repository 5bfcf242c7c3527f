import type { Server } from 'node:http'
import type { Knex } from 'knex'
import type { Logger } from 'pino'
import { addToCart, readCart, removeFromCart, setInCart } from './carts/carts.ts'
import { changeProduct } from './catalog/change.ts'
import { createProduct } from './catalog/create.ts'
import { listProducts, readProduct } from './catalog/read.ts'
import type { Config } from './config.ts'
import { createCoupon, listCoupons, readCoupon } from './coupons/coupons.ts'
import { createCouponIssuer, type CouponIssuer } from './coupons/issue.ts'
import { readEntries } from './customers/account.ts'
import { chargeBalance } from './customers/charge.ts'
import { createCustomer, readCustomer } from './customers/customers.ts'
import { createPool } from './database/pool.ts'
import { createApp } from './http/app.ts'
import { createHttpServer } from './http/server.ts'
import { createAuthenticator } from './keys/authenticate.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { createReadinessCheck } from './operations/readiness.ts'
import { readStats, stalledAfterSeconds } from './operations/stats.ts'
import { createPositioner } from './outbox/positioner.ts'
import { readEvents } from './outbox/read.ts'
import { chainHooks, type OnClosed } from './reservations/hooks.ts'
import { createReservations, type Reservations } from './reservations/reservations.ts'
import { createSweeper, type Sweeper } from './reservations/sweeper.ts'
import { adjustStock } from './stock/adjust.ts'
import { createLevelReader, listLevels, readLevels } from './stock/levels.ts'
import { readLedger } from './stock/ledger.ts'
import { setStock } from './stock/set.ts'

/** The only place where rooms are wired together. */

/** Waiting for a lock longer than this is handed to a lane: see the batcher. */
const LOCK_TIMEOUT_MS = 250
/** No statement of the service runs longer; those of the command line may. */
const STATEMENT_TIMEOUT_MS = 5000

export type Service = {
  server: Server
  reservations: Reservations
  sweeper: Sweeper
  metrics: Metrics
  /** From now on /readyz says so, and new connections are not taken. */
  drain(): void
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
  const onClosed = chainHooks(options.hooks ?? [])
  const reservations = createReservations({
    core,
    reads: general,
    strategy: config.reservation_strategy,
    ttl_seconds: config.reservation_ttl_seconds,
    ttl_max_seconds: config.reservation_ttl_max_seconds,
    onClosed,
    metrics,
    log,
  })
  const sweeper = createSweeper({ db: core, onClosed, metrics, log, instance, isBusy: () => reservations.isBusy() })
  const positioner = createPositioner({ db: general, log })
  const issuer = createCouponIssuer({ db: general })
  const stalled_after_seconds = stalledAfterSeconds(config.expiry_cron)
  watch(metrics, { core, general }, reservations)
  metrics.watchExpiry(() => readStats(general, { stalled_after_seconds }))
  let draining = false
  const app = createApp({
    log,
    metrics: expose === undefined ? metrics : { ...metrics, text: expose(metrics) },
    authenticator: createAuthenticator({ db: general }),
    reservations: { reservations, ttl_max_seconds: config.reservation_ttl_max_seconds },
    stock: stockRoom(general),
    ...storefront(general, issuer),
    events: { readEvents: (page) => readEvents(general, page) },
    readStats: () => readStats(general, { stalled_after_seconds }),
    readiness: createReadinessCheck({ db: general, isDraining: () => draining, stalled_after_seconds }),
    isDraining: () => draining,
  })

  return {
    server: createHttpServer(app),
    reservations,
    sweeper,
    metrics,
    drain() {
      draining = true
    },
    start() {
      if (config.expiry_cron !== undefined) sweeper.start(config.expiry_cron)
      positioner.start()
    },
    async stop() {
      await Promise.all([sweeper.stop(), positioner.stop(), reservations.stop(), issuer.stop()])
      await Promise.all([core.destroy(), general.destroy()])
    },
  }
}

type AppDeps = Parameters<typeof createApp>[0]

function stockRoom(db: Knex): AppDeps['stock'] {
  const reader = createLevelReader(db)
  return {
    readLevel: (sku) => reader.read(sku),
    readLevels: (skus) => readLevels(db, skus),
    listLevels: (page) => listLevels(db, page),
    setStock: (items, options) => setStock(db, items, options),
    adjustStock: (request) => adjustStock(db, request),
    readLedger: (sku, page) => readLedger(db, sku, page),
  }
}

function storefront(db: Knex, issuer: CouponIssuer): Pick<AppDeps, 'catalog' | 'customers' | 'carts' | 'coupons'> {
  return {
    catalog: {
      createProduct: (request) => createProduct(db, request),
      changeProduct: (id, change) => changeProduct(db, id, change),
      listProducts: (page) => listProducts(db, page),
      readProduct: (id) => readProduct(db, id),
    },
    customers: {
      createCustomer: (request) => createCustomer(db, request),
      readCustomer: (id) => readCustomer(db, id),
      chargeBalance: (request) => chargeBalance(db, request),
      readEntries: (customer_id, page) => readEntries(db, customer_id, page),
    },
    carts: {
      addToCart: (request) => addToCart(db, request),
      setInCart: (line) => setInCart(db, line),
      removeFromCart: (line) => removeFromCart(db, line),
      readCart: (customer_id) => readCart(db, customer_id),
    },
    coupons: {
      createCoupon: (request) => createCoupon(db, request),
      readCoupon: (code) => readCoupon(db, code),
      listCoupons: (customer_id, page) => listCoupons(db, customer_id, page),
      issuer,
    },
  }
}

function watch(metrics: Metrics, pools: Record<string, Knex>, reservations: Reservations): void {
  metrics.watchQueue(() => reservations.queue())
  for (const [name, db] of Object.entries(pools)) {
    const pool = (db.client as { pool: { numUsed(): number; numFree(): number; numPendingAcquires(): number } }).pool
    metrics.watchPool(name, () => ({
      used: pool.numUsed(),
      free: pool.numFree(),
      pending: pool.numPendingAcquires(),
    }))
  }
}

/** The sweeper alone, for the command line: the same one, with the same hooks. */
export function composeSweeper(options: Pick<ComposeOptions, 'log' | 'instance' | 'hooks'> & { db: Knex }): Sweeper {
  const { db, log, instance, hooks = [] } = options
  return createSweeper({
    db,
    onClosed: chainHooks(hooks),
    metrics: createMetrics({ process_metrics: false }),
    log,
    instance,
  })
}
