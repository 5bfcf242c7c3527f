import type { Stats } from '../shapes.ts'

/** Outcomes of the last minute. */
export type Rates = { reservations: number; refusals: number; confirms: number; releases: number; expiries: number }

/** Sums the outcomes up as the chart shows them. */
export function ratesOf(last_minute: Stats['last_minute']): Rates {
  const sum = (fits: (verb: string, code: string) => boolean) =>
    last_minute.reduce((total, { verb, code, count }) => total + (fits(verb, code) ? count : 0), 0)
  return {
    reservations: sum((verb, code) => verb === 'reserve' && code === 'ok'),
    refusals: sum((verb, code) => verb === 'reserve' && code !== 'ok' && code !== 'replayed'),
    confirms: sum((verb, code) => verb === 'confirm' && code === 'ok'),
    releases: sum((verb, code) => verb === 'release' && code === 'ok'),
    expiries: sum((verb, code) => verb === 'expire' && code === 'ok'),
  }
}
