import { expect, test } from '@jest/globals'
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const LOG = fileURLToPath(new URL('../src/log.ts', import.meta.url))
const LINES = 1000

/** What a process prints that logs numbered lines with padding, prints `last` and then ends in some way. */
async function printedBy(end: string): Promise<{ lines: string[]; code: number | null }> {
  const program = `
    import { createLog, logWritten } from ${JSON.stringify(LOG)}
    const log = createLog('info')
    for (let n = 0; n < ${LINES}; n++) log.info({ n, padding: 'x'.repeat(200) }, 'line')
    ${end}`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let printed = ''
  child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()))
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { lines: printed.split('\n').filter((line) => line !== ''), code }
}

function numbersOf(lines: readonly string[]): number[] {
  return lines.filter((line) => line.startsWith('{')).map((line) => (JSON.parse(line) as { n: number }).n)
}

const ALL = Array.from({ length: LINES }, (_, n) => n)

test.each([
  ['runs out of things to do', '', 0],
  [
    'throws what nobody catches',
    `await logWritten(log); log.info({ n: ${LINES} }, 'gathered'); throw new Error('x')`,
    1,
  ],
  ['exits when all is written', 'await logWritten(log); process.exit(3)', 3],
])('a process that %s has logged every line, in order', async (_, end, code) => {
  const printed = await printedBy(end)
  expect(numbersOf(printed.lines)).toEqual(end.includes('gathered') ? [...ALL, LINES] : ALL)
  expect(printed.code).toBe(code)
})

test('what is printed once the log is written comes after it', async () => {
  const { lines } = await printedBy(`await logWritten(log); process.stdout.write('last\\n')`)
  expect(lines.at(-1)).toBe('last')
  expect(numbersOf(lines)).toEqual(ALL)
})

test('a line is printed soon although few follow it and the process lives on', async () => {
  const { lines } = await printedBy(
    `await logWritten(log); log.info({ n: -1 }, 'alone'); setTimeout(() => process.kill(process.pid, 'SIGKILL'), 1000)`,
  )
  expect(numbersOf(lines)).toEqual([...ALL, -1])
})
