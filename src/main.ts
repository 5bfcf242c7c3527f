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

/** serve: settings, database, app, schedule; and the way back in reverse. */

/** In-flight requests get so long to end; with what follows the process is gone within 10 s. */
const DRAIN_MS = 7000
const STOP_MS = 9500

const WHY_NO_BOOTSTRAP = {
  revoked: 'the key "bootstrap" was revoked, which is final; unset the variable and use another key',
  taken: 'this secret belongs to another key; set the variable to a secret of its own',
}

/** Why the service did not start, in words for whoever started it. */
class StartError extends Error {}

async function main(): Promise<void> {
  const config = loadConfig()
  const log = createLog(config.log_level)
  const database = await openDatabase(config, { log, application_name: 'stock start', max: 2 })
  let service: Service | undefined
  try {
    await prepare(config, database, log)
    service = compose({ config, url: database.url, log, instance: `stock ${hostname()} ${process.pid}` })
    await listen(service, config)
  } catch (error) {
    await service?.stop()
    await database.close()
    throw error
  }
  service.start()
  await announce(service, config, database, log)
  const stopping = stopOnSignal(service, database, log)
  await stopping
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

function listen(service: Service, config: Config): Promise<void> {
  return new Promise((resolve, reject) => {
    service.server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'EADDRINUSE'
          ? new StartError(`port ${config.port} is taken; stop what listens there or set PORT to another one`)
          : error,
      )
    })
    service.server.listen(config.port, config.host, resolve)
  })
}

async function announce(service: Service, config: Config, database: OpenDatabase, log: Logger): Promise<void> {
  const { port } = service.server.address() as AddressInfo
  const host = config.host.includes(':') ? `[${config.host}]` : config.host
  const base = `http://${host}:${port}`
  log.info({ api: base, database: database.description, strategy: config.reservation_strategy }, 'listening')
  if (config.production) return
  await logWritten(log)
  process.stdout.write(
    [
      '',
      `  API            ${base}/v1`,
      `  Documentation  ${base}/docs`,
      `  Metrics        ${base}/metrics`,
      `  Database       ${database.description}`,
      '',
      '',
    ].join('\n'),
  )
}

/** Resolves when a signal has come and everything has ended. */
async function stopOnSignal(service: Service, database: OpenDatabase, log: Logger): Promise<void> {
  const signal = await new Promise<string>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => resolve(name))
  })
  log.info({ signal }, 'stopping')
  const limit = setTimeout(() => {
    log.error('not everything ended in time')
    database.closeSync()
    void logWritten(log).then(() => process.exit(0))
  }, STOP_MS)
  limit.unref()
  service.drain()
  await closeServer(service)
  await service.stop()
  await database.close()
  log.info('stopped')
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

main().catch((error: unknown) => {
  if (error instanceof ConfigError || error instanceof StartError) process.stderr.write(`${error.message}\n`)
  else process.stderr.write(`the service could not start: ${error instanceof Error ? error.stack : String(error)}\n`)
  process.exitCode = 1
})
