import fc from 'fast-check'
import { canonicalJson, findUnstorable, parseJson } from '../../src/http/json.ts'
import { isoTime } from '../../src/iso_time.ts'
import { reservationJson } from '../../src/reservations/json.ts'
import { levelJson } from '../../src/stock/schemas.ts'
import { levelOf, reservationOf } from './fakes.ts'

const text = fc.string({ unit: 'binary' })
const time = fc.date({ noInvalidDate: true, min: new Date(0), max: new Date('2200-01-01') })

test('a reservation that is written by hand is what JSON.stringify writes', () => {
  const nullable = fc.option(text)
  const reservation = fc.record({
    id: fc.uuid(),
    status: fc.constantFrom('pending' as const, 'expired' as const),
    lines: fc.array(fc.record({ sku: text, quantity: fc.nat() }), { minLength: 1 }),
    customer_id: nullable,
    reference: nullable,
    metadata: fc.option(fc.dictionary(text, fc.jsonValue() as fc.Arbitrary<unknown>)),
    created_at: time,
    expires_at: time,
    closed_at: fc.option(time),
    release_reason: nullable,
    strategy: fc.constantFrom('batched', 'conditional'),
    ttl_variant: nullable,
  })
  fc.assert(fc.property(reservation, (value) => expect(reservationJson(value)).toBe(JSON.stringify(value))))
  expect(Object.keys(JSON.parse(reservationJson(reservationOf())) as object)).toEqual(Object.keys(reservationOf()))
})

test('a level that is written by hand is what JSON.stringify writes', () => {
  fc.assert(
    fc.property(text, fc.nat(), time, (sku, stock, updated_at) => {
      const level = levelOf({ sku, stock, updated_at })
      expect(levelJson(level)).toBe(JSON.stringify(level))
    }),
  )
})

test('a time is the same text as from Date, also before 1970 and when two share a slot', () => {
  fc.assert(
    fc.property(fc.array(fc.date({ noInvalidDate: true })), (dates) => {
      for (const date of [...dates, ...dates]) expect(isoTime(date)).toBe(date.toISOString())
    }),
  )
})

test('the canonical text forgets the order of keys and nothing else', () => {
  const shuffled = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(shuffled)
    if (value === null || typeof value !== 'object') return value
    return Object.fromEntries(
      Object.entries(value)
        .toReversed()
        .map(([key, inner]) => [key, shuffled(inner)]),
    )
  }
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(canonicalJson(shuffled(value))).toBe(canonicalJson(value))
      expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)))
    }),
  )
  expect(canonicalJson(JSON.parse('{"__proto__":1,"a":2}'))).toBe('{"__proto__":1,"a":2}')
})

test('a key named __proto__ is looked into like any other', () => {
  expect(findUnstorable(JSON.parse('{"__proto__":"\\u0000"}'))).toEqual({
    path: '/__proto__',
    message: expect.any(String),
  })
})

test('bytes that are not UTF-8 are refused, not replaced', () => {
  expect(() => parseJson(Buffer.from([0x22, 0xc3, 0x22]))).toThrow(SyntaxError)
  expect(parseJson(Buffer.from('"ä"'))).toBe('ä')
})
