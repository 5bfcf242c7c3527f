import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Found } from '../../src/lab/compare/crowd.ts'
import type { Measured, Round } from '../../src/lab/compare/measure.ts'
import type { Report } from '../../src/lab/compare/report.ts'
import { adoptChild, forgetChild, reasons, removeAtEnd, type Suite } from './suite.ts'

/** npm run compare as it is typed, and what must stand in what it found. */

const MAIN = fileURLToPath(new URL('../../src/lab/compare/main.ts', import.meta.url))

export type Ended = { code: number | null; said: string; report: Report | undefined }

export async function runCompare(suite: Suite, args: readonly string[]): Promise<Ended> {
  const dir = mkdtempSync(join(tmpdir(), 'compare-'))
  removeAtEnd(dir)
  const json = join(dir, 'report.json')
  const child = spawn(process.execPath, ['--import', 'tsx', MAIN, '--quick', ...args, '--json', json], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  adoptChild(child.pid!)
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve))
  suite.onEnd(async () => {
    // It takes along what it has started, which nobody else knows.
    if (child.exitCode === null) child.kill('SIGTERM')
    await closed
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-20_000)))
  }
  const code = await closed
  forgetChild(child.pid!)
  return { code, said, report: code === null || code === 2 ? undefined : read(json) }
}

function read(json: string): Report | undefined {
  try {
    return JSON.parse(readFileSync(json, 'utf8')) as Report
  } catch {
    return undefined
  }
}

/** A crowd for a tenth as many units: nothing but the unsafe ways sells too much, and these do where nothing stops them. */
export async function checkCrowd(
  suite: Suite,
  { buyers, processes, strategies = 'all' }: { buyers: number; processes: number; strategies?: string },
): Promise<void> {
  const units = buyers / 10
  const args = ['--buyers', buyers, '--stock', units, '--processes', processes].map(String)
  const { code, said, report } = await runCompare(suite, [...args, '--strategies', strategies])
  const where = `${buyers} buyers, ${processes === 1 ? 'one process' : `${processes} processes`}`
  suite.check(`${where}: the comparison ends well`, code === 0, code === 0 ? '' : said.slice(-1500))
  if (report === undefined) return
  for (const { name, why } of report.left_out) suite.note(`${where}: left out: ${name}: ${why}`)
  const [sale, breaks] = report.sections.map(({ data }) => (data as { found: Found[] }).found)
  const [safe, wrong] = [sale!.filter(({ contender }) => 'strategy' in contender), [] as string[]]
  for (const { contender, rounds } of safe)
    wrong.push(...against(rounds[0]!, units).map((why) => `${contender.name}: ${why}`))
  suite.check(
    `${where}: no strategy of the service oversells, each answers everybody, and verify is clean`,
    wrong.length === 0 && safe.length > 1,
    wrong.length === 0
      ? `${safe.length} strategies: ${safe.map(({ contender }) => contender.name).join(', ')}`
      : reasons(wrong),
  )
  for (const { contender, rounds } of breaks!) checkUnsafe(suite, where, contender, rounds[0]!)
}

function against({ measured, clean, verify }: Round, units: number): string[] {
  const one = measured[0]!
  const answered = one.successes + one.refusals + one.turned_away
  return [
    ...(clean ? [] : [verify]),
    ...(one.oversold + one.uncounted > 0 ? [`${one.oversold} oversold, ${one.uncounted} uncounted`] : []),
    ...(one.held + one.left === units ? [] : [`${one.held} held and ${one.left} left of ${units}`]),
    ...(isTold(one) ? [] : [`${one.held} held, ${one.successes} told so`]),
    ...(answered === one.buyers ? [] : [`${one.buyers - answered} without an answer`]),
    ...one.faults,
  ]
}

/** Who was told that the database is not available may hold: the outcome may be unknown. */
function isTold({ held, successes, outcomes }: Measured): boolean {
  return held >= successes && held <= successes + (outcomes['database_unavailable'] ?? 0)
}

function checkUnsafe(suite: Suite, where: string, contender: Found['contender'], { measured, verify }: Round): void {
  if (!('unsafe' in contender)) return
  const { held, oversold, uncounted, outcomes } = measured[0] as Measured
  const figures = `${held} held, ${oversold} oversold, ${uncounted} uncounted`
  if (contender.tables === 'scratch') {
    suite.check(`${where}: ${contender.name} oversells where no CHECK is`, oversold > 0, figures)
    return
  }
  const stopped = Object.entries(outcomes).filter(([code]) => code.startsWith('stopped by'))
  suite.check(
    `${where}: on the real tables the database stops ${contender.name}`,
    oversold + uncounted === 0 && verify === 'clean' && stopped.length > 0,
    `${figures}; ${stopped.map(([code, times]) => `${times} ${code}`).join(', ')}; verify ${verify}`,
  )
}
