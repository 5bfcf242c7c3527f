import type { Logger } from 'pino'
import type { Executor } from '../database/transaction.ts'
import { readChangedLevels, readLevels, type Level } from './levels.ts'

/**
 * Tells watchers of levels that have changed. Invariant: whoever watches hears of the last change of every SKU it watches,
 * whichever process made it, and of at most five a second of each.
 *
 * One poll serves all watchers of a process, and none runs while there is none: buyers pay nothing for being watched, which
 * NOTIFY in their transactions would make them. It looks up those SKUs that are watched by name, and searches for changes
 * only while somebody watches all.
 */

/** A level is told at most once in so long. */
const INTERVAL_MS = 200
/** A poll that took long is followed by a rest of so many times as long: watching many must not keep the database busy. */
const REST = 9
/** Turns to rest after a poll that failed. */
const RETRY_TURNS = 5
/** Changes that watchers of everything are told of at once; a shop that was just imported is to be read as a list. */
export const CHANGES_MAX = 5000

/** Why watching ended: too many levels have changed at once, or the service stops. */
export type WatchEnd = 'too_many_changes' | 'stopping'

export type Watcher = {
  /** The SKUs to hear of; absent for all. */
  skus: readonly string[] | undefined
  /** Called with levels that have changed and, for those watched by name, with each one's first. Must not throw. */
  tell(levels: readonly Level[]): void
  /** Called once, unless the watcher has left before. */
  end(why: WatchEnd): void
}

export type Watch = {
  /** Resolves once every change from now on will be told; with the function that leaves. Undefined after `stop`. */
  join(watcher: Watcher): Promise<(() => void) | undefined>
  stop(): Promise<void>
}

/** A SKU that is watched by name: its last level, undefined before the first poll or while there is no such SKU. */
type Watched = { level: Level | undefined; watchers: Set<Watcher> }

/** @param deps for tests: milliseconds between polls at least, and how many times as long as a poll they rest */
export function createWatch(deps: { db: Executor; log: Logger; interval_ms?: number; rest?: number }): Watch {
  const { db, log, interval_ms = INTERVAL_MS, rest = REST } = deps
  const named = new Map<string, Watched>()
  const everything = createEverything(db)
  let timer: NodeJS.Timeout | undefined
  let polling: Promise<void> | undefined
  let stopped = false

  async function poll(): Promise<void> {
    const started = performance.now()
    let rest_ms = RETRY_TURNS * interval_ms
    try {
      await Promise.all([pollNamed(db, named), everything.poll()])
      rest_ms = Math.max(interval_ms, rest * (performance.now() - started))
    } catch (error) {
      log.debug({ err: error }, 'levels could not be read for those who watch; the next try is soon')
    }
    polling = undefined
    schedule(rest_ms)
  }

  function schedule(wait_ms: number): void {
    clearTimeout(timer)
    timer = undefined
    if (stopped || (named.size === 0 && everything.watchers.size === 0)) return
    timer = setTimeout(() => (polling = poll()), wait_ms)
  }

  function leave(watcher: Watcher): void {
    everything.leave(watcher)
    for (const sku of watcher.skus ?? []) {
      const watched = named.get(sku)
      watched?.watchers.delete(watcher)
      if (watched?.watchers.size === 0) named.delete(sku)
    }
  }

  return {
    async join(watcher) {
      if (stopped) return undefined
      if (watcher.skus === undefined) await everything.join(watcher)
      else joinNamed(named, watcher, watcher.skus)
      // The first of all waits for nobody.
      if (timer === undefined && polling === undefined) schedule(0)
      return () => leave(watcher)
    },
    async stop() {
      stopped = true
      clearTimeout(timer)
      const watchers = new Set([
        ...everything.watchers,
        ...Array.from(named.values(), (one) => [...one.watchers]).flat(),
      ])
      for (const watcher of watchers) {
        leave(watcher)
        watcher.end('stopping')
      }
      await polling
    },
  }
}

/** A newcomer to a SKU that others watch gets what they were told last; the rest comes with the next poll. */
function joinNamed(named: Map<string, Watched>, watcher: Watcher, skus: readonly string[]): void {
  const known: Level[] = []
  for (const sku of skus) {
    const watched = named.get(sku) ?? { level: undefined, watchers: new Set() }
    named.set(sku, watched)
    watched.watchers.add(watcher)
    if (watched.level !== undefined) known.push(watched.level)
  }
  if (known.length > 0) watcher.tell(known)
}

async function pollNamed(db: Executor, named: ReadonlyMap<string, Watched>): Promise<void> {
  if (named.size === 0) return
  const changes = new Map<Watcher, Level[]>()
  for (const level of await readLevels(db, [...named.keys()])) {
    const watched = named.get(level.sku)
    if (watched === undefined || watched.level?.seq === level.seq) continue
    watched.level = level
    for (const watcher of watched.watchers) gather(changes, watcher, level)
  }
  for (const [watcher, levels] of changes) watcher.tell(levels)
}

function gather(changes: Map<Watcher, Level[]>, watcher: Watcher, level: Level): void {
  const levels = changes.get(watcher)
  if (levels === undefined) changes.set(watcher, [level])
  else levels.push(level)
}

/** Those who watch all SKUs. */
function createEverything(db: Executor) {
  const watchers = new Set<Watcher>()
  /** Before it, every transaction had ended when the last poll read. Undefined while nobody watches. */
  let horizon: string | undefined
  /** What the last poll found: while a transaction that began before it goes on, the next one finds it again. */
  let seen: ReadonlyMap<string, number> = new Map()
  let opening: Promise<unknown> | undefined

  /** What has changed since the last look; undefined if that is more than could be read. */
  async function look(): Promise<Level[] | undefined> {
    const found = await readChangedLevels(db, { horizon, limit: CHANGES_MAX + 1 })
    const levels = found.levels.filter((level) => seen.get(level.sku) !== level.seq)
    horizon = found.horizon
    seen = new Map(found.levels.map((level) => [level.sku, level.seq]))
    return found.levels.length > CHANGES_MAX ? undefined : levels
  }

  function endAll(why: WatchEnd): void {
    const ended = [...watchers]
    watchers.clear()
    horizon = undefined
    for (const watcher of ended) watcher.end(why)
  }

  return {
    watchers,
    /** Resolves when there is a horizon behind which nothing is missed. */
    async join(watcher: Watcher): Promise<void> {
      if (horizon === undefined) await (opening ??= look().finally(() => (opening = undefined)))
      watchers.add(watcher)
    },
    leave(watcher: Watcher): void {
      watchers.delete(watcher)
      // The next one to come begins with what changes then, not with all that changed meanwhile.
      if (watchers.size === 0) horizon = undefined
    },
    async poll(): Promise<void> {
      if (watchers.size === 0) return
      const levels = await look()
      if (watchers.size === 0) horizon = undefined
      if (levels === undefined) return endAll('too_many_changes')
      if (levels.length > 0) for (const watcher of watchers) watcher.tell(levels)
    },
  }
}
