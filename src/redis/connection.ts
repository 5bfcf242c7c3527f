import { isNativeError } from 'node:util/types'
import { Redis } from 'ioredis'
import type { Logger } from 'pino'

/**
 * A connection to Redis that never keeps anybody waiting. Invariant: a command is answered or fails within
 * {@link COMMAND_TIMEOUT_MS}, and while Redis is known to be away it fails at once; nothing is kept back to be sent later.
 */

/** Redis answers in a fraction of a millisecond; what takes so long is a server that hangs or a network that is cut. */
const COMMAND_TIMEOUT_MS = 1000
/** The connection is given up if nothing comes for so long: from then on commands fail at once. Sooner than a command ends. */
const SILENCE_MS_MAX = 800
const CONNECT_TIMEOUT_MS = 500
/** Between attempts to connect again: a restarted Redis is used again within half a second. */
const RECONNECT_MS = { first: 20, max: 500 }
/** How long a start waits for the first connection. */
const START_TIMEOUT_MS = 1500
/** While Redis stays away the log says so this often. */
const LOG_INTERVAL_MS = 10_000
/** A peer that does not take its leave is not waited for. */
const DISCONNECT_TIMEOUT_MS = 100
/** A dead peer is noticed by the kernel after a few of these, also on a connection that only listens. */
const KEEP_ALIVE_MS = 5000

/** The client's own words speak of its settings. */
const REASONS: Record<string, string> = { MaxRetriesPerRequestError: 'the connection broke' }

/** Redis could not be asked, or its answer did not come. */
export class RedisUnavailable extends Error {
  /** Whether it may have done all the same what it was asked. */
  readonly is_in_doubt: boolean

  constructor(address: string, cause?: unknown) {
    // Not instanceof: under jest the sockets' errors come from another realm.
    const why = isNativeError(cause) ? (REASONS[cause.name] ?? cause.message) : 'there is no connection'
    super(`Redis at ${address} is not available: ${why}`, { cause })
    this.name = 'RedisUnavailable'
    this.is_in_doubt = cause !== undefined
  }
}

export type RedisConnection = {
  /** Host, port and database, without the password. */
  address: string
  /** The number of the Redis database that the URL names. */
  database: number
  /** The client itself, for a library that wants one. */
  client: Redis
  /**
   * Runs commands.
   *
   * @throws RedisUnavailable whatever went wrong, an error that Redis answered included
   */
  run<T>(commands: (client: Redis) => Promise<T>): Promise<T>
  isReady(): boolean
  /** Connects; from then on it reconnects by itself. Resolves to whether Redis was there within 1.5 s. */
  open(): Promise<boolean>
  /** Closes at once; what is under way fails. */
  close(): void
}

export type RedisOptions = {
  url: string
  log: Logger
  /** How the connection is called in Redis's CLIENT LIST. */
  name: string
  /** Called whenever Redis is there: after the first connect and after each reconnect. */
  onReady?: () => void
  /** Told how long commands took, failed ones included. */
  observe?: (duration_ms: number) => void
}

/** A connection that is not open yet. */
export function createRedis({ url, log, name, onReady, observe }: RedisOptions): RedisConnection {
  const client = new Redis(url, {
    lazyConnect: true,
    connectionName: name,
    connectTimeout: CONNECT_TIMEOUT_MS,
    commandTimeout: COMMAND_TIMEOUT_MS,
    socketTimeout: SILENCE_MS_MAX,
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    keepAlive: KEEP_ALIVE_MS,
    maxLoadingRetryTime: RECONNECT_MS.max,
    // Whoever sent it has had its answer by the time Redis is back: nothing is sent late, and nothing twice.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (times) => Math.min(RECONNECT_MS.first * times, RECONNECT_MS.max),
  })
  const { host, port, db } = client.options
  const database = db ?? 0
  const address = `${host}:${port}/${database}`
  let lost_at: number | undefined
  client.on('error', (error: Error) => {
    const now = performance.now()
    if (lost_at !== undefined && now - lost_at < LOG_INTERVAL_MS) return
    lost_at = now
    // Not the error itself: one of the handshake carries the password that it was sent.
    log.error({ reason: error.message, redis: address }, 'Redis is not available')
  })
  client.on('ready', () => {
    log.info({ redis: address }, lost_at === undefined ? 'connected to Redis' : 'Redis is back')
    lost_at = undefined
    onReady?.()
  })
  const isReady = (): boolean => client.status === 'ready'

  return {
    address,
    database,
    client,
    async run(commands) {
      if (!isReady()) throw new RedisUnavailable(address)
      const started = performance.now()
      try {
        return await commands(client)
      } catch (error) {
        throw new RedisUnavailable(address, error)
      } finally {
        observe?.(performance.now() - started)
      }
    },
    isReady,
    open() {
      const ready = new Promise<boolean>((resolve) => {
        const limit = setTimeout(() => resolve(isReady()), START_TIMEOUT_MS)
        client.once('ready', () => {
          clearTimeout(limit)
          resolve(true)
        })
      })
      // The first attempt that fails is told by the error event, and others follow.
      client.connect().catch(() => undefined)
      return ready
    },
    close: () => client.disconnect(),
  }
}
