import type { Middleware } from 'koa'

/**
 * While the service stops, every answer ends its connection: who still has one open is served and then goes elsewhere.
 */
export function draining(isDraining: () => boolean): Middleware {
  return (ctx, next) => {
    if (isDraining()) ctx.set('Connection', 'close')
    return next()
  }
}
