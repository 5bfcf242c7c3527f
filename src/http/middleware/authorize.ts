import type { Context, Middleware } from 'koa'
import type { Refusal } from '../../errors.ts'
import type { Authenticated, Authenticator, Caller } from '../../keys/authenticate.ts'
import { createGuesses } from '../guesses.ts'
import { isLocal } from '../local.ts'
import { refuse, stop } from '../problem.ts'
import type { Scope } from '../route.ts'

export type Authorizer = {
  authorize(scope: Scope): Middleware
  /** Whether whom `authorize` has let through still would be. */
  stillMay(ctx: Context, scope: Scope): boolean | Promise<boolean>
}

/**
 * Lets through who has the scope, and says who it is in `ctx.state.client`. While the service has no keys it serves this
 * machine alone.
 */
export function createAuthorizer(authenticator: Authenticator): Authorizer {
  const guesses = createGuesses()

  async function refuseStranger(ctx: Context, address: string, refusal: Refusal): Promise<void> {
    const retry_after_seconds = await guesses.failed(address)
    refuse(ctx, retry_after_seconds > 0 ? { code: 'rate_limited', retry_after_seconds } : refusal)
  }

  return {
    authorize: (scope) => (ctx, next) => {
      const secret = bearerOf(ctx)
      const address = ctx.req.socket.remoteAddress ?? ''
      const wait_seconds = guesses.wait(address, secret)
      if (wait_seconds > 0) return stop(ctx, { code: 'rate_limited', retry_after_seconds: wait_seconds })
      const goOn = (caller: Caller): Promise<unknown> => {
        if (!caller.ok) return refuseStranger(ctx, address, caller.refusal)
        if (secret !== undefined && !caller.open) guesses.succeeded(secret)
        const forbidden = whyForbidden(ctx, caller, scope)
        if (forbidden !== undefined) return stop(ctx, { code: 'forbidden', detail: forbidden })
        ctx.state.client = caller.client
        ctx.state.is_admin = caller.scopes.has('admin')
        return next()
      }
      const known = authenticator.recall(secret)
      return known === undefined ? authenticator.authenticate(secret).then(goOn) : goOn(known)
    },
    stillMay(ctx, scope) {
      const secret = bearerOf(ctx)
      const may = (caller: Caller): boolean => caller.ok && whyForbidden(ctx, caller, scope) === undefined
      const known = authenticator.recall(secret)
      return known === undefined ? authenticator.authenticate(secret).then(may) : may(known)
    },
  }
}

/** Why a caller may not do this; undefined if it may. */
export function whyForbidden(ctx: Context, { open, scopes }: Authenticated, scope: Scope): string | undefined {
  if (open && !isLocal(ctx.req)) {
    return 'the service has no API keys yet, so it serves this machine only; create one with "npm run cli -- keys create"'
  }
  return scopes.has(scope) || scopes.has('admin') ? undefined : `use an API key with the scope "${scope}" or "admin"`
}

const BEARER = /^Bearer +(\S+) *$/i

/** What stands after `Bearer`; undefined without the header, and '' (no key at all) for another scheme. */
export function bearerOf(ctx: Context): string | undefined {
  const header = ctx.req.headers.authorization
  if (header === undefined) return undefined
  return BEARER.exec(header)?.[1] ?? ''
}
