import { signal, type Signal } from '@preact/signals'
import { ask } from '../api.ts'
import type { Level } from '../../client/client.ts'
import { createLiveStock } from '../live_stock.ts'
import type { ProblemFacts } from '../words.ts'
import { api } from './session.ts'

/** The levels that the console shows, live, each with its last changes. */

/** A SKU's level, and what was available after each of its last changes, the oldest first. */
export type Watched = { level: Level; trend: readonly number[] }

const TREND_MAX = 40
const PAGE_SIZE = 50
/** As many as one stream watches. */
const SHOWN_MAX = 200
/** Histories that are read at the same time. */
const READERS = 3

/** By SKU; undefined before they are known. */
export const watched = signal<ReadonlyMap<string, Signal<Watched>> | undefined>(undefined)
export const levels_problem = signal<ProblemFacts | undefined>(undefined)
/** Whether there are more to show. */
export const has_more = signal(false)

let next_cursor: string | null = null
const live_stock = createLiveStock('/console/v1/streams/stock', take)

/** Shows the first SKUs, or after them the next. */
export async function showMore(): Promise<void> {
  const cursor = next_cursor === null ? {} : { cursor: next_cursor }
  const answer = await ask(() => api.GET('/v1/stock', { params: { query: { limit: PAGE_SIZE, ...cursor } } }))
  levels_problem.value = answer.ok ? undefined : answer.problem
  if (!answer.ok) return
  const shown = new Map(watched.value)
  const added = answer.value.data.filter(({ sku }) => !shown.has(sku))
  for (const level of added) shown.set(level.sku, signal({ level, trend: [level.available] }))
  watched.value = shown
  next_cursor = answer.value.next_cursor
  has_more.value = next_cursor !== null && shown.size < SHOWN_MAX
  live_stock.watch([...shown.keys()])
  void readTrends(added.map(({ sku }) => sku))
}

function take(level: Level): void {
  const one = watched.value?.get(level.sku)
  if (one === undefined || one.value.level.seq >= level.seq) return
  const { trend } = one.value
  one.value = { level, trend: [...trend, level.available].slice(-TREND_MAX) }
}

/** What each of them went through before, from its ledger, a few at a time. */
async function readTrends(skus: readonly string[]): Promise<void> {
  const left = [...skus]
  const reader = async () => {
    for (let sku = left.shift(); sku !== undefined; sku = left.shift()) await readTrend(sku)
  }
  await Promise.all(Array.from({ length: READERS }, reader))
}

async function readTrend(sku: string): Promise<void> {
  const query = { limit: TREND_MAX }
  const answer = await ask(() => api.GET('/v1/stock/{sku}/ledger', { params: { path: { sku }, query } }))
  const one = watched.value?.get(sku)
  if (!answer.ok || one === undefined) return
  const past = answer.value.data.map((entry) => entry.stock_after - entry.reserved_after).toReversed()
  one.value = { ...one.value, trend: past.length > 1 ? past : one.value.trend }
}
