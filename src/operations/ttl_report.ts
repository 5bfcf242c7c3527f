import type { Knex } from 'knex'
import { reading } from '../database/transaction.ts'
import { firstIdAt } from '../ids.ts'
import { selectTtlVariants } from './queries.ts'

/** What became of the holds of one hold time, where RESERVATION_TTL_SECONDS splits buyers among several. */
export type TtlVariant = {
  /** The hold time in seconds; null for holds that named their own, or that were made while nothing was split. */
  ttl_variant: string | null
  holds: number
  confirmed: number
  released: number
  /** Swept or not, as everywhere. */
  expired: number
  pending: number
  /** Units of all these holds, of the confirmed, and of the released and expired. */
  units_held: number
  units_sold: number
  units_returned: number
}

/**
 * Reads every reservation once, or those made since a moment.
 *
 * @returns one entry for each variant, by hold time; those without one last
 * @throws DatabaseUnavailable
 */
export function readTtlReport(db: Knex, { since }: { since?: Date | undefined } = {}): Promise<TtlVariant[]> {
  return reading(() => selectTtlVariants(db, since === undefined ? null : firstIdAt(since)))
}
