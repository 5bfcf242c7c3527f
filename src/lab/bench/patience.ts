import { availableParallelism } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { end, start } from './children.ts'
import { SHARE_MAX, watchStolen } from './stolen.ts'

/** Waiting for a host that gives the processors to others: what is measured meanwhile is of the neighbours. */

export type Patience = {
  /** Waits until the host leaves the machine alone. @returns false if there was no patience left for that */
  untilLeftAlone(): Promise<boolean>
  /** Counts what is taken again, and whether something had gone wrong in it. */
  takeAgain(is_faulty: boolean): void
  /** What was taken again since it was last told; nothing if nothing was. */
  tell(): string[]
}

/** Long enough for a host that allots processors by the tenth of a second. */
const PROBE_MS = 3000
/** A probe takes all processors itself, so it is not made too often. */
const REST_MS = 15_000

type Means = {
  probe: () => Promise<number>
  rest: () => Promise<unknown>
  now: () => number
  progress: (doing: string) => void
}

/**
 * @param minutes how long a run may wait in all; with 0 it never does
 * @param means.probe the share that the host keeps back just now
 */
export function createPatience(minutes: number, means: Partial<Means> = {}): Patience {
  const { probe = probeHost, rest = () => delay(REST_MS), now = () => performance.now(), progress } = means
  let left_ms = minutes * 60_000
  let [again, faulty] = [0, 0]
  return {
    async untilLeftAlone() {
      for (let n = 0; left_ms > 0; n++) {
        const started = now()
        progress?.('waiting for the host to leave this machine alone')
        if (n > 0) await rest()
        const share = await probe()
        left_ms -= now() - started
        if (share <= SHARE_MAX) return true
      }
      return false
    },
    takeAgain(is_faulty) {
      again += 1
      if (is_faulty) faulty += 1
    },
    tell() {
      if (again === 0) return []
      const wrong = faulty === 0 ? '' : `; in ${faulty} of them something had gone wrong while it kept back a tenth`
      const said = `measurements taken again because of the host: ${again}${wrong}`
      again = faulty = 0
      return [said]
    },
  }
}

/** Measures whatever the host does. */
export const IMPATIENT = createPatience(0)

/** What share of the processors the host keeps back while all of them are wanted. Idle ones it keeps back from nobody. */
async function probeHost(): Promise<number> {
  const burners = Array.from({ length: availableParallelism() }, () =>
    start(process.execPath, ['-e', 'for (;;) {}'], {}),
  )
  const stolen = watchStolen()
  await delay(PROBE_MS)
  const share = stolen()
  await Promise.all(burners.map((burner) => end(burner, 0)))
  return share
}
