import type { Context } from 'koa'
import type { Socket } from 'node:net'

const signals = new WeakMap<Socket, AbortSignal>()

/**
 * A signal that aborts when the client's connection ends. It is the connection's, not the request's, because making one
 * for each request costs more than reading its body; so look at `aborted`, and leave no listener behind.
 */
export function abortSignalOf(ctx: Context): AbortSignal {
  const { socket } = ctx.req
  const known = signals.get(socket)
  if (known !== undefined) return known
  const controller = new AbortController()
  socket.once('close', () => controller.abort())
  signals.set(socket, controller.signal)
  return controller.signal
}

/** Whether the client has left, so that nobody reads an answer. */
export function hasLeft(ctx: Context): boolean {
  return ctx.res.destroyed || ctx.req.socket.destroyed
}
