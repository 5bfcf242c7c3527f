import { expect, test } from '@jest/globals'
import { readOptions, USAGE } from '../../src/lab/simulate/options.ts'

test('the line of the documentation is read as it is meant', () => {
  const line =
    '--customers 10..100 --initial 20 --restock 10..30 --every 1..3s --arrive 0..5s --strategy mutex --semaphore 4 --vip 0.1 ' +
    '--lock-timeout 200ms --seed 42'
  expect(readOptions(line.split(' '))).toMatchObject({
    customers: { from: 10, to: 100 },
    initial: { from: 20, to: 20 },
    restock: { from: 10, to: 30 },
    every_ms: { from: 1000, to: 3000 },
    arrive_ms: { from: 0, to: 5000 },
    strategy: 'mutex',
    places: 4,
    vip: 0.1,
    lock_timeout_ms: 200,
    seed: 42,
    no_lock: false,
  })
})

test('without any flag the defaults of the usage hold, and a seed is drawn', () => {
  const options = readOptions([], () => 0.5)
  expect(options).toMatchObject({
    places: Infinity,
    lock_timeout_ms: Infinity,
    vip: 0,
    seed: 500_000,
    strategy: 'batched',
  })
  expect(options).toEqual(readOptions(flagsOfUsage().split(' ').filter(Boolean), () => 0.5))
})

/** What the usage names as default, as a command line. */
function flagsOfUsage(): string {
  const flags = USAGE.matchAll(
    /^ {2}(--(?:customers|arrive|quantity|pay|patience|initial|restock|every|strategy)) (\S+)/gm,
  )
  return Array.from(flags, ([, flag, value]) => `${flag} ${value}`).join(' ')
}

test('a unit may stand once or twice, and times may be fractions', () => {
  expect(readOptions(['--every', '500ms..2s']).every_ms).toEqual({ from: 500, to: 2000 })
  expect(readOptions(['--every', '0.5..1.5s']).every_ms).toEqual({ from: 500, to: 1500 })
  expect(readOptions(['--arrive', '0']).arrive_ms).toEqual({ from: 0, to: 0 })
  expect(readOptions(['--arrive', '300ms']).arrive_ms).toEqual({ from: 300, to: 300 })
})

test.each([
  ['--customers 0', '--customers must lie between 1 and 10000'],
  ['--customers 20..10', '--customers goes from more to less: 20..10'],
  ['--customers ten', '--customers takes a whole number or a range'],
  ['--customers 1.5', '--customers takes a whole number or a range'],
  ['--customers 10..', '--customers takes a whole number or a range'],
  ['--initial 2000000', '--initial must lie between 0 and 1000000'],
  ['--restock 0..3', '--restock must lie between 1 and 100000'],
  ['--every 1..3', '--every takes a time with its unit'],
  ['--every 1..3m', '--every takes a time with its unit'],
  ['--every 5ms', '--every must lie between 10 and 600000 ms'],
  ['--every 3..1s', '--every goes from more to less: 3000..1000 ms'],
  ['--arrive 0..2h', '--arrive takes a time with its unit'],
  ['--patience 1..2s', '--patience takes one value, not a range'],
  ['--lock-timeout 0ms', '--lock-timeout must lie between 1 and 600000 ms'],
  ['--lock-timeout 200', '--lock-timeout takes a time with its unit'],
  ['--semaphore 0', '--semaphore must lie between 1 and 10000'],
  ['--semaphore 1..2', '--semaphore takes one value, not a range'],
  ['--vip 2', '--vip takes a share from 0 to 1'],
  ['--vip 1e-1', '--vip takes a share from 0 to 1'],
  ['--vip ten', '--vip takes a share from 0 to 1'],
  ['--seed 0x10', '--seed takes a whole number'],
  ['--seed 4294967296', '--seed must lie between 0 and 4294967295'],
  ['--strategy none', '--strategy takes one of batched, conditional'],
  ['--no-lock --strategy mutex', '--no-lock is a shop without any strategy'],
  ['--nolock', "Unknown option '--nolock'"],
  ['10', "Unexpected argument '10'"],
])('%s is refused with what is wrong', (line, message) => {
  expect(() => readOptions(line.split(' '))).toThrow(message)
})
