import type { Knex } from 'knex'
import { reading } from '../database/transaction.ts'
import { ok, refused, type Result } from '../errors.ts'
import { isUuid } from '../ids.ts'
import { presentReservation } from './plan.ts'
import { selectReservationPage, selectReservations } from './queries.ts'
import type { Reservation, Status } from './reservation.ts'

export type ReservationFilter = {
  status?: Status
  sku?: string
  customer_id?: string
  reference?: string
  idempotency_key?: { client: string; key: string }
  expires_before?: Date
  /** 1–200. */
  limit: number
  cursor?: string
}

export type ReservationPage = { reservations: Reservation[]; next_cursor: string | null }

/** One reservation with its status as of now; undefined if there is none. @param id a UUID */
export async function readReservation(db: Knex, id: string): Promise<Reservation | undefined> {
  const [stored] = await reading(() => selectReservations(db, [id]))
  return stored === undefined ? undefined : presentReservation(stored)
}

/**
 * A page of reservations, newest first, with their statuses as of now.
 *
 * @returns refused with `invalid_request` if the cursor is none that this list gave out
 */
export async function listReservations(db: Knex, filter: ReservationFilter): Promise<Result<ReservationPage>> {
  const place = readCursor(filter)
  if (place === undefined) {
    const message = 'is not a cursor of this list; take next_cursor as it came, with the same filters'
    return refused({ code: 'invalid_request', errors: [{ path: 'query/cursor', message }] })
  }
  const found = await reading(() =>
    selectReservationPage(db, {
      status: filter.status ?? null,
      sku: filter.sku ?? null,
      customer_id: filter.customer_id ?? null,
      reference: filter.reference ?? null,
      client: filter.idempotency_key?.client ?? null,
      idempotency_key: filter.idempotency_key?.key ?? null,
      expires_before: filter.expires_before ?? null,
      ...place,
      limit: filter.limit + 1,
    }),
  )
  const page = found.slice(0, filter.limit)
  const last = page.at(-1)
  const next_cursor =
    found.length <= filter.limit || last === undefined ? null : last.seq === null ? last.id : String(last.seq)
  return ok({ reservations: page.map(presentReservation), next_cursor })
}

/** A list by SKU continues at a seq of its ledger, any other at a reservation's id. */
function readCursor({
  cursor,
  sku,
}: ReservationFilter): { before_id: string | null; before_seq: number | null } | undefined {
  if (cursor === undefined) return { before_id: null, before_seq: null }
  if (sku !== undefined) {
    return /^[1-9]\d{0,14}$/.test(cursor) ? { before_id: null, before_seq: Number(cursor) } : undefined
  }
  return isUuid(cursor) ? { before_id: cursor, before_seq: null } : undefined
}
