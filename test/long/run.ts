import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { watchStolen } from '../../src/lab/bench/stolen.ts'
import { RUNS_TO_ITS_END } from './suite.ts'

/**
 * Runs the long suites one after another, each in a process of its own, and counts their checks. Names given as arguments
 * choose among them: npm run test:long -- crash
 */

/** A suite that takes longer hangs; the longest takes two and a half minutes where nothing keeps the processors back. */
const SUITE_TIMEOUT_MS = 900_000
/**
 * Where the host of a virtual machine kept back so much of the processors, a suite that ended because something did not come in
 * time is carried out once more. What a suite found wrong stands.
 */
const ONCE_MORE_SHARE = 0.1
const NOT_IN_TIME = new RegExp(`^FAIL  ${RUNS_TO_ITS_END}.*(in time|within|timeout|overloaded|_unavailable)`, 'i')
/** How long it may take to put its things away. */
const LEAVE_TIMEOUT_MS = 20_000

const FOLDER = fileURLToPath(new URL('.', import.meta.url))
const SUFFIX = '.long.ts'

type Counts = { passed: number; failed: number }
/** `broken`: something did not come in time, and every check that was made held. */
type Ran = Counts & { broken: boolean }

async function main(): Promise<void> {
  const wanted = process.argv.slice(2)
  const names = readdirSync(FOLDER)
    .filter((file) => file.endsWith(SUFFIX))
    .map((file) => file.slice(0, -SUFFIX.length))
    .filter((name) => wanted.length === 0 || wanted.includes(name))
    .toSorted()
  const unknown = wanted.filter((name) => !names.includes(name))
  const counts: Counts = { passed: 0, failed: unknown.length + (names.length === 0 ? 1 : 0) }
  for (const name of unknown) print(`FAIL  there is no long suite ${name}`)
  for (const name of names) {
    const started = Date.now()
    print(`\n${name}`)
    const stolen = watchStolen()
    let ran = await runOne(name)
    const share = stolen()
    if (ran.broken && share >= ONCE_MORE_SHARE) {
      print(
        `      once more: the host kept back ${Math.round(share * 100)} % of the processors, and it did not come to its end`,
      )
      ran = await runOne(name)
    }
    const { passed, failed } = ran
    print(`      ${((Date.now() - started) / 1000).toFixed(1)} s`)
    counts.passed += passed
    counts.failed += failed
  }
  print(`\n${counts.passed} passed, ${counts.failed} failed`)
  process.exitCode = counts.failed === 0 ? 0 : 1
}

async function runOne(name: string): Promise<Ran> {
  const counts: Counts = { passed: 0, failed: 0 }
  let broken = 0
  const orphans = new Set<number>()
  const child = spawn(process.execPath, ['--import', 'tsx', `${FOLDER}${name}${SUFFIX}`], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  child.on('message', (message: { started?: number; ended?: number }) => {
    if (message.started !== undefined) orphans.add(message.started)
    if (message.ended !== undefined) orphans.delete(message.ended)
  })
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  lines.on('line', (line) => {
    if (line.startsWith('ok  ')) counts.passed += 1
    if (line.startsWith('FAIL')) counts.failed += 1
    if (NOT_IN_TIME.test(line)) broken += 1
    print(line)
  })
  const killSoon = () => setTimeout(() => child.kill('SIGKILL'), LEAVE_TIMEOUT_MS).unref()
  let interrupted = false
  const end = () => {
    child.kill('SIGTERM')
    killSoon()
  }
  const interrupt = () => {
    interrupted = true
    end()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt)
  const timer = setTimeout(() => {
    print(`FAIL  ${name} ends within ${SUITE_TIMEOUT_MS / 1000} s`)
    counts.failed += 1
    broken += 1
    end()
  }, SUITE_TIMEOUT_MS)
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  clearTimeout(timer)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, interrupt)
  for (const pid of orphans) kill(pid)
  if (code !== 0 && counts.failed === 0) {
    print(`FAIL  ${name} ended with ${code}`)
    counts.failed += 1
  }
  if (interrupted) process.exit(130)
  return { ...counts, broken: broken > 0 && broken === counts.failed }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone already.
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

await main()
