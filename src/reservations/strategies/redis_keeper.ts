import type { Knex } from 'knex'
import type { Logger } from 'pino'
import type { StrategyMeter } from '../../metrics.ts'
import { RedisUnavailable, type RedisConnection } from '../../redis/connection.ts'
import { readInfo } from '../../redis/info.ts'
import type { Level, Levels } from '../../redis/levels.ts'
import type { MovedCounter } from '../hooks.ts'
import { syncLevels } from './redis_sync.ts'

/**
 * Keeps Redis in step with the database: tells it what this process has committed, and compares all of it now and then, and
 * whenever Redis is there again. Nothing waits for it, and nothing rests on it.
 */
export type Keeper = {
  /** Ends an admission, with all that is still to be told. */
  settle(id: string, skus: readonly string[]): void
  /** Counters that were committed. */
  note(moved: readonly MovedCounter[]): void
  /** Compares everything, unless another process of this Redis did so a moment ago. */
  syncSoon(): void
  start(): void
  /** Resolves when what is under way has ended. */
  stop(): Promise<void>
}

type KeeperDeps = {
  redis: RedisConnection
  levels: Levels
  prefix: string
  db: Knex
  interval_seconds: number
  meter: StrategyMeter
  log: Logger
}

/** Counters told in one script: beyond this Redis would keep others waiting. */
const TOLD_AT_ONCE_MAX = 500
/** A sync by one process holds for the others for this part of the interval, so that the next turn is free again. */
const CLAIM_PART = 0.9
const MS_PER_SECOND = 1000

/** Makes a keeper; nothing runs before `start`. */
export function createKeeper(deps: KeeperDeps): Keeper {
  const { redis, levels, log } = deps
  const pending = new Map<string, Level>()
  const sending = new Set<Promise<void>>()
  const ended = new AbortController()
  let is_flush_set = false
  // What could not be told may be anything: then no other process's sync will do.
  let missed = false
  let wanted = false
  let syncing: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined

  function send(id: string, skus: readonly string[]): void {
    const told = [...pending.values()].slice(0, TOLD_AT_ONCE_MAX)
    for (const { sku } of told) pending.delete(sku)
    const sent = levels
      .settle(id, skus, told)
      .catch(() => void (missed = true))
      .finally(() => sending.delete(sent))
    sending.add(sent)
  }

  function flushSoon(): void {
    if (is_flush_set) return
    is_flush_set = true
    setImmediate(() => {
      is_flush_set = false
      while (pending.size > 0) send('', [])
    })
  }

  async function sync(): Promise<void> {
    while (wanted && !ended.signal.aborted) {
      wanted = false
      const is_forced = missed
      missed = false
      try {
        await syncOnce(deps, is_forced, ended.signal)
      } catch (error) {
        missed ||= is_forced
        // A connection that is lost tells of itself, and when it is back this is called again.
        if (!(error instanceof RedisUnavailable)) log.warn({ err: error }, 'Redis could not be brought into step')
      }
    }
    syncing = undefined
  }

  const keeper: Keeper = {
    settle: send,
    note(moved) {
      if (!redis.isReady()) {
        missed = true
        return
      }
      for (const { sku, seq, stock_after, reserved_after } of moved) {
        if ((pending.get(sku)?.seq ?? 0) < seq) pending.set(sku, { sku, seq, available: stock_after - reserved_after })
      }
      if (pending.size > 0) flushSoon()
    },
    syncSoon() {
      wanted = true
      syncing ??= sync()
    },
    start() {
      timer ??= setInterval(() => keeper.syncSoon(), deps.interval_seconds * MS_PER_SECOND).unref()
    },
    async stop() {
      clearInterval(timer)
      ended.abort()
      await syncing
      await Promise.all(sending)
    },
  }
  return keeper
}

/** @param is_forced whether it is done although another process did it a moment ago */
async function syncOnce(
  { redis, levels, prefix, db, interval_seconds, meter, log }: KeeperDeps,
  is_forced: boolean,
  signal: AbortSignal,
): Promise<void> {
  const { run_id, memory_bytes } = await readInfo(redis)
  meter.level('memory_bytes', memory_bytes)
  // A Redis that was started again has another name, so nobody's earlier sync holds for it.
  const claim = `${prefix}sync:${run_id}`
  const claim_ms = Math.round(interval_seconds * MS_PER_SECOND * CLAIM_PART)
  const claimed = await redis.run((client) => client.set(claim, process.pid, 'PX', claim_ms, 'NX'))
  if (claimed === null && !is_forced) return
  try {
    const { skus, loaded, off } = await syncLevels(db, levels, signal)
    meter.level('drift_skus', off.skus)
    meter.level('drift_units', off.units)
    log.info({ skus, loaded, off, redis: redis.address }, 'Redis is in step with the database')
  } catch (error) {
    await redis.run((client) => client.del(claim)).catch(() => undefined)
    throw error
  }
}
