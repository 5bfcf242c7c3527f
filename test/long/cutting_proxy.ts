import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/**
 * Stands between a service and PostgreSQL and now and then breaks a connection at the one moment that leaves both sides
 * with different news: COMMIT has been handed on, its answer has not come back.
 */
export type CuttingProxy = {
  /** The URL of the same database through the proxy. */
  url: string
  /** From now on so many of a hundred COMMITs are cut. */
  cut(percent: number): void
  /** COMMITs cut so far. */
  count(): number
  close(): Promise<void>
}

/** What pg sends for a COMMIT: a simple query, its length and its text. */
const COMMIT = Buffer.from('Q\0\0\0\x0cCOMMIT;\0')

/** Starts a proxy on a port of its own. */
export async function startCuttingProxy(database_url: string): Promise<CuttingProxy> {
  const target = new URL(database_url)
  const sockets = new Set<Socket>()
  let percent = 0
  let cuts = 0
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname)
    let deaf = false
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    client.on('data', (chunk) => {
      upstream.write(chunk)
      if (!chunk.includes(COMMIT) || Math.random() * 100 >= percent) return
      cuts += 1
      deaf = true
    })
    upstream.on('data', (chunk) => {
      // The answer to COMMIT: PostgreSQL has done it, the service never hears of it.
      if (deaf) client.destroy()
      else client.write(chunk)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = new URL(database_url)
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    cut: (share) => (percent = share),
    count: () => cuts,
    close() {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}
