import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { capture } from './home.ts'

/** PostgreSQL's own load program, for opponents that need no service around them. */

export type Pgbench = { path: string; version: string }

export type PgbenchRun = { url: string; script: string; connections: number; seconds: number; dir: string }

/** How to get it where it is missing; the PostgreSQL that npm installs does not bring it along. */
export const INSTALL_PGBENCH =
  'pgbench is not installed; on Debian and Ubuntu: apt-get install postgresql-client (or postgresql-contrib)'

const DEBIAN = '/usr/lib/postgresql'
/** More threads gain nothing here, and take processors away from the server. */
const THREADS_MAX = 2

/** Finds pgbench where packages put it. */
export async function findPgbench(): Promise<Pgbench | undefined> {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).toSorted((a, b) => Number(b) - Number(a)) : []
  const folders = [
    ...versions.map((version) => join(DEBIAN, version, 'bin')),
    '/usr/bin',
    '/usr/local/bin',
    '/usr/pgsql/bin',
  ]
  for (const folder of [...folders, '/opt/homebrew/bin']) {
    const path = join(folder, 'pgbench')
    if (!existsSync(path)) continue
    const said = await capture(path, ['--version'], { limit_ms: 5000 })
    return { path, version: /\d+(\.\d+)*/.exec(said)?.[0] ?? said.trim() }
  }
  return undefined
}

let scripts = 0

/**
 * Runs a script with prepared statements. What committed is counted in the database.
 *
 * @returns the seconds it took, without connecting
 */
export async function runPgbench(pgbench: Pgbench, run: PgbenchRun): Promise<{ elapsed_seconds: number }> {
  const { hostname, port, username, password, pathname } = new URL(run.url)
  const file = join(run.dir, `pgbench-${++scripts}.sql`)
  writeFileSync(file, run.script)
  const threads = Math.min(THREADS_MAX, run.connections)
  const said = await capture(
    pgbench.path,
    ['-h', hostname, '-p', port, '-U', username, '-n', '-M', 'prepared', '-f', file]
      .concat([
        '-c',
        String(run.connections),
        '-j',
        String(threads),
        '-T',
        String(Math.max(1, Math.round(run.seconds))),
      ])
      .concat(pathname.slice(1)),
    { env: { PGPASSWORD: password }, limit_ms: run.seconds * 1000 + 60_000 },
  )
  const processed = Number(/transactions actually processed: (\d+)/.exec(said)?.[1])
  const tps = Number(/tps = ([\d.]+)/.exec(said)?.[1])
  // On a machine that stood still meanwhile none may have ended; then it tells no rate.
  if (processed === 0) return { elapsed_seconds: run.seconds }
  if (!(processed > 0 && tps > 0)) throw new Error(`pgbench said what is not understood:\n${said}`)
  return { elapsed_seconds: processed / tps }
}
