import { Type } from 'typebox'
import type { Fault } from '../errors.ts'
import { NullableText, NullableTime, Reference, Sku, Time } from '../stock/schemas.ts'
import type { Line, Status } from './reservation.ts'

/** The shapes of reservations on the wire. They validate, and they are the document. */

export const LINES_MAX = 100
export const QUANTITY_MAX = 1_000_000
/** Items of a bulk call, and lines of all of them together. */
export const BULK_ITEMS_MAX = 1000
export const BULK_LINES_MAX = 10_000
const METADATA_BYTES_MAX = 4096
/** A year: no configuration allows longer. */
const TTL_SECONDS_MAX = 31_536_000

const StatusSchema = Type.Unsafe<Status>({
  type: 'string',
  enum: ['pending', 'confirmed', 'released', 'expired'],
  description: 'As of the moment of reading: a pending one reads `expired` from `expires_at` on.',
})
const Customer = Type.String({ maxLength: 255, description: 'Who holds, in your words.' })
const Reason = Type.String({ maxLength: 255 })
const OnExpired = Type.Unsafe<'refuse' | 'reacquire'>({
  type: 'string',
  enum: ['refuse', 'reacquire'],
  description:
    '`refuse` (the default) answers 410 for an expired one; `reacquire` reserves and confirms if stock remains.',
})

export const LineSchema = Type.Object(
  { sku: Sku, quantity: Type.Integer({ minimum: 1, maximum: QUANTITY_MAX }) },
  { title: 'Line', additionalProperties: false },
)

export const ReservationSchema = Type.Object(
  {
    id: Type.String({ format: 'uuid', description: 'A UUIDv7.' }),
    status: StatusSchema,
    lines: Type.Array(LineSchema, { description: 'One for each SKU, in the order of first mention.' }),
    customer_id: NullableText,
    reference: NullableText,
    metadata: Type.Unsafe<Record<string, unknown> | null>({ type: ['object', 'null'] }),
    created_at: Time,
    expires_at: Time,
    closed_at: NullableTime,
    release_reason: NullableText,
    strategy: Type.String({ description: 'How the race for the counters was decided.' }),
    ttl_variant: NullableText,
  },
  { title: 'Reservation', additionalProperties: false },
)

export const ReservationPage = Type.Object(
  { data: Type.Array(ReservationSchema), next_cursor: NullableText },
  { title: 'ReservationPage', additionalProperties: false },
)

/** @param ttl_max_seconds RESERVATION_TTL_MAX_SECONDS */
function reserveFields(ttl_max_seconds: number) {
  return {
    lines: Type.Array(LineSchema, {
      minItems: 1,
      maxItems: LINES_MAX,
      description: `All or nothing. Lines of one SKU are summed; a sum is at most ${QUANTITY_MAX}.`,
    }),
    customer_id: Type.Optional(Customer),
    reference: Type.Optional(Reference),
    ttl_seconds: Type.Optional(
      Type.Integer({ minimum: 1, maximum: ttl_max_seconds, description: 'How long the hold lasts.' }),
    ),
    metadata: Type.Optional(
      Type.Unsafe<Record<string, unknown>>({
        type: 'object',
        'x-max-bytes': METADATA_BYTES_MAX,
        description: `Yours, at most ${METADATA_BYTES_MAX} bytes as JSON.`,
      }),
    ),
  }
}

/** The body of POST /v1/reservations. */
export function reserveSchema(ttl_max_seconds: number) {
  return Type.Object(reserveFields(ttl_max_seconds), { title: 'ReserveRequest', additionalProperties: false })
}

/** The body of POST /v1/reservations/batch. */
export function reserveBatchSchema(ttl_max_seconds: number, idempotency_key_pattern: string) {
  const item = Type.Object(
    {
      ...reserveFields(ttl_max_seconds),
      idempotency_key: Type.Optional(
        Type.String({
          pattern: idempotency_key_pattern,
          'x-pattern-message': 'must be 1 to 255 printable ASCII characters',
        }),
      ),
    },
    { title: 'ReserveBatchItem', additionalProperties: false },
  )
  return Type.Object(
    {
      reservations: Type.Array(item, {
        minItems: 1,
        maxItems: BULK_ITEMS_MAX,
        description: `Each on its own, in order; at most ${BULK_LINES_MAX} lines in all.`,
      }),
    },
    { title: 'ReserveBatchRequest', additionalProperties: false },
  )
}

export const ReservationParams = Type.Object({ id: Type.String({ format: 'uuid' }) }, { additionalProperties: false })

export const ConfirmSchema = Type.Object(
  { on_expired: Type.Optional(OnExpired) },
  { title: 'ConfirmRequest', additionalProperties: false },
)

export const ReleaseSchema = Type.Object(
  { reason: Type.Optional(Reason) },
  { title: 'ReleaseRequest', additionalProperties: false },
)

export const ExtendSchema = Type.Object(
  {
    ttl_seconds: Type.Integer({
      minimum: 1,
      maximum: TTL_SECONDS_MAX,
      description: 'From now on; never past `created_at` + RESERVATION_TTL_MAX_SECONDS.',
    }),
  },
  { title: 'ExtendRequest', additionalProperties: false },
)

const Ids = Type.Array(Type.String({ minLength: 1, maxLength: 255 }), { minItems: 1, maxItems: BULK_ITEMS_MAX })

export const BulkConfirmSchema = Type.Object(
  { ids: Ids, on_expired: Type.Optional(OnExpired) },
  { title: 'BulkConfirmRequest', additionalProperties: false },
)

export const BulkReleaseSchema = Type.Object(
  { ids: Ids, reason: Type.Optional(Reason) },
  { title: 'BulkReleaseRequest', additionalProperties: false },
)

export const ReservationFilters = {
  status: Type.Optional(StatusSchema),
  sku: Type.Optional(Sku),
  customer_id: Type.Optional(Customer),
  reference: Type.Optional(Reference),
  expires_before: Type.Optional(Time),
}

export const NO_FAULTS: Fault[] = []

/** Lines of one SKU are summed before they are held, so it is the sum that has a bound. */
export function findExcess(lines: readonly Line[], path: string): Fault[] {
  if (lines.length === 1) return NO_FAULTS
  const sums = new Map<string, number>()
  for (const { sku, quantity } of lines) sums.set(sku, (sums.get(sku) ?? 0) + quantity)
  for (const [sku, sum] of sums) {
    if (sum > QUANTITY_MAX) {
      const message = `must not ask for more than ${QUANTITY_MAX} units of one SKU: ${JSON.stringify(sku)} adds up to ${sum}`
      return [{ path: `${path}/lines`, message }]
    }
  }
  return NO_FAULTS
}
