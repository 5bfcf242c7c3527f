import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The command as it is typed; what it measures with real processes is in test/long/compare.long.ts. */

const MAIN = fileURLToPath(new URL('../../src/lab/compare/main.ts', import.meta.url))

type Ended = { code: number | null; stdout: string; stderr: string }

function compare(...args: string[]): Promise<Ended> {
  const child = spawn(process.execPath, ['--import', 'tsx', MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const ended: Ended = { code: null, stdout: '', stderr: '' }
  child.stdout.on('data', (chunk: Buffer) => (ended.stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (ended.stderr += chunk.toString()))
  return new Promise((resolve) => child.once('close', (code) => resolve({ ...ended, code })))
}

test('what is wrong with the command line is told in a line, with the usage, and nothing is started', async () => {
  const ended = await compare('--buyers', '0')
  expect(ended).toMatchObject({ code: 2, stdout: '' })
  expect(ended.stderr).toMatch(/^--buyers must be a whole number from 1 to 20,000, not "0"\n\nnpm run compare/)
})

test('a file that could not be written is told before anything is measured', async () => {
  const ended = await compare('--json', '/no/such/folder/report.json')
  expect(ended).toMatchObject({ code: 2, stdout: '' })
  expect(ended.stderr).toMatch(/^\/no\/such\/folder\/report\.json can't be written\n/)
})

test('the usage and the list of strategies are told where they are asked for', async () => {
  const [help, list] = await Promise.all([compare('--help'), compare('--strategies', 'list')])
  expect(help).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('--conflict 1,5,10,20') as string })
  expect(list).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('  unguarded ') as string })
})
