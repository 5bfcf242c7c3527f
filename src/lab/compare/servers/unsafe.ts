import { setTimeout as delay } from 'node:timers/promises'
import { compose, splitPool, watchPool } from '../../../compose.ts'
import { loadConfig } from '../../../config.ts'
import { createPool } from '../../../database/pool.ts'
import { transaction } from '../../../database/transaction.ts'
import { ok, refused, type Result } from '../../../errors.ts'
import { newId } from '../../../ids.ts'
import { createLog } from '../../../log.ts'
import type { Reservation, Reserved, ReserveRequest } from '../../../reservations/reservation.ts'
import { createTurns } from '../../../database/turns.ts'
import { reserveUnsafely, TABLES, UNSAFE_NAMES, type Transact } from '../unsafe.ts'

/**
 * The whole service, but for one thing: reserve is one of the unsafe ways. HTTP, authentication, validation, logging,
 * metrics, turns and the number of connections are the service's own. Arguments: port, which way, which tables.
 */

/** The service's strategies leave so many of the core's connections to others. */
const CONNECTIONS_KEPT = 2

const config = loadConfig()
const log = createLog(config.log_level)
const name = UNSAFE_NAMES.find((known) => known === process.argv[3])
const tables = TABLES.find((known) => known === process.argv[4])
if (name === undefined || tables === undefined) throw new Error('usage: unsafe PORT none|unguarded scratch|real')

const service = compose({ config, url: config.database_url!, log, instance: `unsafe ${process.pid}` })
const at_once_max = Math.max(1, splitPool(config.database_pool_max).core - CONNECTIONS_KEPT)
const db = createPool({
  url: config.database_url!,
  max: at_once_max,
  lock_timeout_ms: 5000,
  statement_timeout_ms: 5000,
  application_name: `unsafe ${process.pid}`,
})
watchPool(service.metrics, 'unsafe', db)
const turns = createTurns({ at_once_max })

const transact: Transact = async (work) => {
  const started = performance.now()
  try {
    return await transaction(db, work)
  } finally {
    service.metrics.phase('write', performance.now() - started)
  }
}

async function reserve(request: ReserveRequest): Promise<Result<Reserved>> {
  const [line] = request.lines
  const created_at = new Date()
  const expires_at = new Date(
    created_at.getTime() + (request.ttl_seconds ?? config.reservation_ttl_seconds[0]!.value) * 1000,
  )
  const wanted = { id: newId(), ...line!, created_at, expires_at }
  const tried = await reserveUnsafely({ name: name!, tables: tables!, transact }, wanted)
  if ('stopped_by' in tried) {
    service.metrics.outcome('reserve', `stopped by ${tried.stopped_by}`, name!)
    return refused({ code: 'stock_conflict' })
  }
  service.metrics.outcome('reserve', tried.held ? 'ok' : 'insufficient_stock', name!)
  if (!tried.held) {
    const shortages = [{ sku: wanted.sku, requested: wanted.quantity, available: 0 }]
    return refused({ code: 'insufficient_stock', shortages })
  }
  return ok({ reservation: heldAs(wanted, request), replayed: false })
}

function heldAs(
  { id, created_at, expires_at }: Pick<Reservation, 'id' | 'created_at' | 'expires_at'>,
  { lines, customer_id, reference, metadata }: ReserveRequest,
): Reservation {
  const asked = { customer_id: customer_id ?? null, reference: reference ?? null, metadata: metadata ?? null }
  const ends = { closed_at: null, release_reason: null, ttl_variant: null }
  return { id, status: 'pending', lines, ...asked, created_at, expires_at, strategy: name!, ...ends }
}

// The routes call through this object, so that they meet this function in the place of the core's.
service.reservations.reserve = (request, signal) => turns.take(() => reserve(request), { signal })

service.server.listen(config.port, config.host)

process.once('SIGTERM', () => {
  service.drain()
  service.server.close()
  void turns
    .stop()
    .then(() => delay(50))
    .then(() => process.exit(0))
})
