/** Numbers measured again and again, and what they come to. */

export type Spread = { median: number; min: number; max: number }

/** One measurement, and why it must not be used, if so. */
export type Sample = { value: number; faults: string[] }

export type Series = Spread & { name: string; unit: string; values: number[]; faults: string[] }

/** The middle value, or the mean of the two in the middle; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  if (sorted.length === 0) return Number.NaN
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) }
}

/** What an arm's measurements come to; each fault is told once. */
export function seriesOf(name: string, unit: string, samples: readonly Sample[]): Series {
  const values = samples.map((sample) => sample.value)
  const faults = [...new Set(samples.flatMap((sample) => sample.faults))]
  return { name, unit, values, faults, ...spreadOf(values) }
}

/** One series divided by another, round by round: what slows the machine for a while slows both, one after the other. */
export function ratioOf(above: Series, below: Series): Spread {
  return spreadOf(above.values.slice(0, below.values.length).map((value, i) => value / below.values[i]!))
}
