import { mkdirSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  ensureRunning,
  findPostmaster,
  initialise,
  stop,
  stopSync,
  urlOf,
  type Cluster,
} from '../../database/cluster.ts'
import { createPool } from '../../database/pool.ts'
import { isAlive, thisProcess } from '../../database/process_lock.ts'
import { findHome, findPrograms } from '../../database/programs.ts'
import { rows } from '../../database/transaction.ts'
import { end, start } from './children.ts'

/**
 * Where a run lives: a folder of its own with a build of the sources as they were when it began and a PostgreSQL of its
 * own, both gone with it. What runs left that were killed is removed by the next one.
 */

export type BenchHome = {
  dir: string
  /** Compiled sources; what is measured runs from here. */
  build: string
  /** The folder of PostgreSQL's data, for timing its disk. */
  data: string
  /** A maintenance database. */
  url: string
  postgres_version: string
  close(): Promise<void>
}

const ROOT = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? '../../../' : '../../../../', import.meta.url))
const silent = { info: () => undefined, warn: () => undefined }

/**
 * Builds, and starts PostgreSQL with fsync, full_page_writes and synchronous_commit on.
 *
 * @param options.preload libraries that the server loads when it starts
 */
export async function openHome(options: { preload?: string } = {}): Promise<BenchHome> {
  const above = join(ROOT, '.data')
  mkdirSync(above, { recursive: true })
  await removeLeft(above)
  const dir = join(above, `bench-${thisProcess()}`)
  mkdirSync(dir)
  const cluster = clusterIn(dir)
  const leave = (): void => {
    stopSync(cluster)
    removeFiles(dir, cluster)
  }
  process.on('exit', leave)
  const build = join(dir, 'build')
  await compile(build)
  await initialise(cluster)
  let port = await ensureRunning(cluster)
  if (options.preload !== undefined) {
    await preload(urlOf(cluster, port, 'postgres'), options.preload)
    await stop(cluster)
    port = await ensureRunning(cluster)
  }
  return {
    dir,
    build,
    data: cluster.dir,
    url: urlOf(cluster, port, 'postgres'),
    postgres_version: cluster.programs.version,
    async close() {
      await stop(cluster)
      removeFiles(dir, cluster)
      process.off('exit', leave)
    },
  }
}

async function preload(url: string, libraries: string): Promise<void> {
  const db = createPool({ url, max: 1, lock_timeout_ms: 0, statement_timeout_ms: 0, application_name: 'stock bench' })
  await rows(db, `ALTER SYSTEM SET shared_preload_libraries = '${libraries}'`)
  await db.destroy()
}

function clusterIn(dir: string): Cluster {
  const home = findHome(dir, silent)
  return { dir: join(home.dir, 'cluster'), programs: findPrograms(home), account: home.account, durable: true }
}

function removeFiles(dir: string, cluster: Cluster): void {
  const again = { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }
  rmSync(join(cluster.dir, '..'), again)
  rmSync(dir, again)
}

async function compile(build: string): Promise<void> {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const project = join(ROOT, 'tsconfig.build.json')
  const args = [tsc, '-p', project, '--outDir', build, '--declaration', 'false', '--sourceMap', 'false']
  const compiled = start(process.execPath, args, { output: 'pipe' })
  let said = ''
  compiled.child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()))
  if ((await compiled.ended) !== 0) throw new Error(`the sources do not compile:\n${said.trim()}`)
}

async function removeLeft(above: string): Promise<void> {
  for (const name of readdirSync(above)) {
    const owner = /^bench-(.+)$/.exec(name)?.[1]
    if (owner === undefined || isAlive(owner)) continue
    const dir = join(above, name)
    killProgramsOf(dir)
    const cluster = clusterIn(dir)
    if (findPostmaster(cluster.dir)) await stop(cluster)
    removeFiles(dir, cluster)
  }
}

/** Programs of a build that no run uses any more: their command line names it. */
function killProgramsOf(dir: string): void {
  const build = join(realpathSync(dir), 'build')
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      if (readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(build)) process.kill(Number(name), 'SIGKILL')
    } catch {
      // It has ended meanwhile, or is somebody else's.
    }
  }
}

/** Runs a program to its end and returns what it printed. @throws if it fails or takes longer than `limit_ms` */
export async function capture(
  file: string,
  args: readonly string[],
  options: { env?: Record<string, string>; limit_ms: number },
): Promise<string> {
  const running = start(file, args, { env: options.env ?? {}, output: 'pipe', errors: 'pipe' })
  let said = ''
  let complained = ''
  running.child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()))
  running.child.stderr?.on('data', (chunk: Buffer) => (complained += chunk.toString()))
  const limit = setTimeout(() => void end(running, 1000), options.limit_ms)
  const code = await running.ended
  clearTimeout(limit)
  if (code !== 0) throw new Error(`${file} ended with ${code}: ${complained.trim().slice(-2000)}`)
  return said
}
