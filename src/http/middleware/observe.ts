import type { Context, Middleware } from 'koa'
import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import type { Metrics, RequestMeter } from '../../metrics.ts'
import { createAccessLog, type Access } from '../access_log.ts'
import { hasLeft } from '../disconnect.ts'
import { refusalOf, refuse } from '../problem.ts'

/** What nginx calls a client that closed the connection before its answer. */
const CLIENT_LEFT = 499
const SANE_ID = /^[!-~]{1,128}$/

/**
 * Sees every request from its first step to its answer: names it, so that an answer, a log line and a bug report can be
 * brought together; answers what was thrown (a lost database as 503, anything else as 500, with the details in the log
 * alone); counts and times it with the meter that its route has put into `ctx.state.meter`; and logs one flat line, never
 * a body, a query (it may name a customer) or a header. One middleware, because each that waits for the next costs 4 µs.
 */
export function observe(log: Logger, metrics: Pick<Metrics, 'meter'>): Middleware {
  const unmatched = metrics.meter('any', 'unmatched')
  const logAccess = createAccessLog(log)

  return (ctx, next) => {
    const started = performance.now()
    ctx.state.request_id = requestIdOf(ctx)
    const account = (): void => {
      const duration_ms = performance.now() - started
      const meter = (ctx.state.meter as RequestMeter | undefined) ?? unmatched
      // `send` sends nothing to who has left.
      const status = ctx.respond === false && !ctx.res.headersSent ? CLIENT_LEFT : ctx.res.statusCode
      meter(status, duration_ms)
      logAccess(accessOf(ctx, status, duration_ms))
    }
    return next().then(account, (error: unknown) => {
      fail(ctx, error, log)
      account()
    })
  }
}

function requestIdOf(ctx: Context): string {
  const sent = ctx.req.headers['x-request-id']
  return typeof sent === 'string' && SANE_ID.test(sent) ? sent : randomUUID()
}

function accessOf(ctx: Context, status: number, duration_ms: number): Access {
  return {
    request_id: ctx.state.request_id as string,
    method: ctx.req.method ?? '',
    // As it was asked for: a page's door has rewritten it since.
    path: pathOf(ctx.originalUrl),
    status,
    code: ctx.state.code as string | undefined,
    client: ctx.state.client as string | undefined,
    duration_ms,
  }
}

function pathOf(url: string): string {
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

function fail(ctx: Context, error: unknown, log: Logger): void {
  const refusal = refusalOf(error)
  if (refusal === undefined && !hasLeft(ctx)) {
    log.error({ request_id: ctx.state.request_id as string, err: error }, 'a request failed unexpectedly')
  }
  refuse(ctx, refusal ?? { code: 'internal_error' })
}
