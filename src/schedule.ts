import { schedule } from 'node-cron'
import type { Logger } from 'pino'

/** Jobs that run by themselves at the times of a six-field cron expression. */

export type Job = {
  /** Ends the schedule and waits for a run that is under way. */
  stop(): Promise<void>
}

/**
 * Starts a job, never twice at once. A run that fails is logged and tried again at the next time; it does not end the
 * schedule.
 */
export function startJob(
  { cron, name, log }: { cron: string; name: string; log: Logger },
  run: () => Promise<unknown>,
): Job {
  let running: Promise<unknown> | undefined
  const task = schedule(
    cron,
    async () => {
      running = run().catch((error: unknown) =>
        log.error({ err: error, job: name }, 'a job failed; its next run retries'),
      )
      await running
      running = undefined
    },
    { noOverlap: true, name, logger: quietLogger(log) },
  )
  return {
    async stop() {
      await task.destroy()
      await running
    },
  }
}

/** node-cron prints to the console unless it is given a logger. */
function quietLogger(log: Logger): NonNullable<NonNullable<Parameters<typeof schedule>[2]>['logger']> {
  return {
    info: (message) => log.debug(message),
    warn: (message) => log.warn(message),
    error: (message, error) => log.error({ err: error ?? message }, 'a schedule failed'),
    debug: (message, error) => log.debug({ err: error ?? message }, 'a schedule'),
  }
}
