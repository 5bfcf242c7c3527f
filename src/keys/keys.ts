import type { Knex } from 'knex'
import { randomBytes } from 'node:crypto'
import { transaction } from '../database/transaction.ts'
import {
  endSecrets,
  insertKey,
  insertOrReviveSecret,
  insertSecret,
  lockKey,
  markRevoked,
  selectKeys,
  selectSecretOwner,
  type ListedKey,
} from './queries.ts'
import { fingerprint } from './secret.ts'

/**
 * API keys. A key is a name with scopes; it has one secret, or two while a rotation overlaps. The name is the client that
 * idempotency keys belong to, so it is never given to anybody else: revoking a key is final, and its name stays taken.
 */

export const SCOPES = ['read', 'reserve', 'admin'] as const

/** What a key may do: `read` GETs; `reserve` reservation verbs, customers, carts and asking for coupons; `admin` everything. */
export type Scope = (typeof SCOPES)[number]

/** The key that BOOTSTRAP_API_KEY stands for; only that variable makes or rotates it. */
export const BOOTSTRAP_KEY_NAME = 'bootstrap'

/** How long an old secret lives on after a rotation unless said otherwise: a working day to roll it out, and a night. */
export const OVERLAP_SECONDS = 86_400
/** A rotation that never ends is none. */
export const OVERLAP_MAX_SECONDS = 2_592_000

const KEY_NAME = /^[a-z0-9._-]{1,64}$/
const SECRET_BYTES = 32

/** Why a key was not made or changed; nothing was written. */
export type KeyRefusal =
  | 'key_name_invalid'
  | 'key_name_reserved'
  | 'key_name_taken'
  | 'key_scopes_invalid'
  | 'key_overlap_invalid'
  | 'key_not_found'
  | 'key_revoked'

export type KeyResult<T> = { ok: true; value: T } | { ok: false; refusal: KeyRefusal }

/** A key as its maker sees it, once: the secret is kept nowhere. */
export type IssuedKey = { name: string; scopes: Scope[]; secret: string }

/** Makes a key. From the first one ever on, the service is closed to everybody without one. */
export async function createKey(
  db: Knex,
  request: { name: string; scopes: readonly string[] },
): Promise<KeyResult<IssuedKey>> {
  const { name } = request
  if (!KEY_NAME.test(name)) return refusedKey('key_name_invalid')
  if (name === BOOTSTRAP_KEY_NAME) return refusedKey('key_name_reserved')
  const scopes = SCOPES.filter((scope) => request.scopes.includes(scope))
  if (scopes.length === 0 || !request.scopes.every(isScope)) return refusedKey('key_scopes_invalid')
  const secret = newSecret()
  return transaction(db, async (tx) => {
    if (!(await insertKey(tx, { name, scopes }))) return refusedKey('key_name_taken')
    await insertSecret(tx, { name, ...fingerprint(secret) })
    return { ok: true, value: { name, scopes, secret } }
  })
}

/** All keys by name, revoked ones too. */
export function listKeys(db: Knex): Promise<ListedKey[]> {
  return selectKeys(db)
}

/**
 * Gives a key a new secret. The old ones live on for `overlap_seconds`, so that its users can be given the new one
 * without a gap; a secret that was to end sooner still does.
 */
export async function rotateKey(
  db: Knex,
  name: string,
  options: { overlap_seconds?: number } = {},
): Promise<KeyResult<IssuedKey & { old_secrets_end_at: Date }>> {
  const overlap_seconds = options.overlap_seconds ?? OVERLAP_SECONDS
  if (!Number.isInteger(overlap_seconds) || overlap_seconds < 0 || overlap_seconds > OVERLAP_MAX_SECONDS) {
    return refusedKey('key_overlap_invalid')
  }
  if (name === BOOTSTRAP_KEY_NAME) return refusedKey('key_name_reserved')
  const secret = newSecret()
  return transaction(db, async (tx) => {
    const key = await lockKey(tx, name)
    if (!key) return refusedKey('key_not_found')
    if (key.revoked_at) return refusedKey('key_revoked')
    const old_secrets_end_at = await endSecrets(tx, { name, in_seconds: overlap_seconds })
    await insertSecret(tx, { name, ...fingerprint(secret) })
    return { ok: true, value: { name, scopes: key.scopes, secret, old_secrets_end_at } }
  })
}

/** Ends a key and all its secrets for good, everywhere within 5 s; again is no fault. */
export async function revokeKey(db: Knex, name: string): Promise<KeyResult<{ name: string; revoked_at: Date }>> {
  return transaction(db, async (tx) => {
    const revoked_at = await markRevoked(tx, name)
    return revoked_at ? { ok: true, value: { name, revoked_at } } : refusedKey('key_not_found')
  })
}

/**
 * Makes the key `bootstrap` accept exactly `secret`, with scope admin: for containers that are configured by environment
 * alone. Any number of instances may call it at once; with different secrets the last one to start wins. A bootstrap key
 * that was revoked stays so, although the variable is still set: bringing it back would undo the revocation at the next
 * restart.
 *
 * @returns what it did; `revoked` and `taken` (the secret of another key) mean that the variable has no effect
 */
export async function ensureBootstrapKey(
  db: Knex,
  secret: string,
): Promise<'created' | 'rotated' | 'unchanged' | 'revoked' | 'taken'> {
  const { id, digest } = fingerprint(secret)
  return transaction(db, async (tx) => {
    const owner = await selectSecretOwner(tx, id)
    if (owner !== undefined && owner !== BOOTSTRAP_KEY_NAME) return 'taken'
    const created = await insertKey(tx, { name: BOOTSTRAP_KEY_NAME, scopes: ['admin'] })
    // Instances that start together take turns here.
    const key = await lockKey(tx, BOOTSTRAP_KEY_NAME)
    if (key?.revoked_at) return 'revoked'
    const before = await insertOrReviveSecret(tx, { name: BOOTSTRAP_KEY_NAME, id, digest })
    await endSecrets(tx, { name: BOOTSTRAP_KEY_NAME, in_seconds: 0, except: id })
    if (created) return 'created'
    return before === 'valid' ? 'unchanged' : 'rotated'
  })
}

function isScope(word: string): word is Scope {
  return (SCOPES as readonly string[]).includes(word)
}

/** 256 random bits. The prefix lets secret scanners and people recognise what leaked. */
function newSecret(): string {
  return `srk_${randomBytes(SECRET_BYTES).toString('base64url')}`
}

function refusedKey(refusal: KeyRefusal): { ok: false; refusal: KeyRefusal } {
  return { ok: false, refusal }
}
