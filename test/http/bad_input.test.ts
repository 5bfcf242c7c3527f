import { call, serveFakes, type Serving } from './serving.ts'

let serving: Serving

beforeAll(async () => {
  serving = await serveFakes()
})

afterAll(() => serving.close())

const line = { sku: 'A', quantity: 1 }
const ID = '01941f29-7c00-7000-8000-000000000000'
const UNKNOWN = '01941f29-7c00-7000-8000-00000000000f'
const RESERVATIONS = '/v1/reservations'
type Case = {
  it: string
  method?: string
  path: string
  body?: unknown
  headers?: Record<string, string>
  status: number
  code: string
  at?: string
}

function bad(it: string, path: string, body: unknown, at: string, more: Partial<Case> = {}): Case {
  return { it, path, body, at, status: 400, code: 'invalid_request', ...more }
}

function cursorOf(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

const put = { method: 'PUT' }
const get = { method: 'GET', body: undefined }

const cases: Case[] = [
  bad('an unknown field', RESERVATIONS, { lines: [line], price: 1 }, '/price'),
  bad('an unknown field of a line', RESERVATIONS, { lines: [{ ...line, price: 1 }] }, '/lines/0/price'),
  bad('no lines at all', RESERVATIONS, {}, '/lines'),
  bad('an empty list of lines', RESERVATIONS, { lines: [] }, '/lines'),
  bad(
    '101 lines',
    RESERVATIONS,
    { lines: Array.from({ length: 101 }, (_, i) => ({ sku: `S${i}`, quantity: 1 })) },
    '/lines',
  ),
  bad('a quantity as text', RESERVATIONS, { lines: [{ sku: 'A', quantity: '1' }] }, '/lines/0/quantity'),
  bad('half a unit', RESERVATIONS, { lines: [{ sku: 'A', quantity: 0.5 }] }, '/lines/0/quantity'),
  bad('a quantity of zero', RESERVATIONS, { lines: [{ sku: 'A', quantity: 0 }] }, '/lines/0/quantity'),
  bad('a quantity below zero', RESERVATIONS, { lines: [{ sku: 'A', quantity: -1 }] }, '/lines/0/quantity'),
  bad('a quantity above a million', RESERVATIONS, { lines: [{ sku: 'A', quantity: 1_000_001 }] }, '/lines/0/quantity'),
  bad(
    'lines of one SKU that add up to more than a million',
    RESERVATIONS,
    { lines: [{ sku: 'A', quantity: 1_000_000 }, line] },
    '/lines',
  ),
  bad('a SKU without characters', RESERVATIONS, { lines: [{ sku: '', quantity: 1 }] }, '/lines/0/sku'),
  bad('a SKU of 129 characters', RESERVATIONS, { lines: [{ sku: 'x'.repeat(129), quantity: 1 }] }, '/lines/0/sku'),
  bad('a SKU that begins with a space', RESERVATIONS, { lines: [{ sku: ' A', quantity: 1 }] }, '/lines/0/sku'),
  bad('a SKU that ends with a space', RESERVATIONS, { lines: [{ sku: 'A ', quantity: 1 }] }, '/lines/0/sku'),
  bad('a SKU with a control character', RESERVATIONS, { lines: [{ sku: 'A\u0007B', quantity: 1 }] }, '/lines/0/sku'),
  bad('a SKU that is a number', RESERVATIONS, { lines: [{ sku: 7, quantity: 1 }] }, '/lines/0/sku'),
  bad('a SKU with U+0000', RESERVATIONS, { lines: [{ sku: 'A\0B', quantity: 1 }] }, '/lines/0/sku'),
  bad('half a surrogate pair', RESERVATIONS, '{"lines":[{"sku":"A\\ud800","quantity":1}]}', '/lines/0/sku'),
  bad('U+0000 in a key of the metadata', RESERVATIONS, { lines: [line], metadata: { 'a\0': 1 } }, '/metadata'),
  bad('metadata that is a list', RESERVATIONS, { lines: [line], metadata: [] }, '/metadata'),
  bad('metadata of more than 4 KiB', RESERVATIONS, { lines: [line], metadata: { a: 'x'.repeat(4096) } }, '/metadata'),
  bad(
    'a number beyond a double',
    RESERVATIONS,
    '{"lines":[{"sku":"A","quantity":1}],"metadata":{"a":1e999}}',
    '/metadata/a',
  ),
  bad(
    'nesting below 32 levels',
    RESERVATIONS,
    `{"lines":[],"metadata":{"a":${'['.repeat(40)}${']'.repeat(40)}}}`,
    '/metadata/a/0',
  ),
  bad('a customer of 256 characters', RESERVATIONS, { lines: [line], customer_id: 'x'.repeat(256) }, '/customer_id'),
  bad('a reference that is null', RESERVATIONS, { lines: [line], reference: null }, '/reference'),
  bad('a ttl of zero', RESERVATIONS, { lines: [line], ttl_seconds: 0 }, '/ttl_seconds'),
  bad('a ttl above the maximum', RESERVATIONS, { lines: [line], ttl_seconds: 86_401 }, '/ttl_seconds'),
  bad('a list as the body', RESERVATIONS, [line], ''),
  bad('null as the body', RESERVATIONS, 'null', ''),
  bad('an unknown choice for on_expired', `${RESERVATIONS}/${ID}/confirm`, { on_expired: 'maybe' }, '/on_expired'),
  bad('a reason of 256 characters', `${RESERVATIONS}/${ID}/release`, { reason: 'x'.repeat(256) }, '/reason'),
  bad('an extension without a ttl', `${RESERVATIONS}/${ID}/extend`, {}, '/ttl_seconds'),
  bad('a bulk call without ids', `${RESERVATIONS}/confirm`, { ids: [] }, '/ids'),
  bad('1001 ids', `${RESERVATIONS}/release`, { ids: Array.from({ length: 1001 }, () => ID) }, '/ids'),
  bad(
    'more than 10,000 lines in a batch',
    `${RESERVATIONS}/batch`,
    { reservations: Array.from({ length: 101 }, () => ({ lines: Array.from({ length: 100 }, () => line) })) },
    '/reservations',
  ),
  bad(
    'a batch item with a wrong idempotency key',
    `${RESERVATIONS}/batch`,
    { reservations: [{ lines: [line], idempotency_key: 'ü' }] },
    '/reservations/0/idempotency_key',
  ),
  bad('an Idempotency-Key beyond ASCII', RESERVATIONS, { lines: [line] }, 'header/Idempotency-Key', {
    headers: { 'Idempotency-Key': 'k\u00fc' },
  }),
  bad('an Idempotency-Key of 256 characters', RESERVATIONS, { lines: [line] }, 'header/Idempotency-Key', {
    headers: { 'Idempotency-Key': 'x'.repeat(256) },
  }),
  bad(
    'a wrong Idempotency-Key where it is ignored',
    `${RESERVATIONS}/${ID}/confirm`,
    undefined,
    'header/Idempotency-Key',
    {
      headers: { 'Idempotency-Key': 'x'.repeat(256) },
    },
  ),
  ...['batch', 'confirm', 'release'].map((path) =>
    bad(
      `an Idempotency-Key on the bulk route ${path}`,
      `${RESERVATIONS}/${path}`,
      bulkBody(path),
      'header/Idempotency-Key',
      {
        headers: { 'Idempotency-Key': 'k' },
      },
    ),
  ),
  bad('stock below zero', '/v1/stock/A', { stock: -1 }, '/stock', put),
  bad('stock above two thousand million', '/v1/stock/A', { stock: 2_000_000_001 }, '/stock', put),
  bad('stock as text', '/v1/stock/A', { stock: '5' }, '/stock', put),
  bad('a percent sign that encodes nothing', '/v1/stock/A%zz', { stock: 1 }, 'path/sku', put),
  bad('bytes in the path that are not UTF-8', '/v1/stock/%ff', { stock: 1 }, 'path/sku', put),
  bad('an encoded U+0000 in the path', '/v1/stock/A%00', { stock: 1 }, 'path/sku', put),
  bad('an encoded space at the end of the path', '/v1/stock/A%20', undefined, 'path/sku', get),
  bad('If-Match that is no ETag', '/v1/stock/A', { stock: 1 }, 'header/If-Match', {
    ...put,
    headers: { 'If-Match': '5' },
  }),
  bad('If-Match with a weak ETag', '/v1/stock/A', { stock: 1 }, 'header/If-Match', {
    ...put,
    headers: { 'If-Match': 'W/"5"' },
  }),
  bad('If-Match on a bulk route', '/v1/stock', { items: [{ sku: 'A', stock: 1 }] }, 'header/If-Match', {
    ...put,
    headers: { 'If-Match': '"5"' },
  }),
  bad(
    'one SKU set twice',
    '/v1/stock',
    {
      items: [
        { sku: 'A', stock: 1 },
        { sku: 'A', stock: 2 },
      ],
    },
    '/items/1/sku',
    put,
  ),
  bad(
    '1001 items',
    '/v1/stock',
    { items: Array.from({ length: 1001 }, (_, i) => ({ sku: `S${i}`, stock: 1 })) },
    '/items',
    put,
  ),
  bad('an adjustment by text', '/v1/stock/adjustments', { items: [{ sku: 'A', delta: '1' }] }, '/items/0/delta'),
  bad('a limit of zero', '/v1/stock?limit=0', undefined, 'query/limit', get),
  bad('a limit of 201', `${RESERVATIONS}?limit=201`, undefined, 'query/limit', get),
  bad('a limit that is no number', '/v1/stock?limit=ten', undefined, 'query/limit', get),
  bad('a limit given twice', '/v1/stock?limit=1&limit=2', undefined, 'query/limit', get),
  bad('an unknown query parameter', '/v1/stock?colour=red', undefined, 'query/colour', get),
  bad('a query parameter where none is taken', '/v1/stock/A?x=1', undefined, 'query/x', get),
  bad('a boolean in other words', '/v1/stock?available=yes', undefined, 'query/available', get),
  bad('named SKUs together with a page', '/v1/stock?sku=A&limit=5', undefined, 'query/limit', get),
  bad('a cursor of somebody else', '/v1/stock?cursor=abc', undefined, 'query/cursor', get),
  bad('an unknown status', `${RESERVATIONS}?status=open`, undefined, 'query/status', get),
  bad('a time that is none', `${RESERVATIONS}?expires_before=yesterday`, undefined, 'query/expires_before', get),
  bad('a leap second', `${RESERVATIONS}?expires_before=2016-12-31T23:59:60Z`, undefined, 'query/expires_before', get),
  ...['0000-12-31T23:59:59Z', '9999-12-31T23:59:59-01:00'].map((time) =>
    bad(`the time ${time}`, `${RESERVATIONS}?expires_before=${time}`, undefined, 'query/expires_before', get),
  ),
  bad('a cursor with U+0000', `/v1/stock?cursor=${cursorOf('a\0')}`, undefined, 'query/cursor', get),
  bad('a cursor of another list', `/v1/stock/A/ledger?cursor=${cursorOf('a')}`, undefined, 'query/cursor', get),
  bad('a position below zero', '/v1/events?after=-1', undefined, 'query/after', get),
  bad('a query parameter by the name of what all objects have', '/v1/stock?__proto__=1', undefined, 'query/', get),
  bad('a query that is not UTF-8', '/v1/events?after=%ff', undefined, 'query', get),
  ...storefrontCases(),
  { it: 'half a body', path: RESERVATIONS, body: '{"lines":[', status: 400, code: 'malformed_json' },
  { it: 'an empty body', path: RESERVATIONS, body: '', status: 400, code: 'malformed_json' },
  { it: 'no body', path: RESERVATIONS, status: 400, code: 'malformed_json' },
  {
    it: 'bytes that are not UTF-8',
    path: RESERVATIONS,
    body: new Uint8Array([0x22, 0xff, 0x22]),
    status: 400,
    code: 'malformed_json',
  },
  {
    it: 'text instead of JSON',
    path: RESERVATIONS,
    body: 'lines=1',
    headers: { 'Content-Type': 'text/plain' },
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    it: 'another charset',
    path: RESERVATIONS,
    body: '{}',
    headers: { 'Content-Type': 'application/json; charset=latin1' },
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    it: 'a compressed body',
    path: RESERVATIONS,
    body: '{}',
    headers: { 'Content-Encoding': 'gzip' },
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    it: 'more than 64 KiB',
    path: RESERVATIONS,
    body: `{"lines":"${'x'.repeat(65_536)}"}`,
    status: 413,
    code: 'payload_too_large',
  },
  {
    it: 'more than 1 MiB on a bulk route',
    path: `${RESERVATIONS}/batch`,
    body: `{"lines":"${'x'.repeat(1_048_576)}"}`,
    status: 413,
    code: 'payload_too_large',
  },
  { it: 'an id that is no UUID', method: 'GET', path: `${RESERVATIONS}/7`, status: 404, code: 'reservation_not_found' },
  {
    it: 'a verb on an id that is no UUID',
    path: `${RESERVATIONS}/7/confirm`,
    status: 404,
    code: 'reservation_not_found',
  },
  {
    it: 'an unknown reservation',
    method: 'GET',
    path: `${RESERVATIONS}/${ID}`,
    status: 404,
    code: 'reservation_not_found',
  },
  { it: 'an unknown SKU in the path', method: 'GET', path: '/v1/stock/missing', status: 404, code: 'sku_not_found' },
  { it: 'a SKU without a name in the path', method: 'GET', path: '/v1/stock/', status: 404, code: 'not_found' },
  { it: 'an unknown path', method: 'GET', path: '/v1/nothing', status: 404, code: 'not_found' },
  { it: 'a wrong method', method: 'DELETE', path: '/v1/stock/A', status: 405, code: 'method_not_allowed' },
  { it: 'a method that nobody knows', method: 'PURGE', path: '/v1/stock/A', status: 405, code: 'method_not_allowed' },
]

function storefrontCases(): Case[] {
  const products = '/v1/products'
  const customers = '/v1/customers'
  const cart = `${customers}/${ID}/cart`
  const coupons = '/v1/coupons'
  const patch = { method: 'PATCH' }
  const keyed = { headers: { 'Idempotency-Key': 'k' } }
  const sku = { sku: 'A', price: 1, stock: 1 }
  const inSize = (size: string, name = size) => ({ ...sku, sku: name, options: { size } })
  const product = (...skus: unknown[]) => ({ name: 'x', skus })
  const coupon = { code: 'C', discount_percent: 10, quantity: 1 }
  const popular = `${products}/popular`
  const payments = `/v1/orders/${ID}/payments`
  const urn = `urn:uuid:${ID}`
  const notFound = (it: string, method: string, path: string, code: string, body?: unknown): Case => {
    return { it, method, path, body, status: 404, code, ...keyed }
  }
  return [
    bad('a product without a name', products, { skus: [sku] }, '/name'),
    bad('a name of a space', products, { ...product(sku), name: ' ' }, '/name'),
    bad('a name of 256 characters', products, { ...product(sku), name: 'x'.repeat(256) }, '/name'),
    bad('a name on two lines', products, { ...product(sku), name: 'a\nb' }, '/name'),
    bad('a description that is null', products, { ...product(sku), description: null }, '/description'),
    bad('a picture that is a script', products, { ...product(sku), image: 'javascript:alert(1)' }, '/image'),
    bad('a picture on whatever host', products, { ...product(sku), image: '//evil.example/x' }, '/image'),
    bad('a picture on whatever host for browsers', products, { ...product(sku), image: '/\\evil.example' }, '/image'),
    bad('an unknown status of a product', products, { ...product(sku), status: 'gone' }, '/status'),
    bad('a product without SKUs', products, product(), '/skus'),
    bad('201 SKUs', products, product(...Array.from({ length: 201 }, (_, i) => inSize(`${i}`))), '/skus'),
    bad('a SKU without a price', products, product({ sku: 'A', stock: 1 }), '/skus/0/price'),
    bad('a price below zero', products, product({ ...sku, price: -1 }), '/skus/0/price'),
    bad('a price with a fraction', products, product({ ...sku, price: 9.99 }), '/skus/0/price'),
    bad('a price above two thousand million', products, product({ ...sku, price: 2_000_000_001 }), '/skus/0/price'),
    bad('a SKU without stock', products, product({ sku: 'A', price: 1 }), '/skus/0/stock'),
    bad('options that are none', products, product({ ...sku, options: {} }), '/skus/0/options'),
    bad('an option that is a number', products, product({ ...sku, options: { size: 42 } }), '/skus/0/options/size'),
    bad('an option without a value', products, product({ ...sku, options: { size: '' } }), '/skus/0/options/size'),
    bad('an option without a name', products, product({ ...sku, options: { '': 'M' } }), '/skus/0/options'),
    bad(
      'six options',
      products,
      product({ ...sku, options: { a: '1', b: '2', c: '3', d: '4', e: '5', f: '6' } }),
      '/skus/0/options',
    ),
    bad('two SKUs without options', products, product(sku, { ...sku, sku: 'B' }), '/skus/1/options'),
    bad(
      'one SKU with options and one without',
      products,
      product(inSize('M'), { ...sku, sku: 'B' }),
      '/skus/1/options',
    ),
    bad('a combination twice', products, product(inSize('M'), inSize('M', 'N')), '/skus/1/options'),
    bad('a SKU twice', products, product(inSize('M', 'A'), inSize('L', 'A')), '/skus/1/sku'),
    bad(
      'SKUs with different options',
      products,
      product(inSize('M'), { ...sku, sku: 'B', options: { color: 'red' } }),
      '/skus/1/options',
    ),
    bad('a change of nothing', `${products}/${ID}`, {}, '', patch),
    bad('a change of what nobody changes', `${products}/${ID}`, { id: ID }, '/id', patch),
    bad('a name that is null', `${products}/${ID}`, { name: null }, '/name', patch),
    bad('an unknown status to list', `${products}?status=gone`, undefined, 'query/status', get),
    bad('a cursor that is no id', `${products}?cursor=${cursorOf('a')}`, undefined, 'query/cursor', get),
    bad('a customer without a name', customers, {}, '/name'),
    bad('a customer with a balance', customers, { name: 'Kim', balance: 1 }, '/balance'),
    bad('a charge without a key', `${customers}/${ID}/charges`, { amount: 1 }, 'header/Idempotency-Key'),
    bad('a charge of nothing', `${customers}/${ID}/charges`, { amount: 0 }, '/amount', keyed),
    bad('a charge below zero', `${customers}/${ID}/charges`, { amount: -5 }, '/amount', keyed),
    bad('a charge with a fraction', `${customers}/${ID}/charges`, { amount: 0.5 }, '/amount', keyed),
    bad('a charge beyond a million million', `${customers}/${ID}/charges`, { amount: 1e12 + 1 }, '/amount', keyed),
    bad('a charge as text', `${customers}/${ID}/charges`, { amount: '5' }, '/amount', keyed),
    bad(
      'a cursor of another ledger',
      `${customers}/${ID}/ledger?cursor=${cursorOf('a')}`,
      undefined,
      'query/cursor',
      get,
    ),
    bad('an addition of no units', cart, { sku: 'A', quantity: 0 }, '/quantity'),
    bad('an addition of a million and one units', cart, { sku: 'A', quantity: 1_000_001 }, '/quantity'),
    bad('an addition of half a unit', cart, { sku: 'A', quantity: 0.5 }, '/quantity'),
    bad('an addition without a SKU', cart, { quantity: 1 }, '/sku'),
    bad('a cart line of no units', `${cart}/A`, { quantity: 0 }, '/quantity', put),
    bad('a cart line of a SKU that ends with a space', `${cart}/A%20`, { quantity: 1 }, 'path/sku', put),
    bad('a coupon without a code', coupons, { discount_percent: 10, quantity: 1 }, '/code'),
    bad('a code of 65 characters', coupons, { ...coupon, code: 'x'.repeat(65) }, '/code'),
    bad('a coupon that gives nothing', coupons, { code: 'C', quantity: 1 }, '/discount_percent'),
    bad('a coupon that gives both', coupons, { ...coupon, discount_amount: 5 }, '/discount_amount'),
    bad('a coupon of 0 percent', coupons, { ...coupon, discount_percent: 0 }, '/discount_percent'),
    bad('a coupon of 101 percent', coupons, { ...coupon, discount_percent: 101 }, '/discount_percent'),
    bad('a coupon of an amount of 0', coupons, { code: 'C', discount_amount: 0, quantity: 1 }, '/discount_amount'),
    bad('a coupon of which there is none', coupons, { ...coupon, quantity: 0 }, '/quantity'),
    bad('a coupon of which there are too many', coupons, { ...coupon, quantity: 1_000_001 }, '/quantity'),
    bad('a coupon for nobody', `${coupons}/C/issues`, {}, '/customer_id'),
    bad('a coupon for who can be no customer', `${coupons}/C/issues`, { customer_id: 'Kim' }, '/customer_id'),
    bad(
      "a cursor of another customer's list",
      `${customers}/${ID}/coupons?cursor=${cursorOf(7)}`,
      undefined,
      'query/cursor',
      get,
    ),
    bad('a year that PostgreSQL does not know', `${popular}?from=0000-01-01`, undefined, 'query/from', get),
    bad('a week that begins before all years', `${popular}?to=0001-01-03`, undefined, 'query/to', get),
    bad('a day that no month has', `${popular}?to=2026-02-29`, undefined, 'query/to', get),
    bad('a customer by a URN', `${coupons}/C/issues`, { customer_id: urn }, '/customer_id'),
    bad('an order for a customer by a URN', '/v1/orders', { customer_id: urn }, '/customer_id'),
    bad('orders of a customer by a URN', `/v1/orders?customer_id=${urn}`, undefined, 'query/customer_id', get),
    ...['https://', 'http://[', '//evil.example', '/\\evil.example', 'javascript:alert(1)', 'https://a b'].map((url) =>
      bad(`a way back to ${url}`, payments, { method: 'card', return_url: url }, '/return_url', keyed),
    ),
    {
      it: 'more than 64 KiB from a gateway',
      path: '/v1/payments/webhooks/development',
      body: `{"type":"${'x'.repeat(65_536)}"}`,
      status: 413,
      code: 'payload_too_large',
    },
    ...[
      ['product', products],
      ['customer', customers],
      ['order', '/v1/orders'],
      ['payment', '/v1/payments'],
      ['reservation', RESERVATIONS],
    ].map(([thing, path]) => notFound(`a ${thing} by a URN`, 'GET', `${path}/${urn}`, `${thing}_not_found`)),
    notFound('a product id that is no UUID', 'GET', `${products}/7`, 'product_not_found'),
    notFound('an unknown product', 'GET', `${products}/${UNKNOWN}`, 'product_not_found'),
    notFound('a change of a product id that is no UUID', 'PATCH', `${products}/7`, 'product_not_found', { name: 'x' }),
    notFound('a customer id that is no UUID', 'GET', `${customers}/7`, 'customer_not_found'),
    notFound('an unknown customer', 'GET', `${customers}/${UNKNOWN}`, 'customer_not_found'),
    notFound('a ledger of no customer', 'GET', `${customers}/7/ledger`, 'customer_not_found'),
    notFound('a charge to no customer', 'POST', `${customers}/7/charges`, 'customer_not_found', { amount: 1 }),
    notFound('coupons of no customer', 'GET', `${customers}/7/coupons`, 'customer_not_found'),
    notFound('a cart of no customer', 'GET', `${customers}/7/cart`, 'customer_not_found'),
    notFound('a cart of an unknown customer', 'GET', `${customers}/${UNKNOWN}/cart`, 'customer_not_found'),
    notFound('a cart line of no customer', 'DELETE', `${customers}/7/cart/A`, 'customer_not_found'),
    notFound('an unknown coupon', 'GET', `${coupons}/missing`, 'coupon_not_found'),
  ]
}

function bulkBody(path: string): unknown {
  return path === 'batch' ? { reservations: [{ lines: [line] }] } : { ids: [ID] }
}

test.each(cases)('$it: $status $code', async ({ method = 'POST', path, body, headers, status, code, at }) => {
  const answer = await call(serving, method, path, {
    ...(body === undefined ? {} : { body }),
    ...(headers ? { headers } : {}),
  })
  expect(answer).toMatchObject({
    status,
    body: { status, code, type: `/docs/errors#${code}`, title: expect.any(String) },
  })
  expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8')
  expect(answer.body.request_id).toBe(answer.headers.get('x-request-id'))
  expect(answer.body.detail).toMatch(/\w+.*[.]$/)
  const paths = ((answer.body.errors ?? []) as { path: string }[]).map((fault) => fault.path)
  expect(paths.some((fault) => at !== undefined && fault.startsWith(at))).toBe(at !== undefined)
})

test('many faults are listed together, twenty at most', async () => {
  const lines = Array.from({ length: 50 }, () => ({ sku: '', quantity: 0 }))
  const { body } = await call(serving, 'POST', RESERVATIONS, { body: { lines } })
  expect(body.errors).toHaveLength(20)
})

test('what a bound still allows is taken', async () => {
  const body = {
    lines: [
      { sku: 'x'.repeat(128), quantity: 999_999 },
      { sku: 'x'.repeat(128), quantity: 1 },
      { sku: 'ä b/c?%', quantity: 1 },
    ],
    customer_id: '\u{1f600}'.repeat(255),
    ttl_seconds: 86_400,
    metadata: { a: 'x'.repeat(4096 - '{"a":""}'.length) },
  }
  const answer = await call(serving, 'POST', RESERVATIONS, {
    body,
    headers: { 'Idempotency-Key': `a ~${'x'.repeat(252)}` },
  })
  expect(answer).toMatchObject({ status: 201, body: { metadata: body.metadata } })
  const charset = { 'Content-Type': 'Application/JSON; charset="UTF-8"' }
  expect(await call(serving, 'POST', RESERVATIONS, { body: { lines: [line] }, headers: charset })).toMatchObject({
    status: 201,
  })
})

test('a percent-encoded SKU means its characters', async () => {
  const answer = await call(serving, 'GET', `/v1/stock/${encodeURIComponent('ä/b c%')}`)
  expect(answer).toMatchObject({ status: 200, body: { sku: 'ä/b c%' } })
})

test('confirm and release take no body, an empty one, or an empty object', async () => {
  for (const verb of ['confirm', 'release']) {
    for (const body of [undefined, '', '{}']) {
      expect(await call(serving, 'POST', `${RESERVATIONS}/${ID}/${verb}`, { body })).toMatchObject({ status: 200 })
    }
  }
})

test('a bulk id that is no UUID fails alone', async () => {
  const { body } = await call(serving, 'POST', `${RESERVATIONS}/confirm`, { body: { ids: ['x', ID] } })
  expect(body.results).toMatchObject([
    { status: 404, error: { code: 'reservation_not_found' } },
    { status: 200, reservation: {} },
  ])
})
