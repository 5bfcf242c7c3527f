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
import { createCustomer, readCustomer } from './customers/customers.ts'
import { gathered } from './database/gather.ts'
import { reading } from './database/transaction.ts'
import { createTurns, type Turns } from './database/turns.ts'
import type { Result } from './errors.ts'
import type { createApp } from './http/app.ts'
import type { Owners } from './http/visitors.ts'
import { cancelOrder } from './orders/cancel.ts'
import { createOrder } from './orders/create.ts'
import { followHolds } from './orders/follow.ts'
import { listOrders, readOrder } from './orders/read.ts'
import { createTransact } from './orders/transact.ts'
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
import type { OnClosed } from './reservations/hooks.ts'
import type { Reservations } from './reservations/reservations.ts'
import { addUpSales } from './sales/add_up.ts'
import { readPopular } from './sales/popular.ts'
import { startJob, type Job } from './schedule.ts'

/** The storefront's part of what compose.ts wires. */

type AppDeps = Parameters<typeof createApp>[0]

/** Changes of the shop at work or waiting; those of a thousand checkouts at once, three times over. */
const CHANGES_MAX = 4000

/** The rooms in which nothing runs by itself; what changes their rows takes a turn at the pool. */
function goodsRooms(deps: {
  db: Knex
  issuer: CouponIssuer
  turns: Turns
}): Pick<AppDeps, 'catalog' | 'customers' | 'carts' | 'coupons'> {
  const { db, issuer, turns } = deps
  const inTurn = <T>(work: () => Promise<Result<T>>) => turns.take(work)
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

/** What follows holds, in every process that ends some. */
export const SHOP_HOOKS: readonly OnClosed[] = [followHolds(ORDER_PAYMENTS)]

/** Orders, payments and sales, with what runs by itself for them. */
export type Shop = {
  routes: Pick<
    AppDeps,
    'catalog' | 'customers' | 'carts' | 'coupons' | 'orders' | 'payments' | 'sales' | 'development_gateway'
  >
  /** Looks after what is owed to the gateway, now; how much that was. */
  pursueDue(): Promise<number>
  /** Adds sales up, now; how many. */
  addUpSales(): Promise<number>
  start(): void
  stop(): Promise<void>
}

/** Builds the storefront. Nothing runs by itself until `start`. */
export function openShop(options: {
  config: Config
  /** Connections that the core does not need to answer the transactions which are open on them. */
  db: Knex
  /** How many of them changes may hold at once; the rest is left to those who only read, and to the lines for coupons. */
  at_once_max: number
  reservations: Reservations
  log: Logger
}): Shop {
  const { config, db, at_once_max, reservations, log } = options
  const turns = createTurns({ at_once_max, length_max: CHANGES_MAX })
  const issuer = createCouponIssuer({ db })
  const transact = createTransact({ db, turns })
  const receive = (gateway_name: string, request: WebhookRequest) => receiveWebhook(paying, gateway_name, request)
  const { gateway, development } = openGateway(config.gateway, { db, log, receive })
  const settling = { transact, reservations, payments: ORDER_PAYMENTS }
  const pursuer = createPursuer({ ...settling, db, gateway, log })
  const paying = { ...settling, db, gateway, pursue: (id: string) => pursuer.payment(id) }
  const hasRoom = () => turns.hasRoom()
  const addUp = () => addUpSales(db, config.shop_time_zone)
  const jobs: Job[] = []
  const runs = (name: string, cron: string | undefined, work: () => Promise<number>) => {
    if (cron !== undefined) jobs.push(startJob({ cron, name, log }, work))
  }

  return {
    routes: {
      ...goodsRooms({ db, issuer, turns }),
      orders: {
        createOrder: (request) => createOrder({ ...settling, currency: config.currency }, request),
        async cancelOrder(id) {
          const cancelled = await cancelOrder(settling, id)
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
      // Every visitor's page asks for it, and the days of a large shop are much to add up.
      sales: { readPopular: gathered((asked) => readPopular(db, config.shop_time_zone, asked), JSON.stringify) },
      development_gateway: development,
    },
    pursueDue: () => pursuer.run(),
    addUpSales: addUp,
    start() {
      development?.start()
      runs('payments', config.payments_cron, () => pursuer.run())
      runs('sales', config.sales_cron, addUp)
    },
    async stop() {
      await Promise.all([...jobs.map((job) => job.stop()), development?.stop(), issuer.stop()])
      await pursuer.stop()
      await turns.stop()
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
export function ownersOf(db: Knex): Owners {
  const customerOfOrder = async (id: string) => (await readOrder(db, id.toLowerCase()))?.customer_id
  return {
    customerOfOrder,
    async customerOfPayment(id) {
      const payment = await reading(() => selectPayment(db, id))
      return payment && customerOfOrder(payment.order_id)
    },
  }
}
