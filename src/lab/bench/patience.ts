import { availableParallelism } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { end, start } from './children.ts'
import { SHARE_MAX, watchStolen } from './stolen.ts'

/** Waiting while the host gives the processors to others: what is measured meanwhile is of the neighbours. */

export type Patience = {
  /** Waits until the host leaves the machine alone. @returns false if there was no patience left for that */
  untilLeftAlone(): Promise<boolean>
  /** Counts a measurement that is taken again. */
  takeAgain(): void
  /** How long was waited and what was taken again since it was last told; nothing if neither was. */
  tell(): string[]
}

/** Long enough for a host that allots processors by the tenth of a second. */
const PROBE_MS = 3000
/** Ends by itself, should nobody be left to end it; not before the probe. */
const BURN = 'const end = Date.now() + 60000; while (Date.now() < end);'
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
  let [again, waited_ms] = [0, 0]
  return {
    async untilLeftAlone() {
      for (let n = 0; left_ms > 0; n++) {
        const started = now()
        progress?.('waiting for the host to leave this machine alone')
        if (n > 0) await rest()
        const share = await probe()
        const took_ms = now() - started
        left_ms -= took_ms
        waited_ms += took_ms
        if (share <= SHARE_MAX) return true
      }
      return false
    },
    takeAgain() {
      again += 1
    },
    tell() {
      const no_more = minutes > 0 && left_ms <= 0
      const waited = `waited ${(waited_ms / 60_000).toFixed(1)} minutes for the host${no_more ? ', no patience is left' : ''}`
      const taken = `measurements taken again because of the host: ${again}`
      const said = [...(waited_ms > 0 || no_more ? [waited] : []), ...(again > 0 ? [taken] : [])]
      again = waited_ms = 0
      return said
    },
  }
}

/** Never waits. */
export const IMPATIENT = createPatience(0)

/** What share of the processors the host keeps back while all of them are wanted. Idle ones it keeps back from nobody. */
async function probeHost(): Promise<number> {
  const burners = Array.from({ length: availableParallelism() }, () => start(process.execPath, ['-e', BURN], {}))
  const stolen = watchStolen()
  await delay(PROBE_MS)
  const share = stolen()
  const is_over = burners.some(({ child }) => child.pid === undefined || child.exitCode !== null)
  await Promise.all(burners.map((burner) => end(burner, 0)))
  if (is_over) throw new Error('what should keep the processors busy did not run')
  return share
}
