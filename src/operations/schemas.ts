import { Type } from 'typebox'
import type { OutcomeLabel } from '../metrics.ts'
import type { Rate } from '../tallies.ts'
import { NullableText, NullableTime } from '../stock/schemas.ts'
import type { Stats } from './stats.ts'

/** The shapes of what an operator reads on the wire. */

const Time = Type.String({ format: 'date-time' })
const Count = Type.Integer({ minimum: 0 })

const SweeperRunSchema = Type.Object(
  {
    instance: Type.String(),
    started_at: Time,
    finished_at: NullableTime,
    succeeded_at: NullableTime,
    expired: Count,
    set_aside: Count,
    error: NullableText,
    error_at: NullableTime,
  },
  { title: 'SweeperRun', additionalProperties: false },
)

export const StatsSchema = Type.Object(
  {
    pending: Type.Integer({
      minimum: 0,
      description: 'Reservations stored as pending; 100000 stands for that or more.',
    }),
    overdue: Type.Integer({ minimum: 0, description: 'Of these, past their time and not swept yet.' }),
    oldest_overdue_seconds: Type.Number({ minimum: 0 }),
    last_minute: Type.Array(
      Type.Object(
        {
          verb: Type.String(),
          code: Type.String({ description: '`ok`, `replayed` or the code of the refusal.' }),
          strategy: Type.String(),
          ttl_variant: NullableText,
          count: Type.Number(),
        },
        { additionalProperties: false },
      ),
      { description: 'Outcomes of the last sixty seconds, of the process that answers; others count their own.' },
    ),
    sweeper: Type.Object(
      {
        stalled: Type.Boolean({ description: 'Overdue reservations wait and no sweep succeeds.' }),
        set_aside: Type.Integer({
          minimum: 0,
          description: 'Reservations that failed to expire and wait for a retry.',
        }),
        runs: Type.Array(SweeperRunSchema, { description: 'The last run of each instance, the latest first.' }),
      },
      { additionalProperties: false },
    ),
  },
  { title: 'Stats', additionalProperties: false },
)

/** The statistics on the wire: what the database knows, and what this process has counted. */
export function statsView(stats: Stats, rates: readonly Rate<OutcomeLabel>[]) {
  return {
    pending: stats.pending,
    overdue: stats.overdue,
    oldest_overdue_seconds: stats.oldest_overdue_seconds,
    last_minute: rates.map(({ labels: { verb, code, strategy, variant }, last_minute }) => ({
      verb,
      code,
      strategy,
      ttl_variant: variant === '' ? null : variant,
      count: last_minute,
    })),
    sweeper: {
      stalled: stats.stalled,
      set_aside: stats.set_aside,
      runs: stats.sweeper.map((run) => ({
        instance: run.instance,
        started_at: run.started_at,
        finished_at: run.finished_at,
        succeeded_at: run.succeeded_at,
        expired: run.expired,
        set_aside: run.set_aside,
        error: run.error,
        error_at: run.error_at,
      })),
    },
  }
}
