import type { Context, Middleware } from 'koa'
import type { Logger } from 'pino'
import { hasLeft } from '../disconnect.ts'

/** What nginx calls a client that closed the connection before its answer. */
const CLIENT_LEFT = 499

/**
 * One flat line per request: who asked for what, how it ended and how long it took. Never a body, a query (it may name a
 * customer) or a header.
 */
export function accessLog(log: Logger): Middleware {
  if (!log.isLevelEnabled('info')) return (_, next) => next()
  return async (ctx: Context, next) => {
    const started = performance.now()
    await next()
    log.info(
      {
        request_id: ctx.state.request_id as string,
        method: ctx.req.method,
        path: ctx.path,
        status: hasLeft(ctx) ? CLIENT_LEFT : ctx.res.statusCode,
        code: ctx.state.code as string | undefined,
        client: ctx.state.client as string | undefined,
        duration_ms: Math.round((performance.now() - started) * 100) / 100,
      },
      'request',
    )
  }
}
