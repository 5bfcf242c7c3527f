import { Type } from 'typebox'
import { CustomerId, CustomerSchema } from '../customers/schemas.ts'
import type { Customer } from '../customers/queries.ts'
import { ok, refused, type Result } from '../errors.ts'
import type { Authenticator } from '../keys/authenticate.ts'
import { Time } from '../stock/schemas.ts'
import { isLocal } from './local.ts'
import { bearerOf } from './middleware/authorize.ts'
import { answer, refuseWith, route, type Answer, type Call, type Route } from './route.ts'
import type { Sessions } from './sessions.ts'

/**
 * Who is in front of a page. These routes serve the pages alone: they are not in the contract, and may change with the
 * pages.
 *
 * The shop's login is a demonstration's: whoever comes says who they are, and is believed. It is there while the service is
 * open to this machine alone, and later only if SHOP_DEMO_LOGIN says so.
 */

export type SessionRoutesDeps = {
  sessions: Sessions
  authenticator: Authenticator
  /** Whether the shop's login by name is there although the service has keys. */
  demo_login: boolean
  /** ISO 4217. */
  currency: string
  createCustomer: (request: { name: string; client: string }) => Promise<Result<{ customer: Customer }>>
  readCustomer: (id: string) => Promise<Customer | undefined>
  latestCustomers: (limit: number) => Promise<Customer[]>
  /** The database's clock. */
  readClock: () => Promise<Date>
}

/** Names to choose from. */
const CUSTOMERS_SHOWN = 12

export function sessionRoutes(deps: SessionRoutesDeps): Route[] {
  return [readShop(deps), enterShop(deps), leaveShop(deps), readConsole(deps), enterConsole(deps), leaveConsole(deps)]
}

const TAG = 'Pages'
const SHOP = { path: '/shop/session', tag: TAG, scope: 'open' as const }
const CONSOLE = { path: '/console/session', tag: TAG }
const NO_BODY = { 204: { description: 'Ended.' } }
const NullableCustomer = Type.Unsafe<Customer | null>({ type: ['object', 'null'] })
const Chosen = Type.Object({ id: CustomerId, name: Type.String() }, { additionalProperties: false })

const ShopSession = Type.Object(
  {
    customer: NullableCustomer,
    demo_login: Type.Boolean({ description: 'Whether one may say who one is.' }),
    customers: Type.Array(Chosen, { description: 'Whom one may choose to be; empty without the demo login.' }),
    currency: Type.String(),
    now: Time,
  },
  { title: 'ShopSession', additionalProperties: false },
)

const ConsoleSession = Type.Object(
  {
    client: Type.Unsafe<string | null>({ type: ['string', 'null'], description: "The API key's name." }),
    open: Type.Boolean({ description: 'The service has no keys yet, so that no login is needed on this machine.' }),
    currency: Type.String(),
    now: Time,
  },
  { title: 'ConsoleSession', additionalProperties: false },
)

function readShop(deps: SessionRoutesDeps): Route {
  return route({
    ...SHOP,
    method: 'GET',
    operation_id: 'getShopSession',
    summary: 'Read who shops',
    responses: { 200: { description: 'As of now.', schema: ShopSession } },
    async handle({ ctx }) {
      const session = deps.sessions.read(ctx.req, 'shop')
      const demo_login = await mayLogInByName(deps, ctx)
      const [customer, customers, now] = await Promise.all([
        demo_login && session?.kind === 'customer' ? deps.readCustomer(session.customer_id) : undefined,
        demo_login ? deps.latestCustomers(CUSTOMERS_SHOWN) : [],
        deps.readClock(),
      ])
      return answer(200, {
        customer: customer ?? null,
        demo_login,
        customers: customers.map(({ id, name }) => ({ id, name })),
        currency: deps.currency,
        now,
      })
    },
  })
}

const EnterShop = Type.Object(
  {
    customer_id: Type.Optional(CustomerId),
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 255, pattern: '^(?!\\s)[^\\p{Cc}]*(?<!\\s)$' })),
  },
  { title: 'EnterShop', additionalProperties: false, minProperties: 1, maxProperties: 1 },
)

function enterShop(deps: SessionRoutesDeps): Route {
  return route({
    ...SHOP,
    method: 'POST',
    operation_id: 'enterShop',
    summary: 'Say who shops: a customer, or a new one by name',
    body: EnterShop,
    responses: { 200: { description: 'Believed.', schema: CustomerSchema } },
    refusals: ['forbidden', 'unknown_customer', 'overloaded'],
    async handle({ body, ctx }) {
      if (!(await mayLogInByName(deps, ctx))) return refuseWith(NO_DEMO_LOGIN)
      const found = await findOrMake(deps, body)
      if (!found.ok) return refuseWith(found.refusal)
      const customer = found.value
      const cookie = deps.sessions.cookie(ctx.req, 'shop', { kind: 'customer', customer_id: customer.id })
      return answer(200, customer, { 'Set-Cookie': cookie })
    },
  })
}

const NO_DEMO_LOGIN = {
  code: 'forbidden',
  detail: 'logging in by name is for demonstrations; SHOP_DEMO_LOGIN=true allows it',
} as const

async function findOrMake(
  { createCustomer, readCustomer }: SessionRoutesDeps,
  { customer_id, name = '' }: { customer_id?: string; name?: string },
): Promise<Result<Customer>> {
  if (customer_id !== undefined) {
    const customer = await readCustomer(customer_id)
    return customer === undefined ? refused({ code: 'unknown_customer', id: customer_id }) : ok(customer)
  }
  const made = await createCustomer({ name, client: '' })
  return made.ok ? ok(made.value.customer) : made
}

function leaveShop({ sessions }: SessionRoutesDeps): Route {
  return route({
    ...SHOP,
    method: 'DELETE',
    operation_id: 'leaveShop',
    summary: 'Leave the shop',
    responses: NO_BODY,
    handle: ({ ctx }) => answer(204, null, { 'Set-Cookie': sessions.cookie(ctx.req, 'shop', undefined) }),
  })
}

function readConsole(deps: SessionRoutesDeps): Route {
  return route({
    ...CONSOLE,
    method: 'GET',
    operation_id: 'getConsoleSession',
    summary: 'Read who runs the console',
    scope: 'open',
    responses: { 200: { description: 'As of now.', schema: ConsoleSession } },
    async handle({ ctx }) {
      const session = deps.sessions.read(ctx.req, 'console')
      const known = session?.kind === 'key' ? await deps.authenticator.authenticateId(session.secret_id) : undefined
      const open = await isOpenTo(deps, ctx)
      const client = known?.ok ? known.client : null
      return answer(200, { client, open, currency: deps.currency, now: await deps.readClock() })
    },
  })
}

/** The key comes as any key does, so who guesses is slowed down as anywhere else. */
function enterConsole({ sessions, authenticator }: SessionRoutesDeps): Route {
  return route({
    ...CONSOLE,
    method: 'POST',
    operation_id: 'enterConsole',
    summary: 'Exchange an admin API key for a session',
    scope: 'admin',
    responses: NO_BODY,
    async handle({ ctx }): Promise<Answer> {
      const { secret_id } = await authenticator.identify(bearerOf(ctx))
      // While the service is open nobody needs a session.
      if (secret_id === undefined) return answer(204, null)
      return answer(204, null, { 'Set-Cookie': sessions.cookie(ctx.req, 'console', { kind: 'key', secret_id }) })
    },
  })
}

function leaveConsole({ sessions }: SessionRoutesDeps): Route {
  return route({
    ...CONSOLE,
    method: 'DELETE',
    operation_id: 'leaveConsole',
    summary: 'Leave the console',
    scope: 'open',
    responses: NO_BODY,
    handle: ({ ctx }) => answer(204, null, { 'Set-Cookie': sessions.cookie(ctx.req, 'console', undefined) }),
  })
}

type Ctx = Call<unknown, unknown, unknown>['ctx']

async function isOpenTo({ authenticator }: SessionRoutesDeps, ctx: Ctx): Promise<boolean> {
  const stranger = await authenticator.authenticate(undefined)
  return stranger.ok && stranger.open && isLocal(ctx.req)
}

async function mayLogInByName(deps: SessionRoutesDeps, ctx: Ctx): Promise<boolean> {
  const stranger = await deps.authenticator.authenticate(undefined)
  return stranger.ok && stranger.open ? isLocal(ctx.req) : deps.demo_login
}
