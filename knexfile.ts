import type { Knex } from 'knex'
import { ConfigError, loadConfig } from './src/config.ts'
import { acquireEmbeddedDatabase } from './src/database/embedded.ts'
import { migrationConfig, seedSource } from './src/database/migrations.ts'
import { poolConfig } from './src/database/pool.ts'

/**
 * For knex's command line (`npm run migrate` and its like): the service's database, migrations and seeds.
 *
 * knex ends each command with process.exit, so the embedded database is given back there.
 */
export default async function config(): Promise<Knex.Config> {
  const migrations = { ...migrationConfig, extension: 'ts', stub: './scripts/migration.stub' }
  if (process.argv.includes('migrate:make')) return { client: 'pg', migrations }
  return {
    ...poolConfig({
      url: await databaseUrl(),
      max: 4,
      lock_timeout_ms: 60_000,
      statement_timeout_ms: 0,
      application_name: 'stock-reservation-knex',
    }),
    migrations,
    seeds: { seedSource: seedSourceThatTells() },
  }
}

async function databaseUrl(): Promise<string> {
  const settings = readSettings()
  if (settings.database_url !== undefined) return settings.database_url
  const log = { info: (message: string) => console.log(message), warn: (message: string) => console.error(message) }
  const database = await acquireEmbeddedDatabase({ data_dir: settings.data_dir, log })
  process.once('exit', () => database.releaseSync())
  process.once('SIGINT', () => process.exit(130))
  process.once('SIGTERM', () => process.exit(143))
  return database.url
}

function readSettings(): ReturnType<typeof loadConfig> {
  try {
    return loadConfig()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    console.error(error.message)
    process.exit(1)
  }
}

// knex says "Ran 1 seed files" whatever the seed did.
function seedSourceThatTells(): Knex.SeedSource<unknown> {
  return {
    getSeeds: (options) => seedSource.getSeeds(options),
    async getSeed(module) {
      const { seed } = await seedSource.getSeed(module as never)
      return {
        async seed(db) {
          const seeded: unknown = await seed(db)
          if (seeded === false) console.log('There are products or stock already: nothing was seeded')
        },
      }
    },
  }
}
