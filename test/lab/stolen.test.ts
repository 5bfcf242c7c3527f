import { leastDisturbed, stolenBetween, undisturbed, watchStolen } from '../../src/lab/bench/stolen.ts'

function watching(shares: number[]) {
  return () => {
    const share = shares.shift()!
    return () => share
  }
}

/** Measures 1, 2, 3, …; what goes wrong does in the one that is `faulty`. */
async function measureWith(shares: number[], faulty?: number) {
  let measured = 0
  const kept = await undisturbed(
    () => Promise.resolve(++measured),
    (number) => (number === faulty ? ['3 wrong answers'] : []),
    watching([...shares]),
  )
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
  expect(await measureWith([0.2, 0.01], 1)).toEqual({ measured: 1, kept: 1 })
  expect(await measureWith([0.05, 0.2, 0.01], 2)).toEqual({ measured: 2, kept: 2 })
})

test('between moments each share is its own, and those that were disturbed least are kept in their order', async () => {
  const shares = [0.3, 0, 0.1]
  let asked = 0
  const now = Date.now()
  const watched = await stolenBetween([now - 2, now - 1, now, now], () => {
    const i = asked++
    return () => shares[i]!
  })
  expect(watched).toEqual(shares)
  expect(leastDisturbed(['slow', 'b', 'c'], watched, 2)).toEqual(['b', 'c'])
  expect(leastDisturbed(['a', 'slow', 'c'], [0, 0.2, 0.1], 2)).toEqual(['a', 'c'])
})
