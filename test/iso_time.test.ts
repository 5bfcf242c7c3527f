import { expect, jest, test } from '@jest/globals'
import { isoTime } from '../src/iso_time.ts'

test.each([0, 1, -1, -62_135_596_800_000, 1_767_225_600_123, 253_402_300_799_999])(
  'the time %i is what Date says, again and again',
  (time) => {
    const date = new Date(time)
    for (let n = 0; n < 2; n++) expect(isoTime(date)).toBe(date.toISOString())
  },
)

test.each([30, 900, 1800, 3600, 86_400])('both ends of a hold of %i seconds are written once', (ttl_seconds) => {
  const ends = [new Date(1_767_225_600_000), new Date(1_767_225_600_000 + ttl_seconds * 1000)]
  const texts = ends.map((end) => isoTime(end))
  const written = jest.spyOn(Date.prototype, 'toISOString')
  for (let n = 0; n < 3; n++) expect(ends.map((end) => isoTime(end))).toEqual(texts)
  expect(written).not.toHaveBeenCalled()
  written.mockRestore()
})

test('a time that is none throws as Date does', () => {
  expect(() => isoTime(new Date(Number.NaN))).toThrow(RangeError)
})
