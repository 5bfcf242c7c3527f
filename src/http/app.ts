import Koa, { type Context } from 'koa'
import type { Logger } from 'pino'
import { cartRoutes, type CartRoutesDeps } from '../carts/routes.ts'
import { catalogRoutes, type CatalogRoutesDeps } from '../catalog/routes.ts'
import { couponRoutes, type CouponRoutesDeps } from '../coupons/routes.ts'
import { customerRoutes, type CustomerRoutesDeps } from '../customers/routes.ts'
import type { Authenticator } from '../keys/authenticate.ts'
import type { Metrics } from '../metrics.ts'
import { operationRoutes } from '../operations/routes.ts'
import type { Readiness } from '../operations/readiness.ts'
import type { Stats } from '../operations/stats.ts'
import { eventRoutes, type EventRoutesDeps } from '../outbox/routes.ts'
import { orderRoutes, type OrderRoutesDeps } from '../orders/routes.ts'
import type { DevelopmentGateway } from '../payments/development/gateway.ts'
import { developmentGatewayRouter } from '../payments/development/routes.ts'
import { paymentRoutes, type PaymentRoutesDeps } from '../payments/routes.ts'
import { reservationRoutes, type ReservationRoutesDeps } from '../reservations/routes.ts'
import { salesRoutes, type SalesRoutesDeps } from '../sales/routes.ts'
import { stockRoutes, type StockRoutesDeps } from '../stock/routes.ts'
import { docsRouter } from './docs.ts'
import { createEventStreams } from './event_stream.ts'
import { healthRoutes } from './health.ts'
import { createAuthorizer } from './middleware/authorize.ts'
import { doors } from './middleware/doors.ts'
import { draining } from './middleware/draining.ts'
import { observe } from './middleware/observe.ts'
import { requireHost } from './middleware/require_host.ts'
import { unmatched } from './middleware/unmatched.ts'
import { openApiDocument } from './openapi.ts'
import type { Route } from './route.ts'
import { pagesRouter } from './pages.ts'
import { createRouter } from './router.ts'
import { sessionRoutes, type SessionRoutesDeps } from './session_routes.ts'
import { createVisitors, type Owners } from './visitors.ts'

/** What the HTTP side needs from the rooms. */
export type AppDeps = {
  log: Logger
  metrics: Metrics
  authenticator: Authenticator
  stock: StockRoutesDeps
  reservations: ReservationRoutesDeps
  catalog: CatalogRoutesDeps
  customers: CustomerRoutesDeps
  carts: CartRoutesDeps
  coupons: CouponRoutesDeps
  orders: OrderRoutesDeps
  payments: PaymentRoutesDeps
  sales: SalesRoutesDeps
  /** The development gateway's pages; undefined where another gateway or none is set up. */
  development_gateway: DevelopmentGateway | undefined
  events: EventRoutesDeps
  pages: PagesDeps
  readStats: () => Promise<Stats>
  readiness: () => Promise<Readiness>
  /** True from the moment on that the service stops. */
  isDraining: () => boolean
}

/** What the shop and the console need besides. */
export type PagesDeps = Pick<
  SessionRoutesDeps,
  'sessions' | 'demo_login' | 'currency' | 'latestCustomers' | 'readClock'
> &
  Owners & {
    /** The folder of built pages; the build's own unless a test names another. */
    root?: string
  }

/** Every route that the document describes, in the document's order. */
export function apiRoutes(
  deps: Omit<AppDeps, 'log' | 'authenticator' | 'pages' | 'isDraining' | 'development_gateway'>,
): Route[] {
  return [
    ...reservationRoutes(deps.reservations),
    ...stockRoutes(deps.stock),
    ...salesRoutes(deps.sales),
    ...catalogRoutes(deps.catalog),
    ...customerRoutes(deps.customers),
    ...cartRoutes(deps.carts),
    ...couponRoutes(deps.coupons),
    ...orderRoutes(deps.orders),
    ...paymentRoutes(deps.payments),
    ...eventRoutes(deps.events),
    ...operationRoutes(deps),
    ...healthRoutes(deps),
  ]
}

const API_PREFIX = '/v1/'

/**
 * Koa, but for the API's requests: `send` has answered them, so Koa has nothing left to send nor to watch,
 * which showed in the processor profile. What is not under /v1/ (pages, health, metrics) is served as Koa serves it.
 */
class App extends Koa {
  // What @types/koa leaves out; the two arguments are Koa's own.
  handleRequest(ctx: Context, serve: (ctx: Context) => Promise<void>): Promise<void> {
    if (!ctx.req.url?.startsWith(API_PREFIX)) return handleAsKoa.call(this, ctx, serve)
    return serve(ctx).catch((error: unknown) => ctx.onerror(error as Error))
  }
}

const handleAsKoa = (Koa.prototype as unknown as Pick<App, 'handleRequest'>).handleRequest

/** The Koa app. What stands first sees everything that comes after it. */
export function createApp(deps: AppDeps): Koa {
  const app = new App()
  app.silent = true
  app.context.log = deps.log
  app.on('error', (error: unknown) => deps.log.debug({ err: error }, 'a connection failed'))
  const routes = apiRoutes(deps)
  const { authenticator, customers, metrics, pages } = deps
  const { createCustomer, readCustomer } = customers
  const ofPages = sessionRoutes({ ...pages, authenticator, createCustomer, readCustomer })
  const router = createRouter([...routes, ...ofPages], {
    authorizer: createAuthorizer(authenticator),
    visitors: createVisitors(authenticator, pages),
    owners: pages,
    metrics,
    streams: createEventStreams(),
  })
  app
    .use(observe(deps.log, metrics))
    .use(requireHost())
    .use(draining(deps.isDraining))
    .use(doors(pages.sessions))
    .use(router)
    .use(docsRouter(JSON.stringify(openApiDocument(routes)), metrics.meter('GET', '/docs')).routes())
    .use(pagesRouter(metrics.meter('GET', '/pages'), pages.root).routes())
  if (deps.development_gateway !== undefined) {
    const meter = metrics.meter('any', '/gateway/development')
    app.use(developmentGatewayRouter(deps.development_gateway, meter).routes())
  }
  app.use(unmatched())
  return app
}
