import { gathered } from '../../src/database/gather.ts'
import { gate } from '../factories.ts'

/** Reads that are shared: never older than the question, never more than one at a time for one thing. */

function open() {
  const reads: { key: string; gate: ReturnType<typeof gate> }[] = []
  const read = gathered(async (key: string) => {
    const own = { key, gate: gate() }
    reads.push(own)
    await own.gate.opened
    return `${key} ${reads.indexOf(own)}`
  }, String)
  return { reads, read }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

test('who asks while a read is in flight gets the next one, and all of them share it', async () => {
  const { reads, read } = open()
  const first = read('a')
  const others = Array.from({ length: 100 }, () => read('a'))
  expect(reads).toHaveLength(1)
  reads[0]!.gate.open()
  expect(await first).toBe('a 0')
  await turn()
  expect(reads).toHaveLength(2)
  const late = read('a')
  reads[1]!.gate.open()
  expect(new Set(await Promise.all(others))).toEqual(new Set(['a 1']))
  await turn()
  reads[2]!.gate.open()
  expect(await late).toBe('a 2')
})

test('other things are read at the same time', async () => {
  const { reads, read } = open()
  const both = [read('a'), read('b')]
  expect(reads.map(({ key }) => key)).toEqual(['a', 'b'])
  for (const { gate: own } of reads) own.open()
  expect(await Promise.all(both)).toEqual(['a 0', 'b 1'])
})

test('a read that fails fails those who share it, and the next one is a new one', async () => {
  let fails = true
  const read = gathered(async (key: string) => {
    await turn()
    if (fails) throw new Error('away')
    return key
  }, String)
  const results = await Promise.allSettled([read('a'), read('a'), read('a')])
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
  fails = false
  expect(await read('a')).toBe('a')
})

test('when nobody asks nothing is kept: the next question is read at once', async () => {
  const { reads, read } = open()
  for (let i = 0; i < 3; i++) {
    const answer = read('a')
    expect(reads).toHaveLength(i + 1)
    reads[i]!.gate.open()
    await answer
    await turn()
  }
})
