/** Numbers, money and times as people read them. Pure. */

const formats = new Map<string, Intl.NumberFormat>()

function numberFormat(language: string, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = `${language} ${options.currency ?? ''}`
  let format = formats.get(key)
  if (format === undefined) formats.set(key, (format = new Intl.NumberFormat(language, options)))
  return format
}

/** An amount in the currency's minor unit: 2400 KRW is ₩2,400, 2400 USD is $24.00. */
export function money(amount: number, currency: string, language: string): string {
  const format = numberFormat(language, { style: 'currency', currency, currencyDisplay: 'narrowSymbol' })
  return format.format(amount / 10 ** (format.resolvedOptions().maximumFractionDigits ?? 0))
}

/** 12345 as 12,345. */
export function count(units: number, language: string): string {
  return numberFormat(language, {}).format(units)
}

/** What is left of a time, rounded up to seconds, so that 0:00 is never shown while something is left. */
export function secondsLeft(ends_at: string, now_ms: number): number {
  return Math.max(0, Math.ceil((Date.parse(ends_at) - now_ms) / 1000))
}

/** Seconds as 29:07, or 1:29:07. */
export function clockTime(seconds: number): string {
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
  const two = (n: number) => String(n).padStart(2, '0')
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`
}

/** A time of day, with the date unless that is today's. */
export function when(iso: string, language: string, now_ms: number): string {
  const [time, today] = [new Date(iso), new Date(now_ms)]
  const is_today = time.toDateString() === today.toDateString()
  return time.toLocaleString(language, {
    ...(is_today ? {} : { year: 'numeric', month: 'short', day: 'numeric' }),
    hour: '2-digit',
    minute: '2-digit',
    ...(is_today ? { second: '2-digit' } : {}),
  })
}

/** The part of an id that tells one from another at a glance: the last eight digits of a UUIDv7 are random. */
export function shortId(id: string): string {
  return id.slice(-8)
}
