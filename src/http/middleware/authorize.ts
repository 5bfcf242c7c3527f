import type { Context, Middleware } from 'koa'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import type { Authenticated, Authenticator } from '../../keys/authenticate.ts'
import { isLocal } from '../local.ts'
import { refuse } from '../problem.ts'
import type { Scope } from '../route.ts'

/** Failed attempts of one address, after which it is told to wait. Successful requests are never counted. */
const FAILURES_MAX = 30
const FAILURES_WINDOW_SECONDS = 60

export type Authorizer = (scope: Scope) => Middleware

/**
 * Lets through who has the scope, and says who it is in `ctx.state.client`. While the service has no keys it serves this
 * machine alone.
 */
export function createAuthorizer(authenticator: Authenticator): Authorizer {
  const failures = new RateLimiterMemory({ points: FAILURES_MAX, duration: FAILURES_WINDOW_SECONDS })

  return (scope) => async (ctx, next) => {
    const caller = await authenticator.authenticate(bearerOf(ctx))
    if (!caller.ok) return refuseCaller(ctx, failures, caller.refusal)
    if (caller.open && !isLocal(ctx.req)) {
      return refuse(ctx, {
        code: 'forbidden',
        detail:
          'the service has no API keys yet, so it serves this machine only; create one with "npm run cli -- keys create"',
      })
    }
    if (!maySee(caller, scope)) {
      return refuse(ctx, { code: 'forbidden', detail: `use an API key with the scope "${scope}" or "admin"` })
    }
    ctx.state.client = caller.client
    return next()
  }
}

function maySee({ scopes }: Authenticated, scope: Scope): boolean {
  return scopes.has(scope) || scopes.has('admin')
}

async function refuseCaller(
  ctx: Context,
  failures: RateLimiterMemory,
  refusal: Parameters<typeof refuse>[1],
): Promise<void> {
  try {
    await failures.consume(ctx.req.socket.remoteAddress ?? '')
    refuse(ctx, refusal)
  } catch (error) {
    if (!(error instanceof RateLimiterRes)) throw error
    refuse(ctx, { code: 'rate_limited', retry_after_seconds: Math.max(1, Math.ceil(error.msBeforeNext / 1000)) })
  }
}

const BEARER = /^Bearer +(\S+) *$/i

/** What stands after `Bearer`; undefined without the header, and '' (no key at all) for another scheme. */
function bearerOf(ctx: Context): string | undefined {
  const header = ctx.req.headers.authorization
  if (header === undefined) return undefined
  return BEARER.exec(header)?.[1] ?? ''
}
