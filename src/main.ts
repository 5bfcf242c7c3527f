import { hostname } from 'node:os'
import type { AddressInfo } from 'node:net'
import type { Logger } from 'pino'
import { compose, type Service } from './compose.ts'
import { ConfigError, loadConfig, type Config } from './config.ts'
import { migrateToLatest, schemaState, seedDemo } from './database/migrations.ts'
import { openDatabase, type OpenDatabase } from './database/open.ts'
import { inspectServer } from './database/server.ts'
import { hasEverHadKeys } from './keys/authenticate.ts'
import { ensureBootstrapKey } from './keys/keys.ts'
import { createLog, logWritten } from './log.ts'
import { textOf, type Metrics } from './metrics.ts'
import { CannotStart } from './reservations/strategies/strategy.ts'
import {
  isWorker,
  leavePrimary,
  reportFailure,
  shareMetrics,
  startWorkers,
  toldToEnd,
  WorkerError,
  type Workers,
} from './workers.ts'

/** serve: settings, database, app, schedule; and the way back in reverse. */

/** In-flight requests get so long to end; with what follows the process is gone within 10 s. */
const DRAIN_MS = 7000
const STOP_MS = 9500
/** A worker ends sooner, which leaves its primary the time to close the database. */
const WORKER_STOP_MS = 8500

const WHY_NO_BOOTSTRAP = {
  revoked: 'the key "bootstrap" was revoked, which is final; unset the variable and use another key',
  taken: 'this secret belongs to another key; set the variable to a secret of its own',
}

/** Why the service did not start, in words for whoever started it. */
class StartError extends Error {}

/** What serves the port: this process, or its workers. */
type Serving = Pick<Workers, 'port' | 'stop' | 'killSync'>

async function main(): Promise<void> {
  const config = loadConfig()
  const log = createLog(config.log_level, { shared: config.workers > 1 })
  if (isWorker()) return work(config, log)
  const database = await openDatabase(config, { log, application_name: 'stock start', max: 2 })
  let serving: Serving
  try {
    await prepare(config, database, log)
    serving = config.workers === 1 ? await serve(config, database.url, log) : await serveTogether(config, database, log)
  } catch (error) {
    await database.close()
    throw error
  }
  const signal = nextSignal()
  await announce(serving.port, config, database, log)
  log.info({ signal: await signal }, 'stopping')
  exitAfter(STOP_MS, log, () => {
    serving.killSync()
    database.closeSync()
  })
  await serving.stop()
  await database.close()
  log.info('stopped')
}

/** One of several processes that share the port; the database is there, and the primary closes it. */
async function work(config: Config, log: Logger): Promise<void> {
  const told = toldToEnd()
  const serving = await serve(config, config.database_url!, log, (own) => {
    const askSum = shareMetrics(() => own.snapshot(), log)
    return async () => textOf(await askSum())
  })
  log.debug({ signal: await told }, 'stopping')
  exitAfter(WORKER_STOP_MS, log, () => undefined)
  await serving.stop()
  await logWritten(log)
  leavePrimary()
}

async function serve(
  config: Config,
  url: string,
  log: Logger,
  expose?: (own: Metrics) => () => Promise<string>,
): Promise<Serving> {
  const instance = `stock ${hostname()} ${process.pid}`
  const service = compose({ config, url, log, instance, ...(expose && { expose }) })
  try {
    await service.open()
    await listen(service, config)
  } catch (error) {
    await service.stop()
    throw inWords(error, config)
  }
  service.start()
  return {
    port: (service.server.address() as AddressInfo).port,
    async stop() {
      service.drain()
      await closeServer(service)
      await service.stop()
    },
    killSync: () => undefined,
  }
}

async function serveTogether(config: Config, { url }: OpenDatabase, log: Logger): Promise<Serving> {
  const { workers: count, host, port, session_secret } = config
  // The database has been opened: to a worker an embedded one is like any other, and an empty setting is none.
  const env = { DATABASE_URL: url, EMBEDDED_DATABASE: '', SESSION_SECRET: session_secret }
  try {
    return await startWorkers({ count, host, port, env, log })
  } catch (error) {
    throw inWords(error, config)
  }
}

async function prepare(config: Config, database: OpenDatabase, log: Logger): Promise<void> {
  const { db } = database
  const { warnings } = await inspectServer(db)
  for (const warning of warnings) log.warn(warning)
  if (config.migrate_on_start) await migrateToLatest(db, log)
  const schema = await schemaState(db)
  if (!schema.current) {
    log.error(
      { pending: schema.pending },
      'the schema is older than this code, so /readyz says 503; run: npm run migrate',
    )
    return
  }
  if (config.bootstrap_api_key !== undefined) {
    const bootstrap = await ensureBootstrapKey(db, config.bootstrap_api_key)
    if (bootstrap === 'revoked' || bootstrap === 'taken') {
      log.warn(`BOOTSTRAP_API_KEY has no effect: ${WHY_NO_BOOTSTRAP[bootstrap]}`)
    }
  }
  if (!isLoopback(config.host) && !(await hasEverHadKeys(db))) {
    throw new StartError(
      `HOST=${config.host} would let everybody in: no API key was ever created.\n` +
        '  Create one with "npm run cli -- keys create --name shop --scopes read,reserve", set BOOTSTRAP_API_KEY,\n' +
        '  or leave HOST at 127.0.0.1.',
    )
  }
  if (config.seed_demo && (await seedDemo(db))) log.info('seeded the demo shop')
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

/**
 * Connections that the kernel has made and this process has not taken over yet: as many as the kernel lets there be
 * (net.core.somaxconn, 4,096 unless changed). Of a crowd beyond Node's own 511 each client would wait until TCP tries again, a
 * second or more.
 */
const LISTEN_BACKLOG = 65_535

function listen({ server }: Service, { port, host }: Config): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host, backlog: LISTEN_BACKLOG }, resolve)
  })
}

function inWords(error: unknown, config: Config): unknown {
  if (error instanceof WorkerError) return new StartError(error.message)
  return (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
    ? new StartError(`port ${config.port} is taken; stop what listens there or set PORT to another one`)
    : error
}

async function announce(port: number, config: Config, database: OpenDatabase, log: Logger): Promise<void> {
  const host = config.host.includes(':') ? `[${config.host}]` : config.host
  const base = `http://${host}:${port}`
  const shared = config.workers > 1 ? { workers: config.workers } : {}
  const chosen = config.reservation_strategy
  const strategy = chosen.map(({ value, weight }) => (chosen.length > 1 ? `${value}:${weight}` : value)).join(',')
  const fallback = config.reservation_fallback
  log.info({ api: base, database: database.description, strategy, fallback, ...shared }, 'listening')
  if (config.production) return
  await logWritten(log)
  process.stdout.write(
    [
      '',
      `  Shop           ${base}/shop`,
      `  Console        ${base}/console`,
      `  API            ${base}/v1`,
      `  Documentation  ${base}/docs`,
      `  Metrics        ${base}/metrics`,
      `  Database       ${database.description}`,
      '',
      '',
    ].join('\n'),
  )
}

function nextSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => resolve(name))
  })
}

/** Ends the process if it has not ended by itself. */
function exitAfter(limit_ms: number, log: Logger, letGo: () => void): void {
  const limit = setTimeout(() => {
    log.error('not everything ended in time')
    letGo()
    void logWritten(log).then((written) => (written ? process.exit(0) : process.kill(process.pid, 'SIGKILL')))
  }, limit_ms)
  limit.unref()
}

function closeServer(service: Service): Promise<void> {
  return new Promise((resolve) => {
    const limit = setTimeout(() => service.server.closeAllConnections(), DRAIN_MS)
    service.server.close(() => {
      clearTimeout(limit)
      resolve()
    })
    service.server.closeIdleConnections()
  })
}

main().catch(async (error: unknown) => {
  const message =
    error instanceof ConfigError || error instanceof StartError || error instanceof CannotStart
      ? error.message
      : `the service could not start: ${error instanceof Error ? error.stack : String(error)}`
  process.exitCode = 1
  if (isWorker()) await reportFailure(message)
  else process.stderr.write(`${message}\n`)
})
