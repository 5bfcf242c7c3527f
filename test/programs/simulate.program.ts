import { afterAll, expect, jest, test } from '@jest/globals'
import { spawn, type ChildProcess } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The command as npm runs it, with a PostgreSQL of its own; its days are over at once. */

// Each makes a PostgreSQL, which takes a second on a machine that has nothing else to do.
jest.setTimeout(60_000)

const root = fileURLToPath(new URL('../../', import.meta.url))
const running = new Set<ChildProcess>()
afterAll(() => {
  for (const child of running) child.kill('SIGKILL')
})

async function simulate(line: string): Promise<{ code: number | null; said: string; complained: string; pid: number }> {
  const args = ['--import', 'tsx', 'src/lab/simulate/main.ts', ...line.split(' ')]
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  let [said, complained] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (complained += chunk.toString()))
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  running.delete(child)
  return { code, said, complained, pid: child.pid ?? 0 }
}

test('a day is told line by line and summed up, and ends with 0 when every unit is accounted for', async () => {
  const { code, said, complained, pid } = await simulate(
    '--customers 12 --arrive 0s --pay 0s --quantity 1 --initial 10 --patience 0s --strategy conditional --seed 1',
  )
  expect({ code, complained }).toEqual({ code: 0, complained: '' })
  expect(said).toContain('A shop with strategy conditional; --seed 1 ')
  expect(said.match(/customer \d+ bought 1 +left \d/g)).toHaveLength(10)
  expect(said.match(/customer \d+ left without 1: sold out +left 0/g)).toHaveLength(2)
  const summary = said.slice(said.indexOf('\nCustomers'))
  expect(summary).toMatch(
    /Customers +12\nSuccesses +10 \(83\.3 %\)\nFailures +2 \(sold out 2\)\nWait +mean .* ms, p99 .* ms\n/,
  )
  expect(summary).toMatch(
    /Final stock +0 units\nAccounted for +yes: 10 at first \+ 0 restocked = 10; 10 sold \+ 0 left = 10\n/,
  )
  expect(readdirSync(`${root}.data`).filter((name) => name.startsWith(`simulate-${pid}-`))).toEqual([])
})

test('without a lock it shows what was sold twice, and ends with 1', async () => {
  const { code, said, complained } = await simulate(
    '--no-lock --customers 8 --arrive 0s --pay 50ms --quantity 1 --initial 10 --every 10s --seed 1 --json',
  )
  expect({ code, complained }).toEqual({ code: 1, complained: '' })
  const summary = JSON.parse(said) as { sold: number; final_stock: number; findings: string[] }
  expect(summary).toMatchObject({ strategy: null, customers: 8, successes: 8, sold: 8, accounted: false })
  expect(summary.final_stock).toBeGreaterThan(2)
  expect(summary.findings).toContainEqual(expect.stringContaining('Units sold twice'))
})

test('a wrong flag is refused with what is wrong before anything starts, and --help ends well', async () => {
  const [wrong, help] = await Promise.all([simulate('--every 1..3'), simulate('--help')])
  expect(wrong.code).toBe(2)
  expect(wrong.complained).toMatch(/^--every takes a time with its unit, .*\n\nnpm run simulate/)
  expect(help).toMatchObject({ code: 0, complained: '' })
})
