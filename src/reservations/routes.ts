import { Type } from 'typebox'
import type { Fault, Refusal, Result } from '../errors.ts'
import { IDEMPOTENCY_KEY_PATTERN, idempotencyOf } from '../http/idempotency.ts'
import { LIMIT_DEFAULT, listJson, PageQuery } from '../http/pagination.ts'
import { bulkResults, settle } from '../http/bulk.ts'
import {
  answer,
  created,
  refuseWith,
  REPLAYED_HEADER,
  route,
  signalOf,
  type Answer,
  type Route,
} from '../http/route.ts'
import { isUuid } from '../ids.ts'
import { reservationJson } from './json.ts'
import type { Line, Reservation, Reserved, ReserveRequest } from './reservation.ts'
import type { Reservations } from './reservations.ts'
import {
  BULK_LINES_MAX,
  BulkConfirmSchema,
  BulkReleaseSchema,
  ConfirmSchema,
  ExtendSchema,
  findExcess,
  NO_FAULTS,
  ReleaseSchema,
  reserveBatchSchema,
  ReservationFilters,
  ReservationPage,
  ReservationParams,
  ReservationSchema,
  reserveSchema,
} from './schemas.ts'

/** What the routes need of the core. */
export type ReservationRoutesDeps = {
  reservations: Pick<
    Reservations,
    'reserve' | 'confirm' | 'release' | 'extend' | 'read' | 'list' | 'hasRoom' | 'hasRoomToReserve'
  >
  ttl_max_seconds: number
}

/** Holds: made, ended, extended and read, one at a time and in bulk. */
export function reservationRoutes(deps: ReservationRoutesDeps): Route[] {
  return [
    reserve(deps),
    confirm(deps),
    release(deps),
    extend(deps),
    readOne(deps),
    list(deps),
    reserveBatch(deps),
    confirmMany(deps),
    releaseMany(deps),
  ]
}

const TAG = 'Reservations'
const RESERVE_PATH = '/v1/reservations'
const RESERVATION = { schema: ReservationSchema }
const BULK_RESULTS = bulkResults(ReservationSchema)

function reserve({ reservations, ttl_max_seconds }: ReservationRoutesDeps): Route {
  return route({
    method: 'POST',
    path: RESERVE_PATH,
    operation_id: 'reserve',
    tag: TAG,
    summary: 'Hold stock',
    description: 'Holds every line or none, until it is confirmed, released or its time runs out.',
    scope: 'reserve',
    body: reserveSchema(ttl_max_seconds),
    idempotency: 'accepted',
    hasRoom: () => reservations.hasRoomToReserve(1),
    check: ({ body }) => findExcess(body.lines, ''),
    responses: {
      201: {
        description: 'Held. With `Idempotent-Replayed: true` it was held before, and is shown as it is now.',
        ...RESERVATION,
        headers: { Location: 'Where to read it.', ...REPLAYED_HEADER },
      },
    },
    refusals: [
      'insufficient_stock',
      'skus_not_found',
      'idempotency_key_in_use',
      'idempotency_key_reused',
      'overloaded',
      'stock_conflict',
    ],
    handle(call) {
      const { body, client, idempotency_key } = call
      const idempotency = idempotencyOf(idempotency_key, 'POST', RESERVE_PATH, body)
      // The parsed body is nobody else's: completed in place it need not be copied.
      const request: ReserveRequest = Object.assign(body, { client }, idempotency)
      return reservations.reserve(request, signalOf(call)).then(reserved)
    },
  })
}

function reserved(result: Result<Reserved>): Answer {
  if (!result.ok) return refuseWith(result.refusal)
  const { reservation, replayed } = result.value
  return created(reservationJson(reservation), { replayed, location: `${RESERVE_PATH}/${reservation.id}` })
}

function confirm({ reservations }: ReservationRoutesDeps): Route {
  return route({
    ...onOne('confirm'),
    summary: 'Confirm: the payment succeeded',
    description: 'The units are sold: `stock` and `temp_reserved_stock` both fall. The same again answers the same.',
    body: ConfirmSchema,
    body_optional: true,
    hasRoom: () => reservations.hasRoom(1),
    responses: { 200: { description: 'Confirmed.', ...RESERVATION } },
    refusals: ['reservation_not_found', 'reservation_expired', 'already_released', 'insufficient_stock', 'overloaded'],
    handle: async (call) => one(await reservations.confirm({ ...call.body, id: idOf(call) }, signalOf(call))),
  })
}

function release({ reservations }: ReservationRoutesDeps): Route {
  return route({
    ...onOne('release'),
    summary: 'Release: the payment failed, or the customer left',
    description:
      'The units are available again. The same again answers the same; an overdue one is closed as `expired`.',
    body: ReleaseSchema,
    body_optional: true,
    hasRoom: () => reservations.hasRoom(1),
    responses: { 200: { description: 'Released, or expired.', ...RESERVATION } },
    refusals: ['reservation_not_found', 'already_confirmed', 'overloaded'],
    handle: async (call) => one(await reservations.release({ ...call.body, id: idOf(call) }, signalOf(call))),
  })
}

function extend({ reservations }: ReservationRoutesDeps): Route {
  return route({
    ...onOne('extend'),
    summary: 'Extend: the customer needs longer',
    description: '`expires_at` becomes now + `ttl_seconds`, which may also be sooner than it was.',
    body: ExtendSchema,
    hasRoom: () => reservations.hasRoom(1),
    responses: { 200: { description: 'Extended.', ...RESERVATION } },
    refusals: [
      'reservation_not_found',
      'reservation_expired',
      'already_confirmed',
      'already_released',
      'extension_limit',
      'overloaded',
    ],
    handle: async (call) => one(await reservations.extend({ ...call.body, id: idOf(call) }, signalOf(call))),
  })
}

/** What the verbs on one reservation have in common. */
function onOne(verb: string) {
  return {
    method: 'POST' as const,
    path: `/v1/reservations/{id}/${verb}`,
    operation_id: verb,
    tag: TAG,
    scope: 'reserve' as const,
    params: ReservationParams,
    impossible: noSuchReservation,
    idempotency: 'ignored' as const,
  }
}

/** What is no UUID can't be the id of a reservation. */
function noSuchReservation(params: Record<string, string>): Refusal {
  return { code: 'reservation_not_found', id: params.id ?? '' }
}

function idOf(call: { params: { id: string } }): string {
  return call.params.id.toLowerCase()
}

function one(result: Result<Reservation>): Answer {
  return result.ok ? answer(200, reservationJson(result.value)) : refuseWith(result.refusal)
}

function readOne({ reservations }: ReservationRoutesDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/reservations/{id}',
    operation_id: 'getReservation',
    tag: TAG,
    summary: 'Read one reservation',
    scope: 'read',
    params: ReservationParams,
    impossible: noSuchReservation,
    responses: { 200: { description: 'As it is now.', ...RESERVATION } },
    refusals: ['reservation_not_found'],
    async handle(call) {
      const id = idOf(call)
      const reservation = await reservations.read(id)
      return reservation ? answer(200, reservationJson(reservation)) : refuseWith({ code: 'reservation_not_found', id })
    },
  })
}

function list({ reservations }: ReservationRoutesDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/reservations',
    operation_id: 'listReservations',
    tag: TAG,
    summary: 'Find reservations',
    description: 'Newest first. `idempotency_key` finds what one of your own keys made.',
    scope: 'read',
    query: Type.Object(
      {
        ...ReservationFilters,
        idempotency_key: Type.Optional(Type.String({ pattern: IDEMPOTENCY_KEY_PATTERN })),
        ...PageQuery,
      },
      { additionalProperties: false },
    ),
    check: ({ query }) => findBadTime(query.expires_before),
    responses: { 200: { description: 'Reservations, newest first.', schema: ReservationPage } },
    async handle({ query, client }) {
      const { idempotency_key, expires_before, limit = LIMIT_DEFAULT, ...rest } = query
      const result = await reservations.list({
        ...rest,
        limit,
        ...(idempotency_key === undefined ? {} : { idempotency_key: { client, key: idempotency_key } }),
        ...(expires_before === undefined ? {} : { expires_before: new Date(expires_before) }),
      })
      if (!result.ok) return refuseWith(result.refusal)
      const { reservations: found, next_cursor } = result.value
      return answer(
        200,
        listJson(
          found.map((reservation) => reservationJson(reservation)),
          next_cursor,
        ),
      )
    },
  })
}

/** RFC 3339 has leap seconds; JavaScript has not, nor has it all the years that text can name. */
function findBadTime(time: string | undefined): Fault[] {
  if (time === undefined || !Number.isNaN(new Date(time).getTime())) return NO_FAULTS
  return [{ path: 'query/expires_before', message: 'must be a time without a leap second' }]
}

function reserveBatch({ reservations, ttl_max_seconds }: ReservationRoutesDeps): Route {
  return route({
    ...onMany('batch', 'reserveBatch'),
    summary: 'Hold stock for many, each on its own',
    description: 'In order; each is held or refused as if it had been sent alone, with its own `idempotency_key`.',
    body: reserveBatchSchema(ttl_max_seconds, IDEMPOTENCY_KEY_PATTERN),
    hasRoom: () => reservations.hasRoomToReserve(1),
    check: ({ body }) => findBatchFaults(body.reservations),
    responses: { 200: { description: 'A result for each, in order.', schema: BULK_RESULTS } },
    refusals: ['overloaded'],
    async handle(call) {
      const { body, client } = call
      if (!reservations.hasRoomToReserve(body.reservations.length)) return refuseWith(TOO_MANY)
      const signal = signalOf(call)
      return settle(call.ctx, 201, body.reservations, async ({ idempotency_key, ...item }) => {
        const idempotency = idempotencyOf(idempotency_key, 'POST', RESERVE_PATH, item)
        const result = await reservations.reserve({ ...item, client, ...idempotency }, signal)
        return result.ok ? { ok: true, value: reservationJson(result.value.reservation) } : result
      })
    },
  })
}

function findBatchFaults(items: readonly { lines: Line[] }[]): Fault[] {
  const lines = items.reduce((sum, item) => sum + item.lines.length, 0)
  if (lines > BULK_LINES_MAX) {
    return [
      { path: '/reservations', message: `must not have more than ${BULK_LINES_MAX} lines in all: it has ${lines}` },
    ]
  }
  return items.flatMap((item, i) => findExcess(item.lines, `/reservations/${i}`)).slice(0, 20)
}

function confirmMany({ reservations }: ReservationRoutesDeps): Route {
  return route({
    ...onMany('confirm', 'confirmMany'),
    summary: 'Confirm many, each on its own',
    body: BulkConfirmSchema,
    hasRoom: () => reservations.hasRoom(1),
    responses: { 200: { description: 'A result for each id, in order.', schema: BULK_RESULTS } },
    refusals: ['overloaded'],
    async handle(call) {
      const { ids, ...options } = call.body
      if (!reservations.hasRoom(ids.length)) return refuseWith(TOO_MANY)
      const signal = signalOf(call)
      return settle(call.ctx, 200, ids, (text) => each(text, (id) => reservations.confirm({ ...options, id }, signal)))
    },
  })
}

function releaseMany({ reservations }: ReservationRoutesDeps): Route {
  return route({
    ...onMany('release', 'releaseMany'),
    summary: 'Release many, each on its own',
    body: BulkReleaseSchema,
    hasRoom: () => reservations.hasRoom(1),
    responses: { 200: { description: 'A result for each id, in order.', schema: BULK_RESULTS } },
    refusals: ['overloaded'],
    async handle(call) {
      const { ids, ...options } = call.body
      if (!reservations.hasRoom(ids.length)) return refuseWith(TOO_MANY)
      const signal = signalOf(call)
      return settle(call.ctx, 200, ids, (text) => each(text, (id) => reservations.release({ ...options, id }, signal)))
    },
  })
}

const TOO_MANY: Refusal = { code: 'overloaded', detail: 'there is no room for so many requests at once now' }

/** What the bulk verbs have in common. */
function onMany(path: string, operation_id: string) {
  return {
    method: 'POST' as const,
    path: `/v1/reservations/${path}`,
    operation_id,
    tag: TAG,
    scope: 'reserve' as const,
    bulk: true,
    idempotency: 'refused' as const,
  }
}

async function each(text: string, verb: (id: string) => Promise<Result<Reservation>>): Promise<Result<string>> {
  if (!isUuid(text)) return { ok: false, refusal: { code: 'reservation_not_found', id: text } }
  const result = await verb(text.toLowerCase())
  return result.ok ? { ok: true, value: reservationJson(result.value) } : result
}
