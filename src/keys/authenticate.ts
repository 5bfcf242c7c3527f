import type { Knex } from 'knex'
import { LRUCache } from 'lru-cache'
import { timingSafeEqual } from 'node:crypto'
import { refused, type Refusal } from '../errors.ts'
import { SCOPES, type Scope } from './keys.ts'
import { selectHasEverHadKeys, selectValidSecret, type ValidSecret } from './queries.ts'
import { fingerprint, type Fingerprint } from './secret.ts'

/**
 * Who is calling. What the database said is believed for at most 5 s, counted from before it was asked, so a revocation
 * acts within 5 s; through an outage a known key goes on working for as long.
 */
const CACHE_MS = 5000
/** Far more than there are keys: the rest are guesses, which must not fill the memory. */
const CACHE_ENTRIES_MAX = 10_000
/** Secrets whose SHA-256 is remembered, because working it out costs more than the rest of asking who it is. */
const PROVEN_MAX = 1000
/** Nothing shorter or longer is a secret, so it is refused without asking the database. */
const SECRET_LENGTH_MIN = 32
const SECRET_LENGTH_MAX = 255

export type Authenticated = {
  ok: true
  /** The key's name; '' while the service is open. */
  client: string
  /** With `admin`, all of them. */
  scopes: ReadonlySet<Scope>
  /** True until the first key ever is created: anybody may do everything. */
  open: boolean
}

export type Caller = Authenticated | { ok: false; refusal: Refusal }

export type Authenticator = {
  /** Who it is if that is known without asking the database; nearly always it is. */
  recall(secret: string | undefined): Authenticated | undefined
  /**
   * @param secret what stood after `Bearer`, undefined where nothing did
   * @throws DatabaseUnavailable if the database is away and what it said last is older than 5 s
   */
  authenticate(secret: string | undefined): Promise<Caller>
  /** Who shows a secret, and the secret's id, which stands for it in a session; undefined while the service is open. */
  identify(secret: string | undefined): Promise<{ caller: Caller; secret_id: string | undefined }>
  /** The same as `recall` and `authenticate`, for whoever has shown the secret before. */
  recallId(secret_id: string): Authenticated | undefined
  authenticateId(secret_id: string): Promise<Caller>
}

/** @param deps.now a clock in milliseconds, for tests */
export function createAuthenticator(deps: { db: Knex; now?: () => number }): Authenticator {
  const { db, now = () => performance.now() } = deps
  const secrets = createSecretFinder(db, now)
  // Of secrets that were right once: whoever guesses must not fill it. It says what a secret hashes to, not that it is valid.
  const proven = new LRUCache<string, Fingerprint>({ max: PROVEN_MAX })
  const isClosed = createClosedCheck(db, now)

  async function authenticate(secret: string | undefined): Promise<Caller> {
    if (secret !== undefined && mayBeSecret(secret)) {
      const print = fingerprint(secret)
      const known = await secrets.find(print.id)
      if (known && timingSafeEqual(known.digest, print.digest)) {
        proven.set(secret, print)
        return known.caller
      }
    }
    if (!(await isClosed())) return { ok: true, client: '', scopes: EVERYTHING, open: true }
    return refused({
      code: 'unauthenticated',
      detail:
        secret === undefined
          ? 'send an API key: "Authorization: Bearer <api key>"'
          : 'this API key is unknown, or was revoked or replaced; ask whoever runs the service for a new one',
    })
  }

  return {
    authenticate,
    recall(secret) {
      const print = secret === undefined ? undefined : proven.get(secret)
      const known = print && secrets.recall(print.id)
      return known && timingSafeEqual(known.digest, print.digest) ? known.caller : undefined
    },
    async identify(secret) {
      const caller = await authenticate(secret)
      const secret_id = caller.ok && !caller.open && secret !== undefined ? fingerprint(secret).id : undefined
      return { caller, secret_id }
    },
    recallId: (secret_id) => secrets.recall(secret_id)?.caller,
    async authenticateId(secret_id) {
      const known = await secrets.find(secret_id)
      return known?.caller ?? refused({ code: 'unauthenticated', detail: 'this session has ended; log in again' })
    },
  }
}

/** True from the first key ever created on, whether it was revoked since or not: from then on a key is needed. */
export function hasEverHadKeys(db: Knex): Promise<boolean> {
  return selectHasEverHadKeys(db)
}

function mayBeSecret(text: string): boolean {
  return text.length >= SECRET_LENGTH_MIN && text.length <= SECRET_LENGTH_MAX
}

type KnownSecret = { digest: Buffer; caller: Authenticated }

type SecretFinder = {
  recall(id: string): KnownSecret | null | undefined
  find(id: string): Promise<KnownSecret | null>
}

/** Finds secrets by id; those who ask for the same one at the same time share one query. */
function createSecretFinder(db: Knex, now: () => number): SecretFinder {
  const cache = new LRUCache<string, { secret: KnownSecret | null }>({
    max: CACHE_ENTRIES_MAX,
    ttl: CACHE_MS,
    ttlResolution: 0,
    perf: { now },
  })
  const inFlight = new Map<string, Promise<KnownSecret | null>>()

  async function ask(id: string): Promise<KnownSecret | null> {
    const asked_at = now()
    const found = await selectValidSecret(db, id)
    const secret = found === undefined ? null : { digest: found.digest, caller: callerOf(found) }
    // A rotated secret that ends in 2 s must not be believed for 5; lru-cache takes a ttl of 0 for "for ever".
    const ttl = Math.max(1, Math.min(CACHE_MS, found?.ends_in_ms ?? CACHE_MS))
    cache.set(id, { secret }, { ttl, start: asked_at })
    return secret
  }

  return {
    recall: (id) => cache.get(id)?.secret,
    find(id) {
      const cached = cache.get(id)
      if (cached) return Promise.resolve(cached.secret)
      const asked = inFlight.get(id) ?? ask(id).finally(() => inFlight.delete(id))
      inFlight.set(id, asked)
      return asked
    },
  }
}

function callerOf({ name, scopes }: ValidSecret): Authenticated {
  return { ok: true, client: name, scopes: scopes.includes('admin') ? EVERYTHING : new Set(scopes), open: false }
}

/** Whether a key is needed. "No" is believed for 5 s, "yes" for ever: keys are never deleted. */
function createClosedCheck(db: Knex, now: () => number): () => Promise<boolean> {
  let closed = false
  let open_until = -Infinity
  let asked: Promise<boolean> | undefined

  async function ask(): Promise<boolean> {
    const asked_at = now()
    closed = await selectHasEverHadKeys(db)
    if (!closed) open_until = asked_at + CACHE_MS
    return closed
  }

  return async () => {
    if (closed) return true
    if (now() < open_until) return false
    asked ??= ask().finally(() => (asked = undefined))
    return asked
  }
}

const EVERYTHING: ReadonlySet<Scope> = new Set(SCOPES)
