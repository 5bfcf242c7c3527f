import { REDIS_STRATEGIES, STRATEGY_NAMES, type StrategyName } from '../../strategy_names.ts'
import { DidNotStart, startProgram, startService, type ServiceOptions, type TestedServer } from '../bench/servers.ts'
import { INSTALL_REDIS, startRedis, type Durability, type RedisProgram, type RedisServer } from './redis.ts'
import { UNSAFE_NAMES, type Tables, type UnsafeName } from './unsafe.ts'

/** What is compared: every strategy of the service, and the two unsafe ways; each in processes of its own. */

export type Contender = { name: string } & (
  | { strategy: StrategyName; redis?: { nodes: number; durability: Durability } }
  | { unsafe: UnsafeName; tables: Tables }
)

/** Where the contenders of a run live. */
export type Ground = {
  /** A folder for what they write, and the compiled sources in it. */
  dir: string
  build: string
  /** Absent where it is not installed. */
  redis: RedisProgram | undefined
}

export type Running = { servers: TestedServer[]; stop(): Promise<void> }

/** Why a contender could not be measured here. */
export class LeftOut extends Error {
  constructor(why: string) {
    super(why)
    this.name = 'LeftOut'
  }
}

const REDLOCK_NODES = 3
const REDLOCK_NAME = `redlock-${REDLOCK_NODES}`

/** All of them, in the order in which they are measured: the service's strategies as it names them, then the unsafe. */
export const CONTENDERS: readonly Contender[] = [
  ...STRATEGY_NAMES.flatMap((strategy): Contender[] => {
    if (!REDIS_STRATEGIES.includes(strategy)) return [{ name: strategy, strategy }]
    const one = { name: strategy, strategy, redis: { nodes: 1, durability: 'none' as const } }
    if (strategy !== 'redlock') return [one]
    return [one, { name: REDLOCK_NAME, strategy, redis: { nodes: REDLOCK_NODES, durability: 'none' } }]
  }),
  ...UNSAFE_NAMES.map((unsafe): Contender => ({ name: unsafe, unsafe, tables: 'scratch' })),
]

const ABOUT: Record<StrategyName | UnsafeName, string> = {
  batched: 'many reserves share one transaction, in order of arrival',
  conditional: 'a transaction each, ending in one conditional UPDATE',
  pessimistic: 'SELECT … FOR UPDATE, check, write',
  optimistic: 'read with its seq, write if it is unchanged, else try again',
  mutex: 'a lock inside the process around read, check, write',
  redis: 'a Lua script on Redis admits or refuses, the database decides',
  spinlock: 'a Redis lock, polled',
  redlock: 'a Redis lock by Redlock',
  'pubsub-lock': 'a Redis lock whose waiters are woken by pub/sub',
  queue: 'a durable job queue on the same PostgreSQL',
  none: 'unsafe, on tables of its own: read, check, write an absolute value',
  unguarded: 'unsafe, on tables of its own: check, then increment whatever is there',
}

/** What `--strategies list` shows. */
export function tellContenders(redis: RedisProgram | undefined): string {
  const lines = CONTENDERS.map((contender) => {
    const about = ABOUT['unsafe' in contender ? contender.unsafe : contender.strategy]
    const nodes = contender.name === REDLOCK_NAME ? ` on ${REDLOCK_NODES} nodes` : ''
    const missing =
      needsRedis(contender) && redis === undefined ? ' (left out here: redis-server is not installed)' : ''
    return `  ${contender.name.padEnd(12)} ${about}${nodes}${missing}`
  })
  return lines.join('\n')
}

function needsRedis(contender: Contender): boolean {
  return 'redis' in contender && contender.redis !== undefined
}

/**
 * Starts a contender's processes on one database, and a Redis of its own if it needs one.
 *
 * @throws LeftOut in words if it can't run here
 */
export async function startContender(
  ground: Ground,
  contender: Contender,
  options: { url: string; processes: number; pool_max: number },
): Promise<Running> {
  const nodes = await startNodes(ground, contender)
  const servers: TestedServer[] = []
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()))
    await Promise.all(nodes.map((node) => node.stop()))
  }
  const { url, pool_max } = options
  const service = { url, pool_max, redis_urls: nodes.map((node) => node.url) }
  try {
    const starting = Array.from({ length: options.processes }, async () => {
      servers.push(await startOne(ground.build, contender, service))
    })
    // All of them end before any failure is told, or the rest would start behind its back.
    const failed = (await Promise.allSettled(starting)).find((one) => one.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    return { servers, stop }
  } catch (error) {
    await stop()
    if (error instanceof DidNotStart) throw new LeftOut(lastWords(error.said))
    throw error
  }
}

async function startNodes({ redis, dir }: Ground, contender: Contender): Promise<RedisServer[]> {
  if (!('redis' in contender) || contender.redis === undefined) return []
  if (redis === undefined) throw new LeftOut(INSTALL_REDIS)
  const { nodes, durability } = contender.redis
  return Promise.all(Array.from({ length: nodes }, () => startRedis(redis, { dir, durability })))
}

function startOne(build: string, contender: Contender, options: ServiceOptions): Promise<TestedServer> {
  if ('strategy' in contender) return startService(build, { ...options, strategy: contender.strategy })
  const program = 'src/lab/compare/servers/unsafe.js'
  return startProgram(build, { program, args: [contender.unsafe, contender.tables], ready_path: '/readyz', options })
}

/** What a program said last but for the stack of an error; of a line of JSON its message. */
export function lastWords(said: string): string {
  const lines = said.split('\n').filter((line) => line.trim() !== '')
  const last = lines.findLast((line) => !/^\s+(at |\[?cause|code:)|^[{}\s]*$|^Node\.js v/.test(line))
  if (last === undefined) return 'it ended without a word'
  return (
    /"msg":"((?:[^"\\]|\\.)*)"/.exec(last)?.[1] ??
    last.trim().replace(/^(the service could not start: )?((Error|CannotStart): )?/, '')
  )
}
