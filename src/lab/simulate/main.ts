import { pino } from 'pino'
import { compose } from '../../compose.ts'
import { ConfigError, loadConfig } from '../../config.ts'
import { migrateToLatest } from '../../database/migrations.ts'
import { createPool } from '../../database/pool.ts'
import { CannotStart } from '../../reservations/strategies/strategy.ts'
import { openPostgres } from '../postgres.ts'
import { startClock } from './clock.ts'
import { openCoreShop } from './core_shop.ts'
import { readOptions, USAGE, type Options } from './options.ts'
import { drawPlan } from './plan.ts'
import { summarise, tellHappening, tellOpening, tellSummary, type Summary } from './report.ts'
import type { Shop } from './shop.ts'
import { spendDay, type Happening } from './simulation.ts'
import { openUnlockedShop } from './unlocked_shop.ts'

/** npm run simulate: customers who buy while stock is replenished, and an account of every unit. */

const EXIT = { accounted: 0, unaccounted: 1, failed: 2 } as const
/** Connections of the shop itself; with no lock they are what lets its customers collide. */
const CONNECTIONS = 10
const silent = { info: () => undefined, warn: () => undefined }

/** What a shell expects of a program that a signal ended. The exit takes PostgreSQL along. */
process.once('SIGINT', () => process.exit(130))
process.once('SIGTERM', () => process.exit(143))

const say = (text: string): void => void process.stdout.write(`${text}\n`)
const complain = (text: string): void => void process.stderr.write(`${text}\n`)

/** The core as the service runs it, with what the environment says about strategies, and nothing that runs by itself. */
async function withCore<T>(url: string, options: Options, work: (core: Core) => Promise<T>): Promise<T> {
  const config = loadConfig(undefined, {
    NODE_ENV: '',
    DATABASE_URL: url,
    EMBEDDED_DATABASE: '',
    EXPIRY_CRON: 'off',
    RESERVATION_STRATEGY: options.strategy,
    RESERVATION_FALLBACK: '',
    RESERVATION_TTL_SECONDS: '',
    RESERVATION_TTL_MAX_SECONDS: '',
  })
  const log = pino({ level: 'warn' }, pino.destination({ dest: 2, sync: true }))
  const service = compose({ config, url, log, instance: 'stock simulate' })
  try {
    await service.open()
    return await work(service.reservations)
  } finally {
    await service.stop()
  }
}

type Core = Parameters<typeof openCoreShop>[0]

async function simulate(options: Options): Promise<Summary> {
  const plan = drawPlan(options)
  const postgres = await openPostgres('simulate')
  const url = postgres.urlOf('stock')
  const timeouts = { lock_timeout_ms: 10_000, statement_timeout_ms: 0 }
  const db = createPool({ ...timeouts, url, max: CONNECTIONS, application_name: 'stock simulate' })
  const tell = options.json ? () => undefined : (happening: Happening) => say(tellHappening(happening))
  const spend = async (shop: Shop): Promise<Summary> => {
    const day = await spendDay(plan, shop, startClock(), options, tell)
    return summarise(options, day, await shop.audit(day.told))
  }
  try {
    if (options.no_lock) return await spend(await openUnlockedShop(db, plan.initial))
    await migrateToLatest(db, silent)
    return await withCore(url, options, async (core) => spend(await openCoreShop(core, db, plan.initial)))
  } finally {
    await db.destroy()
    await postgres.close()
  }
}

function readOrComplain(args: readonly string[]): Options | undefined {
  try {
    return readOptions(args)
  } catch (error) {
    complain(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
    return undefined
  }
}

function inWords(error: unknown): string {
  if (error instanceof ConfigError || error instanceof CannotStart) return error.message
  return `the simulation failed: ${error instanceof Error ? error.stack : String(error)}`
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(USAGE)
    return EXIT.accounted
  }
  const options = readOrComplain(args)
  if (options === undefined) return EXIT.failed
  if (!options.json) say(tellOpening(options))
  try {
    const summary = await simulate(options)
    say(options.json ? JSON.stringify(summary, null, 2) : tellSummary(summary))
    return summary.accounted ? EXIT.accounted : EXIT.unaccounted
  } catch (error) {
    complain(inWords(error))
    return EXIT.failed
  }
}

// What a simulation that failed has under way must not keep it from ending.
process.exit(await main(process.argv.slice(2)))
