import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/**
 * Stands between a service and PostgreSQL and now and then breaks a connection at the one moment that leaves both sides
 * with different news: COMMIT has been handed on, its answer has not come back.
 */
export type CuttingProxy = {
  /** The URL of the same database through the proxy. */
  url: string
  /** From now on each n-th COMMIT is cut, by count and not by chance: after n of them it is certain. 0: none. */
  cutEach(n: number): void
  /** COMMITs cut so far. */
  count(): number
  /** Resolves when so many have been cut, or after a minute. */
  untilCut(count: number): Promise<void>
  close(): Promise<void>
}

const CUT_WAIT_MS_MAX = 60_000

/** What pg sends for a COMMIT: a simple query, its length and its text. */
const COMMIT = Buffer.from('Q\0\0\0\x0cCOMMIT;\0')
/** How PostgreSQL says that a transaction has ended; answers to statements before the COMMIT may come first. */
const ENDED = [Buffer.from('COMMIT\0'), Buffer.from('ROLLBACK\0')]

/** Starts a proxy on a port of its own. */
export async function startCuttingProxy(database_url: string): Promise<CuttingProxy> {
  const target = new URL(database_url)
  const sockets = new Set<Socket>()
  let each = 0
  let commits = 0
  let cuts = 0
  // Without Nagle's wait for an acknowledgement, which costs a transaction of small statements some 40 ms at each.
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port: Number(target.port), host: target.hostname, noDelay: true })
    /** What came back since COMMIT was handed on, if this one is cut. */
    let unheard: Buffer | undefined
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
      if (each === 0 || !chunk.includes(COMMIT)) return
      commits += 1
      if (commits % each !== 0) return
      cuts += 1
      unheard = Buffer.alloc(0)
    })
    upstream.on('data', (chunk) => {
      if (unheard === undefined) {
        client.write(chunk)
        return
      }
      unheard = Buffer.concat([unheard, chunk])
      // PostgreSQL has done it, the service never hears of it.
      if (ENDED.some((words) => unheard?.includes(words))) client.destroy()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = new URL(database_url)
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    cutEach(n) {
      each = n
      // Begins anywhere, so that it does not fall in step with a service whose transactions come in a regular order.
      commits = Math.floor(Math.random() * n)
    },
    count: () => cuts,
    async untilCut(count) {
      const isCut = (): boolean => cuts >= count
      for (let waited_ms = 0; !isCut() && waited_ms < CUT_WAIT_MS_MAX; waited_ms += 100) await delay(100)
    },
    close() {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}
