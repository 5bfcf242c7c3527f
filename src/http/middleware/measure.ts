import type { Middleware } from 'koa'
import type { Metrics } from '../../metrics.ts'

/** Counts and times requests by route. Errors are handled inside it, so that what it sees is what the client gets. */
export function measure(metrics: Pick<Metrics, 'request'>): Middleware {
  return async (ctx, next) => {
    const started = performance.now()
    await next()
    const route = (ctx.state.route as string | undefined) ?? 'unmatched'
    metrics.request(METHODS.has(ctx.method) ? ctx.method : 'other', route, ctx.status, performance.now() - started)
  }
}

/** A label per method that anybody makes up would let a client fill the memory. */
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS'])
