import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CONTENDERS, lastWords, tellContenders } from '../../src/lab/compare/contenders.ts'
import { checkFiles, writeReport } from '../../src/lab/compare/files.ts'
import { readOptions, withoutFiles, type Options } from '../../src/lab/compare/options.ts'
import type { Report } from '../../src/lab/compare/report.ts'
import { STRATEGY_NAMES } from '../../src/strategy_names.ts'

function options(...args: string[]): Options {
  const read = readOptions(args)
  if (typeof read === 'string') throw new Error(read)
  return read
}

function names(...args: string[]): string[] {
  return options(...args).contenders.map(({ name }) => name)
}

test('without flags a thousand buyers come at once for a thousand units, to every contender', () => {
  expect(options()).toMatchObject({
    mode: { kind: 'sale' },
    buyers: 1000,
    stock: undefined,
    sku_count: 1,
    processes: 1,
    pool_max: 10,
    rounds: 3,
    quick: false,
    section: 'sale',
  })
  expect(names()).toEqual(CONTENDERS.map(({ name }) => name))
})

test('every strategy of the service is a contender, redlock also on three nodes, and the two unsafe ways', () => {
  expect(names('--strategies', 'all')).toEqual(
    expect.arrayContaining([...STRATEGY_NAMES, 'redlock-3', 'none', 'unguarded']),
  )
  expect(names('--strategies', 'none, batched')).toEqual(['batched', 'none'])
})

test('each way to compare has its own numbers', () => {
  expect(options('--rate', '100,500', '--seconds', '3').mode).toEqual({ kind: 'rate', rates: [100, 500], seconds: 3 })
  expect(options('--rate', '100', '--quick').mode).toEqual({ kind: 'rate', rates: [100], seconds: 2 })
  expect(options('--conflict', '1,5,10,20', '--buyers', '200')).toMatchObject({
    mode: { kind: 'conflict', percents: [1, 5, 10, 20] },
    buyers: 200,
  })
  expect(options('--scenario', 'coupon')).toMatchObject({ mode: { kind: 'coupon' }, buyers: 40, stock: 30 })
  expect(options('--indexes', '--quick')).toMatchObject({ mode: { kind: 'indexes' }, quick: true, rounds: 1 })
  expect(options('--http', '--section', 'fast')).toMatchObject({ mode: { kind: 'http' }, section: 'fast' })
  expect(readOptions(['--help', '--buyers', 'x'])).toBe('help')
  expect(readOptions(['--strategies', 'list'])).toBe('list')
})

test.each([
  ['--buyers 0', '--buyers must be a whole number from 1 to 20,000, not "0"'],
  ['--buyers 20001', '--buyers must be'],
  ['--buyers 1.5', '--buyers must be'],
  ['--buyers=', '--buyers must be'],
  ['--buyers ten', 'not "ten"'],
  ['--stock=-1', '--stock must be a whole number from 0 to 1,000,000,000'],
  ['--sku-count 10001', '--sku-count must be'],
  ['--processes 13', '--processes must be'],
  ['--pool 3', '--pool must be a whole number from 4'],
  ['--processes 12 --pool 14', '--processes times --pool must not be above 160'],
  ['--rounds 21', '--rounds must be'],
  ['--rate 0', '--rate must be'],
  ['--rate 100,fast', '--rate must be'],
  ['--rate 1,2,3,4,5,6,7,8,9,10,11', '--rate takes at most 10 numbers'],
  ['--rate 100 --seconds 61', '--seconds must be'],
  ['--conflict 101', '--conflict must be a whole number from 1 to 100'],
  ['--rate 100 --conflict 1', '--rate and --conflict exclude each other'],
  ['--http --indexes', '--indexes and --http exclude each other'],
  ['--scenario lottery', '--scenario can be coupon, not "lottery"'],
  ['--seconds 5', '--seconds means nothing without --rate'],
  ['--rate 100 --buyers 5', '--buyers means nothing with --rate'],
  ['--conflict 1 --stock 5', '--stock means nothing with --conflict'],
  ['--scenario coupon --buyers 5', '--buyers means nothing with --scenario coupon'],
  ['--indexes --strategies batched', '--strategies means nothing with --indexes'],
  ['--http --processes 2', '--processes means nothing with --http'],
  ['--strategies fastest', 'there is no "fastest"; there are batched, conditional'],
  ['--fast', '--fast'],
  ['50', 'Unexpected argument'],
])('%s is refused with what is wrong', (line, words) => {
  expect(() => readOptions(line.split(' '))).toThrow(words)
})

test('a report names the flags that made it, not the files that it went to', () => {
  const args = ['--buyers', '5', '--json', 'a.json', '--quick', '--svg=b.svg', '--section', 'sale', '--rate', '7']
  expect(withoutFiles(args)).toEqual(['--buyers', '5', '--quick', '--rate', '7'])
})

test('the list says what each is, and what is missing here', () => {
  const told = tellContenders(undefined)
  for (const { name } of CONTENDERS) expect(told).toMatch(new RegExp(`^  ${name} +\\S`, 'm'))
  expect(told).toMatch(/^ {2}redis .*left out here: redis-server is not installed/m)
  expect(told).not.toMatch(/^ {2}batched .*left out/m)
  expect(tellContenders({ path: '/usr/bin/redis-server', version: '7.0' })).not.toContain('left out')
})

test('why a process did not start is the last that it said, without the stack', () => {
  expect(lastWords('{"level":30,"msg":"starting"}\nthe service could not start: CannotStart: no \\"x\\"\n')).toBe(
    'no \\"x\\"',
  )
  expect(lastWords('Error: no such thing\n    at main (file:1:2)\n\nNode.js v20.20.2\n')).toBe('no such thing')
  expect(lastWords('{"level":50,"msg":"Redis is away"}\n')).toBe('Redis is away')
  expect(lastWords('')).toBe('it ended without a word')
})

describe('files', () => {
  let dir: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'compare-'))
  })
  afterEach(() => rmSync(dir, { recursive: true }))

  const report = {
    date: '2026-01-01',
    command: 'npm run compare',
    machine: { node: 'v20' },
    sections: [],
    left_out: [],
  }
  const nowhere = { json: undefined, markdown: undefined, svg: undefined, section: 'sale' }

  test('a document keeps what stands around the place, whatever stood in it', () => {
    const markdown = join(dir, 'page.md')
    writeFileSync(markdown, '# Page\n\n<!-- compare sale -->\nold\n<!-- /compare sale -->\n\nThe end.\n')
    writeReport(report as unknown as Report, { ...nowhere, markdown })
    const written = readFileSync(markdown, 'utf8')
    expect(written).toMatch(/^# Page\n\n<!-- compare sale -->\n\n`npm run compare` on 2026-01-01/)
    expect(written).toMatch(/<!-- \/compare sale -->\n\nThe end\.\n$/)
    expect(written).not.toContain('old')
  })

  test('a document without that place is not written over, and that is said before the work', () => {
    const markdown = join(dir, 'page.md')
    writeFileSync(markdown, '<!-- compare rate -->\n<!-- /compare rate -->\n')
    expect(() => checkFiles({ ...nowhere, markdown })).toThrow('has no place <!-- compare sale -->')
    expect(() => checkFiles({ ...nowhere, markdown, section: 'rate' })).not.toThrow()
  })

  test('a file that was written by such a command is written anew', () => {
    const [markdown, json, svg] = [join(dir, 'a.md'), join(dir, 'a.json'), join(dir, 'a.svg')]
    for (const date of ['2026-01-01', '2026-01-02']) {
      checkFiles({ ...nowhere, markdown, json, svg })
      writeReport({ ...report, date } as unknown as Report, { ...nowhere, markdown, json, svg })
    }
    expect(readFileSync(markdown, 'utf8')).toMatch(/^`npm run compare` on 2026-01-02/)
    expect(JSON.parse(readFileSync(json, 'utf8'))).toMatchObject({ date: '2026-01-02' })
    expect(readFileSync(svg, 'utf8')).toMatch(/^<svg /)
  })

  test('a folder that is not there is said before the work', () => {
    expect(() => checkFiles({ ...nowhere, json: join(dir, 'no', 'a.json') })).toThrow("can't be written")
  })
})
