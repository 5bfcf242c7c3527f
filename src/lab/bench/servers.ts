import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { StrategyName } from '../../strategy_names.ts'
import { ROOT } from '../postgres.ts'
import { end, freePort, start } from './children.ts'

/** Servers under test, each a process of its own from the run's build. */

export type TestedServer = {
  port: number
  pid: number
  /** The most memory that the process has had, in bytes. */
  peakMemory(): number
  /** Starts the peak anew from what it has now. */
  forgetPeakMemory(): void
  stop(): Promise<void>
}

const START_TIMEOUT_MS = 30_000
const POLL_MS = 20

/** What `npm start` tells Node: how much memory it may use before it collects belongs to what is measured. */
const START_FLAGS = (
  JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: { start: string } }
).scripts.start
  .split(' ')
  .filter((word) => word.startsWith('--'))

export type ServiceOptions = {
  url: string
  strategy?: StrategyName
  /** For strategies that need a Redis: one, or the nodes of Redlock. */
  redis_urls?: readonly string[]
  pool_max?: number
  /** Off unless given. */
  expiry_cron?: string
  workers?: number
  /** Where Node leaves a profile of its processor time when the server ends. */
  profile_dir?: string
}

/** The service as `npm start` runs it, on a database that is there; its log goes to a file. */
export function startService(build: string, options: ServiceOptions): Promise<TestedServer> {
  return startProgram(build, { program: 'src/main.js', ready_path: '/readyz', options })
}

/** The service whose reserve answers a constant. */
export function startConstant(build: string, options: ServiceOptions): Promise<TestedServer> {
  return startProgram(build, { program: 'src/lab/bench/servers/constant.js', ready_path: '/readyz', options })
}

/** Koa with one middleware, Node's HTTP server with none, or a socket that gives one answer to everything. */
export function startBare(build: string, kind: 'koa' | 'node' | 'socket'): Promise<TestedServer> {
  return startProgram(build, { program: `src/lab/bench/servers/${kind}.js`, ready_path: '/' })
}

/** A program that ended, or was not ready in time; `said` is the end of what it wrote. */
export class DidNotStart extends Error {
  readonly said: string

  constructor(program: string, said: string) {
    super(`${program} did not start:\n${said}`)
    this.name = 'DidNotStart'
    this.said = said
  }
}

let started = 0

/**
 * A program of the build, which is given its port and then `args`, and is ready once `ready_path` answers.
 *
 * @throws DidNotStart
 */
export async function startProgram(
  build: string,
  {
    program,
    args = [],
    ready_path,
    options,
  }: { program: string; args?: readonly string[]; ready_path: string; options?: ServiceOptions },
): Promise<TestedServer> {
  const port = await freePort()
  const log_path = join(build, `../log-${++started}`)
  const log = openSync(log_path, 'a')
  const profile_dir = options?.profile_dir
  const profile = profile_dir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile_dir}`]
  const running = start(process.execPath, [...START_FLAGS, ...profile, join(build, program), String(port), ...args], {
    env: options === undefined ? {} : environmentOf(options, port),
    output: log,
    errors: log,
  })
  closeSync(log)
  let ended = false
  void running.ended.catch(() => undefined).then(() => (ended = true))
  const deadline = Date.now() + START_TIMEOUT_MS
  while (!(await answers(port, ready_path))) {
    if (ended || Date.now() > deadline) {
      await end(running, 0)
      throw new DidNotStart(program, readFileSync(log_path, 'utf8').slice(-2000))
    }
    await delay(POLL_MS)
  }
  return {
    port,
    pid: running.pid,
    peakMemory: () => memoryOf(running.pid, 'VmHWM'),
    forgetPeakMemory: () => writeFileSync(`/proc/${running.pid}/clear_refs`, '5'),
    async stop() {
      await end(running)
      rmSync(log_path, { force: true })
    },
  }
}

function environmentOf(options: ServiceOptions, port: number): Record<string, string> {
  return {
    DATABASE_URL: options.url,
    PORT: String(port),
    HOST: '127.0.0.1',
    LOG_LEVEL: 'info',
    TZ: 'UTC',
    EXPIRY_CRON: options.expiry_cron ?? 'off',
    RESERVATION_STRATEGY: options.strategy ?? 'batched',
    DATABASE_POOL_MAX: String(options.pool_max ?? 10),
    // The quiet time of a sweep, not the shape of the demo, is what long runs need.
    RESERVATION_TTL_SECONDS: '86400',
    ...(options.workers === undefined ? {} : { WORKERS: String(options.workers) }),
    ...redisEnvironmentOf(options.redis_urls ?? []),
  }
}

function redisEnvironmentOf(urls: readonly string[]): Record<string, string> {
  const [first] = urls
  return first === undefined ? {} : { REDIS_URL: first, REDIS_URLS: urls.join(',') }
}

function answers(port: number, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request({ port, path, host: '127.0.0.1', agent: false, timeout: 1000 }, (response) => {
      response.resume()
      resolve(response.statusCode !== undefined && response.statusCode < 500)
    })
    asked.once('error', () => resolve(false))
    asked.once('timeout', () => asked.destroy())
    asked.end()
  })
}

function memoryOf(pid: number, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) * 1024
}

/** One request and its answer, outside any load. */
export function ask(
  port: number,
  question: { method: string; path: string; api_key: string; body?: unknown; key?: string },
): Promise<{ status: number; body: Record<string, unknown> }> {
  const text = question.body === undefined ? undefined : JSON.stringify(question.body)
  const headers: Record<string, string> = { Authorization: `Bearer ${question.api_key}` }
  if (text !== undefined) headers['Content-Type'] = 'application/json'
  if (question.key !== undefined) headers['Idempotency-Key'] = question.key
  return new Promise((resolve, reject) => {
    const { method, path } = question
    const asked = request({ port, path, method, headers, host: '127.0.0.1', timeout: 10_000 }, (response) => {
      let answer = ''
      response.on('data', (chunk: Buffer) => (answer += chunk.toString()))
      response.once('end', () => {
        const body = (answer.startsWith('{') ? JSON.parse(answer) : {}) as Record<string, unknown>
        resolve({ status: response.statusCode ?? 0, body })
      })
    })
    asked.once('error', reject)
    asked.once('timeout', () => asked.destroy(new Error('no answer within 10 s')))
    asked.end(text)
  })
}
