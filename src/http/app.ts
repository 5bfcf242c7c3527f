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
import { healthRoutes } from './health.ts'
import { createAuthorizer } from './middleware/authorize.ts'
import { draining } from './middleware/draining.ts'
import { observe } from './middleware/observe.ts'
import { requireHost } from './middleware/require_host.ts'
import { unmatched } from './middleware/unmatched.ts'
import { openApiDocument } from './openapi.ts'
import type { Route } from './route.ts'
import { createRouter } from './router.ts'

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
  readStats: () => Promise<Stats>
  readiness: () => Promise<Readiness>
  /** True from the moment on that the service stops. */
  isDraining: () => boolean
}

/** Every route that the document describes, in the document's order. */
export function apiRoutes(
  deps: Omit<AppDeps, 'log' | 'authenticator' | 'isDraining' | 'development_gateway'>,
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
  app
    .use(observe(deps.log, deps.metrics))
    .use(requireHost())
    .use(draining(deps.isDraining))
    .use(createRouter(routes, { authorizer: createAuthorizer(deps.authenticator), metrics: deps.metrics }))
    .use(docsRouter(JSON.stringify(openApiDocument(routes)), deps.metrics.meter('GET', '/docs')).routes())
  if (deps.development_gateway !== undefined) {
    const meter = deps.metrics.meter('any', '/gateway/development')
    app.use(developmentGatewayRouter(deps.development_gateway, meter).routes())
  }
  app.use(unmatched())
  return app
}
