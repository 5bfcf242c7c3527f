import type { Middleware } from 'koa'
import { randomUUID } from 'node:crypto'

const SANE = /^[!-~]{1,128}$/

/** Names every request, so that an answer, a log line and a bug report can be brought together. */
export function requestId(): Middleware {
  return (ctx, next) => {
    const sent = ctx.req.headers['x-request-id']
    const id = typeof sent === 'string' && SANE.test(sent) ? sent : randomUUID()
    ctx.state.request_id = id
    ctx.res.setHeader('X-Request-Id', id)
    return next()
  }
}
