import { reading, type Executor } from '../database/transaction.ts'
import { DateTime } from 'luxon'
import { dayOf } from './add_up.ts'
import { selectPopular, type PopularProduct } from './queries.ts'

/** Without `from`, so many days up to `to`. */
const DAYS_DEFAULT = 7

export type Popular = { from: string; to: string; products: PopularProduct[] }

/**
 * Best sellers by units sold on the days `from` to `to` of a time zone, both included, refunds taken off the days of their
 * sales. What was sold in the last seconds is missing until it has been added up.
 *
 * @param asked days such as `2026-11-21`; without `to` today, without `from` the week up to `to`; `limit` 1–100
 */
export async function readPopular(
  db: Executor,
  time_zone: string,
  asked: { from?: string; to?: string; limit: number },
): Promise<Popular> {
  const to = asked.to ?? dayOf(new Date(), time_zone)
  const from =
    asked.from ??
    DateTime.fromISO(to)
      .minus({ days: DAYS_DEFAULT - 1 })
      .toISODate()!
  return { from, to, products: await reading(() => selectPopular(db, { from, to, limit: asked.limit })) }
}
