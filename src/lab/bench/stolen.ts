import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Patience } from './patience.ts'

/** Processor time that a virtual machine wanted and its host gave to others: what a neighbour does to a measurement. */

/** With more than this a measurement is of the neighbours too. */
export const SHARE_MAX = 0.04
const TRIES_MAX = 3
const PATIENT_TRIES_MAX = 10

type Ticks = { stolen: number; all: number }

/** What share of all processors' time the host keeps back from now until it is asked; 0 where nothing says so. */
export function watchStolen(read: () => Ticks = readTicks): () => number {
  const before = read()
  return () => {
    const after = read()
    const all = after.all - before.all
    return all > 0 ? (after.stolen - before.stolen) / all : 0
  }
}

/** Measures, and again where it was disturbed. */
export type Undisturbed = <T>(measure: () => Promise<T>, faultsOf: (measured: T) => readonly string[]) => Promise<T>

/**
 * Measures, and again where the host kept back more than a twenty-fifth of the processors meanwhile: three times in all, or ten
 * with patience, each when the host leaves this machine alone again. What went wrong is not tried again until it goes right:
 * a measurement with a fault stands.
 *
 * @param faultsOf what went wrong in a measurement
 * @returns the first measurement with a fault, else the first that was left alone, or of all the least disturbed
 */
export function undisturbedWith(patience: Patience, watch = watchStolen): Undisturbed {
  return async (measure, faultsOf) => {
    let best: { share: number; measured: Awaited<ReturnType<typeof measure>> } | undefined
    for (let tries = 1; ; tries++) {
      const stolen = watch()
      const measured = await measure()
      const share = stolen()
      if (faultsOf(measured).length > 0) return measured
      if (best === undefined || share < best.share) best = { share, measured }
      if (share <= SHARE_MAX || tries === PATIENT_TRIES_MAX) return best.measured
      if (!(await patience.untilLeftAlone()) && tries >= TRIES_MAX) return best.measured
      patience.takeAgain()
    }
  }
}

/**
 * What share the host keeps back from each of these moments to the next; infinite where this process stalled at one end, so
 * that nobody knows.
 *
 * @param moments milliseconds of `Date.now()`, in order
 * @returns one share fewer than there are moments, after the last of them
 */
export async function stolenBetween(moments: readonly number[], watch = watchStolen): Promise<number[]> {
  const shares: number[] = []
  let stolen: (() => number) | undefined
  for (const moment of moments) {
    await delay(Math.max(0, moment - Date.now()))
    const is_late = Date.now() - moment > LATE_MS_MAX
    if (moment !== moments[0]) shares.push(is_late || stolen === undefined ? Infinity : stolen())
    stolen = is_late ? undefined : watch()
  }
  return shares
}

/** The measurements that the host left alone, in their order; all that there are if those are fewer than `count`: then the least disturbed. */
export function leftAlone<T>(measured: readonly T[], shares: readonly number[], count: number): T[] {
  const by_share = shares.toSorted((a, b) => a - b)
  const share_max = Math.max(SHARE_MAX, by_share[count - 1] ?? Infinity)
  return measured.filter((_, i) => shares[i]! <= share_max)
}

/** A reading that comes later than this after its moment is none of it. */
const LATE_MS_MAX = 50

/** Linux counts it; see proc(5), /proc/stat. */
function readTicks(): Ticks {
  let line = ''
  try {
    line = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]!
  } catch {
    return { stolen: 0, all: 0 }
  }
  // "cpu", two spaces, then user, nice, system, idle, iowait, irq, softirq, steal; what guests took is in user already.
  const ticks = line.split(/ +/).slice(1, 9).map(Number)
  return { stolen: ticks[7] ?? 0, all: ticks.reduce((sum, count) => sum + count, 0) }
}
