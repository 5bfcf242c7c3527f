/** What a service says of itself at /metrics, before and after a load. */

export type Sample = { name: string; labels: Record<string, string>; value: number }

const LINE = /^([a-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/i
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g

/** Reads the exposition that Prometheus reads; lines that are no sample are left out. */
export function parseExposition(text: string): Sample[] {
  return text.split('\n').flatMap((line) => {
    const [, name, labels = '', value] = LINE.exec(line) ?? []
    if (name === undefined) return []
    return [{ name, labels: Object.fromEntries(labelsOf(labels)), value: Number(value) }]
  })
}

function* labelsOf(text: string): Generator<[string, string]> {
  for (const [, label, value] of text.matchAll(LABEL)) yield [label!, value!.replaceAll(/\\(.)/g, '$1')]
}

/** @throws if the service does not answer */
export async function scrape(port: number): Promise<Sample[]> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { signal: AbortSignal.timeout(10_000) })
  if (!answer.ok) throw new Error(`/metrics answered ${answer.status}`)
  return parseExposition(await answer.text())
}

/** How much each sample has grown; one that was not there before began at nothing. */
export function growth(before: readonly Sample[], after: readonly Sample[]): Sample[] {
  const had = new Map(before.map((sample) => [keyOf(sample), sample.value]))
  return after.map((sample) => ({ ...sample, value: sample.value - (had.get(keyOf(sample)) ?? 0) }))
}

function keyOf({ name, labels }: Sample): string {
  const sorted = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `${name} ${JSON.stringify(sorted)}`
}

/** The sum of all samples of a name that have these labels. */
export function total(samples: readonly Sample[], name: string, labels: Record<string, string> = {}): number {
  return samplesOf(samples, name, labels).reduce((sum, { value }) => sum + value, 0)
}

export function samplesOf(samples: readonly Sample[], name: string, labels: Record<string, string> = {}): Sample[] {
  const wanted = Object.entries(labels)
  return samples.filter((one) => one.name === name && wanted.every(([label, value]) => one.labels[label] === value))
}

/** The mean of a histogram of seconds, in milliseconds; null if nothing was observed. */
export function meanMs(
  samples: readonly Sample[],
  histogram: string,
  labels: Record<string, string> = {},
): number | null {
  const count = total(samples, `${histogram}_count`, labels)
  return count === 0 ? null : (total(samples, `${histogram}_sum`, labels) / count) * 1000
}

/**
 * The most connections that a pool had in use at once, `general` apart, which reserves do not use: the highest number
 * at which one was handed out.
 *
 * @param samples the growth of one process's metrics
 */
export function peakPoolUse(samples: readonly Sample[]): number {
  const handed_out = samplesOf(samples, 'stock_pool_acquired_total').filter(
    ({ labels, value }) => value > 0 && labels['pool'] !== 'general',
  )
  return Math.max(0, ...handed_out.map(({ labels }) => Number(labels['in_use'])))
}
