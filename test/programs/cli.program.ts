import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { runCommand } from '../../src/cli/program.ts'
import { acquireEmbeddedDatabase } from '../../src/database/embedded.ts'
import { createPool } from '../../src/database/pool.ts'
import { rows } from '../../src/database/transaction.ts'
import { createAuthenticator } from '../../src/keys/authenticate.ts'
import { createTestDatabase, makeDataDir, removeDataDir, type TestDatabase } from '../database.ts'
import { counters, hold, makeOverdue, openCore, stocked, stored } from '../factories.ts'

let database: TestDatabase
let dir: string

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const POLL_MS = 50
/** No service listens here. */
const CLOSED_PORT = '1'

beforeAll(async () => {
  database = await createTestDatabase()
  dir = mkdtempSync(join(tmpdir(), 'cli-test-'))
})

afterAll(async () => {
  rmSync(dir, { recursive: true })
  await database.drop()
})

/** Runs a command in this process, on the test database unless told otherwise. */
async function cli(command: string, env: Record<string, string> = { DATABASE_URL: database.url }): Promise<Ended> {
  const { stdout, stderr } = process
  const written = { stdout: '', stderr: '' }
  const [print, warn, settings] = [stdout.write, stderr.write, { ...process.env }]
  stdout.write = (chunk: Uint8Array | string) => !!(written.stdout += chunk.toString())
  stderr.write = (chunk: Uint8Array | string) => !!(written.stderr += chunk.toString())
  Object.assign(process.env, { PORT: CLOSED_PORT, ...env })
  try {
    return { code: await runCommand(command.split(' ')), ...written }
  } finally {
    stdout.write = print
    stderr.write = warn
    process.env = settings
  }
}

type Ended = { code: number | null; stdout: string; stderr: string }
type Running = { ended: Promise<Ended>; signal(name: NodeJS.Signals): void }

/** Starts a command in a process of its own, as a shell would, on the test database unless told otherwise. */
function start(command: string, env: Record<string, string> = { DATABASE_URL: database.url }): Running {
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli.ts', ...command.split(' ')], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], PORT: CLOSED_PORT, ...env },
  })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  return {
    ended: new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr }))),
    signal: (name) => child.kill(name),
  }
}

test('a key is made, rotated and revoked; only its secret is on stdout', async () => {
  const created = await cli('keys create --name shop --scopes read,reserve')
  expect(created).toMatchObject({ code: 0, stderr: expect.stringContaining('shown this once') })
  expect(created.stdout).toMatch(/^srk_\S+\n$/)
  const rotated = await cli('keys rotate shop --overlap-seconds 3600')
  expect(rotated).toMatchObject({ code: 0, stderr: expect.stringContaining('in 60 min') })

  const { authenticate } = createAuthenticator({ db: database.db })
  for (const { stdout } of [created, rotated]) {
    expect(await authenticate(stdout.trim())).toMatchObject({ ok: true, client: 'shop', open: false })
  }
  const [listed, taken] = [await cli('keys list'), await cli('keys create --name shop --scopes read')]
  expect(listed.stdout).toMatch(/^name +scopes .*\nshop +read,reserve +/)
  expect(taken).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('shop already') })

  expect(await cli('keys revoke shop')).toMatchObject({ code: 0, stdout: expect.stringContaining('was revoked') })
  expect(await createAuthenticator({ db: database.db }).authenticate(created.stdout.trim())).toMatchObject({
    ok: false,
  })
})

test('stock goes out and comes back; a bad row is named and nothing is done', async () => {
  const [good, bad, copy] = ['good.csv', 'bad.csv', 'copy.csv'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ]
  writeFileSync(good, 'sku,stock\ncup,5\n"plate, blue",7\n')
  writeFileSync(bad, 'sku,stock\ncup,99\nplate,-1\n')
  expect(await cli(`stock import ${good}`)).toEqual({
    code: 0,
    stdout: '2 SKUs: 2 new, 0 changed, 0 as they were\n',
    stderr: '',
  })
  const [refused, missing, printed, written, shown] = [
    await cli(`stock import ${bad}`),
    await cli(`stock import ${join(dir, 'missing.csv')}`),
    await cli('stock export'),
    await cli(`stock export ${copy}`),
    await cli('stock show cup --json'),
  ]
  expect(refused).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('bad.csv line 3: stock must') })
  expect(refused.stderr.trim().split('\n')).toHaveLength(1)
  expect(missing).toMatchObject({ code: 2, stderr: expect.stringContaining('no such file') })
  expect(printed).toMatchObject({ code: 0, stdout: 'sku,stock\ncup,5\n"plate, blue",7\n' })
  expect(written.code).toBe(0)
  expect(readFileSync(copy, 'utf8')).toBe(printed.stdout)
  expect(JSON.parse(shown.stdout)).toMatchObject({ sku: 'cup', stock: 5, available: 5, ledger: [{ kind: 'set' }] })
  await rows(database.db, `DELETE FROM stock; DELETE FROM stock_ledger`)
})

test('an import that is interrupted sets nothing', async () => {
  const sku = await stocked(database.db, 1)
  const path = join(dir, 'interrupted.csv')
  writeFileSync(path, `sku,stock\na-before,1\n${sku},2\n`)
  const buyer = await database.db.transaction()
  // A process takes its time to start on a loaded machine, and the lock must still be there.
  await rows(buyer, 'SET LOCAL idle_in_transaction_session_timeout = 0')
  await rows(buyer, 'SELECT FROM stock WHERE sku = ? FOR UPDATE', [sku])
  const running = start(`stock import ${path}`)
  try {
    await Promise.race([untilBlocked(), running.ended])
    running.signal('SIGINT')
    expect(await running.ended).toMatchObject({ code: 130, stderr: '' })
  } finally {
    await buyer.rollback()
  }
  expect(await counters(database.db, sku)).toBe('1/0')
  expect(await rows(database.db, `SELECT FROM stock WHERE sku = 'a-before'`)).toEqual([])
}, 60_000)

/** Resolves when a session waits for a lock; asks gently, because a process that starts needs the processor. */
async function untilBlocked(): Promise<void> {
  const waiting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
  while ((await rows(database.db, waiting)).length === 0) await delay(POLL_MS)
}

test('sweep gives back what is overdue, and nothing else', async () => {
  const core = openCore(database)
  const sku = await stocked(database.db, 10)
  const [overdue, held] = [await hold(core.reservations, sku), await hold(core.reservations, sku)]
  await makeOverdue(database.db, overdue.id)
  expect(await cli('sweep')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^1 expired in 1 batch, 0 set aside/),
  })
  expect(await stored(database.db, overdue.id)).toBe('expired')
  expect(await stored(database.db, held.id)).toBe('pending')
  expect(await counters(database.db, sku)).toBe('10/1')
  const [shown, unknown] = [
    await cli(`reservations show ${held.id}`),
    await cli(`reservations show ${held.id.replaceAll(/[a-f]/g, '0')}`),
  ]
  expect(shown.stdout).toMatch(new RegExp(`^reservation ${held.id}: pending\n`))
  expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('no reservation') })
  await core.stop()
})

test('verify is silent about what is right and names what is broken', async () => {
  const sku = await stocked(database.db, 10)
  const clean = await cli('verify')
  expect(clean).toMatchObject({ code: 0, stdout: expect.stringContaining('All promises hold') })
  await rows(database.db, 'UPDATE stock SET stock = stock + 1 WHERE sku = ?', [sku])
  const [told, json] = [await cli('verify'), await cli('verify --json')]
  expect(told).toMatchObject({ code: 1, stdout: expect.stringContaining(`SKU ${sku}: the counter says stock 11`) })
  expect(json.code).toBe(1)
  expect(JSON.parse(json.stdout)).toMatchObject({ clean: false, checks: expect.any(Array) })
  await rows(database.db, 'UPDATE stock SET stock = stock - 1 WHERE sku = ?', [sku])
})

test('report ttl shows what became of each hold time, for people and for programs', async () => {
  const sku = await stocked(database.db, 10)
  const since = new Date().toISOString()
  const core = openCore(database, {
    ttl_seconds: [
      { value: 600, weight: 1_000_000 },
      { value: 1, weight: 1 },
    ],
  })
  const paid = await hold(core.reservations, [{ sku, quantity: 3 }])
  await core.reservations.confirm({ id: paid.id })
  const left = await hold(core.reservations, [{ sku, quantity: 2 }])
  await core.reservations.release({ id: left.id })
  await hold(core.reservations, sku, { ttl_seconds: 60 })
  await core.stop()
  const [text, json, wrong] = [
    await cli(`report ttl --since ${since}`),
    await cli(`report ttl --json --since ${since}`),
    await cli('report ttl --since yesterday'),
  ]
  expect(text.stdout).toMatch(
    /^ttl +holds +paid +paid % +released +expired +pending +units held +units sold +units returned$/m,
  )
  expect(text.stdout).toMatch(/^600 s +2 +1 +50\.0 +1 +0 +0 +5 +3 +2$/m)
  expect(text.stdout).toMatch(/^- +1 +0 +- +0 +0 +1 +1 +0 +0$/m)
  expect(JSON.parse(json.stdout)).toEqual([
    expect.objectContaining({ ttl_variant: '600', holds: 2, confirmed: 1, units_returned: 2 }),
    expect.objectContaining({ ttl_variant: null, holds: 1 }),
  ])
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('such as 2026-11-01') })
})

test('status says how things are and what to do, and ends with 1 while there is something to do', async () => {
  const [text, json] = [await cli('status'), await cli('status --json')]
  expect(text).toMatchObject({ code: 1, stdout: expect.stringContaining('schema current') })
  expect(text.stdout).toMatch(/What to do next\n {2}1\. No service answers at/)
  expect(JSON.parse(json.stdout)).toMatchObject({ database: { reachable: true }, service: { answers: false } })
})

test('a database that is away is told in one line, without the password; status tells it at length', async () => {
  const env = { DATABASE_URL: 'postgres://shop:hunter2@127.0.0.1:1/none' }
  const [list, state] = [await cli('keys list', env), await cli('status', env)]
  expect(list).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('the database does not answer') })
  expect(list.stderr.trim().split('\n')).toHaveLength(1)
  expect(state).toMatchObject({ code: 2, stderr: '', stdout: expect.stringContaining('NOT REACHABLE') })
  expect(list.stderr + state.stdout).not.toContain('hunter2')
})

test('a schema that is too old, a wrong setting and wrong usage each end with 2 and what to do', async () => {
  const empty = await createTestDatabase({ empty: true })
  const [old, setting, command, option, help] = [
    await cli('verify', { DATABASE_URL: empty.url }),
    await cli('verify', { DATABASE_URL: empty.url, PORT: 'x' }),
    await start('polish').ended,
    await cli('keys create --name shop'),
    await cli('--help'),
  ]
  expect(old).toMatchObject({ code: 2, stderr: expect.stringContaining('npm run migrate') })
  expect(setting).toMatchObject({ code: 2, stderr: expect.stringContaining('PORT') })
  expect(command).toMatchObject({ code: 2, stderr: expect.stringContaining("unknown command 'polish'") })
  expect(option).toMatchObject({ code: 2, stderr: expect.stringContaining('--scopes') })
  expect(help).toMatchObject({ code: 0, stdout: expect.stringContaining('Exit codes') })
  await empty.drop()
})

test('with the embedded database a command starts it, migrates it, and leaves it running for who uses it too', async () => {
  const data_dir = makeDataDir()
  const env = { DATA_DIR: data_dir }
  expect(await start('stock set cup 5', env).ended).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/cup +5 +0 +5/),
  })

  const log = { info: () => undefined, warn: () => undefined }
  const service = await acquireEmbeddedDatabase({ data_dir, log })
  const db = createPool({
    url: service.url,
    max: 1,
    lock_timeout_ms: 0,
    statement_timeout_ms: 0,
    application_name: 'service',
  })
  expect(await counters(db, 'cup')).toBe('5/0')
  expect(await start('stock set cup 6', env).ended).toMatchObject({ code: 0 })
  expect(await counters(db, 'cup')).toBe('6/0')
  await db.destroy()
  await service.release()
  await removeDataDir(data_dir)
}, 60_000)
