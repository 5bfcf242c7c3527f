import { createServer, request, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { Context } from 'koa'
import { compose } from '../../src/compose.ts'
import { loadConfig } from '../../src/config.ts'
import { refused } from '../../src/errors.ts'
import { createEventStreams, type EventStream, type EventStreams } from '../../src/http/event_stream.ts'
import type { Level } from '../../src/stock/levels.ts'
import type { Watcher } from '../../src/stock/watch.ts'
import { until } from '../factories.ts'
import { authenticatorOf, fakeDeps, levelOf } from './fakes.ts'
import { call, listen, serveFakes, serveService, type Serving } from './serving.ts'

/** Server-sent events of stock, over real connections. */

type Reading = {
  status: number
  headers: IncomingMessage['headers']
  levels: Level[]
  text: () => string
  /** Resolves when the other side has ended it. */
  ended: Promise<void>
  leave(): void
}

const leaving: (() => void)[] = []
const serving: Serving[] = []

afterEach(async () => {
  for (const leave of leaving.splice(0)) leave()
  await Promise.all(serving.splice(0).map((one) => one.close()))
})

function keep<S extends Serving>(one: S): S {
  serving.push(one)
  return one
}

/** Opens a stream and resolves with its head. */
function read({ url }: Serving, path: string, headers: Record<string, string> = {}): Promise<Reading> {
  return new Promise((resolve, reject) => {
    const sent = request(`${url}${path}`, { headers, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      resolve({
        status: response.statusCode!,
        headers: response.headers,
        get levels() {
          return Array.from(text.matchAll(/^data: (.*)\n\n/gm), (match) => JSON.parse(match[1]!) as Level)
        },
        text: () => text,
        ended: new Promise((end) => response.once('close', end)),
        leave: () => sent.destroy(),
      })
    })
    leaving.push(() => sent.destroy())
    sent.on('error', reject).end()
  })
}

const stocks = ({ levels }: Reading) => levels.map(({ sku, stock }) => `${sku} ${stock}`)

test('a stream tells what a SKU has, and what another client makes of it', async () => {
  const shop = keep(await serveService({ A: 5, B: 5, C: 5 }))
  const stream = await read(shop, '/v1/streams/stock?sku=A&sku=B')
  expect(stream.status).toBe(200)
  expect(stream.headers).toMatchObject({
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
    'x-request-id': expect.any(String),
  })
  await until(() => stream.levels.length === 2)
  await call(shop, 'PUT', '/v1/stock/C', { body: { stock: 1 } })
  const lines = [{ sku: 'B', quantity: 2 }]
  await call(shop, 'POST', '/v1/reservations', { body: { lines } })
  await until(() => stream.levels.length === 3)
  expect(stocks(stream)).toEqual(['A 5', 'B 5', 'B 5'])
  const read_now = await call(shop, 'GET', '/v1/stock/B')
  expect(stream.levels[2]).toEqual(read_now.body)
  expect(stream.levels[2]).toMatchObject({ temp_reserved_stock: 2, available: 3 })
})

test('without a filter a stream tells every change that is made once it is open', async () => {
  const shop = keep(await serveService({ A: 5, B: 5 }))
  const stream = await read(shop, '/v1/streams/stock')
  await call(shop, 'PUT', '/v1/stock/B', { body: { stock: 1 } })
  await call(shop, 'PUT', '/v1/stock/new', { body: { stock: 2 } })
  await until(() => stream.levels.length >= 2)
  expect(stocks(stream)).toEqual(['B 1', 'new 2'])
})

test('a change that another process makes is told', async () => {
  const shop = keep(await serveService({ A: 5 }))
  const { url } = shop.database
  const config = loadConfig({ DATABASE_URL: url, EXPIRY_CRON: 'off' })
  const other = compose({ config, url, log: fakeDeps().log, instance: 'other' })
  try {
    const stream = await read(shop, '/v1/streams/stock?sku=A')
    await until(() => stream.levels.length === 1)
    await other.reservations.reserve({ client: '', lines: [{ sku: 'A', quantity: 5 }] })
    await until(() => stream.levels.length === 2)
    expect(stream.levels[1]).toMatchObject({ available: 0 })
  } finally {
    await other.stop()
  }
})

test.each([
  ['an empty SKU', '?sku='],
  ['more SKUs than one stream may watch', `?${Array.from({ length: 201 }, (_, i) => `sku=${i}`).join('&')}`],
  ['something that it does not know', '?after=3'],
])('a stream that names %s is refused', async (_, query) => {
  const app = keep(await serveFakes())
  expect(await call(app, 'GET', `/v1/streams/stock${query}`)).toMatchObject({
    status: 400,
    body: { code: 'invalid_request' },
  })
})

test('HEAD gets the head of a stream and no stream', async () => {
  let left = 0
  const app = keep(
    await serveFakes({ stock: { ...fakeDeps().stock, watch: () => Promise.resolve(() => (left += 1)) } }),
  )
  const response = await fetch(`${app.url}/v1/streams/stock`, { method: 'HEAD' })
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8'])
  expect(left).toBe(1)
})

test('when the service drains, streams end and new ones are refused', async () => {
  const shop = keep(await serveService({ A: 5 }))
  const [named, all] = [await read(shop, '/v1/streams/stock?sku=A'), await read(shop, '/v1/streams/stock')]
  shop.service.drain()
  await Promise.all([named.ended, all.ended])
  expect(await call(shop, 'GET', '/v1/streams/stock')).toMatchObject({ status: 503, body: { outcome: 'none' } })
})

/** An app whose stream is fed by hand. */
async function fedByHand(overrides: Parameters<typeof serveFakes>[0] = {}) {
  const watchers = new Set<Watcher>()
  const watch = (watcher: Watcher) => {
    watchers.add(watcher)
    return Promise.resolve(() => void watchers.delete(watcher))
  }
  const app = keep(await serveFakes({ stock: { ...fakeDeps().stock, watch }, ...overrides }))
  const tell = (...levels: Level[]) => watchers.forEach((watcher) => watcher.tell(levels))
  return { app, watchers, tell }
}

test('when the client leaves, nothing goes on for it', async () => {
  const { app, watchers } = await fedByHand()
  const [leaver, stayer] = [await read(app, '/v1/streams/stock'), await read(app, '/v1/streams/stock')]
  expect(watchers.size).toBe(2)
  leaver.leave()
  await until(() => watchers.size === 1)
  stayer.leave()
  await until(() => watchers.size === 0)
})

test('a stream ends when the key that opened it is no longer good, and one with another key goes on', async () => {
  const good = new Set(['one', 'other'])
  const { app, watchers, tell } = await fedByHand({
    authenticator: authenticatorOf((secret) =>
      good.has(secret ?? '')
        ? { ok: true, client: secret!, scopes: new Set(['read'] as const), open: false }
        : refused({ code: 'unauthenticated', detail: 'no such key' }),
    ),
  })
  expect((await read(app, '/v1/streams/stock')).status).toBe(401)
  const [one, other] = await Promise.all(
    ['one', 'other'].map((key) => read(app, '/v1/streams/stock', { Authorization: `Bearer ${key}` })),
  )
  good.delete('one')
  await one!.ended
  expect(watchers.size).toBe(1)
  tell(levelOf({ sku: 'A', stock: 3 }))
  await until(() => other!.levels.length === 1)
})

/** A client that reads nothing until it is told to. */
async function openUnread({ url }: Serving, path: string): Promise<Socket> {
  const { port } = new URL(url)
  const socket = connect({ port: Number(port), host: '127.0.0.1' })
  leaving.push(() => socket.destroy())
  socket.pause()
  socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`)
  return socket
}

/** More than the kernel keeps for a reader on this machine. */
const ROUNDS = 4000
const SKUS = 50

test('a reader that falls behind gets the last level of each SKU, not all of them', async () => {
  const { app, watchers, tell } = await fedByHand()
  const socket = await openUnread(app, '/v1/streams/stock')
  await until(() => watchers.size === 1)
  const skus = Array.from({ length: SKUS }, (_, i) => `sku-${i}-${'x'.repeat(100)}`)
  for (let round = 1; round <= ROUNDS; round++) tell(...skus.map((sku) => levelOf({ sku, stock: 10, seq: round })))
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  socket.resume()
  await until(() =>
    skus.every((sku) =>
      text.includes(`"sku":"${sku}","stock":10,"temp_reserved_stock":2,"available":8,"seq":${ROUNDS},`),
    ),
  )
  expect(text.split('data: ').length).toBeLessThan((ROUNDS * SKUS) / 2)
  expect(watchers.size).toBe(1)
})

test('a reader that is too far behind is let go', async () => {
  const { app, watchers, tell } = await fedByHand()
  await openUnread(app, '/v1/streams/stock')
  await until(() => watchers.size === 1)
  let told = 0
  await until(() => {
    tell(...Array.from({ length: 100 }, (_, i) => levelOf({ sku: `sku-${told + i}` })))
    told += 100
    return watchers.size === 0
  })
})

/** Streams without an app around them. */
async function serveStreams(streams: EventStreams): Promise<Serving & { opened: EventStream[] }> {
  const opened: EventStream[] = []
  const server = createServer((req, res) => {
    const kind = req.url?.slice(1)
    const state = { request_id: 'test', ...(kind && { visitor: { kind } }) }
    const ctx = { req, res, method: req.method, state } as unknown as Context
    const source = (stream: EventStream) => {
      opened.push(stream)
      return Promise.resolve(() => undefined)
    }
    void streams.open(ctx, source, () => true)
  })
  return { ...keep(await listen(server)), opened }
}

test('however much is sent at once, little of it is kept for a reader that takes nothing, and none of it is lost', async () => {
  let waiting = () => 0
  const streams = createEventStreams()
  const opened: EventStream[] = []
  const server = createServer((req, res) => {
    waiting = () => res.writableLength
    const ctx = { req, res, method: req.method, state: { request_id: 'test' } } as unknown as Context
    void streams.open(
      ctx,
      (stream) => Promise.resolve((opened.push(stream), () => undefined)),
      () => true,
    )
  })
  const socket = await openUnread(keep(await listen(server)), '/')
  await until(() => opened.length === 1)
  const keys = Array.from({ length: 4000 }, (_, i) => `key ${i} of round `)
  for (let round = 0; round < 10; round++) {
    opened[0]!.send(keys.map((key) => ({ key, json: `${key}${round}${' '.repeat(1000)}` })))
    expect(waiting()).toBeLessThan(100_000)
  }
  const lines = new Set<string>()
  createInterface(socket).on('line', (line) => lines.add(line.trimEnd()))
  await until(() => keys.every((key) => lines.has(`data: ${key}9`)))
})

test('of more streams than there may be the last is refused, and has its place when another ends', async () => {
  const app = await serveStreams(createEventStreams({ streams_max: 2 }))
  const [first] = [await read(app, '/'), await read(app, '/')]
  expect((await read(app, '/')).status).toBe(503)
  first.leave()
  await until(async () => (await read(app, '/')).status === 200)
})

test('who looks at the shop does not take the last streams from those who have a key', async () => {
  const app = await serveStreams(createEventStreams({ streams_max: 10 }))
  const opened = async (kind: string) => (await read(app, `/${kind}`)).status
  for (let i = 0; i < 9; i++) expect(await opened('anybody')).toBe(200)
  expect([await opened('anybody'), await opened('customer')]).toEqual([503, 503])
  expect([await opened('key'), await opened('')]).toEqual([200, 503])
})

test('a stream on which nothing happens shows that it lives', async () => {
  const app = await serveStreams(createEventStreams({ heartbeat_ms: 1 }))
  const stream = await read(app, '/')
  await until(() => stream.text().includes(':\n\n'))
  expect(stream.text()).toMatch(/^retry: \d+\n\n:\n\n/)
})

test('what is sent before the head has gone out is not lost', async () => {
  const streams = createEventStreams()
  const server = createServer((req, res) => {
    const ctx = { req, res, method: req.method, state: { request_id: 'test' } } as unknown as Context
    const source = (stream: EventStream) => {
      stream.send([{ key: 'A', json: '{"stock":1}' }])
      return Promise.resolve(() => undefined)
    }
    void streams.open(ctx, source, () => true)
  })
  const stream = await read(keep(await listen(server)), '/')
  await until(() => stream.levels.length === 1)
})
