import { clockTime, count, money, secondsLeft, shortId, when } from '../../src/web/format.ts'
import { ratesOf } from '../../src/web/console/outcomes.ts'

/** What the pages show of numbers, money and time. */

test('money is shown in the major unit of its currency, however many minor ones that has', () => {
  expect(money(24_000, 'KRW', 'en')).toBe('₩24,000')
  expect(money(24_000, 'KRW', 'ko')).toBe('₩24,000')
  expect(money(2499, 'USD', 'en')).toBe('$24.99')
  expect(money(0, 'EUR', 'en')).toBe('€0.00')
  expect(money(1234, 'BHD', 'en')).toMatch(/1\.234$/)
  expect(count(1_234_567, 'en')).toBe('1,234,567')
})

test('what is left of a hold is rounded up, so that nothing reads as over before it is', () => {
  const ends_at = '2026-01-02T00:30:00.000Z'
  const before = (ms: number) => Date.parse(ends_at) - ms
  expect(secondsLeft(ends_at, before(1_800_000))).toBe(1800)
  expect(secondsLeft(ends_at, before(1_799_001))).toBe(1800)
  expect(secondsLeft(ends_at, before(1))).toBe(1)
  expect(secondsLeft(ends_at, before(0))).toBe(0)
  expect(secondsLeft(ends_at, before(-5000))).toBe(0)
})

test.each([
  [0, '0:00'],
  [9, '0:09'],
  [1800, '30:00'],
  [3599, '59:59'],
  [3661, '1:01:01'],
  [86_400, '24:00:00'],
])('%i seconds are shown as %s', (seconds, shown) => {
  expect(clockTime(seconds)).toBe(shown)
})

test('a time of today is shown to the second, another day with its date', () => {
  const now = new Date(2026, 0, 2, 12).getTime()
  expect(when(new Date(2026, 0, 2, 9, 5, 7).toISOString(), 'en', now)).toMatch(/^09:05:07/)
  expect(when(new Date(2025, 11, 31, 9, 5, 7).toISOString(), 'en', now)).toMatch(/Dec 31, 2025.*09:05/)
})

test('ids of one moment are told apart by what is shown of them', () => {
  expect(shortId('01941f29-7c00-7000-8000-00000000000a')).toBe('0000000a')
})

test('outcomes are summed up by what became of a request: a refusal is one whatever its code', () => {
  const of = (verb: string, code: string, n: number) => ({
    verb,
    code,
    strategy: 'batched',
    ttl_variant: null,
    count: n,
  })
  const rates = ratesOf([
    of('reserve', 'ok', 5),
    of('reserve', 'replayed', 7),
    of('reserve', 'insufficient_stock', 2),
    of('reserve', 'overloaded', 1),
    of('confirm', 'ok', 3),
    of('confirm', 'reservation_expired', 9),
    of('release', 'ok', 4),
    { ...of('expire', 'ok', 6), strategy: 'sweep' },
  ])
  expect(rates).toEqual({ reservations: 5, refusals: 3, confirms: 3, releases: 4, expiries: 6 })
})
