import type { Knex } from 'knex'
import { createPool } from '../../src/database/pool.ts'
import { rows } from '../../src/database/transaction.ts'
import { DatabaseUnavailable } from '../../src/errors.ts'
import { createAuthenticator, hasEverHadKeys } from '../../src/keys/authenticate.ts'
import { createKey, revokeKey, rotateKey } from '../../src/keys/keys.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'

let database: TestDatabase
let clock_ms: number
const now = (): number => clock_ms

beforeAll(async () => {
  database = await createTestDatabase()
})

afterAll(() => database.drop())

beforeEach(async () => {
  clock_ms = 1_000_000
  await rows(database.db, 'TRUNCATE api_keys, api_key_secrets')
})

async function issue(name = 'shop', scopes = ['read']): Promise<string> {
  const result = await createKey(database.db, { name, scopes })
  if (!result.ok) throw new Error(result.refusal)
  return result.value.secret
}

function authenticator(db: Knex = database.db): ReturnType<typeof createAuthenticator> {
  return createAuthenticator({ db, now })
}

/** The test database as seen by a pool that counts its statements and can be cut off. */
async function observed(): Promise<{ db: Knex; statements: () => number; cut: () => Promise<void> }> {
  const db = createPool({
    url: database.url,
    max: 4,
    lock_timeout_ms: 1000,
    statement_timeout_ms: 1000,
    application_name: 'observed',
  })
  let statements = 0
  db.on('query', () => statements++)
  return { db, statements: () => statements, cut: () => db.destroy() }
}

const UNKNOWN_SECRET = 'srk_0000000000000000000000000000000000000000000'
const REFUSED = { ok: false, refusal: { code: 'unauthenticated', detail: expect.any(String) } }

test('a known secret names its client and what it may do', async () => {
  const secret = await issue('shop', ['read', 'reserve'])
  expect(await authenticator().authenticate(secret)).toEqual({
    ok: true,
    client: 'shop',
    scopes: new Set(['read', 'reserve']),
    open: false,
  })
})

test('an admin may do everything', async () => {
  const secret = await issue('operator', ['admin'])
  expect(await authenticator().authenticate(secret)).toMatchObject({ scopes: new Set(['read', 'reserve', 'admin']) })
})

test.each([
  ['no secret', undefined],
  ['an empty secret', ''],
  ['a short secret', 'srk_'],
  ['an unknown secret', UNKNOWN_SECRET],
  ['a secret of 10,000 characters', 'x'.repeat(10_000)],
])('%s is refused once there are keys', async (_, secret) => {
  await issue()
  expect(await authenticator().authenticate(secret)).toEqual(REFUSED)
})

test('a secret with the id of another but not its digest is refused', async () => {
  const secret = await issue()
  await rows(database.db, `UPDATE api_key_secrets SET digest = sha256('another')`)
  expect(await authenticator().authenticate(secret)).toEqual(REFUSED)
})

test('a revoked secret is refused from 5 s on', async () => {
  const secret = await issue()
  const { authenticate } = authenticator()
  expect(await authenticate(secret)).toMatchObject({ ok: true })
  await revokeKey(database.db, 'shop')
  clock_ms += 4999
  expect(await authenticate(secret)).toMatchObject({ ok: true })
  clock_ms += 2
  expect(await authenticate(secret)).toEqual(REFUSED)
})

test('a secret that ends within the 5 s is not believed beyond its end', async () => {
  const secret = await issue()
  await rotateKey(database.db, 'shop', { overlap_seconds: 2 })
  const { authenticate } = authenticator()
  expect(await authenticate(secret)).toMatchObject({ ok: true })
  await rows(database.db, `UPDATE api_key_secrets SET expires_at = expires_at - interval '2 seconds'`)
  clock_ms += 2001
  expect(await authenticate(secret)).toEqual(REFUSED)
})

test('a known and an unknown secret are asked for once in 5 s', async () => {
  const secret = await issue()
  const { db, statements } = await observed()
  const { authenticate } = authenticator(db)
  for (let i = 0; i < 10; i++) {
    await authenticate(secret)
    await authenticate(UNKNOWN_SECRET)
  }
  // The unknown one also asked once whether a key is needed at all.
  expect(statements()).toBe(3)
  clock_ms += 5001
  await authenticate(secret)
  await authenticate(UNKNOWN_SECRET)
  expect(statements()).toBe(5)
  await db.destroy()
})

test('a hundred callers with one secret share one question', async () => {
  const secret = await issue()
  const { db, statements } = await observed()
  const { authenticate } = authenticator(db)
  const answers = await Promise.all(Array.from({ length: 100 }, () => authenticate(secret)))
  expect(answers.every(({ ok }) => ok)).toBe(true)
  expect(statements()).toBe(1)
  await db.destroy()
})

test('through an outage a known secret works until its 5 s are over, and then the database is missed', async () => {
  const secret = await issue()
  const { db, cut } = await observed()
  const { authenticate } = authenticator(db)
  await authenticate(secret)
  await cut()
  clock_ms += 4000
  expect(await authenticate(secret)).toMatchObject({ ok: true, client: 'shop' })
  clock_ms += 2000
  await expect(authenticate(secret)).rejects.toThrow(DatabaseUnavailable)
  await expect(authenticate(UNKNOWN_SECRET)).rejects.toThrow(DatabaseUnavailable)
})

describe('until the first key', () => {
  test('everybody may do everything, with whatever they send', async () => {
    const open = { ok: true, client: '', scopes: new Set(['read', 'reserve', 'admin']), open: true }
    const { authenticate } = authenticator()
    expect(await authenticate(undefined)).toEqual(open)
    expect(await authenticate(UNKNOWN_SECRET)).toEqual(open)
    expect(await hasEverHadKeys(database.db)).toBe(false)
  })

  test('who asks often asks the database once in 5 s', async () => {
    const { db, statements } = await observed()
    const { authenticate } = authenticator(db)
    for (let i = 0; i < 10; i++) await authenticate(undefined)
    expect(statements()).toBe(1)
    await db.destroy()
  })

  test('the first key closes the service within 5 s, and works at once', async () => {
    const { authenticate } = authenticator()
    expect(await authenticate(undefined)).toMatchObject({ open: true })
    const secret = await issue()
    expect(await authenticate(secret)).toMatchObject({ client: 'shop', open: false })
    clock_ms += 5001
    expect(await authenticate(undefined)).toEqual(REFUSED)
  })

  test('once closed it never opens again, even if no key is left', async () => {
    await issue()
    await revokeKey(database.db, 'shop')
    const { authenticate } = authenticator()
    expect(await authenticate(undefined)).toEqual(REFUSED)
    expect(await hasEverHadKeys(database.db)).toBe(true)
    await rows(database.db, 'TRUNCATE api_keys, api_key_secrets')
    clock_ms += 1_000_000
    expect(await authenticate(undefined)).toEqual(REFUSED)
  })
})
