import { randomBytes } from 'node:crypto'
import {
  appendFileSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { isRunning, isTaken } from './process_lock.ts'
import { give, run, runSync, type Account, type Programs } from './programs.ts'

/**
 * One PostgreSQL cluster on this machine: made, started, looked at and stopped. Whoever makes, starts or stops it holds
 * the lock of its directory.
 */
export type Cluster = {
  dir: string
  programs: Programs
  account: Account | undefined
  /** False gives up durability for speed: for tests that throw the cluster away. */
  durable: boolean
}

export const DATABASE = 'stock'
const SUPERUSER = 'postgres'
const PASSWORD_FILE = 'service.password'
const SETTINGS_FILE = 'service.conf'

/** How long recovery after a crash may take: with max_wal_size 4 GB, a minute or two on a slow disk. */
const START_TIMEOUT_SECONDS = 300
/** How long a dead postmaster's backends may take to notice; while one lives no other can start. */
const ORPHANS_TIMEOUT_MS = 20_000
/** A fast stop writes out the buffers, at most 256 MB. Past this the server goes on stopping by itself. */
const STOP_TIMEOUT_SECONDS = 8

/**
 * Makes the cluster if it is not there yet: under another name first, so that one that was killed half way is never taken
 * for a whole one.
 *
 * @throws if the cluster was made by another major version
 */
export async function initialise(cluster: Cluster): Promise<void> {
  const major = cluster.programs.version.split('.')[0]
  if (existsSync(cluster.dir)) {
    const found = readFileSync(join(cluster.dir, 'PG_VERSION'), 'utf8').trim()
    if (found === major) return
    throw new Error(
      `${cluster.dir} was made by PostgreSQL ${found}, and the programs here are of version ${cluster.programs.version}. ` +
        `Start it with PostgreSQL ${found} and move its data with pg_dump, or set DATA_DIR to an empty folder`,
    )
  }
  const above = dirname(cluster.dir)
  for (const name of readdirSync(above)) {
    if (name.startsWith('cluster.new-')) await removeFolder(join(above, name))
  }
  const fresh = join(above, `cluster.new-${process.pid}`)
  mkdirSync(fresh, { mode: 0o700 })
  give(fresh, cluster.account)
  await fill(cluster, fresh)
  renameSync(fresh, cluster.dir)
  const folder = openSync(above, 'r')
  fsyncSync(folder)
  closeSync(folder)
}

async function fill(cluster: Cluster, fresh: string): Promise<void> {
  const { programs, account, durable } = cluster
  const password = join(dirname(fresh), `cluster.new-password`)
  rmSync(password, { force: true })
  writeFileSync(password, randomBytes(24).toString('hex'), { mode: 0o600 })
  give(password, account)
  const made = await run(
    join(programs.bin, 'initdb'),
    ['-D', fresh, '-U', SUPERUSER, `--pwfile=${password}`, '--auth=scram-sha-256', '--encoding=UTF8', '--locale=C']
      .concat(['--locale-provider=builtin', '--builtin-locale=C.UTF-8'])
      .concat(durable ? [] : ['--no-sync']),
    { account },
  )
  if (made.code !== 0) throw new Error(`the embedded PostgreSQL could not be set up: ${made.output}`)
  renameSync(password, join(fresh, PASSWORD_FILE))
  appendFileSync(join(fresh, 'postgresql.conf'), `\ninclude_if_exists '${SETTINGS_FILE}'\n`)
  const created = await run(join(programs.bin, 'postgres'), ['--single', '-D', fresh, 'postgres'], {
    account,
    input: `CREATE DATABASE ${DATABASE}\n`,
  })
  if (created.code !== 0) throw new Error(`the embedded PostgreSQL could not be set up: ${created.output}`)
}

export type Postmaster = { pid: number; port: number; state: 'starting' | 'ready' | 'stopping' }

/** The server that runs on this cluster; one that was killed, or whose process id now is another program's, is not. */
export function findPostmaster(dir: string): Postmaster | undefined {
  let lines: string[]
  try {
    lines = readFileSync(join(dir, 'postmaster.pid'), 'utf8').split('\n')
  } catch {
    return undefined
  }
  const pid = Number(lines[0])
  if (!isRunning(pid) || !isServerOf(pid, lines[1] ?? dir)) return undefined
  const word = lines[7]?.trim()
  const state = word === 'ready' || word === 'stopping' ? word : 'starting'
  return { pid, port: Number(lines[3]), state }
}

function isServerOf(pid: number, dir: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(dir)
  } catch {
    // No /proc on this system: a live process under the id is taken for the server, as PostgreSQL itself does.
    return process.platform !== 'linux'
  }
}

/**
 * Makes sure that a server runs on the cluster, adopting one that an earlier process left, and returns its port.
 *
 * @param patience_ms how long a start that fails is tried again
 */
export async function ensureRunning(cluster: Cluster, patience_ms = ORPHANS_TIMEOUT_MS): Promise<number> {
  const started_at = Date.now()
  while (Date.now() - started_at < START_TIMEOUT_SECONDS * 1000) {
    const found = findPostmaster(cluster.dir)
    if (found?.state === 'ready') return found.port
    const failure = found === undefined ? await tryStart(cluster) : undefined
    // Somebody took the port, a killed server's backends are still leaving, or a killed starter's server came first.
    if (failure !== undefined && Date.now() - started_at > patience_ms) throw new Error(failure)
    await delay(50)
  }
  throw new Error(
    `PostgreSQL on ${cluster.dir} has neither started nor stopped for ${START_TIMEOUT_SECONDS} s; see its log there`,
  )
}

/** @returns why it did not start, or undefined if it did */
async function tryStart(cluster: Cluster): Promise<string | undefined> {
  const earlier = earlierPort(cluster)
  writeSettings(cluster, earlier !== 0 && (await isFree(earlier)) ? earlier : await freePort())
  forgetReusedPid(cluster)
  const output = join(cluster.dir, 'start.log')
  rmSync(output, { force: true })
  const flags = ['start', '--wait', `--timeout=${START_TIMEOUT_SECONDS}`, '--silent', `--pgdata=${cluster.dir}`]
  const started = await run(join(cluster.programs.bin, 'pg_ctl'), [...flags, `--log=${output}`], cluster)
  if (started.code === 0) return undefined
  const said = existsSync(output)
    ? readFileSync(output, 'utf8').trim().split('\n').slice(-8).join('\n')
    : started.output
  return `the embedded PostgreSQL did not start; more may be in ${cluster.dir}/log:\n${said}`
}

// PostgreSQL does not start while the id in postmaster.pid is taken. After a restart of the machine or the container that
// may be by anybody, and in a container whose first process reaps nobody, by the dead server itself. If nobody has it the
// file stays: it guards against backends that outlive a killed server.
function forgetReusedPid(cluster: Cluster): void {
  const path = join(cluster.dir, 'postmaster.pid')
  if (!existsSync(path) || findPostmaster(cluster.dir) !== undefined) return
  if (isTaken(Number(readFileSync(path, 'utf8').split('\n')[0]))) rmSync(path)
}

/**
 * Removes a folder in which a dying process may still be writing, for some five seconds at each level, if it goes on. Not by
 * rmSync: that tries its last step again only, and what was written meanwhile is in its way for good.
 */
export function removeFolder(dir: string): Promise<void> {
  return rm(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
}

/** Stops the server; open transactions are rolled back. False if that was only begun. */
export async function stop(cluster: Cluster): Promise<boolean> {
  return findPostmaster(cluster.dir) === undefined || (await run(...stopCommand(cluster), cluster)).code === 0
}

/** {@link stop} for a process that is about to exit. */
export function stopSync(cluster: Cluster): boolean {
  return findPostmaster(cluster.dir) === undefined || runSync(...stopCommand(cluster), cluster.account).code === 0
}

function stopCommand({ programs, dir }: Cluster): [string, string[]] {
  const flags = ['stop', '--wait', `--timeout=${STOP_TIMEOUT_SECONDS}`, '--silent', '--mode=fast', `--pgdata=${dir}`]
  return [join(programs.bin, 'pg_ctl'), flags]
}

/** The URL of a database of the cluster. */
export function urlOf(cluster: Cluster, port: number, database = DATABASE): string {
  const password = readFileSync(join(cluster.dir, PASSWORD_FILE), 'utf8')
  return `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/${database}`
}

// Written before each start, so that a newer version's settings reach an older cluster; ALTER SYSTEM still wins.
function writeSettings(cluster: Cluster, port: number): void {
  const durability = cluster.durable ? 'on' : 'off'
  const settings = `# Written at each start. For settings of your own use ALTER SYSTEM.
port = ${port}
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 256MB
max_wal_size = 4GB
wal_compression = on
fsync = ${durability}
full_page_writes = ${durability}
synchronous_commit = ${durability}
autovacuum = on
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %a '
log_lock_waits = on
logging_collector = ${durability}
log_filename = 'postgresql-%a.log'
log_rotation_age = 1d
log_rotation_size = 0
log_truncate_on_rotation = on
`
  const path = join(cluster.dir, SETTINGS_FILE)
  writeFileSync(path, settings, { mode: 0o600 })
  give(path, cluster.account)
}

function earlierPort(cluster: Cluster): number {
  const path = join(cluster.dir, SETTINGS_FILE)
  return existsSync(path) ? Number(/^port = (\d+)$/m.exec(readFileSync(path, 'utf8'))?.[1] ?? 0) : 0
}

function freePort(): Promise<number> {
  return listenOn(0)
}

function isFree(port: number): Promise<boolean> {
  return listenOn(port).then(
    () => true,
    () => false,
  )
}

function listenOn(port: number): Promise<number> {
  return new Promise((settle, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      const { port: got } = server.address() as { port: number }
      server.close(() => settle(got))
    })
  })
}
