import { connect } from 'node:net'
import { serveFakes, type Serving } from './serving.ts'

/** What is not quite HTTP. */

let serving: Serving

beforeAll(async () => {
  serving = await serveFakes()
})

afterAll(() => serving.close())

/** Sends bytes as they are and reads until the server closes. */
function exchange(bytes: string): Promise<{ status: number; head: string; body: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(serving.url).port), '127.0.0.1')
    let text = ''
    socket.on('data', (chunk) => (text += chunk.toString()))
    socket.on('error', reject)
    socket.on('close', () => {
      const [head = '', body = ''] = text.split('\r\n\r\n')
      resolve({ status: Number(head.split(' ')[1]), head, body: JSON.parse(body || '{}') as Record<string, unknown> })
    })
    socket.end(bytes)
  })
}

const HOST = 'Host: localhost\r\nConnection: close\r\n'

test.each([
  ['no HTTP at all', 'what is this\r\n\r\n', 400],
  ['a header without a colon', `GET /healthz HTTP/1.1\r\n${HOST}nonsense\r\n\r\n`, 400],
  [
    'two different lengths',
    `POST /v1/reservations HTTP/1.1\r\n${HOST}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}`,
    400,
  ],
  [
    'a length together with chunks',
    `POST /v1/reservations HTTP/1.1\r\n${HOST}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n`,
    400,
  ],
  ['headers of more than 16 KiB', `GET /healthz HTTP/1.1\r\n${HOST}X: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
  ['no Host', 'GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
])('%s is answered with a problem', async (_, bytes, status) => {
  const answer = await exchange(bytes)
  expect(answer).toMatchObject({ status, body: { code: 'invalid_request', status } })
  expect(answer.head).toMatch(/content-type: application\/problem\+json/i)
  expect(answer.head).toMatch(/x-request-id: \S+/i)
})

test.each([
  ['an absolute URL', `GET http://localhost/healthz HTTP/1.1\r\n${HOST}\r\n`, 200],
  ['HTTP/1.0 without Host', 'GET /healthz HTTP/1.0\r\n\r\n', 200],
  ['an expectation that nobody knows', `GET /healthz HTTP/1.1\r\n${HOST}Expect: the-unexpected\r\n\r\n`, 200],
  ['a star', `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`, 404],
  ['a path that begins with two slashes', `GET //v1/stock HTTP/1.1\r\n${HOST}\r\n`, 404],
  ['a path beyond ASCII', `GET /v1/stock/\u00e4 HTTP/1.1\r\n${HOST}\r\n`, 400],
  ['an upgrade', `GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n`, 200],
  ['a body that is longer than allowed, in chunks', chunked(70_000), 413],
  ['a body in chunks', `${chunkedHead()}2\r\n{}\r\n0\r\n\r\n`, 400],
])('%s gets an ordinary answer', async (_, bytes, status) => {
  expect((await exchange(bytes)).status).toBe(status)
})

function chunkedHead(): string {
  return `POST /v1/reservations HTTP/1.1\r\n${HOST}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`
}

function chunked(bytes: number): string {
  return `${chunkedHead()}${bytes.toString(16)}\r\n${'x'.repeat(bytes)}\r\n0\r\n\r\n`
}
