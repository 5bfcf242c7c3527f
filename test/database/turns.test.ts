import { afterEach, expect, jest, test } from '@jest/globals'
import { refused, type Result } from '../../src/errors.ts'
import { createTurns, LENGTH_MAX, WAIT_MS_MAX } from '../../src/database/turns.ts'
import { gate } from '../factories.ts'

/** The line in which requests wait for a transaction of their own. */

const DONE = refused({ code: 'insufficient_stock', shortages: [] })

afterEach(() => void jest.useRealTimers())

function codeOf(outcome: Result<unknown>): string {
  return outcome.ok ? 'ok' : outcome.refusal.code
}

test('no more work at once than there are turns, and whoever came first is first', async () => {
  const turns = createTurns({ at_once_max: 2 })
  const began: number[] = []
  let working = 0
  let most = 0
  const taken = Array.from({ length: 10 }, (_, n) =>
    turns.take(async () => {
      began.push(n)
      most = Math.max(most, (working += 1))
      await new Promise((resolve) => setImmediate(resolve))
      working -= 1
      return DONE
    }),
  )
  expect((await Promise.all(taken)).map(codeOf)).toEqual(Array(10).fill('insufficient_stock'))
  expect(most).toBe(2)
  expect(began).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
})

test('so many wait that no more can: a new one is refused at once, and has room when one has gone', async () => {
  const turns = createTurns({ at_once_max: 1 })
  const { opened, open } = gate()
  const taken = Array.from({ length: LENGTH_MAX }, () => turns.take(() => opened.then(() => DONE)))
  expect(turns.hasRoom(1)).toBe(false)
  expect(codeOf(await turns.take(() => Promise.resolve(DONE)))).toBe('overloaded')
  open()
  await Promise.all(taken)
  expect(turns.hasRoom(LENGTH_MAX)).toBe(true)
})

test.each([WAIT_MS_MAX, 50])(
  'what has waited for longer than %i ms is answered and never executed',
  async (wait_ms_max) => {
    jest.useFakeTimers()
    const turns = createTurns({ at_once_max: 1, ...(wait_ms_max !== WAIT_MS_MAX && { wait_ms_max }) })
    const { opened, open } = gate()
    const first = turns.take(() => opened.then(() => DONE))
    let ran = false
    const late = turns.take(() => {
      ran = true
      return Promise.resolve(DONE)
    })
    await jest.advanceTimersByTimeAsync(wait_ms_max + 1)
    open()
    expect([codeOf(await first), codeOf(await late)]).toEqual(['insufficient_stock', 'overloaded'])
    expect(ran).toBe(false)
  },
)

test('work that never ends: who waits behind it is told in time that it was not executed', async () => {
  jest.useFakeTimers()
  const turns = createTurns({ at_once_max: 1 })
  const { opened, open } = gate()
  const first = turns.take(() => opened.then(() => DONE))
  let told: string | undefined
  void turns.take(() => Promise.reject(new Error('executed'))).then((outcome) => (told = codeOf(outcome)))
  await jest.advanceTimersByTimeAsync(WAIT_MS_MAX - 200)
  expect(told).toBeUndefined()
  await jest.advanceTimersByTimeAsync(400)
  expect(told).toBe('overloaded')
  open()
  expect(codeOf(await first)).toBe('insufficient_stock')
  expect(jest.getTimerCount()).toBe(0)
})

test('work that takes too long: told that its outcome is unknown, and its turn is free only when it has ended', async () => {
  jest.useFakeTimers()
  const turns = createTurns({ at_once_max: 1, answer_ms_max: 1800 })
  const { opened, open } = gate()
  let told: Result<unknown> | undefined
  void turns.take(() => opened.then(() => DONE)).then((outcome) => (told = outcome))
  const next = turns.take(() => Promise.resolve(DONE))
  await jest.advanceTimersByTimeAsync(1700)
  expect(told).toBeUndefined()
  await jest.advanceTimersByTimeAsync(300)
  expect(told).toEqual(refused({ code: 'database_unavailable', outcome: 'unknown' }))
  expect(turns.hasRoom(LENGTH_MAX - 2)).toBe(true)
  expect(turns.hasRoom(LENGTH_MAX - 1)).toBe(false)
  open()
  expect(codeOf(await next)).toBe('insufficient_stock')
})

test('the client has left before its turn: answered and never executed', async () => {
  const turns = createTurns({ at_once_max: 1 })
  const { opened, open } = gate()
  const client = new AbortController()
  const first = turns.take(() => opened.then(() => DONE))
  const second = turns.take(() => Promise.reject(new Error('executed')), { signal: client.signal })
  client.abort()
  open()
  expect([codeOf(await first), codeOf(await second)]).toEqual(['insufficient_stock', 'overloaded'])
})

test('a bug in one is thrown to its owner, and the turn goes to the next', async () => {
  const turns = createTurns({ at_once_max: 1 })
  const bad = turns.take(() => Promise.reject(new Error('a bug')))
  const good = turns.take(() => Promise.resolve(DONE))
  await expect(bad).rejects.toThrow('a bug')
  expect(codeOf(await good)).toBe('insufficient_stock')
})

test('told to stop: what waits is still executed, and then it is over', async () => {
  const turns = createTurns({ at_once_max: 1 })
  const taken = Array.from({ length: 3 }, () => turns.take(() => Promise.resolve(DONE)))
  const stopped = turns.stop()
  expect(codeOf(await turns.take(() => Promise.resolve(DONE)))).toBe('overloaded')
  await stopped
  expect((await Promise.all(taken)).map(codeOf)).toEqual(Array(3).fill('insufficient_stock'))
})
