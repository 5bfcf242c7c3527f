import { refused } from '../../src/errors.ts'
import type { AppDeps } from '../../src/http/app.ts'
import type { Scope } from '../../src/http/route.ts'
import { authenticatorOf, fakeDeps, productOf } from './fakes.ts'
import { call, serveFakes, type Serving } from './serving.ts'

/** Who may do what, and who is kept out. */

const KEYS: Record<string, Scope[]> = {
  'read-key': ['read'],
  'reserve-key': ['reserve'],
  'admin-key': ['admin'],
}

const withKeys: Pick<AppDeps, 'authenticator'> = {
  authenticator: authenticatorOf((secret) => {
    const scopes = secret === undefined ? undefined : KEYS[secret]
    return scopes === undefined
      ? refused({ code: 'unauthenticated', detail: 'send an API key' })
      : { ok: true, client: secret!, scopes: new Set(scopes), open: false }
  }),
}

let open: Serving
let closed: Serving

beforeAll(async () => {
  open = await serveFakes()
  closed = await serveFakes(withKeys)
})

afterAll(() => Promise.all([open.close(), closed.close()]))

const ID = '01941f29-7c00-7000-8000-000000000000'
const reservation = { lines: [{ sku: 'A', quantity: 1 }] }
const product = { name: 'x', skus: [{ sku: 'A', price: 1, stock: 1 }] }
const calls: { method: string; path: string; body?: unknown; keyed?: true; scope: Scope }[] = [
  { method: 'GET', path: '/v1/stock/A', scope: 'read' },
  { method: 'GET', path: '/v1/stock', scope: 'read' },
  { method: 'GET', path: '/v1/stock/A/ledger', scope: 'read' },
  { method: 'GET', path: '/v1/reservations', scope: 'read' },
  { method: 'GET', path: '/v1/events', scope: 'read' },
  { method: 'GET', path: '/v1/stats', scope: 'read' },
  { method: 'GET', path: '/v1/streams/stock', scope: 'read' },
  { method: 'POST', path: '/v1/reservations', body: reservation, scope: 'reserve' },
  { method: 'POST', path: '/v1/reservations/batch', body: { reservations: [reservation] }, scope: 'reserve' },
  { method: 'POST', path: `/v1/reservations/${ID}/confirm`, scope: 'reserve' },
  { method: 'POST', path: `/v1/reservations/${ID}/release`, scope: 'reserve' },
  { method: 'POST', path: `/v1/reservations/${ID}/extend`, body: { ttl_seconds: 1 }, scope: 'reserve' },
  { method: 'POST', path: '/v1/reservations/confirm', body: { ids: [ID] }, scope: 'reserve' },
  { method: 'POST', path: '/v1/reservations/release', body: { ids: [ID] }, scope: 'reserve' },
  { method: 'GET', path: '/v1/products', scope: 'read' },
  { method: 'GET', path: '/v1/products?status=active', scope: 'read' },
  { method: 'GET', path: `/v1/products/${ID}`, scope: 'read' },
  { method: 'GET', path: '/v1/products?status=draft', scope: 'admin' },
  { method: 'POST', path: '/v1/products', body: product, scope: 'admin' },
  { method: 'PATCH', path: `/v1/products/${ID}`, body: { name: 'x' }, scope: 'admin' },
  { method: 'POST', path: '/v1/customers', body: { name: 'Kim' }, scope: 'reserve' },
  { method: 'GET', path: `/v1/customers/${ID}`, scope: 'read' },
  { method: 'GET', path: `/v1/customers/${ID}/ledger`, scope: 'read' },
  { method: 'POST', path: `/v1/customers/${ID}/charges`, body: { amount: 1 }, keyed: true, scope: 'admin' },
  { method: 'GET', path: `/v1/customers/${ID}/cart`, scope: 'read' },
  { method: 'POST', path: `/v1/customers/${ID}/cart`, body: { sku: 'A', quantity: 1 }, scope: 'reserve' },
  { method: 'PUT', path: `/v1/customers/${ID}/cart/A`, body: { quantity: 1 }, scope: 'reserve' },
  { method: 'DELETE', path: `/v1/customers/${ID}/cart/A`, scope: 'reserve' },
  { method: 'GET', path: `/v1/customers/${ID}/coupons`, scope: 'read' },
  { method: 'POST', path: '/v1/coupons', body: { code: 'C', discount_percent: 1, quantity: 1 }, scope: 'admin' },
  { method: 'GET', path: '/v1/coupons/C', scope: 'read' },
  { method: 'POST', path: '/v1/coupons/C/issues', body: { customer_id: ID }, scope: 'reserve' },
  { method: 'POST', path: '/v1/orders', body: { customer_id: ID }, scope: 'reserve' },
  { method: 'GET', path: '/v1/orders', scope: 'read' },
  { method: 'GET', path: `/v1/orders/${ID}`, scope: 'read' },
  { method: 'POST', path: `/v1/orders/${ID}/cancel`, scope: 'reserve' },
  { method: 'POST', path: `/v1/orders/${ID}/payments`, body: { method: 'balance' }, keyed: true, scope: 'reserve' },
  { method: 'POST', path: `/v1/orders/${ID}/refunds`, body: { restock: true }, scope: 'admin' },
  { method: 'GET', path: `/v1/payments/${ID}`, scope: 'read' },
  { method: 'GET', path: '/v1/products/popular', scope: 'read' },
  { method: 'PUT', path: '/v1/stock/A', body: { stock: 1 }, scope: 'admin' },
  { method: 'PUT', path: '/v1/stock', body: { items: [{ sku: 'A', stock: 1 }] }, scope: 'admin' },
  { method: 'POST', path: '/v1/stock/adjustments', body: { items: [{ sku: 'A', delta: 1 }] }, scope: 'admin' },
]

test.each(calls)('$method $path needs the scope $scope', async ({ method, path, body, keyed, scope }) => {
  for (const [secret, scopes] of Object.entries(KEYS)) {
    const headers = { Authorization: `Bearer ${secret}`, ...(keyed && { 'Idempotency-Key': 'k' }) }
    const { status, body: said } = await call(closed, method, path, { body, headers })
    const allowed = scopes.includes(scope) || scopes.includes('admin')
    expect([secret, status < 300 ? 'served' : said.code]).toEqual([secret, allowed ? 'served' : 'forbidden'])
  }
})

test('a draft does not exist for who may only read', async () => {
  const { catalog } = fakeDeps()
  const readProduct = (id: string) => Promise.resolve(productOf({ id, status: 'draft' as const }))
  const app = await serveFakes({ ...withKeys, catalog: { ...catalog, readProduct } })
  const get = async (secret: string) =>
    (await call(app, 'GET', `/v1/products/${ID}`, { headers: { Authorization: `Bearer ${secret}` } })).status
  expect([await get('read-key'), await get('admin-key')]).toEqual([404, 200])
  await app.close()
})

test('without a valid key nothing but health and documentation is served', async () => {
  for (const headers of [
    {},
    { Authorization: 'Bearer wrong' },
    { Authorization: 'Basic cmVhZC1rZXk6' },
    { Authorization: 'Bearer' },
  ]) {
    const answer = await call(closed, 'GET', '/v1/stock/A', { headers: headers as Record<string, string> })
    expect(answer).toMatchObject({ status: 401, body: { code: 'unauthenticated' } })
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer /)
  }
  for (const path of ['/healthz', '/readyz', '/openapi.json', '/docs', '/docs/errors', '/metrics']) {
    expect([path, (await call(closed, 'GET', path)).status]).toEqual([path, 200])
  }
})

test('metrics need a key as soon as something forwards the request', async () => {
  const forwarded = { 'X-Forwarded-For': '10.0.0.1' }
  expect(await call(closed, 'GET', '/metrics', { headers: forwarded })).toMatchObject({ status: 401 })
  const withKey = { ...forwarded, Authorization: 'Bearer read-key' }
  expect(await call(closed, 'GET', '/metrics', { headers: withKey })).toMatchObject({ status: 200 })
  const reserveOnly = { ...forwarded, Authorization: 'Bearer reserve-key' }
  expect(await call(closed, 'GET', '/metrics', { headers: reserveOnly })).toMatchObject({ status: 403 })
})

test.each([
  ['X-Forwarded-For', '127.0.0.1'],
  ['X-Forwarded-Host', 'shop.example'],
  ['Forwarded', 'for=127.0.0.1'],
  ['X-Real-IP', '127.0.0.1'],
  ['Via', '1.1 proxy'],
  ['Origin', 'https://evil.example'],
  ['Sec-Fetch-Site', 'cross-site'],
])('while there are no keys, a request with %s: %s is refused', async (name, value) => {
  const answer = await call(open, 'GET', '/v1/stock/A', { headers: { [name]: value } })
  expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } })
})

test('while there are no keys, this machine is served under its own names only', async () => {
  const { port } = new URL(open.url)
  for (const host of ['localhost', `localhost:${port}`, '127.0.0.1', `[::1]:${port}`]) {
    expect([host, await statusForHost(host)]).toEqual([host, 200])
  }
  for (const host of ['rebound.example', '127.0.0.1.evil.example', 'localhost.evil.example']) {
    expect([host, await statusForHost(host)]).toEqual([host, 403])
  }
})

/** fetch sets Host by itself. */
async function statusForHost(host: string): Promise<number> {
  const { request } = await import('node:http')
  return new Promise((resolve, reject) => {
    request(`${open.url}/v1/stock/A`, { headers: { host } }, (response) => {
      response.resume()
      resolve(response.statusCode!)
    })
      .on('error', reject)
      .end()
  })
}

test('an address that fails again and again is told to wait, while a key that was let in before is served', async () => {
  let asked = 0
  const app = await serveFakes({
    authenticator: {
      ...withKeys.authenticator,
      authenticate: (secret) => {
        asked++
        return withKeys.authenticator.authenticate(secret)
      },
    },
  })
  const get = (secret: string) =>
    call(app, 'GET', '/v1/stock/A', { headers: { Authorization: `Bearer ${secret}` } }).then(({ status }) => status)
  expect(await get('read-key')).toBe(200)
  const statuses: number[] = []
  for (let i = 0; i < 40; i++) statuses.push(await get(`guess-${i}`))
  expect(new Set(statuses.slice(0, 30))).toEqual(new Set([401]))
  expect(new Set(statuses.slice(30))).toEqual(new Set([429]))
  expect(asked).toBeLessThan(40)
  const limited = await call(app, 'GET', '/v1/stock/A')
  expect(limited).toMatchObject({ status: 429, body: { code: 'rate_limited' } })
  expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(await get('read-key')).toBe(200)
  await app.close()
})
