import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  ensureRunning,
  findPostmaster,
  initialise,
  removeFolder,
  stop,
  stopSync,
  urlOf,
  type Cluster,
} from '../database/cluster.ts'
import { createPool } from '../database/pool.ts'
import { isAlive, thisProcess } from '../database/process_lock.ts'
import { findHome, findPrograms } from '../database/programs.ts'
import { rows } from '../database/transaction.ts'

/**
 * A PostgreSQL of its own for one run, durable as the service's, in a folder that goes with it. What runs left that were
 * killed is removed by the next one.
 */

export type LabPostgres = {
  /** The run's folder. Programs that it starts from `build` in it are ended with what else a killed run left. */
  dir: string
  /** The folder of PostgreSQL's data. */
  data: string
  version: string
  /** The address of one of its databases: `postgres`, or the empty `stock`. */
  urlOf(database: string): string
  close(): Promise<void>
}

/** The root of the sources, or of what was built from them. */
export const ROOT = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? '../../' : '../../../', import.meta.url))
const silent = { info: () => undefined, warn: () => undefined }

/**
 * Starts PostgreSQL with fsync, full_page_writes and synchronous_commit on. It ends with this process, however that ends.
 *
 * @param name what the run is: part of its folder's name
 * @param options.prepare what else is to be there before PostgreSQL is
 * @param options.preload libraries that the server loads when it starts
 */
export async function openPostgres(
  name: string,
  options: { prepare?: (dir: string) => Promise<void>; preload?: string | undefined } = {},
): Promise<LabPostgres> {
  const above = join(ROOT, '.data')
  mkdirSync(above, { recursive: true })
  await removeLeft(above, name)
  const dir = join(above, `${name}-${thisProcess()}`)
  mkdirSync(dir)
  const cluster = clusterIn(dir)
  const leave = (): void => {
    stopSync(cluster)
    for (const folder of foldersOf(dir, cluster)) rmSync(folder, { recursive: true, force: true })
  }
  process.on('exit', leave)
  await options.prepare?.(dir)
  await initialise(cluster)
  let port = await ensureRunning(cluster)
  if (options.preload !== undefined) {
    await preload(urlOf(cluster, port, 'postgres'), options.preload)
    await stop(cluster)
    port = await ensureRunning(cluster)
  }
  return {
    dir,
    data: cluster.dir,
    version: cluster.programs.version,
    urlOf: (database) => urlOf(cluster, port, database),
    async close() {
      await stop(cluster)
      for (const folder of foldersOf(dir, cluster)) await removeFolder(folder)
      process.off('exit', leave)
    },
  }
}

async function preload(url: string, libraries: string): Promise<void> {
  const db = createPool({ url, max: 1, lock_timeout_ms: 0, statement_timeout_ms: 0, application_name: 'stock lab' })
  await rows(db, `ALTER SYSTEM SET shared_preload_libraries = '${libraries}'`)
  await db.destroy()
}

function clusterIn(dir: string): Cluster {
  const home = findHome(dir, silent)
  return { dir: join(home.dir, 'cluster'), programs: findPrograms(home), account: home.account, durable: true }
}

/** What a run leaves: its own folder, and its database's where that lies elsewhere. */
function foldersOf(dir: string, cluster: Cluster): string[] {
  return [join(cluster.dir, '..'), dir]
}

async function removeLeft(above: string, name: string): Promise<void> {
  for (const found of readdirSync(above)) {
    const owner = found.startsWith(`${name}-`) ? found.slice(name.length + 1) : undefined
    if (owner === undefined || isAlive(owner)) continue
    const dir = join(above, found)
    killProgramsOf(dir)
    const cluster = clusterIn(dir)
    if (findPostmaster(cluster.dir)) await stop(cluster)
    for (const folder of foldersOf(dir, cluster)) await removeFolder(folder)
  }
}

/** Programs of a build that no run uses any more: their command line names it. */
function killProgramsOf(dir: string): void {
  if (!existsSync('/proc')) return
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
