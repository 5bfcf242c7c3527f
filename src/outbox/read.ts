import type { Knex } from 'knex'
import { isLockTimeout } from '../database/sqlstate.ts'
import { reading } from '../database/transaction.ts'
import { positionEvents } from './position.ts'
import { selectPositioned } from './queries.ts'

export type ServiceEvent = {
  position: number
  /** Stable and unique: the transaction's row and the place in it. */
  id: string
  type: string
  data: Record<string, unknown>
  created_at: Date
}

/**
 * Events after a position, oldest first. A reader that keeps `next_after` misses none: positions are given to
 * committed rows only, here before reading, so whatever was acknowledged before the call can be read by it, or by one soon
 * after it while another reader's numbering takes long.
 *
 * @param page `after` ≥ 0, 0 for the beginning; `limit` 1–200
 */
export async function readEvents(
  db: Knex,
  page: { after: number; limit: number },
): Promise<{ events: ServiceEvent[]; next_after: number }> {
  const { after, limit } = page
  await positionEvents(db, true).catch((error: unknown) => {
    // Somebody else is giving positions, and takes long. What has its position can be read; the rest comes with the next call.
    if (!isLockTimeout(error)) throw error
  })
  const found = await reading(() => selectPositioned(db, after, limit))
  const events = found
    .flatMap((row) =>
      row.events.map((event, index) => ({
        position: row.last_position - row.event_count + 1 + index,
        id: `${row.id}.${index}`,
        type: event.type,
        data: event.data,
        created_at: row.ordered_at,
      })),
    )
    .filter((event) => event.position > after)
    .slice(0, limit)
  return { events, next_after: events.at(-1)?.position ?? after }
}
