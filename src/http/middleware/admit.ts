import type { Middleware } from 'koa'
import { refuse } from '../problem.ts'

/** Refuses what there is no room for before its body is read: saying no must stay cheap when there is most of it to do. */
export function admit(hasRoom: () => boolean): Middleware {
  return (ctx, next) => {
    if (hasRoom()) return next()
    refuse(ctx, { code: 'overloaded', detail: 'too many requests are waiting' })
    return Promise.resolve()
  }
}
