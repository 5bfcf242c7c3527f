import type { Knex } from 'knex'
import { reading } from '../database/transaction.ts'
import { selectClock } from './queries.ts'

/** What time it is by the clock that decides when a hold ends. */
export function readClock(db: Knex): Promise<Date> {
  return reading(() => selectClock(db))
}
