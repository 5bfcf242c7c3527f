import pino from 'pino'
import { compose, type Service } from '../../src/compose.ts'
import { loadConfig } from '../../src/config.ts'
import { call, listen, type Serving } from './serving.ts'
import { startStopwatch } from '../stopwatch.ts'

/** The whole service, while there is no database. */

let serving: Serving
let service: Service

beforeAll(async () => {
  // Nothing listens on port 1.
  const url = 'postgres://nobody@127.0.0.1:1/nothing'
  const config = loadConfig({ DATABASE_URL: url, EXPIRY_CRON: 'off' })
  service = compose({ config, url, log: pino({ level: 'silent' }), instance: 'test' })
  serving = await listen(service.server)
})

afterAll(async () => {
  await serving.close()
  await service.stop()
})

const ID = '01941f29-7c00-7000-8000-000000000000'

test.each([
  ['GET', '/v1/stock/A', undefined],
  ['GET', '/v1/stock', undefined],
  ['GET', '/v1/events', undefined],
  ['GET', '/v1/stats', undefined],
  ['GET', '/v1/streams/stock', undefined],
  ['GET', '/readyz', undefined],
  ['PUT', '/v1/stock/A', { stock: 1 }],
  ['POST', '/v1/reservations', { lines: [{ sku: 'A', quantity: 1 }] }],
  ['POST', `/v1/reservations/${ID}/confirm`, undefined],
])('%s %s is answered within 2 s with a 503 that says that nothing was written', async (method, path, body) => {
  const took_ms = startStopwatch()
  const answer = await call(serving, method, path, { body })
  expect(answer).toMatchObject({ status: 503, body: { code: 'database_unavailable', outcome: 'none' } })
  expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
  expect(took_ms()).toBeLessThan(2000)
})

test.each(['/healthz', '/metrics', '/docs', '/openapi.json'])('%s is served all the same', async (path) => {
  expect((await call(serving, 'GET', path)).status).toBe(200)
})
