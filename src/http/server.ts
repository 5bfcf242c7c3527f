import type Koa from 'koa'
import { randomUUID } from 'node:crypto'
import { createServer, STATUS_CODES, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { problem } from './problem.ts'

/** A head that takes longer to arrive is an attack, or a broken line. */
const HEADERS_TIMEOUT_MS = 10_000
/** Head and body together; 1 MiB over a slow mobile line fits. */
const REQUEST_TIMEOUT_MS = 30_000
/** Above what load balancers in front keep idle connections (60 s), so that it is they who close first. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000
/** All headers together. */
const HEADER_BYTES_MAX = 16_384

/** The HTTP server for an app, with every wait bounded. It does not listen yet. */
export function createHttpServer(app: Koa): Server {
  const server = createServer(
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      connectionsCheckingInterval: 1000,
      // A missing Host is answered with a problem by the app, not with an empty 400 by Node.
      requireHostHeader: false,
    },
    app.callback(),
  )
  // Answered as if it were not there, which RFC 9110 allows; Node's own answer is a 417 without a body.
  server.on('checkExpectation', (request, response) => server.emit('request', request, response))
  server.on('clientError', answerMalformed)
  return server
}

/** What is not HTTP, or too much or too slow to be read, still gets an answer that says so. */
function answerMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const { status, message } = MALFORMED[error.code ?? ''] ?? { status: 400, message: 'must be valid HTTP/1.1' }
  const request_id = randomUUID()
  const refusal = { code: 'invalid_request' as const, errors: [{ path: 'request', message }] }
  const body = JSON.stringify({ ...problem(refusal, request_id), status })
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Content-Type: application/problem+json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: ${request_id}`,
    'X-Content-Type-Options: nosniff',
    'Connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}

const MALFORMED: Record<string, { status: number; message: string }> = {
  HPE_HEADER_OVERFLOW: { status: 431, message: `must have at most ${HEADER_BYTES_MAX} bytes of headers` },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, message: 'must arrive completely and sooner' },
}
