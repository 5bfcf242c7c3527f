import type { Middleware } from 'koa'
import type { Logger } from 'pino'
import { hasLeft } from '../disconnect.ts'
import { refusalOf, refuse } from '../problem.ts'

/** Answers what was thrown: a lost database as 503, anything else as 500, with the details in the log alone. */
export function problems(log: Logger): Middleware {
  return async (ctx, next) => {
    try {
      await next()
    } catch (error) {
      const refusal = refusalOf(error)
      if (refusal === undefined && !hasLeft(ctx)) {
        log.error({ request_id: ctx.state.request_id as string, err: error }, 'a request failed unexpectedly')
      }
      refuse(ctx, refusal ?? { code: 'internal_error' })
    }
  }
}
