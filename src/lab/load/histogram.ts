/**
 * Counts of durations in microseconds, in buckets that are at most 1/128 of their value wide: recording is an addition, and
 * a percentile is off by less than one per cent however many were recorded.
 */

/** Up to here each microsecond has a bucket of its own. */
const LINEAR_MAX = 256
/** Buckets for each further power of two. */
const STEPS = 128
/** 2^27 µs are two minutes; whatever took longer counts as that. */
const POWER_MAX = 27
const US_MAX = 2 ** POWER_MAX - 1
const BUCKETS = LINEAR_MAX + (POWER_MAX - 8) * STEPS

/** As it travels between processes: bucket and count, in turn, of those that are not empty. */
export type PackedHistogram = { counts: number[]; sum_us: number; max_us: number }

export type LatencySummary = {
  count: number
  mean_us: number
  p50_us: number
  p90_us: number
  p95_us: number
  p99_us: number
  p999_us: number
  max_us: number
}

export class Histogram {
  readonly #counts = new Float64Array(BUCKETS)
  #count = 0
  #sum_us = 0
  #max_us = 0

  /** Records one duration; a negative one counts as zero. */
  record(duration_us: number): void {
    const us = Math.min(US_MAX, Math.max(0, Math.round(duration_us)))
    this.#counts[bucketOf(us)]! += 1
    this.#count += 1
    this.#sum_us += us
    if (us > this.#max_us) this.#max_us = us
  }

  /** Adds what another process recorded. */
  add(packed: PackedHistogram): void {
    for (let i = 0; i < packed.counts.length; i += 2) {
      this.#counts[packed.counts[i]!]! += packed.counts[i + 1]!
      this.#count += packed.counts[i + 1]!
    }
    this.#sum_us += packed.sum_us
    this.#max_us = Math.max(this.#max_us, packed.max_us)
  }

  pack(): PackedHistogram {
    const counts: number[] = []
    for (const [bucket, count] of this.#counts.entries()) if (count > 0) counts.push(bucket, count)
    return { counts, sum_us: this.#sum_us, max_us: this.#max_us }
  }

  /** The duration that `fraction` of all did not exceed; 0 if there are none. */
  percentile(fraction: number): number {
    if (this.#count === 0) return 0
    let left = Math.ceil(this.#count * fraction)
    for (const [bucket, count] of this.#counts.entries()) {
      left -= count
      if (left <= 0) return Math.min(this.#max_us, middleOf(bucket))
    }
    return this.#max_us
  }

  summary(): LatencySummary {
    return {
      count: this.#count,
      mean_us: this.#count === 0 ? 0 : this.#sum_us / this.#count,
      p50_us: this.percentile(0.5),
      p90_us: this.percentile(0.9),
      p95_us: this.percentile(0.95),
      p99_us: this.percentile(0.99),
      p999_us: this.percentile(0.999),
      max_us: this.#max_us,
    }
  }
}

function bucketOf(us: number): number {
  if (us < LINEAR_MAX) return us
  // 256 to 511 are shifted by one, so that 128 to 255 remain, and so on.
  const shift = 24 - Math.clz32(us)
  return LINEAR_MAX + (shift - 1) * STEPS + ((us >>> shift) - STEPS)
}

function middleOf(bucket: number): number {
  if (bucket < LINEAR_MAX) return bucket
  const shift = Math.floor((bucket - LINEAR_MAX) / STEPS) + 1
  const step = (bucket - LINEAR_MAX) % STEPS
  return (STEPS + step) * 2 ** shift + 2 ** (shift - 1)
}
