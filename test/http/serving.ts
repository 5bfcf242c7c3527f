import type { AddressInfo } from 'node:net'
import type { Server } from 'node:http'
import pino from 'pino'
import { compose, type Service } from '../../src/compose.ts'
import { loadConfig } from '../../src/config.ts'
import { createApp, type AppDeps } from '../../src/http/app.ts'
import { createHttpServer } from '../../src/http/server.ts'
import { setStock } from '../../src/stock/set.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { fakeDeps } from './fakes.ts'

/** An app that listens on a port of its own. */
export type Serving = { url: string; server: Server; close(): Promise<void> }

/** The HTTP side over rooms that answer at once. */
export async function serveFakes(overrides: Partial<AppDeps> = {}): Promise<Serving> {
  return listen(createHttpServer(createApp(fakeDeps(overrides))))
}

export type ServingService = Serving & { service: Service; database: TestDatabase }

/** The whole service over a database of its own, with what stock and settings a test names. */
export async function serveService(
  stock: Record<string, number> = {},
  env: Record<string, string> = {},
): Promise<ServingService> {
  const database = await createTestDatabase()
  const config = loadConfig({ DATABASE_URL: database.url, EXPIRY_CRON: 'off', DATABASE_POOL_MAX: '6', ...env })
  const service = compose({ config, url: database.url, log: pino({ level: 'silent' }), instance: 'test' })
  const items = Object.entries(stock).map(([sku, units]) => ({ sku, stock: units }))
  if (items.length > 0) await setStock(database.db, items)
  const serving = await listen(service.server)
  return {
    ...serving,
    service,
    database,
    async close() {
      await serving.close()
      await service.stop()
      await database.drop()
    },
  }
}

/** Starts listening on a port of its own. */
export async function listen(server: Server): Promise<Serving> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    server,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** What an answer says, parsed. */
export type Answered = { status: number; headers: Headers; body: Record<string, unknown> }

/** Sends a request; an object as `body` goes as JSON, a string as it is. */
export async function call(
  serving: { url: string },
  method: string,
  path: string,
  options: { body?: unknown; headers?: Record<string, string> } = {},
): Promise<Answered> {
  const { body, headers = {} } = options
  const response = await fetch(serving.url + path, {
    method,
    headers: { ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers },
    ...(body === undefined
      ? {}
      : { body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body) }),
  } as RequestInit)
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.includes('json') ?? false
  return {
    status: response.status,
    headers: response.headers,
    body: (isJson && text !== '' ? JSON.parse(text) : { text }) as Record<string, unknown>,
  }
}
