import type { Middleware } from 'koa'
import helmet from 'helmet'
import type { IncomingMessage, ServerResponse } from 'node:http'

type Options = Parameters<typeof helmet>[0]

/** Helmet's headers and the request's id, for answers that Koa sends; others have them from `send`. */
export function pageHeaders(options: Options): Middleware {
  const headers = computeHeaders(options)
  return (ctx, next) => {
    for (const [name, value] of headers) ctx.res.setHeader(name, value)
    ctx.res.setHeader('X-Request-Id', ctx.state.request_id as string)
    return next()
  }
}

/**
 * For JSON: nothing in it may be run, framed or guessed at. What speaks to pages only is left out, and
 * Strict-Transport-Security is left to whoever speaks TLS.
 */
export const API_HEADERS: Options = {
  contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
  strictTransportSecurity: false,
  originAgentCluster: false,
  referrerPolicy: false,
  xFrameOptions: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false,
  crossOriginOpenerPolicy: false,
}

/** For the documentation pages, which run Swagger UI from this origin; its stylesheet carries pictures as data URLs. */
export const DOCS_HEADERS: Options = {
  ...API_HEADERS,
  referrerPolicy: true,
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'", 'data:'],
      connectSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
}

/**
 * For the shop and the console: nothing is loaded that is not ours, and nothing runs that stands in a page. Pictures of
 * products may come from elsewhere, over TLS.
 */
export const PAGE_HEADERS: Options = {
  ...API_HEADERS,
  referrerPolicy: { policy: 'same-origin' },
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'", 'https:'],
      connectSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
}

/**
 * Helmet's headers, names and values. They are the same for every answer, so helmet is asked once: run for each request it
 * costs more than the rest of the middleware together.
 *
 * It is shown no response of Node's: V8 sizes a class's objects by its first seven, and real responses after seven of these,
 * which nobody fills, had to move most of their fields elsewhere (210 instead of 180 µs a request).
 * Source: https://v8.dev/blog/slack-tracking
 */
export function computeHeaders(options: Options): [string, string][] {
  const headers = new Map<string, string>()
  const response = {
    setHeader: (name: string, value: string) => headers.set(name, value),
    removeHeader: (name: string) => headers.delete(name),
  }
  let done = false
  helmet(options)({} as IncomingMessage, response as unknown as ServerResponse, () => (done = true))
  if (!done) throw new Error('helmet did not finish at once')
  return [...headers]
}
