import type { IncomingMessage } from 'node:http'
import { createHmac, timingSafeEqual } from 'node:crypto'

/**
 * Sessions of the pages: a signed cookie, and nothing kept on this side, so that any process serves any session. Each
 * page's cookie is sent below its own path only, and /v1 looks at none: what a browser carries there by itself opens nothing.
 */

export type Session =
  /** Who buys: everything of theirs, and nothing else. */
  | { kind: 'customer'; customer_id: string }
  /** Who runs the service: what the API key may whose secret was shown, for as long as that key is good. */
  | { kind: 'key'; secret_id: string }

export type Page = 'shop' | 'console'

/** A working day. */
const LIFETIME_SECONDS = 43_200

export type Sessions = {
  /** The session that a request carries for this page, unless it has ended. */
  read(request: IncomingMessage, page: Page): Session | undefined
  /** The value of a Set-Cookie that begins a session, or with undefined ends it. */
  cookie(request: IncomingMessage, page: Page, session: Session | undefined): string
}

/**
 * @param deps.secret what signs; the same in all processes that serve one address
 * @param deps.now a clock in milliseconds, for tests
 */
export function createSessions(deps: { secret: string; now?: () => number }): Sessions {
  const { secret, now = Date.now } = deps
  const sign = (page: Page, payload: string): Buffer =>
    createHmac('sha256', secret).update(`${page} ${payload}`).digest()

  function open(page: Page, text: string): Session | undefined {
    const [payload, signature, ...rest] = text.split('.')
    if (payload === undefined || signature === undefined || rest.length > 0) return undefined
    const expected = sign(page, payload)
    const given = Buffer.from(signature, 'base64url')
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined
    // Signed by us, so it is what we wrote.
    const sealed = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { session: Session; ends_at: number }
    return sealed.ends_at > now() ? sealed.session : undefined
  }

  function seal(page: Page, session: Session): string {
    const sealed = { session, ends_at: now() + LIFETIME_SECONDS * 1000 }
    const payload = Buffer.from(JSON.stringify(sealed)).toString('base64url')
    return `${payload}.${sign(page, payload).toString('base64url')}`
  }

  return {
    read(request, page) {
      const text = cookieOf(request, nameOf(page))
      return text === undefined ? undefined : open(page, text)
    },
    cookie(request, page, session) {
      const [value, age] = session === undefined ? ['', 0] : [seal(page, session), LIFETIME_SECONDS]
      const secure = isSecure(request) ? '; Secure' : ''
      return `${nameOf(page)}=${value}; Path=/${page}; Max-Age=${age}; HttpOnly; SameSite=Strict${secure}`
    },
  }
}

function nameOf(page: Page): string {
  return `${page}_session`
}

function cookieOf(request: IncomingMessage, name: string): string | undefined {
  for (const part of request.headers.cookie?.split(';') ?? []) {
    const at = part.indexOf('=')
    if (part.slice(0, at).trim() === name) return part.slice(at + 1).trim()
  }
  return undefined
}

/** TLS ends in front of this process, at whoever says so. Without it a browser would not keep a cookie that asks for it. */
function isSecure(request: IncomingMessage): boolean {
  return request.headers['x-forwarded-proto'] === 'https'
}

/**
 * Whether a browser says that one of our own pages has sent this request. SameSite keeps other sites' requests from having
 * the cookie; this keeps out what shares our site but not our origin, and what sends no word about it.
 */
export function isSameOrigin(request: IncomingMessage): boolean {
  const { origin, host, 'sec-fetch-site': site } = request.headers
  if (site !== undefined) return site === 'same-origin'
  if (origin === undefined || host === undefined) return false
  return origin.replace(/^https?:\/\//, '').toLowerCase() === host.toLowerCase()
}
