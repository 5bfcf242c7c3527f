import { execFileSync } from 'node:child_process'
import { readFileSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

/**
 * A lock between the processes of one machine that a killed holder can't keep: it names its holder, and a lock whose
 * holder is dead is taken over. A process is its id and its start time, because ids are reused.
 */

const POLL_MS = 20

/** Waits for the lock, runs `work` under it, and gives it back. */
export async function withLock<T>(path: string, timeout_ms: number, work: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + timeout_ms
  while (!tryTake(path)) {
    if (Date.now() > deadline) throw new Error(`process ${ownerOf(path)} has held ${path} for ${timeout_ms} ms`)
    await delay(POLL_MS)
  }
  try {
    return await work()
  } finally {
    unlinkSync(path)
  }
}

/** {@link withLock} for a process that is about to exit and can wait for no promise. */
export function withLockSync<T>(path: string, timeout_ms: number, work: () => T): T {
  const deadline = Date.now() + timeout_ms
  const sleeper = new Int32Array(new SharedArrayBuffer(4))
  while (!tryTake(path)) {
    if (Date.now() > deadline) throw new Error(`process ${ownerOf(path)} has held ${path} for ${timeout_ms} ms`)
    Atomics.wait(sleeper, 0, 0, POLL_MS)
  }
  try {
    return work()
  } finally {
    unlinkSync(path)
  }
}

/** This process as `<pid>-<start time>`. */
export function thisProcess(): string {
  return `${process.pid}-${startOf(process.pid)}`
}

/** True if the process that {@link thisProcess} named still runs. */
export function isAlive(identity: string): boolean {
  const [pid, ...start] = identity.split('-')
  const found = startOf(Number(pid))
  return found !== undefined && (found === start.join('-') || found === UNKNOWN_START)
}

/** True if a process with this id runs; one that ended and waits to be reaped does not. */
export function isRunning(pid: number): boolean {
  return startOf(pid) !== undefined
}

// A symbolic link is made together with its text in one atomic step, which fails if the name is taken.
function tryTake(path: string): boolean {
  try {
    symlinkSync(thisProcess(), path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const owner = ownerOf(path)
  if (owner === undefined || isAlive(owner)) return false
  removeDead(path)
  return false
}

// Of two that see a dead holder, the slower one would remove the lock that the faster one has just taken. So removing
// is done under a lock of its own, after a second look.
function removeDead(path: string): void {
  const breaking = `${path}.breaking`
  if (!tryTake(breaking)) return
  try {
    const owner = ownerOf(path)
    if (owner !== undefined && !isAlive(owner)) unlinkSync(path)
  } finally {
    unlinkSync(breaking)
  }
}

function ownerOf(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** What stands for the start time of a process that lives but may not be looked at (`/proc` mounted with hidepid). */
const UNKNOWN_START = 'unknown'

function startOf(pid: number): string | undefined {
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined
  return process.platform === 'linux' ? startFromProc(pid) : startFromPs(pid)
}

function startFromProc(pid: number): string | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return isTaken(pid) ? UNKNOWN_START : undefined
  }
  // The second field is the program's name in parentheses and may hold spaces; the third is the state, the 22nd the
  // start in clock ticks since boot.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
}

function startFromPs(pid: number): string | undefined {
  try {
    const [state, ...start] = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], { encoding: 'utf8' })
      .trim()
      .split(/\s+/)
    return state === undefined || state.startsWith('Z') ? undefined : start.join('_')
  } catch {
    return undefined
  }
}

/** True if the id is taken: by a running process, or by one that ended and waits to be reaped. */
export function isTaken(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
