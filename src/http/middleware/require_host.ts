import type { Middleware } from 'koa'
import { stop } from '../problem.ts'

/** HTTP/1.1 demands a Host; a request without one was put together by hand, and is told so. */
export function requireHost(): Middleware {
  return (ctx, next) => {
    const { headers, httpVersionMajor, httpVersionMinor } = ctx.req
    if (headers.host !== undefined || (httpVersionMajor === 1 && httpVersionMinor === 0)) return next()
    return stop(ctx, { code: 'invalid_request', errors: [{ path: 'header/Host', message: 'is required by HTTP/1.1' }] })
  }
}
