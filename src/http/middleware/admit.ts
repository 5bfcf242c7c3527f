import type { Middleware } from 'koa'
import { stop } from '../problem.ts'

/** Refuses what there is no room for before its body is read: saying no must stay cheap when there is most of it to do. */
export function admit(hasRoom: () => boolean): Middleware {
  return (ctx, next) => {
    return hasRoom() ? next() : stop(ctx, { code: 'overloaded', detail: 'too many requests are waiting' })
  }
}
