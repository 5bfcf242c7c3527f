import { signal } from '@preact/signals'
import { ask } from '../api.ts'
import { serverNow } from '../clock.ts'
import type { Reservation } from '../../client/client.ts'
import type { Stats } from '../shapes.ts'
import type { ProblemFacts } from '../words.ts'
import { ratesOf, type Rates } from './outcomes.ts'
import { api } from './session.ts'

/** What the service does: its statistics as they come, and the holds that are pending. */

/** The rates at one moment, in seconds since 1970 as the chart counts them. */
export type Sample = { at: number; rates: Rates }

const STATS_MS = 2000
const HOLDS_MS = 2500
/** As many as are listed. */
export const HOLDS_SHOWN = 50
/** Ten minutes. */
const SAMPLES_MAX = 300

export const stats = signal<Stats | undefined>(undefined)
export const stats_problem = signal<ProblemFacts | undefined>(undefined)
export const samples = signal<readonly Sample[]>([])
export const holds = signal<readonly Reservation[] | undefined>(undefined)
export const holds_problem = signal<ProblemFacts | undefined>(undefined)

export async function readStats(): Promise<void> {
  const answer = await ask(() => api.GET('/v1/stats'))
  stats_problem.value = answer.ok ? undefined : answer.problem
  if (!answer.ok) return
  stats.value = answer.value
  const sample = { at: serverNow() / 1000, rates: ratesOf(answer.value.last_minute) }
  samples.value = [...samples.value, sample].slice(-SAMPLES_MAX)
}

export async function readHolds(): Promise<void> {
  const query = { status: 'pending', limit: HOLDS_SHOWN } as const
  const answer = await ask(() => api.GET('/v1/reservations', { params: { query } }))
  holds_problem.value = answer.ok ? undefined : answer.problem
  if (answer.ok) holds.value = answer.value.data
}

/** Reads both again and again while the page is seen. @returns ends it */
export function followActivity(): () => void {
  const ends = [repeat(readStats, STATS_MS), repeat(readHolds, HOLDS_MS)]
  return () => ends.forEach((end) => end())
}

/** Works again and again while the page is seen; the next turn begins so long after the last has ended. */
export function repeat(work: () => Promise<void>, pause_ms: number): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined
  let ended = false
  const run = async () => {
    if (!document.hidden) await work()
    if (!ended) timer = setTimeout(() => void run(), pause_ms)
  }
  void run()
  return () => {
    ended = true
    clearTimeout(timer)
  }
}
