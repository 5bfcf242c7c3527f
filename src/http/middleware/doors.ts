import type { Middleware } from 'koa'
import { stop } from '../problem.ts'
import { isSameOrigin, type Page, type Sessions } from '../sessions.ts'
import type { Visitor } from '../visitors.ts'

/**
 * The pages' doors to the API: what is asked for under /shop/v1/ and /console/v1/ is answered by the same routes as under
 * /v1/, for whoever has the session of that page. /v1/ itself looks at no cookie, and each page's cookie is sent below its
 * own path only, so neither page acts with the rights of the other, and no other site with those of either.
 */
export function doors(sessions: Sessions): Middleware {
  return (ctx, next) => {
    const { url = '', method = '' } = ctx.req
    // A request line may name the host too; the router finds its way then as well.
    const page = pageOf(url.startsWith('/') ? url : ctx.path)
    if (page === undefined) return next()
    if (!SAFE.has(method) && !isSameOrigin(ctx.req)) {
      return stop(ctx, {
        code: 'forbidden',
        detail: `only the page itself may do this; a program uses an API key under /v1`,
      })
    }
    const prefix = `/${page}`
    if (!url.startsWith('/v1/', prefix.length)) return next()
    const visitor: Visitor | undefined = sessions.read(ctx.req, page) ?? STRANGERS[page]
    if (visitor !== undefined) ctx.state.visitor = visitor
    ctx.req.url = url.slice(prefix.length)
    return next()
  }
}

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Without a session the shop can be looked at; in the console one is whoever a request without a key is. */
const STRANGERS: Record<Page, Visitor | undefined> = { shop: { kind: 'anybody' }, console: undefined }

function pageOf(url: string): Page | undefined {
  if (url.startsWith('/shop/')) return 'shop'
  return url.startsWith('/console/') ? 'console' : undefined
}
