import { expect, test } from '@jest/globals'
import { openRoom, type Place, type Visitor } from '../../src/lab/simulate/room.ts'
import { simulateTime } from './simulated_time.ts'

/** A room, who has come in, and the places they have. */
function room(places: number) {
  const time = simulateTime()
  const opened = openRoom(time, places)
  const entered: number[] = []
  const turned_away: number[] = []
  const has = new Map<number, Place>()
  const come = (number: number, more: Partial<Visitor> & { until_ms?: number } = {}): void => {
    const { vip = false, until_ms = Infinity } = more
    void opened.enter({ number, vip }, until_ms).then((place) => {
      if (place === undefined) return void turned_away.push(number)
      entered.push(number)
      return void has.set(number, place)
    })
  }
  return { time, opened, entered, turned_away, has, come }
}

test('no more are let in than there are places, and who leaves makes room for the next', async () => {
  const { time, opened, entered, has, come } = room(2)
  for (const number of [1, 2, 3, 4]) come(number)
  await time.passTo(1)
  expect(entered).toEqual([1, 2])
  has.get(1)?.leave()
  has.get(1)?.leave()
  await time.passTo(2)
  expect(entered).toEqual([1, 2, 3])
  expect([opened.inside(), opened.peak()]).toEqual([2, 2])
})

test('VIPs are let in first, then who came first, also when coming again', async () => {
  const { time, entered, has, come } = room(1)
  come(1)
  for (const number of [7, 4, 6]) come(number)
  come(9, { vip: true })
  come(8, { vip: true })
  for (let i = 0; i < 5; i++) {
    await time.passTo(i + 1)
    has.get(entered.at(-1) ?? 0)?.leave()
  }
  await time.passTo(10)
  expect(entered).toEqual([1, 8, 9, 4, 6, 7])
})

test('while a VIP is inside and not served nobody else is let in, though there are places', async () => {
  const { time, entered, has, come } = room(5)
  come(1, { vip: true })
  come(2)
  come(3, { vip: true })
  await time.passTo(1)
  expect(entered).toEqual([1, 3])
  has.get(1)?.served()
  await time.passTo(2)
  expect(entered).toEqual([1, 3])
  has.get(3)?.leave()
  await time.passTo(3)
  expect(entered).toEqual([1, 3, 2])
})

test('whose wait ends before there is a place is turned away, and takes none later', async () => {
  const { time, opened, entered, turned_away, has, come } = room(1)
  come(1)
  come(2, { until_ms: 200 })
  come(3)
  await time.passTo(199)
  expect(turned_away).toEqual([])
  await time.passTo(200)
  expect(turned_away).toEqual([2])
  has.get(1)?.leave()
  await time.passTo(201)
  expect(entered).toEqual([1, 3])
  expect(opened.inside()).toBe(1)
})
