import type { Context, Middleware } from 'koa'
import { createDeadline } from '../deadline.ts'
import type { EventStreams, MayRead } from '../event_stream.ts'
import { refuse } from '../problem.ts'
import type { Answer, Call, Route } from '../route.ts'
import { send } from '../send.ts'

const JSON_UTF_8 = 'application/json; charset=utf-8'

/** A read that takes longer is asked of a database that does not answer: frozen, or behind a cable that was pulled. */
const READ_MS_MAX = 1800
const LATE: Answer = { refusal: { code: 'database_unavailable', outcome: 'none' } }

/** What streams need: where they are looked after, and whether the one who reads may read on. */
export type StreamDeps = { streams: EventStreams; mayRead: (ctx: Context) => ReturnType<MayRead> }

/**
 * Calls the route's handler and sends what it answers. Only reads have a deadline here: of a write that is given up nobody
 * could say whether it happened.
 */
export function handle(route: Route, { streams, mayRead }: StreamDeps): Middleware {
  const inTime = route.method === 'GET' ? createDeadline(READ_MS_MAX) : undefined
  const sendAny = (ctx: Context, answer: Answer): void | Promise<void> =>
    'stream' in answer ? streams.open(ctx, answer.stream, () => mayRead(ctx)) : sendAnswer(ctx, answer)
  return (ctx) => {
    const answer = route.handle(ctx.state.call as Call<{}, {}, unknown>)
    if (!(answer instanceof Promise)) return Promise.resolve(sendAny(ctx, answer))
    return (inTime?.(answer, LATE) ?? answer).then((settled) => sendAny(ctx, settled))
  }
}

function sendAnswer(ctx: Context, answer: Exclude<Answer, { stream: unknown }>): void {
  if ('refusal' in answer) return refuse(ctx, answer.refusal)
  const { status, body, headers } = answer
  const text = typeof body === 'string' || body === null ? body : JSON.stringify(body)
  const type = headers?.['Content-Type'] ?? JSON_UTF_8
  send(ctx, { status, type, text, headers: headers && namesAndValues(headers) })
}

function namesAndValues(headers: Readonly<Record<string, string>>): string[] {
  const list: string[] = []
  for (const name in headers) if (name !== 'Content-Type') list.push(name, headers[name]!)
  return list
}
