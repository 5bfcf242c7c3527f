import type { Knex } from 'knex'
import { schemaState } from '../database/migrations.ts'
import { reading } from '../database/transaction.ts'
import { DatabaseUnavailable } from '../errors.ts'
import { readStats } from './stats.ts'

/** Why the service can't serve; what of it works less well than it should. */
export type Readiness = { unready: ('draining' | 'database' | 'schema')[]; degraded: 'sweeper'[] }

/** Probes of several load balancers at once share one look. */
const BELIEVED_MS = 1000

/**
 * Whether traffic should be sent here. A database that is away shows within the time that the pool waits for a
 * connection; a schema that was current once is not asked for again, because migrations only add.
 */
export function createReadinessCheck(deps: {
  db: Knex
  isDraining: () => boolean
  stalled_after_seconds: number
}): () => Promise<Readiness> {
  let looked_at = -Infinity
  let looking: Promise<Readiness> | undefined
  let schema_current = false

  async function look(): Promise<Readiness> {
    try {
      schema_current ||= (await reading(() => schemaState(deps.db))).current
      if (!schema_current) return { unready: ['schema'], degraded: [] }
      const { stalled } = await readStats(deps.db, { stalled_after_seconds: deps.stalled_after_seconds })
      return { unready: [], degraded: stalled ? ['sweeper'] : [] }
    } catch (error) {
      if (error instanceof DatabaseUnavailable) return { unready: ['database'], degraded: [] }
      throw error
    }
  }

  return async () => {
    if (deps.isDraining()) return { unready: ['draining'], degraded: [] }
    if (looking === undefined || performance.now() - looked_at > BELIEVED_MS) {
      looked_at = performance.now()
      looking = look()
      looking.catch(() => (looking = undefined))
    }
    return looking
  }
}
