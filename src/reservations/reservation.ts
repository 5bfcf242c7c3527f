/**
 * What a hold is, in the words of the contract. Each function here is pure.
 */

/** Units of one SKU; within one reservation each SKU appears once. */
export type Line = { sku: string; quantity: number }

export type Status = 'pending' | 'confirmed' | 'released' | 'expired'

/** One hold over one or more lines, with its status as of the moment it was read. */
export type Reservation = {
  /** A UUIDv7. */
  id: string
  status: Status
  lines: Line[]
  customer_id: string | null
  reference: string | null
  metadata: Record<string, unknown> | null
  created_at: Date
  expires_at: Date
  closed_at: Date | null
  release_reason: string | null
  strategy: string
  ttl_variant: string | null
}

/** What a caller asks for. Bounds are checked at the door (`schemas.ts`); lines of one SKU may repeat here. */
export type ReserveRequest = {
  /** Given by a caller who writes down what refers to the hold before the hold's counters are locked; a UUIDv7. */
  id?: string
  lines: Line[]
  customer_id?: string
  reference?: string
  /** Seconds; the configured default when absent. */
  ttl_seconds?: number
  metadata?: Record<string, unknown>
  /** Whose idempotency keys these are: an API key's name, '' where none is used. */
  client: string
  idempotency?: Idempotency
}

/** A key, and the SHA-256 of the request that it stands for, in hexadecimal. */
export type Idempotency = { key: string; request_hash: string }

/** A reservation, and whether it is the answer to an earlier request under the same idempotency key. */
export type Reserved = { reservation: Reservation; replayed: boolean }

/** A hold that reached its end, as the hooks see it. */
export type Closed = { id: string; status: 'confirmed' | 'released' | 'expired'; reference: string | null }

/** Lines of one SKU summed, in the order of first mention. */
export function sumLines(lines: Line[]): Line[] {
  if (lines.length === 1) return lines
  const quantities = new Map<string, number>()
  for (const { sku, quantity } of lines) quantities.set(sku, (quantities.get(sku) ?? 0) + quantity)
  return Array.from(quantities, ([sku, quantity]) => ({ sku, quantity }))
}
