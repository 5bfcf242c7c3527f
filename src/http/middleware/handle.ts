import type { Context, Middleware } from 'koa'
import { refuse } from '../problem.ts'
import type { Answer, Call, Route } from '../route.ts'

const JSON_UTF_8 = 'application/json; charset=utf-8'

/** Calls the route's handler and sends what it answers. */
export function handle(route: Route): Middleware {
  return async (ctx) => {
    send(ctx, await route.handle(ctx.state.call as Call<{}, {}, unknown>))
  }
}

function send(ctx: Context, answer: Answer): void {
  if ('refusal' in answer) return refuse(ctx, answer.refusal)
  const { res } = ctx
  ctx.status = answer.status
  // Given the type beforehand, Koa doesn't look into the text for one.
  res.setHeader('Content-Type', JSON_UTF_8)
  if (answer.headers) for (const name in answer.headers) res.setHeader(name, answer.headers[name]!)
  ctx.body = typeof answer.body === 'string' || answer.body === null ? answer.body : JSON.stringify(answer.body)
}
