/**
 * Counts by a few labels, in total and over the last minute, in memory. Adding to a tally is a look-up and two additions, so
 * it may stand on the path of every request.
 */

const WINDOW_SECONDS = 60

export type Rate<Label extends string> = { labels: Record<Label, string>; last_minute: number }

export type Tallies<Label extends string> = {
  labels: Label[]
  /** @param values one for each label, in their order */
  add(count: number, ...values: string[]): void
  all(): { labels: Record<Label, string>; count: number }[]
  /** What was counted in the last sixty seconds; labels whose count is zero are left out. */
  lastMinute(): Rate<Label>[]
}

type Tally<Label extends string> = {
  labels: Record<Label, string>
  count: number
  /** One slot for each second of the window; `seconds` says which second a slot last belonged to. */
  slots: Float64Array
  seconds: Float64Array
}

type Branch<Label extends string> = { tally: Tally<Label> | undefined; branches: Map<string, Branch<Label>> }

/** @param now a clock in milliseconds, for tests */
export function createTallies<Label extends string>(labels: Label[], now = () => performance.now()): Tallies<Label> {
  const tallies: Tally<Label>[] = []
  /** Tallies by their values, one after another: to join them into one key would make a text of each request. */
  const root: Branch<Label> = { tally: undefined, branches: new Map() }

  function find(values: string[]): Tally<Label> {
    let branch = root
    for (const value of values) {
      let next = branch.branches.get(value)
      if (next === undefined) branch.branches.set(value, (next = { tally: undefined, branches: new Map() }))
      branch = next
    }
    if (branch.tally === undefined) tallies.push((branch.tally = open(values)))
    return branch.tally
  }

  function open(values: string[]): Tally<Label> {
    return {
      labels: Object.fromEntries(labels.map((label, i) => [label, values[i]])) as Record<Label, string>,
      count: 0,
      slots: new Float64Array(WINDOW_SECONDS),
      seconds: new Float64Array(WINDOW_SECONDS).fill(-Infinity),
    }
  }

  return {
    labels,
    add(count, ...values) {
      const tally = find(values)
      tally.count += count
      const second = Math.floor(now() / 1000)
      const slot = second % WINDOW_SECONDS
      if (tally.seconds[slot] !== second) {
        tally.seconds[slot] = second
        tally.slots[slot] = 0
      }
      tally.slots[slot]! += count
    },
    all: () => tallies.map(({ labels: own, count }) => ({ labels: own, count })),
    lastMinute() {
      const oldest = Math.floor(now() / 1000) - WINDOW_SECONDS + 1
      return tallies
        .map((tally) => ({
          labels: tally.labels,
          last_minute: tally.slots.reduce((sum, n, i) => (tally.seconds[i]! >= oldest ? sum + n : sum), 0),
        }))
        .filter((rate) => rate.last_minute > 0)
    },
  }
}
