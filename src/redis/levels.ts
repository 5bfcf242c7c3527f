import type { RedisConnection } from './connection.ts'
import { evaluate, script } from './script.ts'

/**
 * What Redis believes is available, one hash for each SKU: `available` as of the ledger's `seq`, and a field for each
 * admission that is under way, named by its reservation, with its units and the time at which Redis forgets it. Invariant:
 * a value only gives way to one of the same or a newer `seq`, in whatever order they arrive.
 *
 * None of it is the truth. The database may have moved on, and whoever is admitted must still be let in there.
 */

/** A SKU's units as of a `seq` of its ledger. */
export type Level = { sku: string; seq: number; available: number }

/** A level as Redis has it, and the units of admissions under way. */
export type Entry = Level & { held: number }

export type Admission =
  | { kind: 'admitted' }
  /** Not enough of at least one SKU, as far as Redis knows. */
  | { kind: 'short' }
  /** Redis knows nothing of these. */
  | { kind: 'unknown'; skus: string[] }

/** `seen`: what Redis had before the database was read; undefined if it was not asked. */
export type Fresh = { level: Level; seen: Entry | undefined }

/** What Redis had of a SKU when a fresh level came, and whether that level took its place. */
export type Put = { level: Level; before: Level | undefined; changed: boolean }

export type Levels = {
  /** Takes the units of all lines or of none, for the reservation `id`. @throws RedisUnavailable, then in doubt */
  admit(id: string, lines: readonly { sku: string; quantity: number }[]): Promise<Admission>
  /** Ends an admission, and tells what was committed, in that order or the other: all at once. @throws RedisUnavailable */
  settle(id: string, skus: readonly string[], committed: readonly Level[]): Promise<void>
  /** What Redis has of these; those that it does not know are absent. @throws RedisUnavailable */
  read(skus: readonly string[]): Promise<Entry[]>
  /** Puts what was read from the database; see {@link PUT}. @throws RedisUnavailable */
  put(fresh: readonly Fresh[]): Promise<Put[]>
  /** Forgets SKUs. @throws RedisUnavailable */
  forget(skus: readonly string[]): Promise<void>
  /** All SKUs that Redis knows, some at a time; one may come twice. @throws RedisUnavailable */
  scan(): AsyncIterable<string[]>
}

/** An admission is forgotten after so long: its process died, or can't reach Redis. No flight takes that long. */
const LEASE_MS = 10_000
const SCAN_COUNT = 500

/** Units of admissions under way; those whose time has run out are removed on the way. A field that is no admission too. */
const ENTRY = `
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local function entry(key)
  local fields = redis.call('HGETALL', key)
  local seq, available, held = nil, nil, 0
  for i = 1, #fields, 2 do
    if fields[i] == 'seq' then seq = tonumber(fields[i + 1])
    elseif fields[i] == 'available' then available = tonumber(fields[i + 1])
    else
      local units, ends_at = string.match(fields[i + 1], '^(%d+) (%d+)$')
      if units and tonumber(ends_at) > now_ms then held = held + tonumber(units)
      else redis.call('HDEL', key, fields[i]) end
    end
  end
  return seq, available, held
end`

/** ARGV: the reservation, its lease, then the units of each key. Returns 1, or 0, or the places of keys without a level. */
const ADMIT = script(`${ENTRY}
local unknown, short = {}, false
for i, key in ipairs(KEYS) do
  local seq, available, held = entry(key)
  if not seq or not available then unknown[#unknown + 1] = i
  elseif available - held < tonumber(ARGV[i + 2]) then short = true end
end
if #unknown > 0 then return unknown end
if short then return 0 end
for i, key in ipairs(KEYS) do
  redis.call('HSET', key, ARGV[1], ARGV[i + 2] .. ' ' .. string.format('%d', now_ms + ARGV[2]))
end
return 1`)

/** ARGV: the reservation or '', then for each key `seq` and `available`, or two times ''. */
const SETTLE = script(`
for i, key in ipairs(KEYS) do
  if ARGV[1] ~= '' then redis.call('HDEL', key, ARGV[1]) end
  local seq = tonumber(ARGV[2 * i])
  if seq then
    local known = tonumber(redis.call('HGET', key, 'seq') or '')
    if not known or seq > known then redis.call('HSET', key, 'seq', ARGV[2 * i], 'available', ARGV[2 * i + 1]) end
  end
end`)

/** Returns for each key `seq`, `available` and the units under way; two times '' for one without a level. */
const READ = script(`${ENTRY}
local found = {}
for i, key in ipairs(KEYS) do
  local seq, available, held = entry(key)
  if seq and available then found[i] = { string.format('%d', seq), string.format('%d', available), held }
  else found[i] = { '', '', held } end
end
return found`)

/**
 * ARGV for each key: `seq` and `available` as the database has them, and the `seq` that Redis had before it was asked, or ''.
 * Newer in Redis wins, for a flight may have landed meanwhile; unless it was there before the database was read, which would
 * have shown it: then no such `seq` exists, and Redis has it from another life of the database.
 * Returns for each key what it had, and whether that was replaced by something else.
 */
const PUT = script(`
local found = {}
for i, key in ipairs(KEYS) do
  local had = redis.call('HMGET', key, 'seq', 'available')
  local seq, available, seen = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  local known = tonumber(had[1] or '')
  local puts = not known or tonumber(seq) >= known or had[1] == seen
  local changes = puts and (had[1] ~= seq or had[2] ~= available)
  if changes then redis.call('HSET', key, 'seq', seq, 'available', available) end
  found[i] = { had[1] or '', had[2] or '', changes and 1 or 0 }
end
return found`)

/**
 * The levels of one database.
 *
 * @param prefix what its keys begin with
 */
export function createLevels(redis: RedisConnection, prefix: string): Levels {
  const start = `${prefix}level:`
  const keysOf = (skus: readonly string[]): string[] => skus.map((sku) => start + sku)

  return {
    async admit(id, lines) {
      const keys = keysOf(lines.map((line) => line.sku))
      const args = [id, LEASE_MS, ...lines.map((line) => line.quantity)]
      const answer = await redis.run((client) => evaluate<number | number[]>(client, ADMIT, keys, args))
      if (!Array.isArray(answer)) return { kind: answer === 1 ? 'admitted' : 'short' }
      return { kind: 'unknown', skus: answer.map((place) => lines[place - 1]!.sku) }
    },
    async settle(id, skus, committed) {
      const levels = new Map<string, Level | undefined>(skus.map((sku) => [sku, undefined]))
      for (const level of committed) levels.set(level.sku, level)
      const args = Array.from(levels.values(), (level) => [level?.seq ?? '', level?.available ?? '']).flat()
      await redis.run((client) => evaluate(client, SETTLE, keysOf([...levels.keys()]), [id, ...args]))
    },
    async read(skus) {
      const found = await redis.run((client) => evaluate<[string, string, number][]>(client, READ, keysOf(skus), []))
      return found.flatMap(([seq, available, held], index) =>
        seq === '' ? [] : [{ sku: skus[index]!, seq: Number(seq), available: Number(available), held }],
      )
    },
    async put(fresh) {
      const keys = keysOf(fresh.map(({ level }) => level.sku))
      const args = fresh.flatMap(({ level, seen }) => [level.seq, level.available, seen?.seq ?? ''])
      const found = await redis.run((client) => evaluate<[string, string, number][]>(client, PUT, keys, args))
      return found.map(([seq, available, changed], index) => {
        const { level } = fresh[index]!
        const before = seq === '' ? undefined : { sku: level.sku, seq: Number(seq), available: Number(available) }
        return { level, before, changed: changed === 1 }
      })
    },
    async forget(skus) {
      await redis.run((client) => client.del(...keysOf(skus)))
    },
    async *scan() {
      const pattern = `${start.replaceAll(/[*?[\]\\]/g, '\\$&')}*`
      let cursor = '0'
      do {
        const at = cursor
        const [next, keys] = await redis.run((client) => client.scan(at, 'MATCH', pattern, 'COUNT', SCAN_COUNT))
        if (keys.length > 0) yield keys.map((key) => key.slice(start.length))
        cursor = next
      } while (cursor !== '0')
    },
  }
}
