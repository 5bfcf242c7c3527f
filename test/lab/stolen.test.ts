import type { Patience } from '../../src/lab/bench/patience.ts'
import { leftAlone, stolenBetween, undisturbedWith, watchStolen } from '../../src/lab/bench/stolen.ts'

function watching(shares: number[]) {
  return () => {
    const share = shares.shift()!
    return () => share
  }
}

type Given = { faulty?: number[]; left_alone?: number }

/** Measures 1, 2, 3, …; what goes wrong does in those that are `faulty`. The patience is enough for `left_alone` times. */
async function measureWith(shares: number[], { faulty = [], left_alone = 0 }: Given = {}) {
  let [measured, again] = [0, 0]
  const patience: Patience = {
    untilLeftAlone: () => Promise.resolve(left_alone-- > 0),
    takeAgain: () => void (again += 1),
    tell: () => [],
  }
  const kept = await undisturbedWith(patience, watching([...shares]))(
    () => Promise.resolve(++measured),
    (number) => (faulty.includes(number) ? ['3 wrong answers'] : []),
  )
  expect(again).toBe(measured - 1)
  return { measured, kept }
}

test('the share is that of the time between, and 0 where nothing is counted', () => {
  const ticks = [
    { stolen: 50, all: 1000 },
    { stolen: 150, all: 3000 },
  ]
  expect(watchStolen(() => ticks.shift()!)()).toBe(0.05)
  expect(watchStolen(() => ({ stolen: 0, all: 0 }))()).toBe(0)
})

test('a measurement that was left alone stands', async () => {
  expect(await measureWith([0.01])).toEqual({ measured: 1, kept: 1 })
})

test('one that was disturbed is taken again, until one was left alone', async () => {
  expect(await measureWith([0.2, 0.04])).toEqual({ measured: 2, kept: 2 })
})

test('of three that were disturbed the least disturbed stands', async () => {
  expect(await measureWith([0.2, 0.05, 0.3])).toEqual({ measured: 3, kept: 2 })
})

test('what went wrong stands, however disturbed it was', async () => {
  expect(await measureWith([0.2, 0.01], { faulty: [1] })).toEqual({ measured: 1, kept: 1 })
  expect(await measureWith([0.05, 0.2, 0.01], { faulty: [2] })).toEqual({ measured: 2, kept: 2 })
})

test('with patience a disturbed one is taken again until one was left alone, ten in all', async () => {
  expect(await measureWith([0.2, 0.3, 0.2, 0.2, 0.01], { left_alone: 9 })).toEqual({ measured: 5, kept: 5 })
  expect(
    await measureWith(
      Array.from({ length: 10 }, (_, i) => 0.9 - i / 20),
      { left_alone: 99 },
    ),
  ).toEqual({
    measured: 10,
    kept: 10,
  })
  expect(await measureWith([0.2, 0.3, 0.05], { left_alone: 1 })).toEqual({ measured: 3, kept: 3 })
  expect(await measureWith([0.2, 0.3, 0.05], { faulty: [2], left_alone: 9 })).toEqual({ measured: 2, kept: 2 })
})

test('between moments each share is its own', async () => {
  const watch = watching([0.3, 0, 0.1, 1])
  const now = Date.now()
  expect(await stolenBetween([now, now + 1, now + 2, now + 3], watch)).toEqual([0.3, 0, 0.1])
})

test('where a reading comes too late, nobody knows the shares beside it', async () => {
  const now = Date.now()
  const moments = [now - 1000, now - 500, now, now + 1, now + 2]
  expect(await stolenBetween(moments, watching([0.3, 0.1, 0]))).toEqual([Infinity, Infinity, 0.3, 0.1])
})

test('what the host left alone counts, all of it and in its order', () => {
  expect(leftAlone(['a', 'slow', 'c', 'd'], [0.04, 0.2, 0, 0.01], 2)).toEqual(['a', 'c', 'd'])
})

test('where too little was left alone the least disturbed counts', () => {
  expect(leftAlone(['a', 'slow', 'c', 'gone'], [0.1, 0.3, 0, Infinity], 2)).toEqual(['a', 'c'])
  expect(leftAlone(['a', 'gone'], [0.1, Infinity], 2)).toEqual(['a', 'gone'])
})
