import { isUtf8 } from 'node:buffer'
import type { Fault } from '../errors.ts'

/**
 * JSON as the contract takes it: UTF-8, bounded depth, and no text that PostgreSQL or another reader would choke on.
 */

/** Deeper nesting is of no use here, and whatever walks the value recursively must not overflow. */
const DEPTH_MAX = 32

/** @throws SyntaxError if the bytes are not UTF-8 or not JSON */
export function parseJson(bytes: Buffer): unknown {
  // A decoder would silently put U+FFFD where the bytes are wrong.
  if (!isUtf8(bytes)) throw new SyntaxError('the bytes are not UTF-8')
  return JSON.parse(bytes.toString('utf8'))
}

/**
 * The first thing in a parsed value that no schema can refuse: nesting below 32 levels, U+0000, half a surrogate pair, a
 * number beyond double precision's range. Its path is put together on the way out, so that a sound value costs no text.
 */
export function findUnstorable(value: unknown, depth = 0): Fault | undefined {
  if (typeof value === 'string') return findBadText(value, '')
  if (typeof value === 'number') {
    return Number.isFinite(value) ? undefined : { path: '', message: 'must be a number that fits a double' }
  }
  if (value === null || typeof value !== 'object') return undefined
  if (depth === DEPTH_MAX) return { path: '', message: `must not be nested deeper than ${DEPTH_MAX} levels` }
  for (const key in value) {
    const bad_key = findBadText(key, '')
    if (bad_key) return { path: '', message: `must not have such a key: ${bad_key.message}` }
    const fault = findUnstorable((value as Record<string, unknown>)[key], depth + 1)
    if (fault) return { path: `/${pointerToken(key)}${fault.path}`, message: fault.message }
  }
  return undefined
}

/** U+0000, which PostgreSQL cannot store, or half a surrogate pair, which is not text. */
export function findBadText(text: string, path: string): Fault | undefined {
  if (text.includes('\0')) return { path, message: 'must not contain U+0000' }
  if (!text.isWellFormed()) return { path, message: 'must not contain half a surrogate pair' }
  return undefined
}

/** One part of a JSON pointer. */
export function pointerToken(key: string): string {
  return key.toWellFormed().replaceAll('~', '~0').replaceAll('/', '~1')
}

/** The same text for equal values, however their keys were ordered. Built as text: an object would lose `__proto__`. */
export function canonicalJson(value: unknown): string {
  if (typeof value === 'number') return `${value}`
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null'
  let text = ''
  if (Array.isArray(value)) {
    for (const item of value) text += `${text === '' ? '' : ','}${canonicalJson(item)}`
    return `[${text}]`
  }
  for (const key of Object.keys(value).toSorted()) {
    text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${canonicalJson((value as Record<string, unknown>)[key])}`
  }
  return `{${text}}`
}
