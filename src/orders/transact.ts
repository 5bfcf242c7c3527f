import type { Knex } from 'knex'
import { setTimeout as delay } from 'node:timers/promises'
import { doOnce, earlierOf, type Steps } from '../database/keyed.ts'
import type { Turns } from '../database/turns.ts'
import { ok, refused, type Refusal, type Result } from '../errors.ts'
import { Blocked } from '../reservations/blocked.ts'
import type { Idempotency } from '../reservations/reservation.ts'
import { insertOrderKey, selectOrderKey, type KeyKind } from './queries.ts'

/**
 * The transactions of orders and payments: on connections that are not the core's, in turns, and again if the core met a
 * conflict. Locks are taken in this order: keys, reservations, orders, payments, accounts, coupons, counters.
 */
export type Transact = <T>(steps: Steps<T>) => Promise<Result<T>>

/** The core has lost its race for a counter, or a hold ran out while it waited; a further try finds out which. */
const TRIES_MAX = 6
const BACKOFF_MS = 4

/** @param deps.db connections beside the core's, which needs its own to take back overdue holds for our transactions */
export function createTransact({ db, turns }: { db: Knex; turns: Turns }): Transact {
  return async (steps) => {
    for (let attempt = 1; ; attempt++) {
      const result = await turns.take(() => doOnce(db, steps).catch(refuseBlocked))
      if (result.ok || result.refusal.code !== 'stock_conflict' || attempt === TRIES_MAX) return result
      await delay(Math.random() * BACKOFF_MS * 2 ** attempt)
    }
  }
}

/** The core found a counter that another session keeps locked, and threw rather than wait for it. */
function refuseBlocked(error: unknown): { ok: false; refusal: Refusal } {
  if (!(error instanceof Blocked)) throw error
  return refused({ code: 'overloaded', detail: 'Another session holds the counter of one of these SKUs.' })
}

/** What a request's key stands for, before it is known whether it was used. */
export type Claim = {
  client: string
  kind: KeyKind
  idempotency: Idempotency | undefined
  /** The id of what the request is about to make. */
  made_id: string
}

/**
 * Claims a request's key.
 *
 * @returns what the key made before, undefined if it is this transaction's now; refused with `idempotency_key_reused` or
 *   `idempotency_key_in_use`
 */
export async function claimKey(tx: Knex.Transaction, claim: Claim): Promise<Result<string | undefined>> {
  const { client, kind, idempotency, made_id } = claim
  if (idempotency === undefined) return ok(undefined)
  const { key, request_hash } = idempotency
  if (await insertOrderKey(tx, { client, kind, key, request_hash, made_id })) return ok(undefined)
  const earlier = earlierOf(await selectOrderKey(tx, { client, kind, key }), request_hash)
  return earlier.ok ? ok(earlier.value.made_id) : refused(earlier.refusal)
}
