import type { Middleware } from 'koa'
import type { Metrics, RequestMeter } from '../../metrics.ts'

/**
 * Counts and times requests, each with the meter that its route has put into `ctx.state.meter`. Errors are handled inside
 * it, so that what it sees is what the client gets.
 */
export function measure(metrics: Pick<Metrics, 'meter'>): Middleware {
  const unmatched = metrics.meter('any', 'unmatched')
  return async (ctx, next) => {
    const started = performance.now()
    await next()
    const meter = (ctx.state.meter as RequestMeter | undefined) ?? unmatched
    meter(ctx.res.statusCode, performance.now() - started)
  }
}
