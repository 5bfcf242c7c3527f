import Router from '@koa/router'
import type { Middleware } from 'koa'
import { isLocal } from './local.ts'
import { admit } from './middleware/admit.ts'
import type { Authorizer } from './middleware/authorize.ts'
import { handle } from './middleware/handle.ts'
import { BODY_BYTES_MAX, BULK_BODY_BYTES_MAX, readBody } from './middleware/read_body.ts'
import { validate } from './middleware/validate.ts'
import type { Route } from './route.ts'

/** The router over all routes. Each is a sentence: matched, authorized, admitted, read, validated, handled. */
export function createRouter(routes: readonly Route[], authorizer: Authorizer): Router {
  // Exactly as declared: /v1/stock/ is not /v1/stock, it is a SKU without a name.
  const router = new Router({ strict: true, sensitive: true })
  for (const route of routes) {
    router.register(route.path.replaceAll(/\{(\w+)\}/g, ':$1'), [route.method], sentence(route, authorizer))
  }
  return router
}

function sentence(route: Route, authorizer: Authorizer): Middleware[] {
  return [
    matched(route),
    ...authorized(route, authorizer),
    ...(route.hasRoom === undefined ? [] : [admit(route.hasRoom)]),
    ...(route.body === undefined ? [] : [readBody(bodyBounds(route))]),
    validate(route),
    handle(route),
  ]
}

function authorized(route: Route, authorizer: Authorizer): Middleware[] {
  if (route.scope === 'open') return []
  const authorize = authorizer(route.scope)
  return [route.open_locally ? (ctx, next) => (isLocal(ctx.req) ? next() : authorize(ctx, next)) : authorize]
}

/** Says which route it is, for the metrics. */
function matched(route: Route): Middleware {
  return (ctx, next) => {
    ctx.state.route = route.path
    return next()
  }
}

function bodyBounds(route: Route): Parameters<typeof readBody>[0] {
  return { optional: route.body_optional ?? false, limit_bytes: route.bulk ? BULK_BODY_BYTES_MAX : BODY_BYTES_MAX }
}
