import { randomFillSync } from 'node:crypto'
import { v7 } from 'uuid'

/** Random bytes are drawn for so many ids at once: a call for each costs more than the rest of making an id. */
const IDS_PER_DRAW = 512
const BYTES_PER_ID = 16

const random = new Uint8Array(IDS_PER_DRAW * BYTES_PER_ID)
let used = random.length
let msecs = 0
let seq = 0

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** Whether a value is a UUID's text, in either case. */
export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value)
}

/** A UUIDv7 (RFC 9562); those of one process sort in the order in which they were made. */
export function newId(): string {
  if (used === random.length) {
    randomFillSync(random)
    used = 0
  }
  const own = random.subarray(used, (used += BYTES_PER_ID))
  const now = Date.now()
  // Begins anywhere in the lower half of its 32 bits, so the ids of one millisecond can't use them up.
  if (now > msecs) seq = ((own[6]! & 0x7f) << 24) | (own[7]! << 16) | (own[8]! << 8) | own[9]!
  else seq += 1
  msecs = Math.max(msecs, now)
  return v7({ random: own, msecs, seq })
}

/** No id that was made at this moment or later sorts before this one, and none that was made earlier after it. */
export function firstIdAt(moment: Date): string {
  const hex = moment.getTime().toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`
}
