import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Knex } from 'knex'
import { createClient, type Client } from '../../src/client/client.ts'
import { loadConfig } from '../../src/config.ts'
import { openDatabase } from '../../src/database/open.ts'

/** The service as a new user has it: built, with the embedded database and the demo shop. */

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const START_MS = 180_000
const STOP_MS = 15_000

export type Service = {
  base: string
  /** Another client than the browser. */
  client: Client
  /** The service's own database, for making time pass. */
  db: Knex
  /** SIGTERM, and all that it left. */
  stop(): Promise<void>
}

/** Starts what `npm start` starts, without its flags for Node; the build stands before it. @param env settings besides a port and a folder of its own */
export async function startService(env: Record<string, string> = {}): Promise<Service> {
  const dir = mkdtempSync(join(tmpdir(), 'stock-browser-'))
  // PostgreSQL runs as somebody else, who must get there.
  chmodSync(dir, 0o755)
  const settings = { PORT: '0', DATA_DIR: dir, EXPIRY_CRON: '* * * * * *', LOG_LEVEL: 'warn', ...env }
  const child = spawn(process.execPath, ['dist/src/main.js'], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], ...settings },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const base = await new Promise<string>((resolve, reject) => {
    let said = ''
    const timer = setTimeout(() => reject(new Error(`the service did not start: ${said}`)), START_MS)
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      const shop = /^ {2}Shop +(http:\/\/\S+)\/shop$/m.exec(said)?.[1]
      if (shop === undefined) return
      clearTimeout(timer)
      resolve(shop)
    })
    void ended.then(() => reject(new Error(`the service ended: ${said}`)))
  })
  const log = { info: () => undefined, warn: () => undefined }
  const database = await openDatabase(loadConfig(settings), { log, application_name: 'browser test', max: 2 })
  return {
    base,
    client: createClient({ base_url: base, ...(env.BOOTSTRAP_API_KEY && { api_key: env.BOOTSTRAP_API_KEY }) }),
    db: database.db,
    async stop() {
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
      await ended
      clearTimeout(timer)
      await database.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
