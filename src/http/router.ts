import Router from '@koa/router'
import type { Context, Middleware } from 'koa'
import type { Metrics, RequestMeter } from '../metrics.ts'
import type { EventStreams } from './event_stream.ts'
import { isLocal } from './local.ts'
import { admit } from './middleware/admit.ts'
import type { Authorizer } from './middleware/authorize.ts'
import { handle, type StreamDeps } from './middleware/handle.ts'
import { BODY_BYTES_MAX, BULK_BODY_BYTES_MAX, readBody } from './middleware/read_body.ts'
import { validate } from './middleware/validate.ts'
import { customerRuleOf } from './customer_rules.ts'
import type { Route } from './route.ts'
import { keepToOwn, visitorOf, type Owners, type Visitors } from './visitors.ts'

export type RouterDeps = {
  authorizer: Authorizer
  visitors: Visitors
  owners: Owners
  metrics: Metrics
  streams: EventStreams
}

/**
 * All routes, each a sentence: metered, authorized, admitted, read, validated, handled. The router tries one pattern after
 * the other, which takes longer than a cached read; so a plain path is looked up before, and what is not found there (a
 * query, an absolute URL, a wrong method) is the router's.
 */
export function createRouter(routes: readonly Route[], deps: RouterDeps): Middleware {
  // Exactly as declared: /v1/stock/ is not /v1/stock, it is a SKU without a name.
  const router = new Router({ strict: true, sensitive: true })
  const plain = createLookup()
  for (const route of routes) {
    const { method, path } = route
    const meter = metered(deps.metrics.meter(method, path))
    const sentence = [meter, ...authorized(route, deps), ...admitted(route), ...read(route)]
    const whole = inOrder([...sentence, validate(route), ...owned(route, deps), handle(route, streamsOf(route, deps))])
    router.register(path.replaceAll(/\{(\w+)\}/g, ':$1'), [method], whole)
    plain.add(method, path, whole)
  }
  const byPattern = router.routes() as Middleware
  return (ctx, next) => (plain.find(ctx) ?? byPattern)(ctx, next)
}

type Place = { middleware: Middleware | undefined; literals: Map<string, Place>; parameter: Place | undefined }

/** Routes by method and by the segments of their paths, one after another; a literal goes before a parameter. */
function createLookup() {
  const open = (): Place => ({ middleware: undefined, literals: new Map(), parameter: undefined })
  const root = open()

  return {
    add(method: string, path: string, middleware: Middleware): void {
      let place = root
      for (const segment of [method, ...path.slice(1).split('/')]) {
        const known = segment.startsWith('{') ? place.parameter : place.literals.get(segment)
        const next = known ?? open()
        if (segment.startsWith('{')) place.parameter = next
        else place.literals.set(segment, next)
        place = next
      }
      place.middleware = middleware
    },
    /** Leaves what stands for the parameters in `ctx.captures`, as the router does. */
    find(ctx: Context): Middleware | undefined {
      const { method = '', url = '' } = ctx.req
      if (url.includes('?')) return undefined
      let place = root.literals.get(method)
      const captures: string[] = []
      for (let from = 1; place !== undefined && from <= url.length;) {
        const slash = url.indexOf('/', from)
        const to = slash < 0 ? url.length : slash
        const segment = url.slice(from, to)
        const literal: Place | undefined = place.literals.get(segment)
        if (literal === undefined && segment !== '') captures.push(segment)
        place = literal ?? (segment === '' ? undefined : place.parameter)
        from = to + 1
      }
      if (place?.middleware !== undefined) ctx.captures = captures
      return place?.middleware
    },
  }
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

function authorized(route: Route, { authorizer, visitors }: RouterDeps): Middleware[] {
  const { scope } = route
  if (scope === 'open') return []
  const authorize = authorizer.authorize(scope)
  const visit = visitors.authorize({ scope, rule: customerRuleOf(route) })
  const either: Middleware = (ctx, next) => (visitorOf(ctx) === undefined ? authorize(ctx, next) : visit(ctx, next))
  return [route.open_locally ? (ctx, next) => (isLocal(ctx.req) ? next() : either(ctx, next)) : either]
}

function owned(route: Route, { owners }: RouterDeps): Middleware[] {
  const rule = customerRuleOf(route)
  return rule === undefined ? [] : [keepToOwn(rule, owners)]
}

function streamsOf(route: Route, { streams, authorizer, visitors }: RouterDeps): StreamDeps {
  const { scope } = route
  if (scope === 'open') return { streams, mayRead: () => true }
  const need = { scope, rule: customerRuleOf(route) }
  return {
    streams,
    mayRead: (ctx) => (visitorOf(ctx) === undefined ? authorizer.stillMay(ctx, scope) : visitors.stillMay(ctx, need)),
  }
}

function admitted(route: Route): Middleware[] {
  return route.hasRoom === undefined ? [] : [admit(route.hasRoom)]
}

function read(route: Route): Middleware[] {
  if (route.body === undefined) return []
  const limit_bytes = route.bulk ? BULK_BODY_BYTES_MAX : BODY_BYTES_MAX
  return [readBody({ optional: route.body_optional ?? false, limit_bytes, keep: route.keeps_bytes ?? false })]
}
