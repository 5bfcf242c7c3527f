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
