import type { Context, Middleware } from 'koa'
import { ok, refused, type Refusal, type Result } from '../errors.ts'
import type { Authenticator, Caller } from '../keys/authenticate.ts'
import { isForAnybody, whyNotAll, type CustomerRule } from './customer_rules.ts'
import { isLocal } from './local.ts'
import { whyForbidden } from './middleware/authorize.ts'
import { stop } from './problem.ts'
import type { Call, Scope } from './route.ts'
import type { Session } from './sessions.ts'

/**
 * Who comes through a page's door (see middleware/doors.ts) and what may they do: a customer what the rules for customers
 * say, somebody with a key what the key may, and whoever has no session in the shop may look around.
 */
export type Visitor = Session | { kind: 'anybody' }

/** What a route asks of a visitor. `rule` is absent where no customer may go. */
export type Need = { scope: Scope; rule: CustomerRule | undefined }

export type Visitors = {
  /** Lets through who may, and says who it is in `ctx.state.client`. */
  authorize(need: Need): Middleware
  /** Whether whom `authorize` has let through still would be. */
  stillMay(ctx: Context, need: Need): Promise<boolean>
}

/** The visitor of a request that came through a page's door. */
export function visitorOf(ctx: Context): Visitor | undefined {
  return ctx.state.visitor as Visitor | undefined
}

/** @param options.demo_login whether customers are believed although the service has keys; those who were before are, too */
export function createVisitors(authenticator: Authenticator, options: { demo_login: boolean }): Visitors {
  async function whoIs(ctx: Context, { scope, rule }: Need): Promise<Result<{ client: string; is_admin: boolean }>> {
    const visitor = visitorOf(ctx)!
    if (visitor.kind === 'key') {
      const caller =
        authenticator.recallId(visitor.secret_id) ?? (await authenticator.authenticateId(visitor.secret_id))
      if (!caller.ok) return caller
      const detail = whyForbidden(ctx, caller, scope)
      if (detail !== undefined) return refused({ code: 'forbidden', detail })
      return ok({ client: caller.client, is_admin: caller.scopes.has('admin') })
    }
    const open = isOpen(await authenticator.authenticate(undefined))
    if (open && !isLocal(ctx.req)) return refused(THIS_MACHINE_ONLY)
    if (rule === undefined) return refused(NOT_FOR_CUSTOMERS)
    if (visitor.kind === 'customer' && (open || options.demo_login)) {
      return ok({ client: clientOf(visitor.customer_id), is_admin: false })
    }
    return isForAnybody(rule) ? ok({ client: '', is_admin: false }) : refused(LOG_IN)
  }

  return {
    authorize: (need) => async (ctx, next) => {
      const who = await whoIs(ctx, need)
      if (!who.ok) return stop(ctx, who.refusal)
      Object.assign(ctx.state, who.value)
      return next()
    },
    stillMay: async (ctx, need) => (await whoIs(ctx, need)).ok,
  }
}

/** Whether the service has no keys, so that whoever shows none may do everything from this machine. */
function isOpen(stranger: Caller): boolean {
  return stranger.ok && stranger.open
}

/** Whom idempotency keys belong to: the name of no API key, which has no colon. */
function clientOf(customer_id: string): string {
  return `customer:${customer_id}`
}

const THIS_MACHINE_ONLY = {
  code: 'forbidden',
  detail: 'the service has no API keys yet, so it serves this machine only',
} as const
const NOT_FOR_CUSTOMERS = { code: 'forbidden', detail: 'customers cannot do this' } as const
const LOG_IN = { code: 'unauthenticated', detail: 'say who you are first: POST /shop/session' } as const

/** Keeps a customer to what is theirs; called with everything checked. */
export function keepToOwn(rule: CustomerRule, owners: Owners): Middleware {
  return async (ctx, next) => {
    const visitor = visitorOf(ctx)
    if (visitor === undefined || visitor.kind === 'key' || rule === 'anybody') return next()
    const call = ctx.state.call as Call<{}, {}, unknown>
    let refusal: Refusal | undefined
    if (rule === 'anybody by name') refusal = whyNotAll(call)
    else if (visitor.kind === 'customer') refusal = await rule(call, visitor.customer_id, owners)
    return refusal === undefined ? next() : stop(ctx, refusal)
  }
}

/** Looks up whose something is. */
export type Owners = {
  customerOfOrder: (order_id: string) => Promise<string | undefined>
  customerOfPayment: (payment_id: string) => Promise<string | undefined>
}
