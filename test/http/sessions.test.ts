import { request as ask, type IncomingMessage } from 'node:http'
import { createSessions, type Session } from '../../src/http/sessions.ts'
import { customerRuleOf, ruledRoutes } from '../../src/http/customer_rules.ts'
import { apiDocument } from '../../src/http/document.ts'
import { refused } from '../../src/errors.ts'
import type { AppDeps } from '../../src/http/app.ts'
import type { Scope } from '../../src/http/route.ts'
import { authenticatorOf, customerOf, fakeDeps } from './fakes.ts'
import { call, serveFakes, type Answered, type Serving } from './serving.ts'

/** Who comes through the pages' doors, and how far they get. */

const ME = '01941f29-7c00-7000-8000-00000000000a'
const OTHER = '01941f29-7c00-7000-8000-00000000000b'
const SECRET = 'a secret of this test, not of any other'

const keys: Record<string, Scope[]> = { 'read-key': ['read'], 'admin-key': ['admin'] }
const revoked = new Set<string>()

const closed: Partial<AppDeps> = {
  authenticator: authenticatorOf((secret) => {
    const scopes = secret === undefined || revoked.has(secret) ? undefined : keys[secret]
    if (scopes === undefined) return refused({ code: 'unauthenticated', detail: 'no such key' })
    return { ok: true, client: secret!, scopes: new Set(scopes), open: false }
  }),
}

const { pages, customers, orders } = fakeDeps()
/** My order is the one whose id ends in a, my payment too. */
const owners: Partial<AppDeps> = {
  pages: {
    ...pages,
    sessions: createSessions({ secret: SECRET }),
    customerOfOrder: (id) => Promise.resolve(id.endsWith('a') ? ME : OTHER),
    customerOfPayment: (id) => Promise.resolve(id.endsWith('a') ? ME : OTHER),
  },
  customers: { ...customers, readCustomer: (id) => Promise.resolve(customerOf({ id, name: 'Mina' })) },
  orders: { ...orders },
}

let open: Serving
let shut: Serving
let demo: Serving

beforeAll(async () => {
  open = await serveFakes(owners)
  shut = await serveFakes({ ...owners, ...closed })
  demo = await serveFakes({ ...owners, ...closed, pages: { ...owners.pages!, demo_login: true } })
})
afterEach(() => revoked.clear())
afterAll(() => Promise.all([open.close(), shut.close(), demo.close()]))

const SAME_ORIGIN = { 'Sec-Fetch-Site': 'same-origin' }

type Options = { body?: unknown; headers?: Record<string, string>; cookie?: string }

/** A request as the page's own script makes it. */
function asPage(app: Serving, method: string, path: string, { body, headers = {}, cookie }: Options = {}) {
  const sent = { ...SAME_ORIGIN, ...headers, ...(cookie === undefined ? {} : { Cookie: cookie }) }
  return call(app, method, path, { headers: sent, ...(body === undefined ? {} : { body }) })
}

/** The name and value of the cookie that an answer sets. */
function cookieOf(answer: Answered): string {
  return answer.headers.get('set-cookie')!.split(';')[0]!
}

async function logIn(app: Serving): Promise<string> {
  return cookieOf(await asPage(app, 'POST', '/shop/session', { body: { customer_id: ME } }))
}

describe('a customer', () => {
  let cookie: string
  beforeAll(async () => {
    cookie = await logIn(open)
  })

  test('has a cookie that scripts do not see, other sites do not send, and other paths do not get', async () => {
    const answer = await asPage(open, 'POST', '/shop/session', { body: { name: 'Mina' } })
    expect(answer.status).toBe(200)
    const attributes = answer.headers.get('set-cookie')!.split('; ').slice(1)
    expect(attributes).toEqual(['Path=/shop', 'Max-Age=43200', 'HttpOnly', 'SameSite=Strict'])
    const tls = { 'X-Forwarded-Proto': 'https' }
    const forwarded = await asPage(demo, 'POST', '/shop/session', { body: { name: 'Mina' }, headers: tls })
    expect(forwarded.headers.get('set-cookie')).toMatch(/; Secure$/)
  })

  test('is known from then on, and not after leaving', async () => {
    expect((await asPage(open, 'GET', '/shop/session', { cookie })).body).toMatchObject({
      customer: { id: ME, name: 'Mina' },
      currency: 'KRW',
      now: '2026-01-02T03:04:05.678Z',
    })
    const left = await asPage(open, 'DELETE', '/shop/session', { cookie })
    expect([left.status, left.headers.get('set-cookie')]).toEqual([204, expect.stringContaining('Max-Age=0')])
  })

  const OWN: [string, string, unknown][] = [
    ['GET', '/v1/products', undefined],
    ['GET', '/v1/products/popular', undefined],
    ['GET', `/v1/products/${OTHER}`, undefined],
    ['GET', '/v1/streams/stock?sku=A', undefined],
    ['GET', `/v1/customers/${ME}`, undefined],
    ['GET', `/v1/customers/${ME.toUpperCase()}/cart`, undefined],
    ['POST', `/v1/customers/${ME}/cart`, { sku: 'A', quantity: 1 }],
    ['PUT', `/v1/customers/${ME}/cart/A`, { quantity: 1 }],
    ['DELETE', `/v1/customers/${ME}/cart/A`, undefined],
    ['GET', `/v1/customers/${ME}/ledger`, undefined],
    ['GET', `/v1/customers/${ME}/coupons`, undefined],
    ['POST', `/v1/customers/${ME}/charges`, { amount: 1 }],
    ['POST', '/v1/coupons/C/issues', { customer_id: ME }],
    ['POST', '/v1/orders', { customer_id: ME }],
    ['GET', `/v1/orders?customer_id=${ME}`, undefined],
    ['GET', `/v1/orders/${ME}`, undefined],
    ['POST', `/v1/orders/${ME}/payments`, { method: 'balance' }],
    ['POST', `/v1/orders/${ME}/cancel`, undefined],
    ['GET', `/v1/payments/${ME}`, undefined],
  ]

  test.each(OWN)('may %s %s', async (method, path, body) => {
    for (const app of [open, demo]) {
      const headers = { 'Idempotency-Key': 'k' }
      const answer = await asPage(app, method, `/shop${path}`, { cookie, headers, body })
      expect([answer.status < 300, answer.body.title]).toEqual([true, undefined])
    }
  })

  const OTHERS: [string, string, unknown, string][] = [
    ['GET', `/v1/customers/${OTHER}`, undefined, 'customer_not_found'],
    ['GET', `/v1/customers/${OTHER}/cart`, undefined, 'customer_not_found'],
    ['POST', `/v1/customers/${OTHER}/cart`, { sku: 'A', quantity: 1 }, 'customer_not_found'],
    ['PUT', `/v1/customers/${OTHER}/cart/A`, { quantity: 1 }, 'customer_not_found'],
    ['DELETE', `/v1/customers/${OTHER}/cart/A`, undefined, 'customer_not_found'],
    ['GET', `/v1/customers/${OTHER}/ledger`, undefined, 'customer_not_found'],
    ['GET', `/v1/customers/${OTHER}/coupons`, undefined, 'customer_not_found'],
    ['POST', `/v1/customers/${OTHER}/charges`, { amount: 1 }, 'customer_not_found'],
    ['POST', '/v1/coupons/C/issues', { customer_id: OTHER }, 'forbidden'],
    ['POST', '/v1/orders', { customer_id: OTHER }, 'forbidden'],
    ['GET', `/v1/orders?customer_id=${OTHER}`, undefined, 'forbidden'],
    ['GET', '/v1/orders', undefined, 'forbidden'],
    ['GET', `/v1/orders/${OTHER}`, undefined, 'order_not_found'],
    ['POST', `/v1/orders/${OTHER}/payments`, { method: 'balance' }, 'order_not_found'],
    ['POST', `/v1/orders/${OTHER}/cancel`, undefined, 'order_not_found'],
    ['GET', `/v1/payments/${OTHER}`, undefined, 'payment_not_found'],
  ]

  test.each(OTHERS)('may not %s %s', async (method, path, body, code) => {
    const headers = { 'Idempotency-Key': 'k' }
    expect(await asPage(open, method, `/shop${path}`, { cookie, headers, body })).toMatchObject({ body: { code } })
  })

  test('may do nothing for which there is no rule, though the service is open', async () => {
    const { paths } = apiDocument() as { paths: Record<string, Record<string, { security?: unknown[] }>> }
    const unruled = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods)
        .filter(([method, { security }]) => security === undefined && customerRuleOf(of(method, path)) === undefined)
        .map(([method]) => [method.toUpperCase(), path] as const),
    )
    expect(unruled.length).toBeGreaterThan(20)
    for (const [method, path] of unruled) {
      const answer = await asPage(open, method, `/shop${path.replaceAll(/\{\w+\}/g, ME)}`, {
        cookie,
        ...(method === 'GET' ? {} : { body: {} }),
      })
      expect([method, path, answer.status, answer.body.code]).toEqual([method, path, 403, 'forbidden'])
    }
  })

  test('comes back from a gateway to this shop and to nowhere else', async () => {
    const pay = (return_url: string) =>
      asPage(open, 'POST', `/shop/v1/orders/${ME}/payments`, {
        cookie,
        headers: { 'Idempotency-Key': 'k' },
        body: { method: 'card', return_url },
      })
    expect(await pay(`/shop/orders/${ME}`)).toMatchObject({ status: 201 })
    for (const elsewhere of ['https://evil.example/', `${open.url}.evil.example/`]) {
      expect(await pay(elsewhere)).toMatchObject({ status: 400, body: { errors: [{ path: '/return_url' }] } })
    }
  })

  test('is nobody any more once the demonstration is over', async () => {
    expect((await asPage(shut, 'GET', '/shop/session', { cookie })).body).toMatchObject({ customer: null })
    const headers = { 'Idempotency-Key': 'k' }
    const charge = { cookie, headers, body: { amount: 1 } }
    expect(await asPage(shut, 'POST', `/shop/v1/customers/${ME}/charges`, charge)).toMatchObject({ status: 401 })
    expect(await asPage(shut, 'GET', '/shop/v1/products', { cookie })).toMatchObject({ status: 200 })
  })

  test('who is not made because there is too much to do is told so', async () => {
    const createCustomer = () => Promise.resolve(refused({ code: 'overloaded', detail: 'too much' }))
    const app = await serveFakes({ ...owners, customers: { ...customers, createCustomer } })
    const answer = await asPage(app, 'POST', '/shop/session', { body: { name: 'Mina' } })
    expect(answer).toMatchObject({ status: 503, body: { code: 'overloaded', outcome: 'none' } })
    await app.close()
  })

  test('is kept to the bounds of the contract as everybody is', async () => {
    const body = { sku: 'A', quantity: 0 }
    expect(await asPage(open, 'POST', `/shop/v1/customers/${ME}/cart`, { cookie, body })).toMatchObject({ status: 400 })
  })

  test('has a client of their own to the idempotency keys', async () => {
    const clients: string[] = []
    const app = await serveFakes({
      ...owners,
      customers: {
        ...customers,
        chargeBalance: (request) => {
          clients.push(request.client)
          return customers.chargeBalance(request)
        },
      },
    })
    const headers = { 'Idempotency-Key': 'k' }
    await asPage(app, 'POST', `/shop/v1/customers/${ME}/charges`, { cookie, headers, body: { amount: 1 } })
    expect(clients).toEqual([`customer:${ME}`])
    await app.close()
  })
})

function of(method: string, path: string) {
  return { method: method.toUpperCase() as 'GET', path }
}

test('every rule for customers is for a route that there is', () => {
  const { paths } = apiDocument() as { paths: Record<string, Record<string, unknown>> }
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
  expect(ruledRoutes().filter((route) => !routes.includes(route))).toEqual([])
})

describe('somebody without a session', () => {
  test('may look at products and stock in the shop, and at nothing that is somebody’s', async () => {
    for (const app of [open, shut]) {
      for (const path of ['/v1/products', '/v1/products/popular', '/v1/streams/stock?sku=A']) {
        expect([path, (await asPage(app, 'GET', `/shop${path}`)).status]).toEqual([path, 200])
      }
      for (const path of [`/v1/customers/${ME}`, `/v1/orders/${ME}`]) {
        expect([path, (await asPage(app, 'GET', `/shop${path}`)).status]).toEqual([path, 401])
      }
      expect((await asPage(app, 'GET', '/shop/v1/reservations')).status).toBe(403)
      expect(await asPage(app, 'GET', '/shop/v1/streams/stock')).toMatchObject({
        status: 400,
        body: { errors: [{ path: '/sku' }] },
      })
    }
  })

  test('is not let into a service that is open to its own machine alone from anywhere else', async () => {
    const headers = { 'X-Forwarded-For': '10.0.0.1' }
    expect((await asPage(open, 'GET', '/shop/v1/products', { headers })).status).toBe(403)
    expect((await asPage(open, 'POST', '/shop/session', { headers, body: { name: 'Mina' } })).status).toBe(403)
    expect((await asPage(shut, 'GET', '/shop/v1/products', { headers })).status).toBe(200)
  })

  test('may log in by name while the service is open, and afterwards only where that is allowed', async () => {
    const body = { customer_id: ME }
    expect((await asPage(shut, 'POST', '/shop/session', { body })).status).toBe(403)
    expect((await asPage(shut, 'GET', '/shop/session')).body).toMatchObject({ demo_login: false, customers: [] })
    expect((await asPage(demo, 'POST', '/shop/session', { body })).status).toBe(200)
    expect((await asPage(demo, 'GET', '/shop/session')).body).toMatchObject({
      demo_login: true,
      customers: [{ name: 'Kim' }],
    })
  })

  test.each([{}, { name: '' }, { name: ' Mina' }, { name: 'Mina', customer_id: ME }, { customer_id: 'me' }])(
    'may not be %j',
    async (body) => {
      expect(await asPage(open, 'POST', '/shop/session', { body })).toMatchObject({ status: 400 })
    },
  )
})

describe('another site', () => {
  test.each([
    ['says so', { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.example' }],
    ['shares the site but not the origin', { 'Sec-Fetch-Site': 'same-site', Origin: 'http://127.0.0.1:1' }],
    ['has another origin', { Origin: 'http://localhost:1' }],
    ['says nothing', {}],
  ])('that %s changes nothing, cookie or not', async (_, headers) => {
    const cookie = await logIn(demo)
    const attempts: [string, string][] = [
      ['POST', `/shop/v1/orders/${ME}/cancel`],
      ['DELETE', `/shop/v1/customers/${ME}/cart/A`],
      ['POST', '/shop/session'],
      ['POST', '/console/v1/stock/adjustments'],
      ['DELETE', '/console/session'],
    ]
    for (const [method, path] of attempts) {
      const sent = { ...(headers as Record<string, string>), Cookie: cookie }
      const answer = await call(demo, method, path, { headers: sent, body: {} })
      expect([path, answer.status, answer.body.code]).toEqual([path, 403, 'forbidden'])
    }
  })

  test('changes nothing by naming the host in the request line either', async () => {
    const { port } = new URL(demo.url)
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const path = `${demo.url}/shop/session`
      ask({ port, host: '127.0.0.1', method: 'DELETE', path, agent: false }, resolve).on('error', reject).end()
    })
    expect(answer.statusCode).toBe(403)
  })

  test('that is this one is served where a browser says its origin alone', async () => {
    const cookie = await logIn(demo)
    const headers = { Cookie: cookie, Origin: demo.url }
    expect((await call(demo, 'POST', `/shop/v1/orders/${ME}/cancel`, { headers })).status).toBe(200)
  })
})

describe('a cookie', () => {
  const sessions = (options: { secret?: string; now?: () => number } = {}) =>
    createSessions({ secret: SECRET, ...options })
  const request = (cookie: string) => ({ headers: { cookie } }) as never
  const session: Session = { kind: 'customer', customer_id: ME }
  const made = (by = sessions()) => by.cookie(request(''), 'shop', session).split(';')[0]!

  test('is read as it was written, among others', () => {
    expect(sessions().read(request(`a=1; ${made()}; b=2`), 'shop')).toEqual(session)
  })

  test.each([
    ['signed with another secret', () => made(sessions({ secret: 'another secret, just as long as this' }))],
    ['of another page', () => made().replace('shop_session', 'console_session')],
    ['of which a character was changed', () => made().replace(/=(.)/, '=x')],
    ['without its signature', () => made().split('.')[0]!],
    ['with something behind it', () => `${made()}.x`],
    ['that is empty', () => 'shop_session='],
    ['that ended', () => made(sessions({ now: () => Date.now() - 43_200_001 }))],
  ])('%s is no session', (_, cookie) => {
    for (const page of ['shop', 'console'] as const) {
      if (cookie().startsWith(page)) expect(sessions().read(request(cookie()), page)).toBeUndefined()
    }
  })

  test('opens nothing under /v1, and nothing of the other page', async () => {
    const cookie = await logIn(demo)
    expect((await asPage(demo, 'GET', `/v1/customers/${ME}`, { cookie })).status).toBe(401)
    expect((await asPage(demo, 'GET', `/console/v1/customers/${ME}`, { cookie })).status).toBe(401)
  })
})

describe('the console', () => {
  const bearer = (key: string) => ({ Authorization: `Bearer ${key}` })
  const adjustment = { body: { items: [{ sku: 'A', delta: 1 }] } }

  test('needs no login on this machine while the service is open', async () => {
    expect((await asPage(open, 'GET', '/console/session')).body).toMatchObject({ open: true, client: null })
    expect((await asPage(open, 'POST', '/console/v1/stock/adjustments', adjustment)).status).toBe(201)
    const headers = { 'X-Forwarded-For': '10.0.0.1' }
    expect((await asPage(open, 'GET', '/console/session', { headers })).body).toMatchObject({ open: false })
    expect((await asPage(open, 'GET', '/console/v1/stats', { headers })).status).toBe(403)
  })

  test('exchanges an admin key for a session that may what the key may, until the key is revoked', async () => {
    expect((await asPage(shut, 'GET', '/console/v1/stats')).status).toBe(401)
    const entered = await asPage(shut, 'POST', '/console/session', { headers: bearer('admin-key') })
    expect([entered.status, entered.headers.get('set-cookie')]).toEqual([
      204,
      expect.stringMatching(/^console_session=.*; Path=\/console; Max-Age=43200; HttpOnly; SameSite=Strict$/),
    ])
    expect(entered.headers.get('set-cookie')).not.toContain('admin-key')
    const cookie = cookieOf(entered)
    expect((await asPage(shut, 'GET', '/console/session', { cookie })).body).toMatchObject({
      client: 'admin-key',
      open: false,
    })
    expect((await asPage(shut, 'GET', '/console/v1/stats', { cookie })).status).toBe(200)
    expect((await asPage(shut, 'POST', '/console/v1/stock/adjustments', { ...adjustment, cookie })).status).toBe(201)
    revoked.add('admin-key')
    expect((await asPage(shut, 'GET', '/console/v1/stats', { cookie })).status).toBe(401)
    expect((await asPage(shut, 'GET', '/console/session', { cookie })).body).toMatchObject({ client: null })
  })

  test('watches stock for as long as the key is good', async () => {
    let left = 0
    const watch = () => Promise.resolve(() => void (left += 1))
    const app = await serveFakes({ ...owners, ...closed, stock: { ...fakeDeps().stock, watch } })
    const cookie = cookieOf(await asPage(app, 'POST', '/console/session', { headers: bearer('admin-key') }))
    const stream = await fetch(`${app.url}/console/v1/streams/stock`, { headers: { Cookie: cookie } })
    expect([stream.status, left]).toEqual([200, 0])
    revoked.add('admin-key')
    await stream.text()
    expect(left).toBe(1)
    await app.close()
  })

  test('takes no other key, and slows down who guesses', async () => {
    const app = await serveFakes({ ...owners, ...closed })
    expect((await asPage(app, 'POST', '/console/session', { headers: bearer('read-key') })).status).toBe(403)
    expect((await asPage(app, 'POST', '/console/session')).status).toBe(401)
    const statuses: number[] = []
    for (let i = 0; i < 40; i++) {
      statuses.push((await asPage(app, 'POST', '/console/session', { headers: bearer(`guess-${i}`) })).status)
    }
    expect(new Set(statuses)).toEqual(new Set([401, 429]))
    await app.close()
  })
})
