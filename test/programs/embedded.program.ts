import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { findPostmaster } from '../../src/database/cluster.ts'
import { acquireEmbeddedDatabase, type EmbeddedDatabase } from '../../src/database/embedded.ts'
import { makeDataDir, removeDataDir } from '../database.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const log = { info: () => undefined, warn: () => undefined }

// Setting a cluster up takes most of a second, so the tests share one but for those that need an empty directory.
const made: string[] = []
let data_dir: string

function useEmptyDataDir(): void {
  data_dir = makeDataDir()
  made.push(data_dir)
}

beforeAll(useEmptyDataDir)

afterAll(async () => {
  for (const dir of made) await removeDataDir(dir)
})

const acquire = () => acquireEmbeddedDatabase({ data_dir, log })
const cluster = () => join(data_dir, 'postgres', 'cluster')
const postmasterPid = () => findPostmaster(cluster())?.pid

async function ask(database: EmbeddedDatabase, sql: string): Promise<unknown> {
  const client = new pg.Client(database.url)
  await client.connect()
  try {
    return Object.values((await client.query<Record<string, unknown>>(sql)).rows[0] ?? {})[0]
  } finally {
    await client.end()
  }
}

/** Another process that uses the database until it is told to leave, or is killed. */
async function startUser(): Promise<{ child: ChildProcess; leave(): Promise<void> }> {
  const script = `
    const { acquireEmbeddedDatabase } = await import('./src/database/embedded.ts')
    const log = { info() {}, warn() {} }
    const database = await acquireEmbeddedDatabase({ data_dir: process.argv[1], log })
    process.stdin.once('end', () => database.release()).resume()
    console.log('ready')`
  const args = ['--import', 'tsx', '--input-type=module', '-e', script, data_dir]
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['pipe', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return {
    child,
    async leave() {
      child.stdin.end()
      await once(child, 'exit')
    },
  }
}

function sessionOf(pid: number): string | undefined {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3]
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (await condition()) return
    await delay(20)
  }
  throw new Error('did not happen within 10 s')
}

test('the last of two processes to leave stops the server, and what was written is there at the next start', async () => {
  const first = await acquire()
  const pid = postmasterPid()
  const second = await startUser()
  await ask(first, 'CREATE TABLE kept AS SELECT 7 AS seven')
  await first.release()
  expect(postmasterPid()).toBe(pid)
  await second.leave()
  expect(postmasterPid()).toBeUndefined()

  const again = await acquire()
  expect(await ask(again, 'SELECT seven FROM kept')).toBe(7)
  again.releaseSync()
  expect(postmasterPid()).toBeUndefined()
})

test('a user that was killed leaves the server running: the next one adopts it and, leaving last, stops it', async () => {
  const killed = await startUser()
  const pid = postmasterPid()
  killed.child.kill('SIGKILL')
  await once(killed.child, 'exit')
  expect(postmasterPid()).toBe(pid)

  const database = await acquire()
  expect(postmasterPid()).toBe(pid)
  await database.release()
  expect(postmasterPid()).toBeUndefined()
})

test('three that start together on an empty directory share one server', async () => {
  useEmptyDataDir()
  const [first, second, other] = await Promise.all([acquire(), acquire(), startUser()])
  expect(second.url).toBe(first.url)
  expect(readdirSync(join(data_dir, 'postgres')).filter((name) => name.startsWith('cluster'))).toEqual(['cluster'])
  await first.release()
  await other.leave()
  expect(await ask(second, 'SELECT 1')).toBe(1)
  await second.release()
  expect(postmasterPid()).toBeUndefined()
})

test('a server that is killed comes back by itself on the same port, with all that was committed', async () => {
  const database = await acquire()
  await ask(database, 'CREATE TABLE kept_too AS SELECT 7 AS seven')
  const pid = postmasterPid()
  if (pid === undefined) throw new Error('no server')
  process.kill(pid, 'SIGKILL')
  await until(() => postmasterPid() !== pid && findPostmaster(cluster())?.state === 'ready')
  expect(await ask(database, 'SELECT seven FROM kept_too')).toBe(7)
  await database.release()
  expect(postmasterPid()).toBeUndefined()
})

test('a set-up that was killed half way is begun anew, and a dead process holds no lock', async () => {
  useEmptyDataDir()
  const home = join(data_dir, 'postgres')
  mkdirSync(home)
  mkdirSync(join(home, 'users'))
  mkdirSync(join(home, 'cluster.new-1'))
  writeFileSync(join(home, 'cluster.new-1', 'PG_VERSION'), '18\n')
  symlinkSync('4194305-1', join(home, 'lock'))
  writeFileSync(join(home, 'users', '4194305-1-1'), '')

  const database = await acquire()
  expect(await ask(database, 'SHOW data_checksums')).toBe('on')
  expect(readdirSync(home).toSorted()).toEqual(['cluster', 'users'])
  await database.release()
  expect(readdirSync(join(home, 'users'))).toEqual([])
  expect(postmasterPid()).toBeUndefined()
})

test('a process id in postmaster.pid that now is another program does not keep the server from starting', async () => {
  await (await acquire()).release()
  const lines = [process.pid, cluster(), '1', '1', '', '127.0.0.1', '1 1', 'ready   ']
  writeFileSync(join(cluster(), 'postmaster.pid'), lines.join('\n'))
  const database = await acquire()
  expect(await ask(database, 'SELECT 1')).toBe(1)
  await database.release()
})

test('the cluster is durable, speaks UTF-8, sorts by code point, and lets nobody in without its password', async () => {
  const database = await acquire()
  for (const name of ['fsync', 'full_page_writes', 'synchronous_commit', 'log_lock_waits']) {
    expect([name, await ask(database, `SHOW ${name}`)]).toEqual([name, 'on'])
  }
  expect(await ask(database, 'SHOW server_encoding')).toBe('UTF8')
  expect(await ask(database, `SELECT 'a' < 'B'`)).toBe(false)
  const stranger = new URL(database.url)
  stranger.password = 'guess'
  await expect(ask({ ...database, url: stranger.href }, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' })
  await database.release()
})

test('the server runs in a session of its own, so that Ctrl-C in a terminal does not reach it, and never as root', async () => {
  const database = await acquire()
  const pid = postmasterPid() ?? 0
  expect(sessionOf(pid)).not.toBe(sessionOf(process.pid))
  expect(statSync(`/proc/${pid}`).uid).not.toBe(0)
  await database.release()
})

test('a cluster of another major version is refused with what to do', async () => {
  useEmptyDataDir()
  mkdirSync(cluster(), { recursive: true })
  writeFileSync(join(cluster(), 'PG_VERSION'), '17\n')
  await expect(acquire()).rejects.toThrow(/was made by PostgreSQL 17.*pg_dump.*DATA_DIR/s)
})

const asRoot = process.getuid?.() === 0 ? test : test.skip

asRoot('as root, below a folder that only root may enter, the database lies elsewhere and keeps its data', async () => {
  const closed = mkdtempSync(join(tmpdir(), 'closed-'))
  const options = { data_dir: join(closed, '.data'), log }
  try {
    const database = await acquireEmbeddedDatabase(options)
    await ask(database, 'CREATE TABLE kept AS SELECT 7 AS seven')
    await database.release()
    const again = await acquireEmbeddedDatabase(options)
    expect(await ask(again, 'SELECT seven FROM kept')).toBe(7)
    expect(existsSync(join(closed, '.data', 'postgres', 'cluster', 'PG_VERSION'))).toBe(true)
    await again.release()
  } finally {
    await removeDataDir(options.data_dir)
    rmSync(closed, { recursive: true, force: true })
  }
})
