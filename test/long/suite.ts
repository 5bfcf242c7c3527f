import { rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { watchStolen } from '../../src/lab/bench/stolen.ts'

/**
 * The frame of a long suite: checks with figures, and an end that leaves nothing running however it comes about.
 *
 * A check is one line on stdout, `ok    …` or `FAIL  …`; the runner counts those lines.
 */
export type Suite = {
  /** One promise that held or did not, with the numbers that say how hard it was tried. */
  check(title: string, held: boolean, figures?: string): void
  /**
   * A promise about time: that somebody is served, how soon, or how many are. It is not judged, and that is said, where it did
   * not hold and the host of a virtual machine kept the processors back since the suite began; see {@link STALL_SHARE}.
   */
  checkInTime(title: string, held: boolean, figures?: string): void
  /** Something worth reading that is no promise. */
  note(text: string): void
  /** Called at the end in reverse order, whether the suite went well or not. */
  onEnd(close: () => Promise<unknown> | void): void
}

/** The check of a suite that ended with an error instead. */
export const RUNS_TO_ITS_END = 'the suite runs to its end'

/** A line that failed is followed by at most so many reasons. */
const REASONS_MAX = 5
/** A second in which the host keeps back so much of the processors is a stall: nothing can be promised of how long things take. */
const STALL_SHARE = 0.15
const STALL_WATCH_MS = 1000
/** How long a suite that was told to go may take to put its things away. */
const LEAVE_MS = 12_000

const children = new Set<number>()
const directories = new Set<string>()

/** From now on this process is killed when the suite ends; the runner is told, in case the suite can't. */
export function adoptChild(pid: number): void {
  children.add(pid)
  process.send?.({ started: pid })
}

/** The process has ended. */
export function forgetChild(pid: number): void {
  children.delete(pid)
  process.send?.({ ended: pid })
}

/** Removes the directory at the end. */
export function removeAtEnd(dir: string): void {
  directories.add(dir)
}

/**
 * Runs a suite and ends the process: 0 if every check held.
 *
 * @param work may throw, which is a failed check of its own
 */
export async function runSuite(work: (suite: Suite) => Promise<void>): Promise<void> {
  let failed = 0
  const closers: (() => Promise<unknown> | void)[] = []
  const countStalls = watchStalls()
  const check = (title: string, held: boolean, figures = ''): void => {
    if (!held) failed += 1
    print(`${held ? 'ok  ' : 'FAIL'}  ${title}${figures === '' ? '' : ` (${figures})`}`)
  }
  const note = (text: string): void => print(`      ${text}`)
  const suite: Suite = {
    check,
    checkInTime(title, held, figures = '') {
      const stalls = countStalls()
      if (held || stalls === 0) check(title, held, figures)
      else note(`not judged, for ${stalls} seconds in which the host kept the processors back: ${title} (${figures})`)
    },
    note,
    onEnd: (close) => void closers.push(close),
  }
  let ending: Promise<void> | undefined
  const end = (): Promise<void> => (ending ??= closeAll(closers))
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => void leave(end))
  process.once('disconnect', () => void leave(end))
  process.once('exit', killChildren)
  try {
    await work(suite)
  } catch (error) {
    suite.check(RUNS_TO_ITS_END, false, error instanceof Error ? (error.stack ?? error.message) : String(error))
  }
  await end()
  process.exit(failed === 0 ? 0 : 1)
}

/** @returns how many seconds were stalls so far */
function watchStalls(): () => number {
  let stalls = 0
  let stolen = watchStolen()
  const timer = setInterval(() => {
    if (stolen() >= STALL_SHARE) stalls += 1
    stolen = watchStolen()
  }, STALL_WATCH_MS)
  timer.unref()
  return () => stalls
}

/** Prints the first few of what contradicts a promise, so that a red line can be understood. */
export function reasons(found: readonly unknown[]): string {
  if (found.length === 0) return ''
  const shown = found
    .slice(0, REASONS_MAX)
    .map((reason) => (typeof reason === 'string' ? reason : JSON.stringify(reason)))
  return `${found.length} against it: ${shown.join(' | ')}`
}

async function leave(end: () => Promise<void>): Promise<void> {
  // What hangs may be why the suite was told to go; a server that is left is removed by the next run.
  await Promise.race([end(), delay(LEAVE_MS)])
  killChildren()
  process.exit(130)
}

async function closeAll(closers: (() => Promise<unknown> | void)[]): Promise<void> {
  for (const close of closers.toReversed()) {
    try {
      await close()
    } catch (error) {
      print(`      at the end: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  killChildren()
}

function killChildren(): void {
  for (const pid of children) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // Gone already.
    }
  }
  children.clear()
  for (const dir of directories) rmSync(dir, { recursive: true, force: true })
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
