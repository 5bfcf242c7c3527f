import type { Knex } from 'knex'
import { setTimeout as delay } from 'node:timers/promises'
import { reading } from '../../database/transaction.ts'
import type { Entry, Level, Levels, Put } from '../../redis/levels.ts'
import { selectLevelPage, selectLevels } from '../../stock/queries.ts'

/** Puts what the database has into Redis, and tells where they differ. The database is right, always. */

/** SKUs that are compared at once. */
const PAGE_SIZE = 500
/**
 * A difference is looked at so often, because a change that was just committed is still on its way to Redis; it lasts if Redis
 * said the same each time.
 */
const LOOKS_MAX = 4
const LOOK_INTERVAL_MS = 100
/** Findings that are named; the rest are only counted. */
const FINDINGS_MAX = 100

/** What a sync did. `off`: SKUs of which Redis had another number than the database, and by how many units in all. */
export type SyncReport = { skus: number; loaded: number; off: { skus: number; units: number } }

/** A SKU on which Redis and the database differ; `database` is null if it has no such SKU. */
export type Difference = { sku: string; redis: Entry; database: { seq: number; available: number } | null }

export type RedisVerifyReport = { clean: boolean; skus: number; broken: number; findings: Difference[] }

/**
 * Puts these SKUs as the database has them now. Redis is asked first: a `seq` that the database then does not have is none
 * of its own.
 *
 * @returns those that exist
 * @throws RedisUnavailable, DatabaseUnavailable
 */
export async function refreshLevels(db: Knex, levels: Levels, skus: readonly string[]): Promise<Put[]> {
  const seen = new Map((await levels.read(skus)).map((entry) => [entry.sku, entry]))
  const fresh = await reading(() => selectLevels(db, skus))
  const existing = new Set(fresh.map(({ sku }) => sku))
  const gone = [...seen.keys()].filter((sku) => !existing.has(sku))
  if (gone.length > 0) await levels.forget(gone)
  return fresh.length === 0 ? [] : levels.put(fresh.map((level) => ({ level, seen: seen.get(level.sku) })))
}

/**
 * Puts all SKUs of the database, some at a time.
 *
 * @param signal ends it after the page at hand
 * @throws RedisUnavailable, DatabaseUnavailable
 */
export async function syncLevels(db: Knex, levels: Levels, signal?: AbortSignal): Promise<SyncReport> {
  const report: SyncReport = { skus: 0, loaded: 0, off: { skus: 0, units: 0 } }
  let after: string | null = null
  do {
    const page: Level[] = await reading(() => selectLevelPage(db, { available: false, limit: PAGE_SIZE, after }))
    after = page.length < PAGE_SIZE ? null : page.at(-1)!.sku
    if (page.length === 0) break
    const put = await levels.put(page.map((level) => ({ level, seen: undefined })))
    // Either told meanwhile, or a number that the database never had.
    const ahead = put.filter(({ level, before }) => before !== undefined && before.seq > level.seq)
    const again =
      ahead.length === 0
        ? []
        : await refreshLevels(
            db,
            levels,
            ahead.map(({ level }) => level.sku),
          )
    addTo(report, [...put, ...again])
    report.skus += page.length
    if (signal?.aborted === true) break
  } while (after !== null)
  return report
}

/** Counts what a refresh of single SKUs did. */
export function reportOf(put: readonly Put[]): SyncReport {
  const report: SyncReport = { skus: put.length, loaded: 0, off: { skus: 0, units: 0 } }
  addTo(report, put)
  return report
}

function addTo(report: SyncReport, put: readonly Put[]): void {
  for (const { level, before, changed } of put) {
    if (!changed) continue
    if (before === undefined) report.loaded += 1
    else if (before.available !== level.available) {
      report.off.skus += 1
      report.off.units += Math.abs(before.available - level.available)
    }
  }
}

/** Forgets SKUs that the database does not have; returns them. @throws RedisUnavailable, DatabaseUnavailable */
export async function forgetStrangers(db: Knex, levels: Levels): Promise<string[]> {
  const strangers: string[] = []
  for await (const skus of levels.scan()) {
    const known = new Set((await reading(() => selectLevels(db, skus))).map(({ sku }) => sku))
    const unknown = skus.filter((sku) => !known.has(sku))
    if (unknown.length > 0) await levels.forget(unknown)
    strangers.push(...unknown)
  }
  return strangers
}

/**
 * Compares all that Redis has with the database, and repairs nothing. A SKU that Redis does not have is no difference: it is
 * loaded when it is asked for.
 *
 * @throws RedisUnavailable, DatabaseUnavailable
 */
export async function verifyLevels(db: Knex, levels: Levels): Promise<RedisVerifyReport> {
  const compared = new Set<string>()
  const differences = new Map<string, Difference>()
  for await (const skus of levels.scan()) {
    for (const sku of skus) compared.add(sku)
    for (const difference of await findLasting(db, levels, skus)) differences.set(difference.sku, difference)
  }
  const findings = [...differences.values()].slice(0, FINDINGS_MAX)
  return { clean: differences.size === 0, skus: compared.size, broken: differences.size, findings }
}

async function findLasting(db: Knex, levels: Levels, skus: readonly string[]): Promise<Difference[]> {
  let found = await findDifferences(db, levels, skus)
  for (let looks = 1; looks < LOOKS_MAX && found.length > 0; looks++) {
    await delay(LOOK_INTERVAL_MS)
    const before = new Map(found.map(({ sku, redis }) => [sku, redis.seq]))
    const again = await findDifferences(db, levels, [...before.keys()])
    found = again.filter(({ sku, redis }) => before.get(sku) === redis.seq)
  }
  return found
}

async function findDifferences(db: Knex, levels: Levels, skus: readonly string[]): Promise<Difference[]> {
  const entries = await levels.read(skus)
  const found = await reading(() => selectLevels(db, skus))
  const stored = new Map(found.map((level) => [level.sku, level]))
  return entries.flatMap((entry) => {
    const level = stored.get(entry.sku)
    if (level?.available === entry.available) return []
    return [{ sku: entry.sku, redis: entry, database: level ? { seq: level.seq, available: level.available } : null }]
  })
}
