import type { Command } from 'commander'
import type { Knex } from 'knex'
import { pino } from 'pino'
import { createRedis } from '../redis/connection.ts'
import { keyPrefix } from '../redis/keys.ts'
import { createLevels, type Levels } from '../redis/levels.ts'
import {
  forgetStrangers,
  refreshLevels,
  reportOf,
  syncLevels,
  verifyLevels,
  type Difference,
  type RedisVerifyReport,
} from '../reservations/strategies/redis_sync.ts'
import { CommandEnd, CommandError, EXIT, print, printJson, withDatabase } from './run.ts'

/** `cli redis …`: what the strategy `redis` keeps in Redis. */
export function addRedisCommands(program: Command): void {
  const redis = program.command('redis').description('compare and repair what the strategy "redis" keeps in Redis')
  redis
    .command('sync [sku]')
    .description('put the levels of all SKUs, or of one, into Redis as the database has them now')
    .option('--json', 'print JSON')
    .action(sync)
  redis
    .command('verify')
    .description('name the SKUs of which Redis has another number than the database; repairs nothing')
    .option('--json', 'print JSON')
    .action(verify)
}

async function sync(sku: string | undefined, { json }: { json?: boolean }): Promise<void> {
  const { report, forgotten } = await withLevels((db, levels) =>
    sku === undefined ? syncAll(db, levels) : syncOne(db, levels, sku),
  )
  if (json) return printJson({ ...report, forgotten })
  const { skus, loaded, off } = report
  const strangers = forgotten.length === 0 ? '' : `; forgot ${forgotten.length} that the database does not have`
  print(`${skus} SKUs: ${loaded} new to Redis, ${off.skus} off by ${off.units} units in all${strangers}`)
}

async function syncAll(db: Knex, levels: Levels) {
  const report = await syncLevels(db, levels)
  return { report, forgotten: await forgetStrangers(db, levels) }
}

async function syncOne(db: Knex, levels: Levels, sku: string) {
  const put = await refreshLevels(db, levels, [sku])
  if (put.length === 0) throw new CommandError(`the database has no SKU ${sku}, and Redis has none of it now`, EXIT.no)
  return { report: reportOf(put), forgotten: [] }
}

async function verify({ json }: { json?: boolean }): Promise<void> {
  const report = await withLevels(verifyLevels)
  if (json) printJson(report)
  else print(describe(report))
  if (!report.clean) throw new CommandEnd(EXIT.no)
}

function describe({ clean, skus, broken, findings }: RedisVerifyReport): string {
  if (clean) return `Redis is in step: all ${skus} SKUs that it has are as in the database. Nothing was changed.`
  return [
    ...findings.flatMap(describeDifference),
    ...(broken > findings.length ? [`and ${broken - findings.length} more`] : []),
    '',
    `NOT IN STEP: ${broken} of ${skus} SKUs that Redis has. Nothing is oversold by it, the database decides. A running service`,
    'repairs this within REDIS_SYNC_INTERVAL; at once: npm run cli -- redis sync. Nothing was changed.',
  ].join('\n')
}

function describeDifference({ sku, redis, database }: Difference): string[] {
  const stored =
    database === null ? 'the database has no such SKU' : `the database ${database.available} (seq ${database.seq})`
  return [
    `SKU ${sku}: Redis has ${redis.available} available (seq ${redis.seq}), ${stored}`,
    `  -> npm run cli -- redis sync ${sku}`,
  ]
}

async function withLevels<T>(work: (db: Knex, levels: Levels) => Promise<T>): Promise<T> {
  return withDatabase(async (db, config, database_url) => {
    const url = config.strategies.redis_url
    if (url === undefined) throw new CommandError('there is no Redis: set REDIS_URL, such as redis://localhost:6379')
    const redis = createRedis({ url, name: 'stock cli', log: pino({ level: 'silent' }) })
    try {
      if (!(await redis.open())) throw new CommandError(`Redis at ${redis.address} does not answer`)
      return await work(db, createLevels(redis, keyPrefix(database_url)))
    } finally {
      redis.close()
    }
  })
}
