import type { Knex } from 'knex'
import type { Logger } from 'pino'
import { positionEvents } from './position.ts'

/** Readers number what they need themselves; this only keeps the first one from meeting a day's backlog. */
const INTERVAL_MS = 2000

export type Positioner = { start(): void; stop(): Promise<void> }

/** Gives committed events their positions from time to time, never twice at once. */
export function createPositioner(deps: { db: Knex; log: Logger }): Positioner {
  let timer: NodeJS.Timeout | undefined
  let running: Promise<unknown> | undefined

  const tick = () => {
    running ??= positionEvents(deps.db, false)
      .catch((error: unknown) => deps.log.warn({ err: error }, 'events could not be numbered; the next try is soon'))
      .finally(() => (running = undefined))
  }

  return {
    start() {
      timer = setInterval(tick, INTERVAL_MS)
    },
    async stop() {
      clearInterval(timer)
      await running
    },
  }
}
