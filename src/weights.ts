import { hash } from 'node:crypto'

/**
 * Settings that are one value, or several with weights that split buyers among them: `a`, or `a:70,b:30`.
 */

/** A value, and its share among the weights of all. */
export type Weighted<T> = { readonly value: T; readonly weight: number }

/** Above this a share is no longer one that anybody means. */
const WEIGHT_MAX = 1_000_000

/**
 * Reads a setting.
 *
 * @param parse a value's text; undefined for one that is not allowed
 * @param allowed what a value may be, for the fault
 * @returns at least one value; with one its weight does not matter. Or what is wrong, as words that follow the setting's name
 */
export function parseWeights<T>(
  text: string,
  parse: (text: string) => T | undefined,
  allowed: string,
): Weighted<T>[] | string {
  const found: Weighted<T>[] = []
  const parts = text.split(',').map((part) => part.trim())
  for (const part of parts) {
    const [, name = '', share] = /^([^:]*?)\s*(?::\s*(.*))?$/.exec(part)!
    const value = parse(name)
    if (value === undefined) return `must be ${allowed}, or several with weights; ${JSON.stringify(name)} is not`
    if (found.some((one) => one.value === value)) return `names ${name} twice`
    if (share === undefined && parts.length > 1) return `must give each of several a weight; ${name} has none`
    const weight = share === undefined ? 1 : Number(share)
    if (share !== undefined && (!/^\d+$/.test(share) || weight < 1 || weight > WEIGHT_MAX)) {
      return `must have whole weights from 1 to ${WEIGHT_MAX}; ${name} has ${JSON.stringify(share)}`
    }
    found.push({ value, weight })
  }
  return found
}

/** The share of the hash that is used: 32 bits, whose largest remainder is one in 4,000 with the largest weights. */
const HASH_RANGE = 2 ** 32

/**
 * Splits keys among values by their weights. A key always gets the same value.
 *
 * @param weighted at least one
 * @param salt with another one the same keys are split independently
 */
export function splitBy<T>(weighted: readonly Weighted<T>[], salt: string): (key: string) => T {
  const total = weighted.reduce((sum, { weight }) => sum + weight, 0)
  return (key) => {
    const place = hash('sha256', `${salt}\0${key}`, 'buffer').readUInt32BE(0) / HASH_RANGE
    let left = place * total
    for (const { value, weight } of weighted) {
      left -= weight
      if (left < 0) return value
    }
    return weighted.at(-1)!.value
  }
}
