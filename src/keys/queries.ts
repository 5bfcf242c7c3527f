import type { Knex } from 'knex'
import { reading, rows } from '../database/transaction.ts'
import type { Scope } from './keys.ts'

/** A key as `cli keys list` shows it. */
export type ListedKey = {
  name: string
  scopes: Scope[]
  created_at: Date
  revoked_at: Date | null
  /** When its newest secret was made. */
  rotated_at: Date
  /** Until when an older secret is still accepted; null where there is none. */
  old_secret_ends_at: Date | null
}

/** A secret that is accepted at this moment, with the milliseconds until it ends; null for one without an end. */
export type ValidSecret = { digest: Buffer; name: string; scopes: Scope[]; ends_in_ms: number | null }

/** @returns false if the name is taken */
export async function insertKey(
  tx: Knex.Transaction,
  key: { name: string; scopes: readonly Scope[] },
): Promise<boolean> {
  const inserted = await rows(
    tx,
    'INSERT INTO api_keys (name, scopes) VALUES (?, ?) ON CONFLICT (name) DO NOTHING RETURNING name',
    [key.name, key.scopes],
  )
  return inserted.length > 0
}

export async function insertSecret(
  tx: Knex.Transaction,
  secret: { name: string; id: string; digest: Buffer },
): Promise<void> {
  await rows(tx, 'INSERT INTO api_key_secrets (id, name, digest) VALUES (?, ?, ?)', [
    secret.id,
    secret.name,
    secret.digest,
  ])
}

/**
 * Makes sure that a key's secret is there and has no end. Call it with the key's row locked.
 *
 * @returns what was there before
 */
export async function insertOrReviveSecret(
  tx: Knex.Transaction,
  secret: { name: string; id: string; digest: Buffer },
): Promise<'nothing' | 'ended' | 'valid'> {
  const [before] = await rows<{ expires_at: Date | null }>(tx, 'SELECT expires_at FROM api_key_secrets WHERE id = ?', [
    secret.id,
  ])
  if (!before) {
    await insertSecret(tx, secret)
    return 'nothing'
  }
  if (before.expires_at === null) return 'valid'
  await rows(tx, 'UPDATE api_key_secrets SET expires_at = NULL WHERE id = ?', [secret.id])
  return 'ended'
}

/** The name of the key that a secret belongs to, whether it is accepted or not. */
export async function selectSecretOwner(tx: Knex.Transaction, id: string): Promise<string | undefined> {
  const [secret] = await rows<{ name: string }>(tx, 'SELECT name FROM api_key_secrets WHERE id = ?', [id])
  return secret?.name
}

export async function lockKey(
  tx: Knex.Transaction,
  name: string,
): Promise<{ scopes: Scope[]; revoked_at: Date | null } | undefined> {
  const [key] = await rows<{ scopes: Scope[]; revoked_at: Date | null }>(
    tx,
    'SELECT scopes, revoked_at FROM api_keys WHERE name = ? FOR UPDATE',
    [name],
  )
  return key
}

/**
 * Lets a key's secrets end `in_seconds` from now; one that was to end sooner still does.
 *
 * @returns that moment
 */
export async function endSecrets(
  tx: Knex.Transaction,
  request: { name: string; in_seconds: number; except?: string },
): Promise<Date> {
  const [end] = await rows<{ ends_at: Date }>(
    tx,
    `WITH moment AS MATERIALIZED (SELECT clock_timestamp() + make_interval(secs => ?) AS ends_at),
     ended AS (
       UPDATE api_key_secrets SET expires_at = moment.ends_at
       FROM moment
       WHERE name = ? AND id <> ? AND (expires_at IS NULL OR expires_at > moment.ends_at)
     )
     SELECT ends_at FROM moment`,
    [request.in_seconds, request.name, request.except ?? ''],
  )
  return end!.ends_at
}

/** @returns when the key was revoked, now or before; undefined if there is no such key */
export async function markRevoked(tx: Knex.Transaction, name: string): Promise<Date | undefined> {
  const [key] = await rows<{ revoked_at: Date }>(
    tx,
    'UPDATE api_keys SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE name = ? RETURNING revoked_at',
    [name],
  )
  return key?.revoked_at
}

export function selectKeys(db: Knex): Promise<ListedKey[]> {
  return reading(() =>
    rows<ListedKey>(
      db,
      `SELECT k.name, k.scopes, k.created_at, k.revoked_at, max(s.created_at) AS rotated_at,
         max(s.expires_at) FILTER (WHERE s.expires_at > clock_timestamp() AND k.revoked_at IS NULL) AS old_secret_ends_at
       FROM api_keys k JOIN api_key_secrets s ON s.name = k.name
       GROUP BY k.name
       ORDER BY k.name`,
    ),
  )
}

/** The secret with this id if it is accepted now, by the database's clock. */
export function selectValidSecret(db: Knex, id: string): Promise<ValidSecret | undefined> {
  return reading(async () => {
    const [secret] = await rows<ValidSecret>(
      db,
      `SELECT s.digest, k.name, k.scopes,
         (extract(epoch FROM s.expires_at - clock_timestamp()) * 1000)::float8 AS ends_in_ms
       FROM api_key_secrets s JOIN api_keys k ON k.name = s.name
       WHERE s.id = ? AND k.revoked_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp())`,
      [id],
    )
    return secret
  })
}

/** True from the first key ever on, whether it was revoked since or not. */
export function selectHasEverHadKeys(db: Knex): Promise<boolean> {
  return reading(async () => {
    const [answer] = await rows<{ found: boolean }>(db, 'SELECT EXISTS (SELECT FROM api_keys) AS found')
    return answer!.found
  })
}
