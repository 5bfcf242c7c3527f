import type { Context } from 'koa'

/** A signal that aborts when the client leaves before it was answered. Made only for those who ask for it. */
export function abortSignalOf(ctx: Context): AbortSignal {
  const controller = new AbortController()
  ctx.res.once('close', () => {
    if (!ctx.res.writableFinished) controller.abort()
  })
  return controller.signal
}

/** Whether the client has left, so that nobody reads an answer. */
export function hasLeft(ctx: Context): boolean {
  return ctx.res.destroyed || ctx.req.socket.destroyed
}
