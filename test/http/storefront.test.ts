import { connect } from 'node:net'
import { createKey } from '../../src/keys/keys.ts'
import { findAllBroken, manyCustomers } from '../factories.ts'
import { call, serveService, type Answered, type ServingService } from './serving.ts'

/** Products, customers, carts and coupons over HTTP, with real API keys: what a shop's own program would meet. */

let serving: ServingService
let keys: Record<'read' | 'reserve' | 'admin', string>

beforeAll(async () => {
  serving = await serveService({ COUNTED: 5 })
  const { db } = serving.database
  const secretOf = async (scope: 'read' | 'reserve' | 'admin') => {
    const scopes = scope === 'reserve' ? (['read', 'reserve'] as const) : ([scope] as const)
    const made = await createKey(db, { name: scope, scopes: [...scopes] })
    return made.ok ? made.value.secret : ''
  }
  keys = { read: await secretOf('read'), reserve: await secretOf('reserve'), admin: await secretOf('admin') }
})

afterAll(() => serving.close())

function as(who: keyof typeof keys, method: string, path: string, body?: unknown, key?: string): Promise<Answered> {
  const headers = { Authorization: `Bearer ${keys[who]}`, ...(key && { 'Idempotency-Key': key }) }
  return call(serving, method, path, { body, headers })
}

async function customer(): Promise<string> {
  return String((await as('reserve', 'POST', '/v1/customers', { name: 'Kim' })).body.id)
}

let count = 0

async function product(more: object = {}): Promise<{ path: string; sku: string }> {
  const sku = `SKU-${++count}`
  const { body } = await as('admin', 'POST', '/v1/products', {
    name: 'Mug',
    skus: [{ sku, price: 700, stock: 5 }],
    ...more,
  })
  return { path: `/v1/products/${String(body.id)}`, sku }
}

test('a shop opens: a product, a customer, a cart, and the stock stays where it is', async () => {
  const skus = ['M', 'L'].map((size) => ({ sku: `TEE-${size}`, options: { size }, price: 2900, stock: 2 }))
  const made = await as('admin', 'POST', '/v1/products', { name: 'Tee', skus }, 'tee')
  expect(made.status).toBe(201)
  const location = made.headers.get('location')
  expect(await as('read', 'GET', location!)).toMatchObject({ status: 200, body: made.body })
  const kim = await customer()
  const cart = await as('reserve', 'POST', `/v1/customers/${kim}/cart`, { sku: 'TEE-M', quantity: 2 })
  expect(cart).toMatchObject({ status: 201, body: { subtotal: 5800, orderable: true } })
  const held = await as('reserve', 'POST', '/v1/reservations', { lines: [{ sku: 'TEE-M', quantity: 2 }] })
  expect(held.status).toBe(201)
  expect(await as('read', 'GET', `/v1/customers/${kim}/cart`)).toMatchObject({
    status: 200,
    body: { lines: [{ sku: 'TEE-M', available: 0, problem: 'sold_out' }], orderable: false },
  })
  const { data } = (await as('read', 'GET', '/v1/products')).body as { data: { skus: { available: number }[] }[] }
  expect(data.map(({ skus: listed }) => listed.map(({ available }) => available))).toContainEqual([0, 2])
})

test('what a cart can not have is refused in the words of the contract', async () => {
  const cart = `/v1/customers/${await customer()}/cart`
  const { sku } = await product()
  const draft = await product({ status: 'draft' })
  const add = (named: string, quantity: number) => as('reserve', 'POST', cart, { sku: named, quantity })
  const set = (named: string, quantity: number) => as('reserve', 'PUT', `${cart}/${named}`, { quantity })
  const shortages = [{ sku, requested: 6, available: 5 }]
  expect(await add(sku, 6)).toMatchObject({ status: 409, body: { code: 'insufficient_stock', shortages } })
  expect(await set(sku, 6)).toMatchObject({ status: 409, body: { code: 'insufficient_stock', shortages } })
  for (const named of ['nobody', 'COUNTED', draft.sku]) {
    expect(await add(named, 1)).toMatchObject({ status: 422, body: { code: 'sku_not_found', skus: [named] } })
    expect(await set(named, 1)).toMatchObject({ status: 404, body: { code: 'sku_not_found' } })
  }
  expect(await set(sku, 5)).toMatchObject({ status: 200, body: { subtotal: 3500 } })
  expect(await as('reserve', 'DELETE', `${cart}/${sku}`)).toMatchObject({ status: 200, body: { lines: [] } })
})

test('a SKU with a slash, a space and an umlaut is put in, set and taken out by its name', async () => {
  const sku = 'ä/b c%'
  await as('admin', 'POST', '/v1/products', { name: 'Odd', skus: [{ sku, price: 1, stock: 9 }] })
  const cart = `/v1/customers/${await customer()}/cart`
  await as('reserve', 'POST', cart, { sku, quantity: 1 })
  const line = `${cart}/${encodeURIComponent(sku)}`
  expect(await as('reserve', 'PUT', line, { quantity: 3 })).toMatchObject({ body: { lines: [{ sku, quantity: 3 }] } })
  expect(await as('reserve', 'DELETE', line)).toMatchObject({ body: { lines: [] } })
})

test('a SKU that is taken says by whom', async () => {
  const { path, sku } = await product()
  const make = (named: string) =>
    as('admin', 'POST', '/v1/products', { name: 'Mug', skus: [{ sku: named, price: 1, stock: 1 }] })
  const product_id = path.split('/').at(-1)
  expect(await make(sku)).toMatchObject({ status: 409, body: { code: 'sku_taken', sku, product_id } })
  expect(await make('COUNTED')).toMatchObject({ status: 409, body: { code: 'sku_taken', product_id: null } })
})

test('a product is changed, and what can not change is said with its place', async () => {
  const { path, sku } = await product()
  const changed = await as('admin', 'PATCH', path, { status: 'archived', skus: [{ sku, price: 900 }] })
  expect(changed).toMatchObject({ status: 200, body: { status: 'archived', skus: [{ price: 900 }] } })
  expect(await as('admin', 'PATCH', path, { skus: [{ sku, stock: 3 }] })).toMatchObject({
    status: 400,
    body: { code: 'invalid_request', errors: [{ path: '/skus/0/stock', message: expect.stringContaining('PUT') }] },
  })
  expect(await as('admin', 'PATCH', '/v1/products/01941f29-7c00-7000-8000-00000000000f', { name: 'x' })).toMatchObject({
    status: 404,
    body: { code: 'product_not_found' },
  })
})

test('drafts are there for an admin only; what is archived can be read by everybody who has it in an order', async () => {
  const draft = await product({ status: 'draft' })
  const archived = await product({ status: 'archived' })
  const seen = async (who: keyof typeof keys, path: string) => (await as(who, 'GET', path)).status
  expect([await seen('read', draft.path), await seen('admin', draft.path)]).toEqual([404, 200])
  expect([await seen('read', archived.path), await seen('admin', archived.path)]).toEqual([200, 200])
  for (const status of ['draft', 'archived']) {
    const list = `/v1/products?status=${status}`
    expect(await as('read', 'GET', list)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    const { data } = (await as('admin', 'GET', list)).body as { data: { status: string }[] }
    expect(new Set(data.map((one) => one.status))).toEqual(new Set([status]))
  }
  const { data } = (await as('admin', 'GET', '/v1/products')).body as { data: { status: string }[] }
  expect(new Set(data.map((one) => one.status))).toEqual(new Set(['active']))
})

test('products are read page by page, the newest first, and none is missed', async () => {
  for (let i = 0; i < 4; i++) await product()
  const all = (await as('read', 'GET', '/v1/products?limit=200')).body.data as { id: string }[]
  const paged: string[] = []
  let path: string | undefined = '/v1/products?limit=3'
  while (path !== undefined) {
    const { data, next_cursor } = (await as('read', 'GET', path)).body as {
      data: { id: string }[]
      next_cursor: string
    }
    paged.push(...data.map(({ id }) => id))
    path = next_cursor ? `/v1/products?limit=3&cursor=${next_cursor}` : undefined
  }
  expect(paged).toEqual(all.map(({ id }) => id))
  expect(paged).toEqual(paged.toSorted().toReversed())
})

test('the same key of another API key is another key', async () => {
  const body = { name: 'Kim' }
  const [first, again, other] = [
    await as('reserve', 'POST', '/v1/customers', body, 'shared'),
    await as('reserve', 'POST', '/v1/customers', body, 'shared'),
    await as('admin', 'POST', '/v1/customers', body, 'shared'),
  ]
  expect(again.body.id).toBe(first.body.id)
  expect(other.body.id).not.toBe(first.body.id)
})

test('a coupon goes from its maker to the customer who asks first', async () => {
  const [kim, lee] = [await customer(), await customer()]
  const body = { code: 'OPEN 1%', discount_amount: 500, quantity: 1 }
  const made = await as('admin', 'POST', '/v1/coupons', body, 'open')
  expect(made).toMatchObject({ status: 201, body: { ...body, discount_percent: null, issued: 0, remaining: 1 } })
  const path = made.headers.get('location')!
  expect(path).toBe('/v1/coupons/OPEN%201%25')
  expect(await as('admin', 'POST', '/v1/coupons', body)).toMatchObject({ status: 409, body: { code: 'coupon_exists' } })
  const ask = (customer_id: string, key?: string) => as('reserve', 'POST', `${path}/issues`, { customer_id }, key)
  const given = await ask(kim, 'kim')
  expect(given).toMatchObject({ status: 201, body: { code: body.code, number: 1, customer_id: kim, state: 'issued' } })
  expect(await ask(lee)).toMatchObject({ status: 409, body: { code: 'coupon_exhausted' } })
  expect(await ask(kim)).toMatchObject({ status: 409, body: { code: 'coupon_already_issued', number: 1 } })
  const again = await ask(kim, 'kim')
  expect([again.status, again.headers.get('idempotent-replayed'), again.body]).toEqual([201, 'true', given.body])
  expect((await ask(lee, 'kim')).body.code).toBe('idempotency_key_reused')
  expect(await as('read', 'GET', path)).toMatchObject({ body: { issued: 1, remaining: 0 } })
  expect(await as('read', 'GET', `/v1/customers/${kim}/coupons`)).toMatchObject({
    status: 200,
    body: { data: [{ ...given.body, discount_amount: 500 }], next_cursor: null },
  })
})

test('a customer is the same in capitals', async () => {
  const kim = await customer()
  for (const part of ['', '/ledger', '/cart', '/coupons']) {
    const path = `/v1/customers/${kim.toUpperCase()}${part}`
    expect([part, (await as('read', 'GET', path)).status]).toEqual([part, 200])
  }
})

test('a coupon for nobody, or one that nobody made, is said with its status', async () => {
  const nobody = '01941f29-7c00-7000-8000-00000000000f'
  await as('admin', 'POST', '/v1/coupons', { code: 'FEW', discount_percent: 5, quantity: 1 })
  const ask = (code: string, customer_id: string) =>
    as('reserve', 'POST', `/v1/coupons/${code}/issues`, { customer_id })
  expect(await ask('FEW', nobody)).toMatchObject({ status: 422, body: { code: 'customer_not_found' } })
  expect(await ask('NONE', await customer())).toMatchObject({ status: 404, body: { code: 'coupon_not_found' } })
})

test('over HTTP the first 30 of 40 to arrive get the 30 coupons, in their order', async () => {
  const customers = await manyCustomers(serving.database.db, 40)
  await as('admin', 'POST', '/v1/coupons', { code: 'ARRIVAL', discount_percent: 5, quantity: 30 })
  const answers = await pipelined(
    '/v1/coupons/ARRIVAL/issues',
    customers.map((customer_id) => ({ customer_id })),
  )
  const told = answers.map((answer) => (answer.customer_id === undefined ? answer.code : answer.number))
  expect(told).toEqual(Array.from({ length: 40 }, (_, i) => (i < 30 ? i + 1 : 'coupon_exhausted')))
  expect(answers.slice(0, 30).map(({ customer_id }) => customer_id)).toEqual(customers.slice(0, 30))
})

/** Sends POSTs on one connection without waiting for answers; resolves with their bodies in order. */
function pipelined(path: string, bodies: readonly object[]): Promise<Record<string, unknown>[]> {
  const { hostname, port } = new URL(serving.url)
  const requests = bodies.map((body) => {
    const text = JSON.stringify(body)
    return (
      `POST ${path} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nAuthorization: Bearer ${keys.reserve}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`
    )
  })
  return new Promise((resolve, reject) => {
    let read = ''
    const socket = connect(Number(port), hostname, () => socket.write(requests.join('')))
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => {
      read += chunk
      const answers = [...read.matchAll(/\r\n\r\n(\{.*?\})(?=HTTP|$)/g)].map(([, text]) => text!)
      if (answers.length < bodies.length) return
      socket.destroy()
      resolve(answers.map((text) => JSON.parse(text) as Record<string, unknown>))
    })
    socket.on('error', reject)
  })
}

test('after all this the whole database is in order', async () => {
  expect(await findAllBroken(serving.database.db)).toEqual([])
})
