import { spawn, type ChildProcess } from 'node:child_process'
import { createWriteStream, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Pool } from 'undici'
import { adoptChild, forgetChild, reasons, removeAtEnd, type Suite } from './suite.ts'

/** Service processes, as `npm start` has them, and a client for each. */

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** An embedded PostgreSQL is made first; on a machine that stalls that has taken more than a minute. */
const START_TIMEOUT_MS = 180_000
const STOP_TIMEOUT_MS = 60_000
const ERROR_LEVEL = 50
const TRIED_AGAIN = [
  'a job failed; its next run retries',
  'a batch lost its database',
  'what is owed to the payment gateway could not be finished; it is tried again',
]
/** For a connection, a lock, a statement, or a turn in the queue. */
const WAITED = /timeout|^it could not be settled: overloaded$/i

/** An answer, or its absence: status 0 is a connection that broke before there was one. */
export type Reply = {
  status: number
  /** The parsed body; a problem's members stand here too. */
  body: ReplyBody
  headers: Record<string, string | string[] | undefined>
  took_ms: number
}

export type ReplyBody = {
  id?: string
  status?: string | number
  code?: string
  outcome?: string
  expires_at?: string
  [member: string]: unknown
}

export type Client = {
  send(method: 'GET' | 'POST' | 'PUT', path: string, body?: unknown, headers?: Record<string, string>): Promise<Reply>
  close(): Promise<void>
}

export type LogEntry = { msg: string; err?: unknown; [field: string]: unknown }

export type RunningService = Client & {
  base: string
  pid: number
  /** What it logged at level error or above, parsed, less what {@link late} counts. */
  errors(): LogEntry[]
  /**
   * How often a job or a batch waited for a connection, a lock or an answer for longer than it may, as where a machine stalls for
   * seconds: it is tried again, a batch by those who asked.
   */
  late(): number
  /** SIGTERM; the exit code, null if it had to be killed. */
  stop(): Promise<number | null>
  /** SIGKILL. */
  kill(): Promise<void>
}

/** Checks that services logged no error, and that no more than so many of their jobs were late; by default none. */
export function checkErrors(
  suite: Suite,
  services: readonly RunningService[],
  { who, late_max = 0 }: { who?: string; late_max?: number } = {},
): void {
  const of = who === undefined ? '' : `${who}: `
  const errors = services.flatMap((service) => service.errors().map(({ msg, err }) => `${msg}: ${messageOf(err)}`))
  suite.check(`${of}no process logged an error`, errors.length === 0, reasons(errors))
  const late = services.reduce((sum, service) => sum + service.late(), 0)
  suite.checkInTime(`${of}no job was late`, late <= late_max, `${late} were`)
}

/**
 * Starts a service process and resolves when it listens.
 *
 * @param env its settings; PORT, LOG_LEVEL, MIGRATE_ON_START and SEED_DEMO have fitting values already
 * @param options `connections` of the client; each carries one request at a time
 */
export async function startService(
  env: Record<string, string>,
  options: { connections?: number } = {},
): Promise<RunningService> {
  const dir = mkdtempSync(join(tmpdir(), 'stock-long-'))
  removeAtEnd(dir)
  const log = join(dir, 'log')
  const child = spawn(process.execPath, ['--import', 'tsx', join(ROOT, 'src/main.ts')], {
    cwd: ROOT,
    env: {
      PATH: process.env['PATH'],
      PORT: '0',
      LOG_LEVEL: 'warn',
      MIGRATE_ON_START: 'true',
      SEED_DEMO: 'false',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const pid = child.pid
  if (pid === undefined) throw new Error('a service process could not be started')
  adoptChild(pid)
  const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
  void ended.then(() => forgetChild(pid))
  const base = await listening(child, log)
  const client = createClient(base, options.connections ?? 100)
  return {
    ...client,
    base,
    pid,
    errors: () => readErrors(log).filter((entry) => !isLate(entry)),
    late: () => readErrors(log).filter(isLate).length,
    async stop() {
      await client.close()
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
      const code = await ended
      clearTimeout(timer)
      return code
    },
    async kill() {
      child.kill('SIGKILL')
      await ended
      await client.close()
    },
  }
}

function listening(child: ChildProcess, log: string): Promise<string> {
  const file = createWriteStream(log)
  return new Promise((resolve, reject) => {
    let said = ''
    const timer = setTimeout(() => reject(new Error(`a service did not start in time: ${said}`)), START_TIMEOUT_MS)
    const read = (chunk: Buffer) => {
      file.write(chunk)
      if (said.length > 20_000) return
      said += chunk.toString()
      const base = /^ {2}API +(http:\/\/\S+)\/v1$/m.exec(said)?.[1]
      if (base === undefined) return
      clearTimeout(timer)
      resolve(base)
    }
    child.stdout?.on('data', read)
    child.stderr?.on('data', read)
    child.once('exit', (code) => {
      clearTimeout(timer)
      reject(new Error(`a service ended with ${code} before it listened: ${said}`))
    })
  })
}

function isLate({ msg, err }: LogEntry): boolean {
  if (!TRIED_AGAIN.includes(msg)) return false
  return WAITED.test(messageOf(err))
}

function messageOf(error: unknown): string {
  const message = (error as { message?: unknown } | undefined)?.message
  return typeof message === 'string' ? message : ''
}

function readErrors(log: string): LogEntry[] {
  return readFileSync(log, 'utf8')
    .split('\n')
    .flatMap((line) => {
      try {
        const entry = JSON.parse(line) as LogEntry & { level?: number }
        return (entry.level ?? 0) >= ERROR_LEVEL ? [entry] : []
      } catch {
        return []
      }
    })
}

/** A client with connections of its own that stay open. */
export function createClient(base: string, connections: number): Client {
  const pool = new Pool(base, { connections, pipelining: 1, keepAliveTimeout: 60_000, headersTimeout: 30_000 })
  return {
    async send(method, path, body, headers = {}) {
      const started = performance.now()
      try {
        const response = await pool.request({
          method,
          path,
          headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers },
          body: body === undefined ? null : JSON.stringify(body),
        })
        const text = await response.body.text()
        return {
          status: response.statusCode,
          body: (text === '' ? {} : JSON.parse(text)) as ReplyBody,
          headers: response.headers,
          took_ms: performance.now() - started,
        }
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error)
        return { status: 0, body: { error: message }, headers: {}, took_ms: performance.now() - started }
      }
    },
    close: () => pool.destroy(),
  }
}
