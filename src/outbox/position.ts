import type { Knex } from 'knex'
import { transaction } from '../database/transaction.ts'
import { assignPositions, lockPosition } from './queries.ts'

/** Rows numbered by one transaction; the lock on the position row is held for that long. */
const ROWS_PER_RUN_MAX = 1000
/** Runs of one call, so that a reader behind a great backlog gets an answer. */
const RUNS_MAX = 10

/**
 * Gives committed events their positions, in ledger order for each SKU.
 *
 * An order by id or by transaction number would lose a commit that comes late: the reader has already passed its place.
 * Here a row gets its place when it is seen committed, and one locked row lets only one job number at a time.
 *
 * @param wait true waits for another job's run, so that all that was committed before this call has its position after it
 * @returns how many transactions' events were numbered
 */
export async function positionEvents(db: Knex, wait: boolean): Promise<number> {
  let total = 0
  for (let run = 0; run < RUNS_MAX; run++) {
    const numbered = await transaction(db, async (tx) => {
      const from = await lockPosition(tx, wait)
      return from === undefined ? 0 : (await assignPositions(tx, from, ROWS_PER_RUN_MAX)).rows
    })
    total += numbered
    if (numbered < ROWS_PER_RUN_MAX) break
  }
  return total
}
