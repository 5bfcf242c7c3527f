import { Validator } from '@seriousme/openapi-schema-validator'
import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { createClient } from '../../src/client/client.ts'
import { documentedProblems } from '../../src/http/problem.ts'
import { apiDocument } from '../../src/http/document.ts'
import { renderSchema } from '../../scripts/generate_client.ts'
import { call, serveService, type Answered, type ServingService } from './serving.ts'

/** The document, what is generated from it, and whether the service does what it says. */

type Operation = {
  operationId: string
  responses: Record<string, { content?: Record<string, { schema: object }> }>
}
type Document = {
  openapi: string
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, object> }
}

let serving: ServingService
let document: Document

beforeAll(async () => {
  serving = await serveService({ A: 100, B: 1, 'ä/b c': 5 })
  document = (await call(serving, 'GET', '/openapi.json')).body as unknown as Document
})

afterAll(() => serving.close())

test('the document is valid OpenAPI 3.1', async () => {
  const result = await new Validator().validate(structuredClone(document))
  expect([result.valid, result.errors]).toEqual([true, undefined])
  expect(document.openapi).toBe('3.1.0')
})

test('the types of the client are those of the document: else run "npm run generate:client"', () => {
  const written = readFileSync(new URL('../../src/client/schema.ts', import.meta.url), 'utf8')
  expect(written).toBe(renderSchema(apiDocument()))
})

test('each route answers what its schema says, when it does and when it refuses', async () => {
  const seen = new Set<string>()
  const check = createResponseCheck()
  const hit: Hit = async (operation_id, method, path, options = {}) => {
    const answer = await call(serving, method, path, options)
    seen.add(operation_id)
    expect([operation_id, answer.status, check(operation_id, answer)]).toEqual([operation_id, expect.any(Number), null])
    return answer
  }
  const lines = [{ sku: 'A', quantity: 2 }]
  const metadata = { order: 17 }
  const made = await hit('reserve', 'POST', '/v1/reservations', {
    body: { lines, reference: 'r', customer_id: 'c', metadata },
  })
  const { id } = made.body as { id: string }
  expect(made.status).toBe(201)
  await hit('reserve', 'POST', '/v1/reservations', { body: { lines: [{ sku: 'B', quantity: 2 }] } })
  await hit('reserve', 'POST', '/v1/reservations', { body: { lines: [{ sku: 'none', quantity: 2 }] } })
  await hit('reserve', 'POST', '/v1/reservations', { body: {} })
  await hit('getReservation', 'GET', `/v1/reservations/${id}`)
  await hit('listReservations', 'GET', '/v1/reservations?sku=A&limit=1')
  await hit('extend', 'POST', `/v1/reservations/${id}/extend`, { body: { ttl_seconds: 60 } })
  await hit('extend', 'POST', `/v1/reservations/${id}/extend`, { body: { ttl_seconds: 100_000 } })
  await hit('confirm', 'POST', `/v1/reservations/${id}/confirm`)
  await hit('release', 'POST', `/v1/reservations/${id}/release`)
  await hit('release', 'POST', '/v1/reservations/none/release')
  const batch = await hit('reserveBatch', 'POST', '/v1/reservations/batch', {
    body: { reservations: [{ lines }, { lines: [{ sku: 'none', quantity: 1 }] }, { lines }] },
  })
  const results = batch.body.results as { status: number; reservation: { id: string } }[]
  expect(results.map((result) => result.status)).toEqual([201, 422, 201])
  await hit('releaseMany', 'POST', '/v1/reservations/release', { body: { ids: [results[0]!.reservation.id, 'none'] } })
  await hit('confirmMany', 'POST', '/v1/reservations/confirm', { body: { ids: [results[2]!.reservation.id] } })
  await hit('getStock', 'GET', `/v1/stock/${encodeURIComponent('ä/b c')}`)
  await hit('getStock', 'GET', '/v1/stock/none')
  await hit('listStock', 'GET', '/v1/stock?sku=B&sku=none&sku=A')
  await hit('setStock', 'PUT', '/v1/stock/new', { body: { stock: 3 } })
  await hit('setStock', 'PUT', '/v1/stock/new', { body: { stock: 3 }, headers: { 'If-Match': '"99"' } })
  await hit('setStockItems', 'PUT', '/v1/stock', { body: { items: [{ sku: 'new', stock: 4 }] } })
  await hit('adjustStock', 'POST', '/v1/stock/adjustments', {
    body: { items: [{ sku: 'A', delta: -1, reason: 'lost' }] },
  })
  await hit('adjustStock', 'POST', '/v1/stock/adjustments', { body: { items: [{ sku: 'A', delta: -1000 }] } })
  await hit('listLedger', 'GET', '/v1/stock/A/ledger')
  const events = await hit('listEvents', 'GET', '/v1/events')
  expect((events.body.data as unknown[]).length).toBeGreaterThan(3)
  seen.add('streamStock')
  const leaving = new AbortController()
  const stream = await fetch(`${serving.url}/v1/streams/stock?sku=A`, { signal: leaving.signal })
  expect(check('streamStock', { status: stream.status, headers: stream.headers, body: {} })).toBeNull()
  leaving.abort()
  await hitStorefront(hit)
  await hit('getStats', 'GET', '/v1/stats')
  await hit('getHealth', 'GET', '/healthz')
  await hit('getReadiness', 'GET', '/readyz')
  await hit('getMetrics', 'GET', '/metrics')
  expect([...seen].toSorted()).toEqual(
    operations()
      .map(({ operationId }) => operationId)
      .toSorted(),
  )
})

type Hit = (
  operation_id: string,
  method: string,
  path: string,
  options?: Parameters<typeof call>[3],
) => Promise<Answered>

async function hitStorefront(hit: Hit): Promise<void> {
  const skus = ['M', 'L'].map((size) => ({ sku: `TEE-${size}`, options: { size }, price: 2900, stock: 5 }))
  const made = await hit('createProduct', 'POST', '/v1/products', { body: { name: 'Tee', image: '/tee.png', skus } })
  const product = `/v1/products/${String(made.body.id)}`
  await hit('createProduct', 'POST', '/v1/products', {
    body: { name: 'Tee', skus: [{ sku: 'A', price: 1, stock: 1 }] },
  })
  await hit('listProducts', 'GET', '/v1/products?limit=1')
  await hit('getProduct', 'GET', product)
  await hit('getProduct', 'GET', '/v1/products/none')
  await hit('changeProduct', 'PATCH', product, { body: { description: null, skus: [{ sku: 'TEE-M', price: 3000 }] } })
  await hit('changeProduct', 'PATCH', product, { body: { skus: [{ sku: 'TEE-M', stock: 3 }] } })
  const { id } = (await hit('createCustomer', 'POST', '/v1/customers', { body: { name: 'Kim' } })).body
  const customer = `/v1/customers/${String(id)}`
  await hit('getCustomer', 'GET', customer)
  const headers = { 'Idempotency-Key': 'k' }
  await hit('chargeBalance', 'POST', `${customer}/charges`, { body: { amount: 500 }, headers })
  await hit('chargeBalance', 'POST', `${customer}/charges`, { body: { amount: 501 }, headers })
  await hit('listAccountEntries', 'GET', `${customer}/ledger`)
  await hit('addToCart', 'POST', `${customer}/cart`, { body: { sku: 'TEE-M', quantity: 2 } })
  await hit('addToCart', 'POST', `${customer}/cart`, { body: { sku: 'TEE-M', quantity: 4 } })
  await hit('addToCart', 'POST', `${customer}/cart`, { body: { sku: 'A', quantity: 1 } })
  await hit('setInCart', 'PUT', `${customer}/cart/TEE-L`, { body: { quantity: 1 } })
  await hit('setInCart', 'PUT', `${customer}/cart/none`, { body: { quantity: 1 } })
  await hit('changeProduct', 'PATCH', product, { body: { status: 'archived' } })
  expect((await hit('getCart', 'GET', `${customer}/cart`)).body).toMatchObject({ orderable: false })
  await hit('removeFromCart', 'DELETE', `${customer}/cart/TEE-L`)
  const coupon = { code: 'ä/1', discount_percent: 10, quantity: 1 }
  await hit('createCoupon', 'POST', '/v1/coupons', { body: coupon })
  await hit('createCoupon', 'POST', '/v1/coupons', { body: coupon })
  const path = `/v1/coupons/${encodeURIComponent(coupon.code)}`
  await hit('getCoupon', 'GET', path)
  await hit('issueCoupon', 'POST', `${path}/issues`, { body: { customer_id: id } })
  await hit('issueCoupon', 'POST', `${path}/issues`, { body: { customer_id: id } })
  await hit('listCustomerCoupons', 'GET', `${customer}/coupons`)
  await hitOrders(hit, { customer_id: String(id), product })
}

async function hitOrders(hit: Hit, { customer_id, product }: { customer_id: string; product: string }): Promise<void> {
  await hit('changeProduct', 'PATCH', product, { body: { status: 'active' } })
  const headers = { 'Idempotency-Key': 'k' }
  const lines = [{ sku: 'TEE-M', quantity: 2 }]
  const order = async () => {
    const { body } = await hit('createOrder', 'POST', '/v1/orders', { body: { customer_id, lines } })
    return `/v1/orders/${String(body.id)}`
  }
  await hit('createOrder', 'POST', '/v1/orders', { body: { customer_id, lines: [{ sku: 'TEE-M', quantity: 1000 }] } })
  await hit('createOrder', 'POST', '/v1/orders', { body: { customer_id, lines: [{ sku: 'none', quantity: 1 }] } })
  const cancelled = await order()
  await hit('payOrder', 'POST', `${cancelled}/payments`, { body: { method: 'card' }, headers })
  await hit('payOrder', 'POST', `${cancelled}/payments`, {
    body: { method: 'balance' },
    headers: { 'Idempotency-Key': 'l' },
  })
  await hit('payOrder', 'POST', `${cancelled}/payments`, { body: { method: 'balance' } })
  await hit('cancelOrder', 'POST', `${cancelled}/cancel`)
  await hit('cancelOrder', 'POST', '/v1/orders/none/cancel')
  await hit('chargeBalance', 'POST', `/v1/customers/${customer_id}/charges`, {
    body: { amount: 50_000 },
    headers: { 'Idempotency-Key': 'c' },
  })
  const paid = await order()
  const payment = await hit('payOrder', 'POST', `${paid}/payments`, {
    body: { method: 'balance' },
    headers: { 'Idempotency-Key': 'm' },
  })
  expect(payment.body).toMatchObject({ status: 'paid' })
  await hit('getPayment', 'GET', `/v1/payments/${String(payment.body.id)}`)
  await hit('getPayment', 'GET', '/v1/payments/none')
  await hit('cancelOrder', 'POST', `${paid}/cancel`)
  await hit('refundOrder', 'POST', `${paid}/refunds`, {
    body: { lines: [{ sku: 'TEE-M', quantity: 9 }], restock: true },
  })
  await hit('refundOrder', 'POST', `${paid}/refunds`, {
    body: { lines: [{ sku: 'TEE-M', quantity: 1 }], restock: true },
  })
  await hit('getOrder', 'GET', paid)
  await hit('getOrder', 'GET', '/v1/orders/none')
  await hit('listOrders', 'GET', `/v1/orders?customer_id=${customer_id}&limit=1`)
  await hit('receiveWebhook', 'POST', '/v1/payments/webhooks/development', { body: {} })
  await hit('receiveWebhook', 'POST', '/v1/payments/webhooks/none', { body: {} })
  await serving.service.shop.addUpSales()
  const popular = await hit('listPopularProducts', 'GET', '/v1/products/popular')
  expect(popular.body.data).toMatchObject([{ units_sold: 1 }])
}

function operations(): Operation[] {
  return Object.values(document.paths).flatMap((methods) => Object.values(methods))
}

/** Null where an answer is what the document says of its operation and status, else what is wrong. */
function createResponseCheck(): (operation_id: string, answer: Answered) => unknown {
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  ;(addFormats as unknown as { default: (ajv: Ajv2020) => void }).default(ajv)
  ajv.addSchema({ $id: 'document', components: document.components })
  return (operation_id, { status, headers, body }) => {
    const operation = operations().find(({ operationId }) => operationId === operation_id)!
    const response = operation.responses[status]
    if (response === undefined) return `no such status: ${status}`
    const type = headers.get('content-type')!.split(';')[0]!
    const content = response.content?.[type]
    if (content === undefined) return `no such type: ${type}`
    if (!type.includes('json')) return null
    const schema = JSON.parse(JSON.stringify(content.schema).replaceAll('"#/', '"document#/')) as object
    const validate = ajv.compile(schema)
    return validate(body) ? null : validate.errors
  }
}

test('pages are read with the cursor of the page before, and miss nothing', async () => {
  const items = Array.from({ length: 7 }, (_, i) => ({ sku: `page-${i}`, stock: i }))
  await call(serving, 'PUT', '/v1/stock', { body: { items } })
  for (const path of [
    '/v1/stock?limit=3',
    '/v1/stock/A/ledger?limit=2',
    '/v1/reservations?limit=1',
    '/v1/stock?available=true&limit=2',
  ]) {
    const all = (await call(serving, 'GET', path.replace(/limit=\d/, 'limit=200'))).body.data as unknown[]
    const paged: unknown[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const { body } = await call(serving, 'GET', cursor === '' ? path : `${path}&cursor=${cursor}`)
      paged.push(...(body.data as unknown[]))
      cursor = body.next_cursor as string | null
    }
    expect(all.length).toBeGreaterThan(2)
    expect([path, paged]).toEqual([path, all])
  }
})

test('the client speaks to the service: it reserves, is refused, and names SKUs as they are', async () => {
  const client = createClient({ base_url: `${serving.url}/` })
  const made = await client.POST('/v1/reservations', { body: { lines: [{ sku: 'ä/b c', quantity: 1 }] } })
  expect(made.data?.status).toBe('pending')
  const level = await client.GET('/v1/stock/{sku}', { params: { path: { sku: 'ä/b c' } } })
  expect(level.data?.temp_reserved_stock).toBe(1)
  const levels = await client.GET('/v1/stock', { params: { query: { sku: ['A', 'B'] } } })
  expect(levels.data?.data.map(({ sku }) => sku)).toEqual(['A', 'B'])
  const refused = await client.POST('/v1/reservations', { body: { lines: [{ sku: 'B', quantity: 9 }] } })
  expect(refused.error).toMatchObject({
    code: 'insufficient_stock',
    shortages: [{ sku: 'B', requested: 9, available: 1 }],
  })
})

describe('the documentation', () => {
  test('names only files of this service, and every one of them is served', async () => {
    for (const page of ['/docs', '/docs/errors']) {
      const { body } = await call(serving, 'GET', page)
      const links = [...(body.text as string).matchAll(/(?:href|src)="([^"]+)"/g)].map((match) => match[1]!)
      expect(links.length).toBeGreaterThan(1)
      for (const link of links) expect([link, (await call(serving, 'GET', link)).status]).toEqual([link, 200])
    }
    expect((await call(serving, 'GET', '/docs/start.js')).body.text).not.toMatch(/https?:/)
  })

  test('runs no script but its own', async () => {
    const { headers, body } = await call(serving, 'GET', '/docs')
    expect(headers.get('content-security-policy')).toContain("script-src 'self'")
    expect(headers.get('content-security-policy')).not.toContain('unsafe')
    expect(body.text).not.toMatch(/<script>|<style|onload|style=/)
  })

  test('explains every code under the address that problems name', async () => {
    const { body } = await call(serving, 'GET', '/docs/errors')
    for (const { code } of documentedProblems()) expect(body.text).toContain(`id="${code}"`)
  })

  test.each([
    '/docs/../package.json',
    '/docs/..%2fpackage.json',
    '/docs/index.js',
    '/docs/constructor',
    '/docs/swagger-ui.js.map',
  ])('serves nothing else: %s', async (path) => {
    expect((await call(serving, 'GET', path)).status).toBe(404)
  })
})
