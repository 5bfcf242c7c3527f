import type { Context, Middleware } from 'koa'
import { refuse } from '../problem.ts'
import type { Answer, Call, Route } from '../route.ts'

const JSON_UTF_8 = 'application/json; charset=utf-8'

/** A read that takes longer is asked of a database that does not answer: frozen, or behind a cable that was pulled. */
const READ_MS_MAX = 1800

/** Calls the route's handler and sends what it answers. */
export function handle(route: Route): Middleware {
  const run = route.method === 'GET' ? (call: Call<{}, {}, unknown>) => inTime(route, call) : route.handle
  return async (ctx) => {
    send(ctx, await run(ctx.state.call as Call<{}, {}, unknown>))
  }
}

/** Only reads have a deadline here: of a write that is given up nobody could say whether it happened. */
async function inTime(route: Route, call: Call<{}, {}, unknown>): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Answer>((resolve) => {
    timer = setTimeout(() => resolve({ refusal: { code: 'database_unavailable', outcome: 'none' } }), READ_MS_MAX)
  })
  try {
    return await Promise.race([route.handle(call), late])
  } finally {
    clearTimeout(timer)
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
