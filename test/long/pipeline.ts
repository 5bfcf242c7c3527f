import { connect } from 'node:net'

/** Sends the same POST so often on one connection without waiting for answers; resolves with their statuses in order. */
export function pipeline(base: string, body: unknown, count: number): Promise<number[]> {
  const { hostname, port } = new URL(base)
  const text = JSON.stringify(body)
  const request =
    `POST /v1/reservations HTTP/1.1\r\nHost: ${hostname}:${port}\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`
  return new Promise((resolve, reject) => {
    let read = ''
    const socket = connect(Number(port), hostname, () => socket.write(request.repeat(count)))
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => {
      read += chunk
      const statuses = [...read.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]))
      if (statuses.length < count) return
      socket.destroy()
      resolve(statuses)
    })
    socket.on('error', reject)
    socket.on('end', () => reject(new Error('the connection ended before all was answered')))
  })
}
