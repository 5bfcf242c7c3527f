import { createServer } from 'node:net'
import { BARE_ANSWER } from './bare_answer.ts'

/**
 * The least that a server can do: one answer for whatever arrives. The load drivers wait for each answer before they ask
 * again on a connection, so what arrives together is one request. What it reaches is what the drivers can ask for.
 */

const ANSWER = Buffer.from(
  `HTTP/1.1 201 Created\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${BARE_ANSWER.length}\r\n\r\n${BARE_ANSWER}`,
)

createServer((socket) => {
  socket.setNoDelay(true)
  socket.on('data', () => socket.write(ANSWER))
  socket.on('error', () => socket.destroy())
}).listen(Number(process.argv[2]), '127.0.0.1')
