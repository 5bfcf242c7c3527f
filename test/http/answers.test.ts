import { pino } from 'pino'
import { DatabaseUnavailable, ok, refused, type Refusal } from '../../src/errors.ts'
import type { AppDeps } from '../../src/http/app.ts'
import { fakeDeps, levelOf, reservationOf } from './fakes.ts'
import { call, serveFakes, type Serving } from './serving.ts'
import { startStopwatch } from '../stopwatch.ts'

/** What answers carry besides their body: request ids, ETags, Retry-After, and what a failure lets out. */

const servings: Serving[] = []

async function serving(overrides: Partial<AppDeps> = {}): Promise<Serving> {
  const started = await serveFakes(overrides)
  servings.push(started)
  return started
}

afterAll(async () => {
  await Promise.all(servings.map((started) => started.close()))
})

const RESERVATIONS = '/v1/reservations'
const reserve = { body: { lines: [{ sku: 'A', quantity: 1 }] } }

function refusing(refusal: Refusal): Partial<AppDeps> {
  return throwing(() => Promise.resolve(refused(refusal)))
}

function throwing(verb: () => Promise<never> | Promise<{ ok: false; refusal: Refusal }>): Partial<AppDeps> {
  const { reservations } = fakeDeps()
  return {
    reservations: { ...reservations, reservations: { ...reservations.reservations, reserve: verb, confirm: verb } },
  }
}

test('every answer carries a request id: a sane one that was sent, else a new one', async () => {
  const app = await serving()
  const sent = await call(app, 'GET', '/healthz', { headers: { 'X-Request-Id': 'order-17' } })
  expect(sent.headers.get('x-request-id')).toBe('order-17')
  for (const strange of ['x'.repeat(129), 'a b', 'ü']) {
    const { headers } = await call(app, 'GET', '/nothing', { headers: { 'X-Request-Id': strange } })
    expect(headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
  }
})

test('every answer carries security headers', async () => {
  const { headers } = await call(await serving(), 'GET', '/v1/stock/A')
  expect(headers.get('content-security-policy')).toBe("default-src 'none';frame-ancestors 'none'")
  expect(headers.get('x-content-type-options')).toBe('nosniff')
  expect(headers.get('x-powered-by')).toBeNull()
})

test('a reservation is written in the order of the contract, with times in UTC to the millisecond', async () => {
  const { status, body, headers } = await call(await serving(), 'POST', RESERVATIONS, reserve)
  expect(status).toBe(201)
  expect(Object.keys(body).join(' ')).toBe(
    'id status lines customer_id reference metadata created_at expires_at closed_at release_reason strategy ttl_variant',
  )
  expect(body.created_at).toBe('2026-01-02T03:04:05.678Z')
  expect(headers.get('location')).toBe(`${RESERVATIONS}/${String(body.id)}`)
  expect(headers.get('idempotent-replayed')).toBeNull()
})

test('a repeated key is answered with the first status, and says so', async () => {
  const { reservations } = fakeDeps()
  const replayed = Promise.resolve(ok({ reservation: reservationOf(), replayed: true }))
  const app = await serving({
    reservations: { ...reservations, reservations: { ...reservations.reservations, reserve: () => replayed } },
  })
  const { status, headers } = await call(app, 'POST', RESERVATIONS, { ...reserve, headers: { 'Idempotency-Key': 'k' } })
  expect([status, headers.get('idempotent-replayed')]).toEqual([201, 'true'])
})

test('a level that the client has is not sent again', async () => {
  const app = await serving()
  const first = await call(app, 'GET', '/v1/stock/A')
  expect(first.headers.get('etag')).toBe('"5"')
  for (const tag of ['"5"', 'W/"5"', '"4", "5"', '*']) {
    const again = await call(app, 'GET', '/v1/stock/A', { headers: { 'If-None-Match': tag } })
    expect([again.status, again.body]).toEqual([304, { text: '' }])
  }
  const changed = await call(app, 'GET', '/v1/stock/A', { headers: { 'If-None-Match': '"4"' } })
  expect(changed.status).toBe(200)
})

test('HEAD answers like GET without a body, OPTIONS lists the methods', async () => {
  const app = await serving()
  const head = await call(app, 'HEAD', '/v1/stock/A')
  expect([head.status, head.headers.get('etag'), head.body]).toEqual([200, '"5"', { text: '' }])
  const options = await call(app, 'OPTIONS', '/v1/stock/A')
  expect([options.status, options.headers.get('allow')]).toEqual([204, 'GET, HEAD, PUT, OPTIONS'])
  const wrong = await call(app, 'POST', '/v1/stock/A', { body: {} })
  expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'GET, HEAD, PUT, OPTIONS'])
})

test('If-Match reaches the room as a number or a star', async () => {
  const asked: unknown[] = []
  const { stock } = fakeDeps()
  const app = await serving({
    stock: {
      ...stock,
      setStock: (items, options) => {
        asked.push(options?.if_match)
        return Promise.resolve(ok({ levels: [levelOf(items[0])], created: ['new'] }))
      },
    },
  })
  for (const headers of [{ 'If-Match': '"5"' }, { 'If-Match': '*' }, {}]) {
    expect(await call(app, 'PUT', '/v1/stock/new', { body: { stock: 1 }, headers })).toMatchObject({ status: 201 })
  }
  expect(asked).toEqual([5, '*', undefined])
})

test('the same body under other names for its order is the same request; an item of a batch is the same as a single one', async () => {
  const hashes: (string | undefined)[] = []
  const { reservations } = fakeDeps()
  const app = await serving({
    reservations: {
      ...reservations,
      reservations: {
        ...reservations.reservations,
        reserve: (request) => {
          hashes.push(request.idempotency?.request_hash)
          return Promise.resolve(ok({ reservation: reservationOf(request), replayed: false }))
        },
      },
    },
  })
  const headers = { 'Idempotency-Key': 'k' }
  await call(app, 'POST', RESERVATIONS, {
    headers,
    body: '{"lines":[{"sku":"A","quantity":1}],"reference":"r","metadata":{"a":1,"b":2}}',
  })
  await call(app, 'POST', RESERVATIONS, {
    headers,
    body: '{"metadata":{"b":2,"a":1},"reference":"r","lines":[{"quantity":1,"sku":"A"}]}',
  })
  const item = { lines: [{ sku: 'A', quantity: 1 }], reference: 'r', metadata: { a: 1, b: 2 }, idempotency_key: 'k' }
  await call(app, 'POST', `${RESERVATIONS}/batch`, { body: { reservations: [item] } })
  await call(app, 'POST', RESERVATIONS, { headers, body: { lines: [{ sku: 'A', quantity: 2 }], reference: 'r' } })
  expect(hashes[0]).toMatch(/^[0-9a-f]{64}$/)
  expect(hashes.slice(1, 3)).toEqual([hashes[0], hashes[0]])
  expect(hashes[3]).not.toBe(hashes[0])
})

describe('refusals', () => {
  const refusals: [Refusal, number, Record<string, unknown>][] = [
    [
      { code: 'insufficient_stock', shortages: [{ sku: 'A', requested: 2, available: 1 }] },
      409,
      { shortages: [{ sku: 'A', requested: 2, available: 1 }] },
    ],
    [{ code: 'skus_not_found', skus: ['A'] }, 422, { code: 'sku_not_found', skus: ['A'] }],
    [{ code: 'already_confirmed' }, 409, {}],
    [{ code: 'already_released' }, 409, {}],
    [{ code: 'reservation_expired', expired_at: new Date(0) }, 410, {}],
    [{ code: 'extension_limit', expires_at_max: new Date(0) }, 422, {}],
    [{ code: 'stock_below_reserved', sku: 'A', temp_reserved_stock: 3 }, 409, {}],
    [{ code: 'stock_limit', sku: 'A' }, 409, {}],
    [{ code: 'precondition_failed', seq: 7 }, 412, { seq: 7 }],
    [{ code: 'product_not_found', id: 'p' }, 404, {}],
    [{ code: 'sku_not_on_sale', sku: 'A' }, 404, { code: 'sku_not_found' }],
    [{ code: 'skus_not_on_sale', skus: ['A'] }, 422, { code: 'sku_not_found', skus: ['A'] }],
    [{ code: 'sku_taken', sku: 'A', product_id: null }, 409, { sku: 'A', product_id: null }],
    [{ code: 'sku_taken', sku: 'A', product_id: 'p' }, 409, { sku: 'A', product_id: 'p' }],
    [{ code: 'customer_not_found', id: 'c' }, 404, {}],
    [{ code: 'unknown_customer', id: 'c' }, 422, { code: 'customer_not_found' }],
    [{ code: 'insufficient_balance', balance: 5, amount: 7 }, 409, { balance: 5, amount: 7 }],
    [{ code: 'balance_limit' }, 409, {}],
    [{ code: 'cart_limit', detail: 'a cart has at most 100 lines' }, 409, {}],
    [{ code: 'coupon_not_found', coupon: 'C' }, 404, {}],
    [{ code: 'unknown_coupon', coupon: 'C' }, 422, { code: 'coupon_not_found' }],
    [{ code: 'coupon_exists', coupon: 'C' }, 409, {}],
    [{ code: 'coupon_exhausted', quantity: 30 }, 409, {}],
    [{ code: 'coupon_already_issued', number: 3 }, 409, { number: 3 }],
    [{ code: 'coupon_already_used', order_id: 'o' }, 409, { order_id: 'o' }],
    [{ code: 'idempotency_key_in_use' }, 409, { retry_after: '1' }],
    [{ code: 'idempotency_key_reused' }, 422, {}],
    [{ code: 'overloaded', detail: 'too many' }, 503, { outcome: 'none', retry_after: '1' }],
    [{ code: 'stock_conflict' }, 503, { outcome: 'none', retry_after: '1' }],
    [{ code: 'database_unavailable', outcome: 'unknown' }, 503, { outcome: 'unknown', retry_after: '2' }],
    [
      { code: 'strategy_unavailable', detail: 'Redis does not answer' },
      503,
      { code: 'database_unavailable', outcome: 'none', retry_after: '2' },
    ],
  ]

  test.each(refusals)('$code is answered with its status and members', async (refusal, status, expected) => {
    const { retry_after = null, ...members } = expected
    const answer = await call(await serving(refusing(refusal)), 'POST', RESERVATIONS, reserve)
    expect(answer).toMatchObject({ status, body: { code: refusal.code, ...members } })
    expect(answer.headers.get('retry-after')).toBe(retry_after)
  })

  test('a bulk item carries the same problem as a single one', async () => {
    const app = await serving(refusing({ code: 'overloaded', detail: 'too many' }))
    const { status, body } = await call(app, 'POST', `${RESERVATIONS}/batch`, {
      body: { reservations: [reserve.body] },
    })
    expect(status).toBe(200)
    expect(body.results).toMatchObject([{ status: 503, error: { code: 'overloaded', outcome: 'none', status: 503 } }])
  })
})

describe('failures', () => {
  test('a lost database is a 503 that says whether anything was written', async () => {
    const app = await serving(throwing(() => Promise.reject(new DatabaseUnavailable('unknown', new Error('gone')))))
    const single = await call(app, 'POST', RESERVATIONS, reserve)
    expect(single).toMatchObject({ status: 503, body: { code: 'database_unavailable', outcome: 'unknown' } })
    const bulk = await call(app, 'POST', `${RESERVATIONS}/batch`, { body: { reservations: [reserve.body] } })
    expect(bulk.body.results).toMatchObject([{ status: 503, error: { outcome: 'unknown' } }])
  })

  test('a database that never answers a read is a 503 within 2 s', async () => {
    const { stock } = fakeDeps()
    const never = () => new Promise<never>(() => undefined)
    const app = await serving({ stock: { ...stock, readLevel: never }, readiness: never })
    const took_ms = startStopwatch()
    const answers = await Promise.all([call(app, 'GET', '/v1/stock/A'), call(app, 'GET', '/readyz')])
    expect(answers.map(({ status, body }) => [status, body.outcome])).toEqual([
      [503, 'none'],
      [503, 'none'],
    ])
    expect(took_ms()).toBeLessThan(2000)
  })

  test('a bug is a 500 that tells the client nothing and the log everything', async () => {
    const logged: Record<string, unknown>[] = []
    const { log } = fakeDeps()
    log.error = ((entry: Record<string, unknown>) => logged.push(entry)) as never
    const app = await serving({ ...throwing(() => Promise.reject(new Error('secret detail'))), log })
    const answer = await call(app, 'POST', RESERVATIONS, reserve)
    expect(answer).toMatchObject({ status: 500, body: { code: 'internal_error' } })
    expect(JSON.stringify(answer.body)).not.toContain('secret')
    expect(logged).toMatchObject([{ request_id: answer.body.request_id, err: { message: 'secret detail' } }])
  })

  test('without room a request is refused before its body is read', async () => {
    const { reservations } = fakeDeps()
    const app = await serving({
      reservations: { ...reservations, reservations: { ...reservations.reservations, hasRoomToReserve: () => false } },
    })
    const answer = await call(app, 'POST', RESERVATIONS, { body: 'not even JSON' })
    expect(answer).toMatchObject({ status: 503, body: { code: 'overloaded', outcome: 'none' } })
    expect(await call(app, 'GET', RESERVATIONS)).toMatchObject({ status: 200 })
    const { coupons } = fakeDeps()
    const full = await serving({ coupons: { ...coupons, issuer: { ...coupons.issuer, hasRoom: () => false } } })
    const issue = await call(full, 'POST', '/v1/coupons/C/issues', { body: 'not even JSON' })
    expect(issue).toMatchObject({ status: 503, body: { code: 'overloaded', outcome: 'none' } })
  })

  test('without room for reserves a customer who has paid is still let in', async () => {
    const { reservations } = fakeDeps()
    const app = await serving({
      reservations: { ...reservations, reservations: { ...reservations.reservations, hasRoomToReserve: () => false } },
    })
    const confirm = await call(app, 'POST', `${RESERVATIONS}/0199f7c8-0000-7000-8000-000000000001/confirm`)
    expect(confirm.status).not.toBe(503)
  })

  test('a client that leaves aborts its signal, and is no error', async () => {
    const errors: unknown[] = []
    const { reservations, log } = fakeDeps()
    log.error = ((entry: unknown) => errors.push(entry)) as never
    let arrived: (signal: AbortSignal) => void
    const signalled = new Promise<AbortSignal>((resolve) => (arrived = resolve))
    const app = await serving({
      log,
      reservations: {
        ...reservations,
        reservations: {
          ...reservations.reservations,
          reserve: (_, signal) =>
            new Promise((_resolve, reject) => {
              signal!.addEventListener('abort', () => reject(new Error('nobody waits')))
              arrived(signal!)
            }),
        },
      },
    })
    const leaving = new AbortController()
    const left = fetch(app.url + RESERVATIONS, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(reserve.body),
      signal: leaving.signal,
    }).catch((error: Error) => error.name)
    const signal = await signalled
    leaving.abort()
    expect(await left).toBe('AbortError')
    await new Promise((resolve) => (signal.aborted ? resolve(0) : signal.addEventListener('abort', resolve)))
    await new Promise((resolve) => setImmediate(resolve))
    expect(errors).toEqual([])
  })
})

describe('running it', () => {
  test('readiness says why not, and what is degraded', async () => {
    const answers = { unready: [] as string[], degraded: [] as string[] }
    const app = await serving({ readiness: () => Promise.resolve(answers as never) })
    answers.degraded = ['sweeper']
    expect(await call(app, 'GET', '/readyz')).toMatchObject({ status: 200, body: { degraded: ['sweeper'] } })
    for (const [reason, code] of [
      ['database', 'database_unavailable'],
      ['schema', 'overloaded'],
      ['draining', 'overloaded'],
    ]) {
      answers.unready = [reason!]
      const answer = await call(app, 'GET', '/readyz')
      expect(answer).toMatchObject({ status: 503, body: { code, outcome: 'none' } })
      expect(answer.headers.get('retry-after')).not.toBeNull()
    }
    expect(await call(app, 'GET', '/healthz')).toMatchObject({ status: 200 })
  })

  test('while it stops, a request on an open connection is served and the connection closed', async () => {
    const app = await serving({ isDraining: () => true })
    const { status, headers } = await call(app, 'GET', '/v1/stock/A')
    expect([status, headers.get('connection')]).toEqual([200, 'close'])
  })

  test('metrics count requests by route and status, errors as what the client saw', async () => {
    const app = await serving(throwing(() => Promise.reject(new Error('a bug'))))
    await call(app, 'GET', '/v1/stock/A')
    await call(app, 'GET', '/v1/stock/B')
    await call(app, 'POST', RESERVATIONS, reserve)
    await call(app, 'GET', '/nothing')
    const { body } = await call(app, 'GET', '/metrics')
    expect(body.text).toContain('stock_http_requests_total{method="GET",route="/v1/stock/{sku}",status="200"} 2')
    expect(body.text).toContain('stock_http_requests_total{method="POST",route="/v1/reservations",status="500"} 1')
    expect(body.text).toContain('stock_http_requests_total{method="any",route="unmatched",status="404"} 1')
  })

  test('one line is logged per request, without query, headers or body', async () => {
    const lines: Record<string, unknown>[] = []
    const log = pino({ base: null }, { write: (line) => void lines.push(JSON.parse(line) as never) })
    const app = await serving({ log })
    await call(app, 'GET', '/v1/reservations?customer_id=jane', {
      headers: { Authorization: 'Bearer secret', 'X-Request-Id': 'r1' },
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(lines).toEqual([
      {
        level: 30,
        time: expect.any(Number),
        request_id: 'r1',
        method: 'GET',
        path: '/v1/reservations',
        status: 200,
        client: '',
        duration_ms: expect.any(Number),
        msg: 'request',
      },
    ])
  })
})
