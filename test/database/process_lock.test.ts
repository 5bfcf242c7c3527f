import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readlinkSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isAlive, thisProcess, withLock, withLockSync } from '../../src/database/process_lock.ts'

let dir: string
let lock: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'lock-'))
  lock = join(dir, 'lock')
})

afterEach(() => rmSync(dir, { recursive: true }))

/** The name of a process that has ended. */
function deadProcess(): string {
  const script = `process.stdout.write(String(process.pid))`
  return `${execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' })}-1`
}

test('ten that want the lock have it one at a time', async () => {
  let inside = 0
  let inside_max = 0
  await Promise.all(
    Array.from({ length: 10 }, () =>
      withLock(lock, 5000, async () => {
        inside_max = Math.max(inside_max, ++inside)
        await new Promise(setImmediate)
        inside--
      }),
    ),
  )
  expect(inside_max).toBe(1)
  expect(existsSync(lock)).toBe(false)
})

test('the lock of a dead process is taken over, also if another one died while it took it over', async () => {
  symlinkSync(deadProcess(), lock)
  symlinkSync(deadProcess(), `${lock}.breaking`)
  await withLock(lock, 5000, async () => expect(readlinkSync(lock)).toBe(thisProcess()))
})

test('the lock of a living process is waited for, and then named', async () => {
  symlinkSync(thisProcess(), lock)
  await expect(withLock(lock, 50, async () => undefined)).rejects.toThrow(thisProcess())
  expect(() => withLockSync(lock, 50, () => undefined)).toThrow(thisProcess())
})

test('work that throws gives the lock back', async () => {
  await expect(withLock(lock, 50, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  expect(withLockSync(lock, 50, () => 1)).toBe(1)
})

test('a process whose id is reused is not the one that had it', () => {
  expect(isAlive(thisProcess())).toBe(true)
  expect(isAlive(`${process.pid}-1`)).toBe(false)
  expect(isAlive(deadProcess())).toBe(false)
})
