import {
  createKey,
  ensureBootstrapKey,
  listKeys,
  revokeKey,
  rotateKey,
  type IssuedKey,
  type KeyResult,
} from '../../src/keys/keys.ts'
import { createAuthenticator } from '../../src/keys/authenticate.ts'
import { rows } from '../../src/database/transaction.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})

afterAll(() => database.drop())

beforeEach(() => rows(database.db, 'TRUNCATE api_keys, api_key_secrets'))

const BOOTSTRAP_SECRET = 'chosen-by-whoever-wrote-the-compose-file'
const OTHER_SECRET = 'chosen-a-year-later-by-somebody-else!!'

async function issue(name = 'shop', scopes = ['read', 'reserve']): Promise<IssuedKey> {
  return accepted(await createKey(database.db, { name, scopes }))
}

function accepted<T>(result: KeyResult<T>): T {
  if (!result.ok) throw new Error(result.refusal)
  return result.value
}

/** The name of the key that a secret belongs to now, past every cache. */
async function ownerOf(secret: string): Promise<string | undefined> {
  const answer = await createAuthenticator({ db: database.db }).authenticate(secret)
  return answer.ok && !answer.open ? answer.client : undefined
}

test('a key is made: its secret works, is recognisable, and is kept nowhere', async () => {
  const { secret, scopes } = await issue()
  expect(secret).toMatch(/^srk_[A-Za-z0-9_-]{43}$/)
  expect(scopes).toEqual(['read', 'reserve'])
  expect(await ownerOf(secret)).toBe('shop')
  const kept = await rows<{ row: string }>(
    database.db,
    `SELECT s::text || encode(digest, 'escape') AS row FROM api_key_secrets AS s UNION SELECT k::text FROM api_keys AS k`,
  )
  for (const { row } of kept) expect(row).not.toContain(secret.slice(4))
})

test.each([
  ['a taken name', { name: 'shop', scopes: ['read'] }, 'key_name_taken'],
  ['a name with a space', { name: 'the shop', scopes: ['read'] }, 'key_name_invalid'],
  ['a name of 65 characters', { name: 'x'.repeat(65), scopes: ['read'] }, 'key_name_invalid'],
  ['the name of the bootstrap key', { name: 'bootstrap', scopes: ['read'] }, 'key_name_reserved'],
  ['an unknown scope', { name: 'other', scopes: ['read', 'root'] }, 'key_scopes_invalid'],
  ['no scope', { name: 'other', scopes: [] }, 'key_scopes_invalid'],
])('a key with %s is refused, and nothing is written', async (_, request, refusal) => {
  await issue()
  expect(await createKey(database.db, request)).toEqual({ ok: false, refusal })
  expect((await listKeys(database.db)).map(({ name }) => name)).toEqual(['shop'])
})

test('two ask for one name at once: one gets it', async () => {
  const results = await Promise.all([1, 2].map(() => createKey(database.db, { name: 'shop', scopes: ['read'] })))
  expect(results.map(({ ok }) => ok).toSorted()).toEqual([false, true])
})

test('a rotated key has two secrets until the old one ends', async () => {
  const old = await issue()
  const rotated = accepted(await rotateKey(database.db, 'shop', { overlap_seconds: 60 }))
  expect(await ownerOf(old.secret)).toBe('shop')
  expect(await ownerOf(rotated.secret)).toBe('shop')
  expect(rotated.old_secrets_end_at.getTime() - Date.now()).toBeLessThanOrEqual(61_000)

  await rows(database.db, `UPDATE api_key_secrets SET expires_at = expires_at - interval '60 seconds'`)
  expect(await ownerOf(old.secret)).toBeUndefined()
  expect(await ownerOf(rotated.secret)).toBe('shop')
})

test('without an overlap the old secret ends at once; with the default it lives for a day', async () => {
  const first = await issue()
  const second = accepted(await rotateKey(database.db, 'shop', { overlap_seconds: 0 }))
  expect(await ownerOf(first.secret)).toBeUndefined()
  const third = accepted(await rotateKey(database.db, 'shop'))
  expect(third.old_secrets_end_at.getTime() - Date.now()).toBeGreaterThan(86_390_000)
  expect(await ownerOf(second.secret)).toBe('shop')
})

test('a second rotation does not prolong a secret that was to end sooner', async () => {
  const first = await issue()
  accepted(await rotateKey(database.db, 'shop', { overlap_seconds: 60 }))
  accepted(await rotateKey(database.db, 'shop', { overlap_seconds: 3600 }))
  await rows(database.db, `UPDATE api_key_secrets SET expires_at = expires_at - interval '61 seconds'`)
  expect(await ownerOf(first.secret)).toBeUndefined()
})

test('revoking ends both secrets for good: the key cannot be rotated nor its name given again', async () => {
  const old = await issue()
  const rotated = accepted(await rotateKey(database.db, 'shop'))
  const { revoked_at } = accepted(await revokeKey(database.db, 'shop'))
  expect(await ownerOf(old.secret)).toBeUndefined()
  expect(await ownerOf(rotated.secret)).toBeUndefined()
  expect(await rotateKey(database.db, 'shop')).toEqual({ ok: false, refusal: 'key_revoked' })
  expect(await createKey(database.db, { name: 'shop', scopes: ['read'] })).toEqual({
    ok: false,
    refusal: 'key_name_taken',
  })
  expect(accepted(await revokeKey(database.db, 'shop')).revoked_at).toEqual(revoked_at)
})

test('a key that does not exist is neither rotated nor revoked', async () => {
  expect(await rotateKey(database.db, 'nobody')).toEqual({ ok: false, refusal: 'key_not_found' })
  expect(await revokeKey(database.db, 'nobody')).toEqual({ ok: false, refusal: 'key_not_found' })
})

test.each([-1, 1.5, 2_592_001, NaN])('an overlap of %d seconds is refused', async (overlap_seconds) => {
  await issue()
  expect(await rotateKey(database.db, 'shop', { overlap_seconds })).toEqual({
    ok: false,
    refusal: 'key_overlap_invalid',
  })
})

test('the list says what is accepted and what has ended', async () => {
  await issue('b')
  await issue('a', ['admin'])
  const { old_secrets_end_at } = accepted(await rotateKey(database.db, 'a'))
  await revokeKey(database.db, 'b')
  expect(await listKeys(database.db)).toMatchObject([
    { name: 'a', scopes: ['admin'], revoked_at: null, old_secret_ends_at: old_secrets_end_at },
    { name: 'b', revoked_at: expect.any(Date), old_secret_ends_at: null },
  ])
})

describe('the bootstrap key', () => {
  test('is made once, by however many instances start together', async () => {
    const outcomes = await Promise.all([1, 2, 3, 4].map(() => ensureBootstrapKey(database.db, BOOTSTRAP_SECRET)))
    expect(outcomes.toSorted()).toEqual(['created', 'unchanged', 'unchanged', 'unchanged'])
    expect(await ownerOf(BOOTSTRAP_SECRET)).toBe('bootstrap')
    expect(await listKeys(database.db)).toMatchObject([{ name: 'bootstrap', scopes: ['admin'] }])
  })

  test('takes another secret when the variable changes, and ends the old one at once', async () => {
    await ensureBootstrapKey(database.db, BOOTSTRAP_SECRET)
    expect(await ensureBootstrapKey(database.db, OTHER_SECRET)).toBe('rotated')
    expect(await ownerOf(BOOTSTRAP_SECRET)).toBeUndefined()
    expect(await ownerOf(OTHER_SECRET)).toBe('bootstrap')
  })

  test('takes the first secret again when the variable is changed back', async () => {
    await ensureBootstrapKey(database.db, BOOTSTRAP_SECRET)
    await ensureBootstrapKey(database.db, OTHER_SECRET)
    expect(await ensureBootstrapKey(database.db, BOOTSTRAP_SECRET)).toBe('rotated')
    expect(await ownerOf(BOOTSTRAP_SECRET)).toBe('bootstrap')
    expect(await ownerOf(OTHER_SECRET)).toBeUndefined()
  })

  test('stays revoked although the variable is still set', async () => {
    await ensureBootstrapKey(database.db, BOOTSTRAP_SECRET)
    await revokeKey(database.db, 'bootstrap')
    expect(await ensureBootstrapKey(database.db, BOOTSTRAP_SECRET)).toBe('revoked')
    expect(await ownerOf(BOOTSTRAP_SECRET)).toBeUndefined()
  })

  test('does not take over the secret of another key', async () => {
    const { secret } = await issue()
    expect(await ensureBootstrapKey(database.db, secret)).toBe('taken')
    expect(await ownerOf(secret)).toBe('shop')
    expect(await listKeys(database.db)).toHaveLength(1)
  })

  test('is rotated by its variable only', async () => {
    await ensureBootstrapKey(database.db, BOOTSTRAP_SECRET)
    expect(await rotateKey(database.db, 'bootstrap')).toEqual({ ok: false, refusal: 'key_name_reserved' })
  })
})
