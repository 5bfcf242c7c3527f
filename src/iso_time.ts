/**
 * Times as text. Date's own method takes a microsecond, which is felt when every answer carries two or more of them; and
 * what was reserved in one batch has the same ones.
 */

/** A prime: a hold begins and ends at two times, and what lies between them is a round number of seconds. */
const SLOTS = 251
const times = new Float64Array(SLOTS).fill(Number.NaN)
const texts: string[] = Array.from({ length: SLOTS }, () => '')

/** ISO 8601, UTC, with milliseconds. */
export function isoTime(date: Date): string {
  const time = date.getTime()
  const slot = Math.abs(time % SLOTS)
  if (times[slot] !== time) {
    texts[slot] = date.toISOString()
    times[slot] = time
  }
  return texts[slot]!
}
