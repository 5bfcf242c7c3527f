import type { Server } from 'node:http'
import type { Knex } from 'knex'
import type { Logger } from 'pino'
import { addToCart, readCart, removeFromCart, setInCart } from './carts/carts.ts'
import { changeProduct } from './catalog/change.ts'
import { createProduct } from './catalog/create.ts'
import { listProducts, readProduct } from './catalog/read.ts'
import type { Config, GatewayConfig } from './config.ts'
import { createCoupon, listCoupons, readCoupon } from './coupons/coupons.ts'
import { createCouponIssuer, type CouponIssuer } from './coupons/issue.ts'
import { readEntries } from './customers/account.ts'
import { chargeBalance } from './customers/charge.ts'
import { createCustomer, latestCustomers, readCustomer } from './customers/customers.ts'
import { gathered } from './database/gather.ts'
import { createPool } from './database/pool.ts'
import type { Result } from './errors.ts'
import { reading } from './database/transaction.ts'
import { createTurns, type Turns } from './database/turns.ts'
import { createApp } from './http/app.ts'
import { createHttpServer } from './http/server.ts'
import { createSessions } from './http/sessions.ts'
import type { Owners } from './http/visitors.ts'
import { createAuthenticator } from './keys/authenticate.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { readClock } from './operations/clock.ts'
import { createReadinessCheck } from './operations/readiness.ts'
import { readStats, stalledAfterSeconds } from './operations/stats.ts'
import { cancelOrder } from './orders/cancel.ts'
import { createOrder } from './orders/create.ts'
import { followHolds } from './orders/follow.ts'
import { listOrders, readOrder } from './orders/read.ts'
import { createTransact } from './orders/transact.ts'
import { createPositioner } from './outbox/positioner.ts'
import { readEvents } from './outbox/read.ts'
import { createDevelopmentGateway, type DevelopmentGateway } from './payments/development/gateway.ts'
import type { Gateway, WebhookRequest } from './payments/gateway.ts'
import { guardGateway } from './payments/guard.ts'
import { ORDER_PAYMENTS } from './payments/open.ts'
import { payOrder } from './payments/pay.ts'
import { createPursuer } from './payments/pursue.ts'
import { selectPayment } from './payments/queries.ts'
import { refundOrder } from './payments/refund.ts'
import { createStripeGateway } from './payments/stripe.ts'
import { receiveWebhook } from './payments/webhooks.ts'
import { chainHooks, type OnClosed, type OnMoved } from './reservations/hooks.ts'
import { createReservations, type Reservations } from './reservations/reservations.ts'
import { createSweeper, type Sweeper } from './reservations/sweeper.ts'
import { addUpSales } from './sales/add_up.ts'
import { readPopular } from './sales/popular.ts'
import { startJob, type Job } from './schedule.ts'
import { adjustStock } from './stock/adjust.ts'
import { createLevelReader, listLevels, readLevels, type Level } from './stock/levels.ts'
import { readLedger } from './stock/ledger.ts'
import { setStock } from './stock/set.ts'
import { createWatch, type Watch } from './stock/watch.ts'

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
  const issuer = createCouponIssuer({ db: general })
  // One connection is left to those who only read.
  const turns = createTurns({ at_once_max: sizes.general - 1 })
  const shop = openShop({ config, db: general, turns, reservations, log })
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
    ...storefront({ db: general, issuer, turns }),
    ...shop.routes,
    events: { readEvents: (page) => readEvents(general, page) },
    pages: {
      sessions: createSessions({ secret: config.session_secret }),
      demo_login: config.shop_demo_login,
      currency: config.currency,
      latestCustomers: (limit) => latestCustomers(general, limit),
      readClock: () => readClock(general),
      ...ownersOf(general),
    },
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
      await Promise.all([sweeper.stop(), positioner.stop(), watch.stop(), issuer.stop(), shop.stop()])
      await turns.stop()
      await reservations.stop()
      await Promise.all([core.destroy(), general.destroy()])
    },
  }
}

type AppDeps = Parameters<typeof createApp>[0]

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

function storefront(deps: {
  db: Knex
  issuer: CouponIssuer
  turns: Turns
}): Pick<AppDeps, 'catalog' | 'customers' | 'carts' | 'coupons'> {
  const { db, issuer, turns } = deps
  const inTurn = async <T>(work: () => Promise<Result<T>>): Promise<Result<T>> => {
    const turn = await turns.run(work)
    return turn.ok ? turn.value : turn
  }
  const hasRoom = () => turns.hasRoom()
  return {
    catalog: {
      createProduct: (request) => inTurn(() => createProduct(db, request)),
      changeProduct: (id, change) => inTurn(() => changeProduct(db, id, change)),
      // What a sale's visitors all look at.
      listProducts: gathered((page) => listProducts(db, page), JSON.stringify),
      readProduct: gathered((id) => readProduct(db, id), String),
    },
    customers: {
      createCustomer: (request) => inTurn(() => createCustomer(db, request)),
      readCustomer: (id) => readCustomer(db, id),
      chargeBalance: (request) => inTurn(() => chargeBalance(db, request)),
      readEntries: (customer_id, page) => readEntries(db, customer_id, page),
      hasRoom,
    },
    carts: {
      addToCart: (request) => inTurn(() => addToCart(db, request)),
      setInCart: (line) => inTurn(() => setInCart(db, line)),
      removeFromCart: (line) => inTurn(() => removeFromCart(db, line)),
      readCart: (customer_id) => readCart(db, customer_id),
      hasRoom,
    },
    coupons: {
      createCoupon: (request) => inTurn(() => createCoupon(db, request)),
      readCoupon: (code) => readCoupon(db, code),
      listCoupons: (customer_id, page) => listCoupons(db, customer_id, page),
      issuer,
    },
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

/** What follows holds, in every process that ends some. */
const SHOP_HOOKS: readonly OnClosed[] = [followHolds(ORDER_PAYMENTS)]

/** Orders, payments and sales, with what runs by itself for them. */
export type Shop = {
  routes: Pick<AppDeps, 'orders' | 'payments' | 'sales' | 'development_gateway'>
  /** Looks after what is owed to the gateway, now; how much that was. */
  pursueDue(): Promise<number>
  /** Adds sales up, now; how many. */
  addUpSales(): Promise<number>
  start(): void
  stop(): Promise<void>
}

function openShop(options: {
  config: Config
  /** Connections that the core does not need to answer the transactions which are open on them. */
  db: Knex
  turns: Turns
  reservations: Reservations
  log: Logger
}): Shop {
  const { config, db, turns, reservations, log } = options
  const transact = createTransact({ db, turns })
  const receive = (gateway_name: string, request: WebhookRequest) => receiveWebhook(paying, gateway_name, request)
  const { gateway, development } = openGateway(config.gateway, { db, log, receive })
  const settling = { transact, reservations, payments: ORDER_PAYMENTS }
  const pursuer = createPursuer({ ...settling, db, gateway, log })
  const paying = { ...settling, db, gateway, pursue: (id: string) => pursuer.payment(id) }
  const hasRoom = () => turns.hasRoom()
  const jobs: Job[] = []

  return {
    routes: {
      orders: {
        createOrder: (request) =>
          createOrder({ transact, reservations, payments: ORDER_PAYMENTS, currency: config.currency }, request),
        async cancelOrder(id) {
          const cancelled = await cancelOrder({ transact, reservations }, id)
          if (cancelled.ok) pursuer.paymentsOf(id)
          return cancelled
        },
        readOrder: (id) => readOrder(db, id),
        listOrders: (page) => listOrders(db, page),
        hasRoom,
      },
      payments: {
        payOrder: (request) => payOrder(paying, request),
        refundOrder: (request) => refundOrder({ transact, pursueRefund: (id) => pursuer.refund(id) }, request),
        readPayment: (id) => reading(() => selectPayment(db, id)),
        receiveWebhook: receive,
        hasRoom,
      },
      sales: { readPopular: (asked) => readPopular(db, config.shop_time_zone, asked) },
      development_gateway: development,
    },
    pursueDue: () => pursuer.run(),
    addUpSales: () => addUpSales(db, config.shop_time_zone),
    start() {
      development?.start()
      const { payments_cron, sales_cron } = config
      if (payments_cron !== undefined) {
        jobs.push(startJob({ cron: payments_cron, name: 'payments', log }, () => pursuer.run()))
      }
      if (sales_cron !== undefined) {
        jobs.push(startJob({ cron: sales_cron, name: 'sales', log }, () => addUpSales(db, config.shop_time_zone)))
      }
    },
    async stop() {
      await Promise.all([...jobs.map((job) => job.stop()), development?.stop()])
      await pursuer.stop()
    },
  }
}

function openGateway(
  config: GatewayConfig | undefined,
  deps: {
    db: Knex
    log: Logger
    receive: (gateway_name: string, request: WebhookRequest) => ReturnType<typeof receiveWebhook>
  },
): { gateway: Gateway | undefined; development: DevelopmentGateway | undefined } {
  if (config === undefined) return { gateway: undefined, development: undefined }
  if (config.name === 'stripe') return { gateway: guardGateway(createStripeGateway(config)), development: undefined }
  const { db, log } = deps
  const development = createDevelopmentGateway({
    db,
    log,
    secret: config.secret,
    receive: async (request) => (await deps.receive(config.name, request)).ok,
  })
  return { gateway: guardGateway(development.gateway), development }
}

/** Whose an order or a payment is. @see keepToOwn */
function ownersOf(db: Knex): Owners {
  const customerOfOrder = async (id: string) => (await readOrder(db, id.toLowerCase()))?.customer_id
  return {
    customerOfOrder,
    async customerOfPayment(id) {
      const payment = await reading(() => selectPayment(db, id))
      return payment && customerOfOrder(payment.order_id)
    },
  }
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
