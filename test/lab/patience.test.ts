import { createPatience, IMPATIENT } from '../../src/lab/bench/patience.ts'

/** A host that keeps back these shares, one after another; a probe takes a second and a rest nine. */
function hosted(minutes: number, shares: number[]) {
  let time = 0
  let probes = 0
  const patience = createPatience(minutes, {
    now: () => time,
    probe() {
      probes += 1
      time += 1000
      return Promise.resolve(shares.shift()!)
    },
    rest: () => Promise.resolve((time += 9000)),
  })
  return { patience, probes: () => probes, seconds: () => time / 1000 }
}

test('it waits until the host keeps back no more than a twenty-fifth', async () => {
  const { patience, seconds } = hosted(1, [0.5, 0.2, 0.04, 0.9])
  expect(await patience.untilLeftAlone()).toBe(true)
  expect(seconds()).toBe(21)
})

test('in all it waits for as long as was said, and then no more', async () => {
  const { patience, probes, seconds } = hosted(0.5, [0, 0.5, 0.5, 0.5, 0.5, 0])
  expect(await patience.untilLeftAlone()).toBe(true)
  expect(await patience.untilLeftAlone()).toBe(false)
  expect(seconds()).toBe(32)
  expect(await patience.untilLeftAlone()).toBe(false)
  expect(probes()).toBe(5)
})

test('without patience nothing is looked at', async () => {
  expect(await IMPATIENT.untilLeftAlone()).toBe(false)
})

test('what was taken again, and how long was waited, is told once', async () => {
  const { patience } = hosted(0.5, [0.5, 0, 0.5, 0.5])
  expect(patience.tell()).toEqual([])
  await patience.untilLeftAlone()
  patience.takeAgain()
  patience.takeAgain()
  expect(patience.tell()).toEqual(['waited 0.2 minutes for the host', expect.stringMatching(/: 2$/)])
  expect(patience.tell()).toEqual([])
  await patience.untilLeftAlone()
  await patience.untilLeftAlone()
  expect(patience.tell()).toEqual([expect.stringMatching(/no patience is left$/)])
})
