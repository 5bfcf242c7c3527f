import { randomBytes } from 'node:crypto'
import { envSchema } from 'env-schema'
import { IANAZone } from 'luxon'
import { Type, type Static } from 'typebox'
import { validate as cronIsValid } from 'node-cron'
import { REDIS_STRATEGIES, STRATEGY_NAMES, type StrategyName } from './strategy_names.ts'
import { parseWeights, type Weighted } from './weights.ts'

/** A year. */
const TTL_MAX_SECONDS = 31_536_000
const REDIS_URL = '^rediss?://[^,]+'

/**
 * The environment, validated and frozen: the only reader of process.env.
 *
 * Every setting has a bound. A wrong one stops the start with a line of its own; unknown variables are ignored, because
 * the environment is shared with everything else on the machine.
 */
const environment = Type.Object({
  NODE_ENV: Type.String({ default: 'development' }),
  PORT: Type.Integer({ default: 3000, minimum: 0, maximum: 65535 }),
  HOST: Type.String({ default: '127.0.0.1', minLength: 1 }),
  WORKERS: Type.Integer({ default: 1, minimum: 1, maximum: 64 }),
  DATABASE_URL: Type.Optional(Type.String({ pattern: '^postgres(ql)?://' })),
  EMBEDDED_DATABASE: Type.Optional(Type.Boolean()),
  DATABASE_POOL_MAX: Type.Integer({ default: 10, minimum: 4, maximum: 200 }),
  MIGRATE_ON_START: Type.Optional(Type.Boolean()),
  DATA_DIR: Type.String({ default: '.data', minLength: 1 }),
  RESERVATION_TTL_SECONDS: Type.String({ default: '1800' }),
  RESERVATION_TTL_MAX_SECONDS: Type.Integer({ default: 86_400, minimum: 1, maximum: TTL_MAX_SECONDS }),
  EXPIRY_CRON: Type.String({ default: '*/10 * * * * *' }),
  SEED_DEMO: Type.Optional(Type.Boolean()),
  RESERVATION_STRATEGY: Type.String({ default: 'batched' }),
  RESERVATION_FALLBACK: Type.Optional(Type.String()),
  OPTIMISTIC_RETRIES_MAX: Type.Integer({ default: 3, minimum: 0, maximum: 100 }),
  OPTIMISTIC_BACKOFF_MS: Type.Integer({ default: 100, minimum: 1, maximum: 1000 }),
  REDIS_URL: Type.Optional(Type.String({ pattern: REDIS_URL })),
  REDIS_URLS: Type.Optional(Type.String({ pattern: `${REDIS_URL}(,${REDIS_URL.slice(1)})*$` })),
  REDIS_SYNC_INTERVAL: Type.Integer({ default: 60, minimum: 1, maximum: 3600 }),
  QUEUE_WORKERS: Type.Integer({ default: 2, minimum: 1, maximum: 64 }),
  CURRENCY: Type.String({ default: 'KRW', pattern: '^[A-Z]{3}$' }),
  SHOP_TIME_ZONE: Type.String({ default: 'Asia/Seoul', minLength: 1 }),
  PAYMENT_GATEWAY: Type.Optional(
    Type.Union([Type.Literal('development'), Type.Literal('stripe'), Type.Literal('off')]),
  ),
  PAYMENTS_CRON: Type.String({ default: '*/5 * * * * *' }),
  SALES_CRON: Type.String({ default: '*/10 * * * * *' }),
  STRIPE_SECRET_KEY: Type.Optional(Type.String({ minLength: 8, pattern: '^[!-~]+$' })),
  STRIPE_WEBHOOK_SECRET: Type.Optional(Type.String({ minLength: 8, pattern: '^[!-~]+$' })),
  STRIPE_PUBLISHABLE_KEY: Type.Optional(Type.String({ minLength: 8, pattern: '^[!-~]+$' })),
  STRIPE_API_URL: Type.String({ default: 'https://api.stripe.com', pattern: '^https?://[^/]+/?$' }),
  DEVELOPMENT_GATEWAY_SECRET: Type.Optional(Type.String({ pattern: '^whsec_[A-Za-z0-9+/]{32,}={0,2}$' })),
  BOOTSTRAP_API_KEY: Type.Optional(Type.String({ minLength: 32, maxLength: 255, pattern: '^[!-~]+$' })),
  SESSION_SECRET: Type.Optional(Type.String({ minLength: 32, maxLength: 255 })),
  SHOP_DEMO_LOGIN: Type.Boolean({ default: false }),
  LOG_LEVEL: Type.Union(
    ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'].map((level) => Type.Literal(level)),
    { default: 'info' },
  ),
})

type Environment = Static<typeof environment>

/** What single strategies are told; see StrategySettings in the reservations' strategies. */
type StrategyConfig = Readonly<{
  redis_url: string | undefined
  redis_urls: readonly string[]
  redis_sync_interval_seconds: number
  queue_workers: number
  optimistic_retries_max: number
  optimistic_backoff_ms: number
}>

export type Config = Readonly<{
  production: boolean
  port: number
  host: string
  /** Processes that serve the port together; 1 serves it without a cluster. */
  workers: number
  /** Absent: the embedded PostgreSQL under `data_dir`. */
  database_url: string | undefined
  database_pool_max: number
  migrate_on_start: boolean
  data_dir: string
  /** How long a hold lives if the request does not say, or several times that buyers are split among. */
  reservation_ttl_seconds: readonly Weighted<number>[]
  reservation_ttl_max_seconds: number
  /** A six-field cron expression, or undefined for an instance that does not sweep. */
  expiry_cron: string | undefined
  seed_demo: boolean
  /** One strategy, or several that buyers are split among. */
  reservation_strategy: readonly Weighted<StrategyName>[]
  /** Takes what a strategy certainly wrote nothing of and can't answer. */
  reservation_fallback: StrategyName | undefined
  strategies: StrategyConfig
  /** ISO 4217; all money is in its minor unit. */
  currency: string
  /** Sales belong to days of this time zone. */
  shop_time_zone: string
  /** Where cards are paid; undefined for a shop that takes none. */
  gateway: GatewayConfig | undefined
  /** When what is owed to the gateway is looked after; undefined for an instance that does not. */
  payments_cron: string | undefined
  /** When sales are added up; undefined for an instance that does not. */
  sales_cron: string | undefined
  bootstrap_api_key: string | undefined
  /** Signs the pages' sessions. */
  session_secret: string
  /** Whether a customer may log in to the shop by name although there are API keys. */
  shop_demo_login: boolean
  log_level: string
}>

export type GatewayConfig =
  | { name: 'stripe'; secret_key: string; webhook_secret: string; publishable_key: string | undefined; api_url: string }
  /** `secret` undefined: a new one at each start. */
  | { name: 'development'; secret: string | undefined }

/** What was wrong with the environment, one line per fault. */
export class ConfigError extends Error {
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super(`wrong settings:\n${faults.map((fault) => `  ${fault}`).join('\n')}`)
    this.name = 'ConfigError'
    this.faults = faults
  }
}

/**
 * Reads and freezes the settings.
 *
 * @param source the variables, process.env unless a test passes its own
 * @param changes variables that take the place of those; '' for one that is to count as not set
 * @throws ConfigError naming every variable that is wrong, each with what it may be
 */
export function loadConfig(source: NodeJS.ProcessEnv = process.env, changes: NodeJS.ProcessEnv = {}): Config {
  const env = parse({ ...source, ...changes })
  const embedded = env.DATABASE_URL === undefined
  const faults: string[] = []
  if (embedded && env.NODE_ENV === 'production' && env.EMBEDDED_DATABASE !== true) {
    faults.push(
      'DATABASE_URL is required with NODE_ENV=production; EMBEDDED_DATABASE=true allows the embedded database',
    )
  }
  if (!embedded && env.EMBEDDED_DATABASE === true) {
    faults.push('EMBEDDED_DATABASE=true contradicts DATABASE_URL; set one of them')
  }
  for (const name of ['EXPIRY_CRON', 'PAYMENTS_CRON', 'SALES_CRON'] as const) {
    if (!isCronOrOff(env[name])) {
      faults.push(`${name} must be "off" or a cron expression of six fields, such as "*/10 * * * * *"`)
    }
  }
  const strategies = readStrategies(env, faults)
  const redis_urls = readNodes(env, faults)
  const reservation_ttl_seconds = readHoldTimes(env, faults)
  faults.push(...shopFaults(env))
  if (faults.length > 0) throw new ConfigError(faults)
  return Object.freeze({
    production: env.NODE_ENV === 'production',
    port: env.PORT,
    host: env.HOST,
    workers: env.WORKERS,
    database_url: env.DATABASE_URL,
    database_pool_max: env.DATABASE_POOL_MAX,
    migrate_on_start: env.MIGRATE_ON_START ?? embedded,
    data_dir: env.DATA_DIR,
    reservation_ttl_seconds,
    reservation_ttl_max_seconds: env.RESERVATION_TTL_MAX_SECONDS,
    expiry_cron: unlessOff(env.EXPIRY_CRON),
    seed_demo: env.SEED_DEMO ?? embedded,
    ...strategies,
    strategies: {
      redis_url: env.REDIS_URL,
      redis_urls,
      redis_sync_interval_seconds: env.REDIS_SYNC_INTERVAL,
      queue_workers: env.QUEUE_WORKERS,
      optimistic_retries_max: env.OPTIMISTIC_RETRIES_MAX,
      optimistic_backoff_ms: env.OPTIMISTIC_BACKOFF_MS,
    },
    currency: env.CURRENCY,
    shop_time_zone: env.SHOP_TIME_ZONE,
    gateway: gatewayOf(env),
    payments_cron: unlessOff(env.PAYMENTS_CRON),
    sales_cron: unlessOff(env.SALES_CRON),
    bootstrap_api_key: env.BOOTSTRAP_API_KEY,
    // Without one, sessions end with the process.
    session_secret: env.SESSION_SECRET ?? randomBytes(32).toString('base64url'),
    shop_demo_login: env.SHOP_DEMO_LOGIN,
    log_level: env.LOG_LEVEL,
  })
}

/** The strategies that are asked for; what is wrong with them is added to the faults. */
function readStrategies(
  env: Environment,
  faults: string[],
): Pick<Config, 'reservation_strategy' | 'reservation_fallback'> {
  const named = (text: string) => STRATEGY_NAMES.find((name) => name === text)
  const allowed = `one of ${STRATEGY_NAMES.join(', ')}`
  const chosen = parseWeights(env.RESERVATION_STRATEGY, named, allowed)
  if (typeof chosen === 'string') faults.push(`RESERVATION_STRATEGY ${chosen}`)
  const reservation_strategy = typeof chosen === 'string' ? [] : chosen
  const fallback = env.RESERVATION_FALLBACK
  const reservation_fallback = fallback === undefined ? undefined : named(fallback)
  if (fallback !== undefined) {
    if (reservation_fallback === undefined) faults.push(`RESERVATION_FALLBACK must be ${allowed}`)
    else if (reservation_strategy.length === 1 && reservation_strategy[0]?.value === reservation_fallback) {
      faults.push('RESERVATION_FALLBACK must be another strategy than RESERVATION_STRATEGY')
    }
  }
  for (const { value } of reservation_strategy) requireRedis('RESERVATION_STRATEGY', value, env, faults)
  if (reservation_fallback) requireRedis('RESERVATION_FALLBACK', reservation_fallback, env, faults)
  return { reservation_strategy, reservation_fallback }
}

function requireRedis(setting: string, strategy: StrategyName, env: Environment, faults: string[]): void {
  if (!REDIS_STRATEGIES.includes(strategy) || env.REDIS_URL !== undefined) return
  if (strategy === 'redlock' && env.REDIS_URLS !== undefined) return
  faults.push(`${setting}=${strategy} needs REDIS_URL, such as redis://localhost:6379`)
}

/** The nodes of Redlock. An even number outlives no more losses than one node less, and half against half decides nothing. */
function readNodes(env: Environment, faults: string[]): string[] {
  const nodes = (env.REDIS_URLS ?? env.REDIS_URL)?.split(',') ?? []
  if (nodes.length > 0 && nodes.length % 2 === 0) faults.push('REDIS_URLS must name an odd number of nodes, such as 3')
  if (new Set(nodes).size < nodes.length) faults.push('REDIS_URLS must not name a node twice')
  return nodes
}

/** The hold times that are asked for; what is wrong with them is added to the faults. */
function readHoldTimes(env: Environment, faults: string[]): readonly Weighted<number>[] {
  const seconds = (text: string) => {
    const value = Number(text)
    return /^\d+$/.test(text) && value >= 1 && value <= TTL_MAX_SECONDS ? value : undefined
  }
  const times = parseWeights(env.RESERVATION_TTL_SECONDS, seconds, `whole seconds from 1 to ${TTL_MAX_SECONDS}`)
  if (typeof times === 'string') {
    faults.push(`RESERVATION_TTL_SECONDS ${times}`)
    return []
  }
  if (times.some(({ value }) => value > env.RESERVATION_TTL_MAX_SECONDS)) {
    faults.push('RESERVATION_TTL_SECONDS must not be above RESERVATION_TTL_MAX_SECONDS')
  }
  return times
}

function isCronOrOff(text: string): boolean {
  return text === 'off' || (text.trim().split(/\s+/).length === 6 && cronIsValid(text))
}

function unlessOff(cron: string): string | undefined {
  return cron === 'off' ? undefined : cron
}

function shopFaults(env: Environment): string[] {
  const faults: string[] = []
  if (!IANAZone.isValidZone(env.SHOP_TIME_ZONE)) {
    faults.push('SHOP_TIME_ZONE must be a time zone such as "Asia/Seoul" or "UTC"')
  }
  if (env.PAYMENT_GATEWAY === 'stripe') {
    for (const name of ['STRIPE_SECRET_KEY', 'STRIPE_WEBHOOK_SECRET'] as const) {
      if (env[name] === undefined) faults.push(`${name} is required with PAYMENT_GATEWAY=stripe`)
    }
  }
  return faults
}

/** Play money is never the default where real money is meant. */
function gatewayOf(env: Environment): GatewayConfig | undefined {
  const name = env.PAYMENT_GATEWAY ?? (env.NODE_ENV === 'production' ? 'off' : 'development')
  if (name === 'off') return undefined
  if (name === 'development') return { name, secret: env.DEVELOPMENT_GATEWAY_SECRET }
  return {
    name,
    secret_key: env.STRIPE_SECRET_KEY!,
    webhook_secret: env.STRIPE_WEBHOOK_SECRET!,
    publishable_key: env.STRIPE_PUBLISHABLE_KEY,
    api_url: env.STRIPE_API_URL,
  }
}

function parse(source: NodeJS.ProcessEnv): Environment {
  // An empty variable (PORT= in a shell or a compose file) means "not set".
  const known = Object.keys(environment.properties)
  const data = Object.fromEntries(
    known.flatMap((name) => (source[name] === undefined || source[name] === '' ? [] : [[name, source[name]]])),
  )
  try {
    return envSchema<Environment>({ schema: environment, data, env: false, dotenv: false })
  } catch (error) {
    throw new ConfigError(describe(error))
  }
}

type AjvFault = { instancePath: string; message?: string; params?: { allowedValue?: string; allowedValues?: string[] } }

function describe(error: unknown): string[] {
  const faults = (error as { errors?: AjvFault[] }).errors
  if (!faults) throw error
  const lines = new Map<string, string>()
  for (const fault of faults) {
    const name = fault.instancePath.slice(1)
    if (fault.params?.allowedValue !== undefined) {
      const choices = lines.get(name)
      lines.set(
        name,
        choices ? `${choices}, ${fault.params.allowedValue}` : `${name} must be one of ${fault.params.allowedValue}`,
      )
    } else if (!lines.has(name)) {
      lines.set(name, `${name} ${fault.message ?? 'is wrong'}`)
    }
  }
  return [...lines.values()]
}
