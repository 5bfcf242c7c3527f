import Router from '@koa/router'
import type { Middleware } from 'koa'
import type { Metrics, RequestMeter } from '../metrics.ts'
import { isLocal } from './local.ts'
import { admit } from './middleware/admit.ts'
import type { Authorizer } from './middleware/authorize.ts'
import { handle } from './middleware/handle.ts'
import { BODY_BYTES_MAX, BULK_BODY_BYTES_MAX, readBody } from './middleware/read_body.ts'
import { validate } from './middleware/validate.ts'
import type { Route } from './route.ts'

/**
 * All routes, each a sentence: metered, authorized, admitted, read, validated, handled. The router tries one pattern after
 * the other; a path without parameters needs no pattern, so it is looked up before.
 */
export function createRouter(routes: readonly Route[], deps: { authorizer: Authorizer; metrics: Metrics }): Middleware {
  // Exactly as declared: /v1/stock/ is not /v1/stock, it is a SKU without a name.
  const router = new Router({ strict: true, sensitive: true })
  const exact = new Map<string, Map<string, Middleware>>()
  for (const route of routes) {
    const { method, path } = route
    const meter = metered(deps.metrics.meter(method, path))
    const sentence = [meter, ...authorized(route, deps.authorizer), ...admitted(route), ...read(route)]
    const whole = inOrder([...sentence, validate(route), handle(route)])
    router.register(path.replaceAll(/\{(\w+)\}/g, ':$1'), [method], whole)
    if (route.params === undefined) {
      const paths = exact.get(method) ?? new Map<string, Middleware>()
      exact.set(method, paths.set(path, whole))
    }
  }
  const byPattern = router.routes() as Middleware
  // The raw URL: with a query, or written as an absolute one, it is not found here, and the router looks at it properly.
  return (ctx, next) => (exact.get(ctx.req.method ?? '')?.get(ctx.req.url ?? '') ?? byPattern)(ctx, next)
}

/** One middleware of many, put together once: the router would do it for every request. */
function inOrder(middleware: readonly Middleware[]): Middleware {
  const [first, ...rest] = middleware
  if (first === undefined) return (_, next) => next()
  const then = inOrder(rest)
  return (ctx, next) => first(ctx, () => then(ctx, next) as Promise<unknown>)
}

/** Says which route it is, to the metrics. */
export function metered(meter: RequestMeter): Middleware {
  return (ctx, next) => {
    ctx.state.meter = meter
    return next()
  }
}

function authorized(route: Route, authorizer: Authorizer): Middleware[] {
  if (route.scope === 'open') return []
  const authorize = authorizer(route.scope)
  return [route.open_locally ? (ctx, next) => (isLocal(ctx.req) ? next() : authorize(ctx, next)) : authorize]
}

function admitted(route: Route): Middleware[] {
  return route.hasRoom === undefined ? [] : [admit(route.hasRoom)]
}

function read(route: Route): Middleware[] {
  if (route.body === undefined) return []
  const limit_bytes = route.bulk ? BULK_BODY_BYTES_MAX : BODY_BYTES_MAX
  return [readBody({ optional: route.body_optional ?? false, limit_bytes })]
}
