import fc from 'fast-check'
import { Agent, request } from 'node:http'
import { documentedProblems } from '../../src/http/problem.ts'
import { verify } from '../../src/operations/verify.ts'
import { findBroken } from '../factories.ts'
import { call, serveService, type ServingService } from './serving.ts'

/** Whatever a client sends to whatever route: it gets an answer of the contract, never a 500, and breaks nothing. */

let serving: ServingService
const agent = new Agent({ keepAlive: true, maxSockets: 4 })

beforeAll(async () => {
  serving = await serveService({ A: 100, B: 0, 'ä/b c': 1_000_000_000 })
  const made = async (path: string, given: object) =>
    String(
      (await call(serving, 'POST', path, { body: given, headers: { 'Idempotency-Key': `first ${path}` } })).body.id,
    )
  const skus = ['M', 'L'].map((size, i) => ({ sku: `TEE-${size}`, options: { size }, price: 2900, stock: 50 * i }))
  known.set('{product}', await made('/v1/products', { name: 'Tee', skus }))
  known.set('{customer}', await made('/v1/customers', { name: 'Kim' }))
  await made('/v1/coupons', { code: 'C', discount_percent: 10, quantity: 3 })
  const lines = [{ sku: 'TEE-L', quantity: 1 }]
  known.set('{order}', await made('/v1/orders', { customer_id: known.get('{customer}'), lines }))
})

/** What exists, by what stands for it in a path or body. */
const known = new Map<string, string>()

function named(given: string): string {
  return given.replaceAll(/\{\w+\}/g, (name) => known.get(name) ?? name)
}

afterAll(async () => {
  agent.destroy()
  await serving.close()
})

type Sent = { method: string; path: string; headers: Record<string, string>; body: string | Buffer | undefined }

/** Requests, and how many of them are under way at one time. */
const RUNS = 2500
const AT_ONCE = 5
const CODES = new Set(documentedProblems().map(({ code }) => code))

/** Text that is likely to be trouble: surrogates, control characters, other planes, long. */
const text = fc.oneof(
  fc.constantFrom(
    'A',
    'B',
    'ä/b c',
    'none',
    'TEE-M',
    'C',
    '{customer}',
    '{order}',
    '',
    ' ',
    '\0',
    'A\0',
    '\ud800',
    '%',
    '..',
    '__proto__',
    'constructor',
    'NaN',
  ),
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)), maxLength: 8 }),
  fc.nat(300).map((length) => 'x'.repeat(length)),
)
const number = fc.oneof(
  fc.constantFrom(0, -0, 1, -1, 0.5, 1e6, 1e6 + 1, 2e9, 2e9 + 1, 2 ** 31, 2 ** 53, 1e21, 1e308, -2e9),
  fc.integer({ min: 1, max: 5 }),
  fc.double(),
)
const anything = fc.oneof(text, number, fc.boolean(), fc.constant(null), fc.jsonValue({ maxDepth: 3 }))

const line = fc.record({
  sku: fc.oneof({ weight: 3, arbitrary: fc.constantFrom('A', 'B', 'ä/b c') }, text),
  quantity: number,
})
const uuid = fc.oneof(fc.uuid(), text)
const productSku = fc.record(
  {
    sku: text,
    options: fc.oneof(fc.dictionary(text, text, { maxKeys: 2 }), anything),
    price: number,
    stock: number,
  },
  { requiredKeys: ['sku', 'price'] },
)

/** Objects that are almost right: known fields, each with a good value, a bad one, or absent. */
const body = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record(
      {
        lines: fc.oneof({ weight: 4, arbitrary: fc.array(line, { maxLength: 4 }) }, anything),
        customer_id: text,
        reference: fc.oneof(text, anything),
        ttl_seconds: number,
        metadata: fc.oneof(fc.dictionary(text, anything, { maxKeys: 3 }), anything),
      },
      { requiredKeys: ['lines'] },
    ),
  },
  fc.record({ stock: number }),
  fc.record({ items: fc.array(fc.record({ sku: text, stock: number }), { maxLength: 4 }) }),
  fc.record({ items: fc.array(fc.record({ sku: text, delta: number, reason: text }), { maxLength: 4 }) }),
  fc.record({ ids: fc.array(uuid, { maxLength: 4 }), reason: text }, { requiredKeys: ['ids'] }),
  fc.record(
    {
      name: text,
      description: fc.oneof(text, anything),
      image: fc.oneof(fc.webUrl(), text),
      status: fc.oneof(fc.constantFrom('draft', 'active', 'archived'), text),
      skus: fc.oneof({ weight: 4, arbitrary: fc.array(productSku, { maxLength: 3 }) }, anything),
    },
    { requiredKeys: ['name'] },
  ),
  fc.record({ amount: number }),
  fc.record({ sku: text, quantity: number }),
  fc.record(
    { code: text, discount_percent: number, discount_amount: number, quantity: number },
    { requiredKeys: ['code', 'quantity'] },
  ),
  fc.record({ customer_id: uuid }),
  fc.record({ on_expired: fc.oneof(fc.constantFrom('refuse', 'reacquire'), text) }),
  fc.record({ ttl_seconds: number }),
  fc.record({
    reservations: fc.array(
      fc.record({ lines: fc.array(line, { maxLength: 3 }), idempotency_key: text }, { requiredKeys: ['lines'] }),
      { maxLength: 4 },
    ),
  }),
  anything,
)

/** As JSON, as JSON that lost its tail, or as bytes. */
const payload: fc.Arbitrary<string | Buffer | undefined> = fc.oneof(
  { weight: 10, arbitrary: body.map((value) => JSON.stringify(value) ?? 'null') },
  fc.tuple(body, fc.nat(40)).map(([value, cut]) => (JSON.stringify(value) ?? '').slice(0, -cut || undefined)),
  fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
  fc.constant(undefined),
)

/** What may stand in a request line; anything else doesn't reach a route, see malformed.test.ts. */
const raw = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
  maxLength: 12,
})
const segment = fc.oneof(
  text.map((value) => encodeURIComponent(value.toWellFormed())),
  raw,
  fc.uuid(),
)
const query = fc.array(
  fc.tuple(
    fc.constantFrom(
      'limit',
      'cursor',
      'sku',
      'available',
      'status',
      'reference',
      'idempotency_key',
      'expires_before',
      'after',
      'x',
    ),
    fc.oneof(segment, fc.constantFrom('1', '200', 'true', 'pending', '2026-01-01T00:00:00Z', '9007199254740993')),
  ),
  { maxLength: 4 },
)
const path = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom('/v1/reservations', '/v1/reservations/batch', '/v1/reservations/confirm') },
  fc.constantFrom('/v1/reservations/release', '/v1/stock', '/v1/stock/adjustments', '/v1/events', '/v1/stats', '/docs'),
  fc
    .tuple(segment, fc.constantFrom('', '/confirm', '/release', '/extend'))
    .map(([id, verb]) => `/v1/reservations/${id}${verb}`),
  fc.tuple(segment, fc.constantFrom('', '/ledger')).map(([sku, part]) => `/v1/stock/${sku}${part}`),
  fc.constantFrom('/v1/products', '/v1/products/{product}', '/v1/customers', '/v1/coupons', '/v1/coupons/C/issues'),
  fc
    .constantFrom('', '/charges', '/ledger', '/cart', '/cart/TEE-L', '/coupons')
    .map((part) => `/v1/customers/{customer}${part}`),
  fc.constantFrom('', '/cancel', '/payments', '/refunds').map((part) => `/v1/orders/{order}${part}`),
  fc.constantFrom('/v1/orders', '/v1/products/popular', '/v1/payments/webhooks/development', '/v1/payments/{order}'),
  fc
    .tuple(segment, fc.constantFrom('', '/charges', '/ledger', '/cart', '/coupons'), segment)
    .map(([id, part, sku]) => `/v1/customers/${id}${part}${part === '/cart' ? `/${sku}` : ''}`),
  fc
    .tuple(fc.constantFrom('products', 'coupons'), segment, fc.constantFrom('', '/issues'))
    .map(([room, name, part]) => `/v1/${room}/${name}${part}`),
  raw.map((rest) => `/${rest}`),
)
const value = fc.string({ unit: fc.constantFrom(...'\t !"*,;=azAZ09äÿ/\\{}'), maxLength: 12 })
const headers = fc.record(
  {
    'Content-Type': fc.oneof({ weight: 8, arbitrary: fc.constant('application/json') }, value),
    'Idempotency-Key': fc.oneof(fc.constantFrom('k1', 'k2'), value),
    'If-Match': fc.oneof(fc.constantFrom('*', '"1"', '"99999999999999999999"'), value),
    'If-None-Match': fc.oneof(fc.constantFrom('*', '"1"'), value),
    'X-Request-Id': value,
    'Content-Encoding': fc.constantFrom('identity', 'gzip', ''),
    Authorization: value,
    Expect: value,
  },
  { requiredKeys: ['Content-Type'] },
)
const wild: fc.Arbitrary<Sent> = fc.record({
  method: fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE') },
    fc.constantFrom('HEAD', 'OPTIONS', 'QUERY', 'TRACE'),
  ),
  path: fc.tuple(path, query).map(([at, parameters]) => {
    const search = parameters.map(([name, given]) => `${name}=${given}`).join('&')
    return search === '' ? at : `${at}?${search}`
  }),
  headers,
  body: payload,
})

/** Sound requests but for one or two fields that carry anything: these come through to the database. */
const skus = fc.constantFrom('A', 'B', 'ä/b c', 'new')
const goodLines = fc.array(fc.record({ sku: skus, quantity: fc.integer({ min: 1, max: 3 }) }), {
  minLength: 1,
  maxLength: 3,
})
const hold = fc.record(
  {
    lines: goodLines,
    customer_id: text,
    reference: text,
    ttl_seconds: number,
    metadata: fc.dictionary(text, anything, { maxKeys: 3 }),
  },
  { requiredKeys: ['lines'] },
)
const sound = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ method: fc.constant('POST'), path: fc.constant('/v1/reservations'), body: hold }),
  },
  fc.record({
    method: fc.constant('POST'),
    path: fc.constant('/v1/reservations/batch'),
    body: fc.record({ reservations: fc.array(hold, { minLength: 1, maxLength: 3 }) }),
  }),
  fc.record({
    method: fc.constant('PUT'),
    path: skus.map((sku) => `/v1/stock/${encodeURIComponent(sku)}`),
    body: fc.record({ stock: fc.oneof(fc.integer({ min: 0, max: 2e9 }), number) }),
  }),
  fc.record({
    method: fc.constant('POST'),
    path: fc.constant('/v1/stock/adjustments'),
    body: fc.record({
      items: fc.array(
        fc.record({ sku: skus, delta: fc.oneof(fc.integer({ min: -5, max: 5 }), number), reason: text }),
        { minLength: 1 },
      ),
    }),
  }),
  fc.record({
    method: fc.constant('GET'),
    path: fc
      .tuple(fc.constantFrom('reference', 'customer_id', 'idempotency_key', 'sku', 'cursor', 'expires_before'), segment)
      .map(([name, given]) => `/v1/reservations?${name}=${given}`),
    body: fc.constant(undefined),
  }),
  { weight: 6, arbitrary: soundStorefront() },
  { weight: 3, arbitrary: soundOrders() },
)

/** Nearly always a good value, so that a request of several fields still comes through. */
function mostly<T>(good: fc.Arbitrary<T>, bad: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 9, arbitrary: good }, bad)
}

function soundStorefront() {
  const size = mostly(fc.constantFrom('M', 'L', 'XL'), text)
  const sku = fc.record({
    sku: mostly(fc.uuid(), fc.oneof(fc.constantFrom('TEE-M', 'A', 'new'), text)),
    options: size.map((given) => ({ size: given })),
    price: mostly(fc.integer({ min: 0, max: 2e9 }), number),
    stock: mostly(fc.integer({ min: 0, max: 9 }), number),
  })
  const name = mostly(fc.constantFrom('Kim', '티셔츠 ✨'), text)
  const sold = fc.oneof({ weight: 9, arbitrary: fc.constantFrom('TEE-M', 'TEE-L') }, text)
  const units = mostly(fc.integer({ min: 1, max: 4 }), number)
  const customer = '/v1/customers/{customer}'
  const post = (at: string, given: fc.Arbitrary<unknown>) =>
    fc.record({ method: fc.constant('POST'), path: fc.constant(at), body: given })
  const at = (method: string, where: fc.Arbitrary<string>, given: fc.Arbitrary<unknown>) =>
    fc.record({ method: fc.constant(method), path: where, body: given })
  const cartLine = sold.map((sku_name) => `${customer}/cart/${encodeURIComponent(sku_name.toWellFormed())}`)
  return fc.oneof(
    post('/v1/products', fc.record({ name, description: text, skus: fc.array(sku, { minLength: 1, maxLength: 2 }) })),
    at(
      'PATCH',
      fc.constant('/v1/products/{product}'),
      fc.record({ name, skus: fc.array(sku, { minLength: 1, maxLength: 2 }) }, { requiredKeys: [] }),
    ),
    post('/v1/customers', fc.record({ name })),
    post(`${customer}/charges`, fc.record({ amount: mostly(fc.integer({ min: 1, max: 1e12 }), number) })),
    post(`${customer}/cart`, fc.record({ sku: sold, quantity: units })),
    at('PUT', cartLine, fc.record({ quantity: units })),
    at('DELETE', cartLine, fc.constant(undefined)),
    post(
      '/v1/coupons',
      fc.record({
        code: mostly(fc.uuid(), text),
        discount_amount: mostly(fc.integer({ min: 1, max: 1e12 }), number),
        quantity: units,
      }),
    ),
    post('/v1/coupons/C/issues', fc.record({ customer_id: fc.oneof(fc.constant('{customer}'), fc.uuid(), text) })),
    at(
      'GET',
      segment.map((cursor) => `${customer}/coupons?cursor=${cursor}`),
      fc.constant(undefined),
    ),
    at(
      'GET',
      segment.map((cursor) => `/v1/products?status=draft&cursor=${cursor}`),
      fc.constant(undefined),
    ),
  )
}

function soundOrders() {
  const order = '/v1/orders/{order}'
  const post = (at: string, given: fc.Arbitrary<unknown>) =>
    fc.record({ method: fc.constant('POST'), path: fc.constant(at), body: given })
  const get = (where: fc.Arbitrary<string>) =>
    fc.record({ method: fc.constant('GET'), path: where, body: fc.constant(undefined) })
  const bought = fc.array(
    fc.record({
      sku: fc.oneof(fc.constantFrom('TEE-M', 'TEE-L'), text),
      quantity: fc.oneof(fc.integer({ min: 1, max: 2 }), number),
    }),
    { minLength: 1, maxLength: 2 },
  )
  const sound_lines = fc.constant([{ sku: 'TEE-L', quantity: 1 }])
  const customer_id = fc.oneof({ weight: 4, arbitrary: fc.constant('{customer}') }, text)
  return fc.oneof(
    {
      weight: 2,
      arbitrary: post('/v1/orders', fc.record({ customer_id: fc.constant('{customer}'), lines: sound_lines })),
    },
    { weight: 2, arbitrary: post(`${order}/payments`, fc.record({ method: fc.constantFrom('balance', 'card') })) },
    post(
      '/v1/orders',
      fc.record(
        { customer_id, lines: fc.oneof(sound_lines, bought), coupon_code: text },
        { requiredKeys: ['customer_id'] },
      ),
    ),
    post(
      `${order}/payments`,
      fc.record({ method: fc.constantFrom('balance', 'card'), return_url: text }, { requiredKeys: ['method'] }),
    ),
    post(`${order}/refunds`, fc.record({ lines: bought, restock: fc.boolean() }, { requiredKeys: ['restock'] })),
    post(`${order}/cancel`, fc.constant(undefined)),
    post('/v1/payments/webhooks/development', fc.record({ type: text, data: anything })),
    get(segment.map((cursor) => `/v1/orders?cursor=${cursor}`)),
    get(fc.tuple(segment, segment).map(([from, to]) => `/v1/products/popular?from=${from}&to=${to}`)),
    get(fc.constant(order)),
  )
}
/** Some are used again for something else, most are new. */
const key = fc.option(fc.oneof(fc.constantFrom('k1', 'k2', 'k3'), { weight: 2, arbitrary: fc.uuid() }), {
  nil: undefined,
})
const sent: fc.Arbitrary<Sent> = fc.oneof(
  wild,
  fc.tuple(sound, key).map(([{ method, path: at, body: given }, idempotency_key]) => ({
    method,
    path: at,
    headers: { 'Content-Type': 'application/json', ...(idempotency_key && { 'Idempotency-Key': idempotency_key }) },
    body: given === undefined ? undefined : JSON.stringify(given),
  })),
)

function send({
  method,
  path: at,
  headers: given,
  body: bytes,
}: Sent): Promise<{ status: number; type: string; text: string }> {
  const body_named = typeof bytes === 'string' ? named(bytes) : bytes
  return new Promise((resolve, reject) => {
    const { port } = new URL(serving.url)
    // Node sends the body of a GET or HEAD without saying how long it is.
    const framed =
      body_named === undefined ? given : { ...given, 'Content-Length': String(Buffer.byteLength(body_named)) }
    const outgoing = request(
      { agent, host: '127.0.0.1', port, method, path: named(at), headers: framed },
      (response) => {
        let received = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => (received += chunk))
        response.on('end', () =>
          resolve({ status: response.statusCode!, type: response.headers['content-type'] ?? '', text: received }),
        )
      },
    )
    outgoing.on('error', reject)
    outgoing.end(body_named)
  })
}

/** Each of them must have been carried out at least once. */
const STOREFRONT_VERBS = [
  'DELETE /v1/customers/{customer}/cart/',
  'PATCH /v1/products/{product}',
  'POST /v1/coupons',
  'POST /v1/coupons/C/issues',
  'POST /v1/customers',
  'POST /v1/customers/{customer}/cart',
  'POST /v1/customers/{customer}/charges',
  'POST /v1/orders',
  'POST /v1/orders/{order}/cancel',
  'POST /v1/orders/{order}/payments',
  'POST /v1/products',
  'PUT /v1/customers/{customer}/cart/',
]

test('nothing that a client sends makes a 500, and every refusal is a problem of the contract', async () => {
  const seen = new Map<number, number>()
  const served = new Set<string>()
  const judge = async (what: Sent) => {
    const { status, type, text: received } = await send(what)
    seen.set(status, (seen.get(status) ?? 0) + 1)
    // Orders end; the next requests are about the newest.
    if (status === 201 && what.path === '/v1/orders') known.set('{order}', (JSON.parse(received) as { id: string }).id)
    if (status === 200 || status === 201) served.add(`${what.method} ${what.path.replace(/\/cart\/.*/, '/cart/')}`)
    expect(status).not.toBe(500)
    const refused =
      status >= 400 && what.method !== 'HEAD' ? (JSON.parse(received) as { code: string; status: number }) : undefined
    expect(refused === undefined || (type.startsWith('application/problem+json') && CODES.has(refused.code))).toBe(true)
  }
  await fc.assert(
    fc.asyncProperty(fc.array(sent, { minLength: AT_ONCE, maxLength: AT_ONCE }), async (together) => {
      await Promise.all(together.map(judge))
    }),
    { numRuns: RUNS / AT_ONCE },
  )
  // A fuzz whose requests are all refused at the door would show nothing.
  expect(STOREFRONT_VERBS.filter((verb) => !served.has(verb))).toEqual([])
  expect([...seen.keys()]).toEqual(expect.arrayContaining([200, 201, 400, 404, 405, 409, 422]))
}, 60_000)

test('after it the counters, holds, balances, coupons and ledgers agree, and the service serves', async () => {
  expect(await findBroken(serving.database.db)).toEqual([])
  expect((await verify(serving.database.db)).checks.filter(({ broken }) => broken > 0)).toEqual([])
  expect(await call(serving, 'GET', '/readyz')).toMatchObject({ status: 200, body: { degraded: [] } })
})
