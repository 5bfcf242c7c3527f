import { createServer, type AddressInfo, type Socket } from 'node:net'

/** A server that says exactly what a test wants, byte for byte. */
export type Answering = { port: number; requests: string[]; close(): Promise<void> }

/** @param answer gets each request as it came, and its number from 0; does with the socket what it likes */
export async function answering(answer: (socket: Socket, number: number, request: string) => void): Promise<Answering> {
  const requests: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    let read = ''
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      read += chunk.toString('latin1')
      for (let request = firstOf(read); request !== undefined; request = firstOf(read)) {
        read = read.slice(request.length)
        requests.push(request)
        answer(socket, requests.length - 1, request)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

function firstOf(read: string): string | undefined {
  const head_end = read.indexOf('\r\n\r\n')
  if (head_end < 0) return undefined
  const length = Number(/content-length: (\d+)/i.exec(read)?.[1] ?? 0)
  const end = head_end + 4 + length
  return read.length < end ? undefined : read.slice(0, end)
}

export const HELD = '{"status":"pending","lines":[{"sku":"SKU-000001","quantity":1}]}'

/** A whole response with a length. */
export function response(status: number, body: string, headers: readonly string[] = []): string {
  return [`HTTP/1.1 ${status} X`, ...headers, `Content-Length: ${Buffer.byteLength(body)}`, '', body].join('\r\n')
}
