import { svgOf } from '../../src/lab/compare/chart.ts'
import { fairnessOf, orderOf, type Answered } from '../../src/lab/compare/coupon.ts'
import { crowdSection as sectionOf, outcomesOf, type Found } from '../../src/lab/compare/crowd.ts'
import { place, planOf, shelfOf, type Load } from '../../src/lab/compare/loads.ts'
import type { Measured, Round } from '../../src/lab/compare/measure.ts'
import { markdownOf, tellLeftOut, tellSection, type Report } from '../../src/lab/compare/report.ts'
import { growth, meanMs, parseExposition, peakPoolUse, total } from '../../src/lab/compare/scrape.ts'
import { sourceOf } from '../../src/lab/compare/sources.ts'

const LOAD: Load = { label: '1,000 at once', buyers: 1000, skus: 1, stock: 100 }

function measured(last_answer_ms: number, more: Partial<Measured> = {}): Measured {
  return {
    buyers: 1000,
    last_answer_ms,
    mean_ms: 120,
    p50_ms: 100,
    p95_ms: 190,
    p99_ms: 198.5,
    successes: 100,
    refusals: 880,
    turned_away: 15,
    unanswered: 5,
    errors: { timeout: 5 },
    outcomes: { ok: 100 },
    conflicts: 12,
    retries: 7,
    lock_wait_ms: null,
    timings_ms: {},
    statements: 3000,
    statement_ms: 0.25,
    transactions: 100,
    transaction_ms: 2.5,
    peak_pool: 4,
    held: 100,
    left: 0,
    oversold: 0,
    uncounted: 0,
    faults: [],
    ...more,
  }
}

function found(name: 'batched' | 'pessimistic', rounds: Measured[], more: Partial<Round> = {}): Found {
  return {
    contender: { name, strategy: name },
    rounds: rounds.map((one) => ({ measured: [one], clean: true, verify: 'clean', ...more })),
  }
}

function crowdSection(title: string, all: Found[], loads: Load[], broke: string[] = []) {
  return sectionOf(title, { found: all, broke }, loads)
}

const NONE: Found = {
  contender: { name: 'none', unsafe: 'none', tables: 'scratch' },
  rounds: [
    {
      measured: [measured(90, { oversold: 30, uncounted: 31, unanswered: 0, errors: {} })],
      clean: true,
      verify: 'own tables',
    },
  ],
}

function reportOf(sections: Report['sections']): Report {
  const machine = {
    processor: 'A | B <C>',
    cores: 4,
    memory: '8 GiB',
    kernel: '6.1',
    node: 'v20.1.0',
    postgresql: '18.4',
    pgbench: '',
    fdatasync: '0.1 ms',
    load_before: '0.10',
  }
  return { date: '2026-01-02T03:04:05Z', command: 'npm run compare -- --buyers 1000', machine, sections, left_out: [] }
}

test('of several rounds the middle one is told whole, with the extremes and the worst of what may not be', () => {
  const rounds = [measured(300, { p50_ms: 3 }), measured(100, { p50_ms: 1, oversold: 2 }), measured(200, { p50_ms: 2 })]
  const [outcome] = outcomesOf([found('batched', rounds)], [LOAD])
  expect(outcome).toMatchObject({
    least_ms: 100,
    most_ms: 300,
    oversold: 2,
    middle: { last_answer_ms: 200, p50_ms: 2 },
  })
})

test('a terminal is told every number, with the sources beside it where they gave one', () => {
  const told = tellSection(
    crowdSection('A sale', [found('batched', [measured(210)]), found('pessimistic', [measured(900)]), NONE], [LOAD]),
  )
  expect(told).toMatch(/^\nA sale\n/)
  expect(told).toMatch(
    /strategy +last answer, ms +mean +p50 +p95 +p99 +successes +refusals +503 +unanswered +the sources/,
  )
  expect(told).toMatch(/batched +210 +120 +100 +190 +199 +100 +880 +15 +5\n/)
  expect(told).toMatch(/pessimistic +900 .* 6\.0 s\n/)
  expect(told).toMatch(/batched +12 +7 +– +3,000 +0\.25 +100 +2\.50 +4 +0 +0 +0 +clean/)
  expect(told).toMatch(/none .* 30 +31 +0 +own tables/)
  expect(told).toContain('batched, 1,000 at once: 5 without an answer (timeout 5)')
  expect(told).not.toContain('WRONG')
  for (const line of told.split('\n')) expect(line).toBe(line.trimEnd())
})

test('a strategy that oversold, or broke a promise, is called wrong; an unsafe way that did is not', () => {
  const oversold = crowdSection('A sale', [found('batched', [measured(1, { oversold: 3 })]), NONE], [LOAD])
  expect(oversold.faults).toEqual(['batched: 3 oversold, 0 uncounted'])
  const broken = found('batched', [measured(1)], { clean: false, verify: 'promise 2 is broken once' })
  expect(crowdSection('A sale', [broken], [LOAD]).faults).toEqual(['batched: verify: promise 2 is broken once'])
  const unread = found('batched', [measured(1, { faults: ['2 wrong answers'] })])
  expect(tellSection(crowdSection('A sale', [unread], [LOAD]))).toContain('WRONG: batched: 2 wrong answers')
  expect(crowdSection('A sale', [NONE], [LOAD], ['redis broke: it is gone']).faults).toEqual([
    'redis broke: it is gone',
  ])
  expect(crowdSection('A sale', [], [LOAD]).faults).toEqual(['nothing could be measured'])
})

test('with several loads each row names its own', () => {
  const loads = [1, 20].map((meet_percent) => ({ ...LOAD, label: `${meet_percent} % meet`, meet_percent }))
  const both = {
    ...found('batched', []),
    rounds: [{ measured: [measured(10), measured(20)], clean: true, verify: 'clean' }],
  }
  const section = crowdSection('Meeting', [both], loads)
  expect(section.tables[0]!.head.slice(0, 3)).toEqual(['strategy', 'load', 'last answer, ms'])
  expect(section.tables[0]!.rows.map((row) => row.slice(0, 3))).toEqual([
    ['batched', '1 % meet', '10.0'],
    ['batched', '20 % meet', '20.0'],
  ])
  expect(section.chart!.groups.map(({ name, bars }) => [name, bars.length])).toEqual([
    ['1 % meet', 1],
    ['20 % meet', 1],
  ])
})

test('Markdown says on what it was measured and by which command, and every row has as many cells as its head', () => {
  const report = reportOf([crowdSection('A sale', [found('batched', [measured(210)]), NONE], [LOAD])])
  const text = markdownOf({ ...report, left_out: [{ name: 'redis', why: 'redis-server is not installed' }] })
  expect(text).toMatch(/^`npm run compare -- --buyers 1000` on 2026-01-02: 4 cores/)
  expect(text).toContain('| batched | 210 | 120 |')
  expect(text).toContain('- left out: `redis`: redis-server is not installed')
  const tables = text.split('\n\n').filter((part) => part.startsWith('|'))
  expect(tables).toHaveLength(2)
  for (const table of tables) {
    const widths = table
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/(?<!\\)\|/).length)
    expect(new Set(widths).size).toBe(1)
  }
})

test('a chart has a bar for each, no bar for one that left buyers without an answer, and is well-formed', () => {
  const answered = { unanswered: 0, errors: {}, turned_away: 0 }
  const section = crowdSection(
    'A <sale> & "more"',
    [found('batched', [measured(210, answered)]), found('pessimistic', [measured(900)]), NONE],
    [LOAD],
  )
  const svg = svgOf(reportOf([section, { ...section, title: 'Another' }]))
  expect(svg.match(/<rect x="200"/g)).toHaveLength(6)
  expect(svg).toMatch(/batched<\/text><rect [^>]*width="430" [^>]*class="ours"\/><text [^>]*>210</)
  expect(svg).toMatch(/pessimistic<\/text><rect [^>]*width="0" .*?no answer/)
  expect(svg).toMatch(/none<\/text><rect [^>]*class="unsafe"\/><text [^>]*>90 \(15 turned away\)</)
  expect(svg).toContain('A &lt;sale&gt; &amp; &quot;more&quot;')
  const opened = svg.match(/<(svg|g|text|style)\b/g)!.length
  expect(svg.match(/<\/(svg|g|text|style)>/g)).toHaveLength(opened)
  expect(svg).not.toMatch(/NaN|undefined|Infinity/)
})

test('what is left out is told by name', () => {
  expect(tellLeftOut([{ name: 'redis', why: 'no Redis' }])).toBe('   left out: redis: no Redis')
})

test("the sources' numbers stand only beside what they are about", () => {
  expect(sourceOf('redlock', LOAD)).toBe('11.0 s')
  expect(sourceOf('redlock-3', LOAD)).toBeUndefined()
  expect(sourceOf('pessimistic', { ...LOAD, buyers: 100 })).toBeUndefined()
  expect(sourceOf('pessimistic', { ...LOAD, buyers: 2500, rate: 500 })).toBe('> 10 s')
  expect(sourceOf('pessimistic', { ...LOAD, meet_percent: 5 })).toBeUndefined()
})

test('loads lie on SKUs of their own, with units that add up', () => {
  const loads = place([
    { label: 'a', buyers: 10, skus: 3, stock: 10 },
    { label: 'b', buyers: 100, skus: 1, meet_percent: 5, stock: 100 },
    { label: 'c', buyers: 10, skus: 1, stock: 0 },
  ])
  expect(loads.map(({ first, last }) => [first, last])).toEqual([
    [1, 3],
    [4, 104],
    [105, 105],
  ])
  expect(shelfOf(loads[0]!).map(({ stock }) => stock)).toEqual([4, 3, 3])
  const meeting = shelfOf(loads[1]!)
  expect(meeting).toHaveLength(96)
  expect(meeting[0]).toEqual({ sku: 'SKU-000004', stock: 5 })
  expect(meeting.reduce((sum, { stock }) => sum + stock, 0)).toBe(100)
  expect(new Set(loads.flatMap((load) => shelfOf(load).map(({ sku }) => sku))).size).toBe(100)
})

test('all at once is one request on each connection; a rate lasts as long as its buyers do', () => {
  const [at_once, at_rate] = place([LOAD, { ...LOAD, buyers: 1665, rate: 333 }])
  expect(planOf(at_once!, [1], '')).toMatchObject({ connections: 1000, count_max: 1000, timed: 'answered' })
  const plan = planOf(at_rate!, [1], '')
  expect(Math.floor((plan.rate! * plan.duration_ms) / 1000)).toBeGreaterThanOrEqual(1665)
  expect(plan.duration_ms).toBeLessThan(5002)
})

const EXPOSITION = `# HELP stock_x What.
# TYPE stock_x counter
stock_x{strategy="batched",code="a \\"b\\" c"} 3
stock_x{strategy="other"} 4
stock_plain 1.5e-3
stock_wait_seconds_sum{strategy="batched"} 0.5
stock_wait_seconds_count{strategy="batched"} 4
stock_pool_acquired_total{pool="core",in_use="1"} 10
stock_pool_acquired_total{pool="core",in_use="4"} 1
stock_pool_acquired_total{pool="general",in_use="9"} 1
`

test('an exposition is read: names, labels, values', () => {
  const samples = parseExposition(EXPOSITION)
  expect(samples[0]).toEqual({ name: 'stock_x', labels: { strategy: 'batched', code: 'a "b" c' }, value: 3 })
  expect(total(samples, 'stock_x')).toBe(7)
  expect(total(samples, 'stock_x', { strategy: 'other' })).toBe(4)
  expect(total(samples, 'stock_plain')).toBe(0.0015)
  expect(meanMs(samples, 'stock_wait_seconds')).toBe(125)
  expect(meanMs(samples, 'stock_wait_seconds', { strategy: 'other' })).toBeNull()
})

test('only what has grown counts: the peak of a pool is that of the load, not of what came before', () => {
  const before = parseExposition(EXPOSITION)
  const after = parseExposition(
    EXPOSITION.replace('in_use="1"} 10', 'in_use="1"} 30') + 'stock_pool_acquired_total{pool="core",in_use="2"} 7\n',
  )
  expect(peakPoolUse(growth([], before))).toBe(4)
  expect(peakPoolUse(growth(before, after))).toBe(2)
  expect(peakPoolUse(growth(after, after))).toBe(0)
  expect(total(growth(before, after), 'stock_pool_acquired_total', { pool: 'core' })).toBe(27)
})

function answers(...of: [customer: number, status: number][]): Answered[] {
  return of.map(([customer, status], i) => ({ customer, status, after_ms: i }))
}

test('the order of completion names each customer, those in a row as a range, and how they fared', () => {
  const order = answers([1, 201], [2, 201], [3, 201], [5, 201], [4, 201], [6, 409], [7, 409], [9, 503], [8, 0])
  expect(orderOf(order)).toBe('1–3 5 4 (6–7) [9] [8]')
  expect(orderOf([])).toBe('')
})

test('first come, first served: whoever asked first has a coupon, in whatever order the answers came', () => {
  expect(fairnessOf(answers([3, 409], [2, 201], [1, 201]), 2)).toBe('yes')
  expect(fairnessOf(answers([1, 201], [2, 409], [3, 201]), 2)).toBe('no: 1 of the first 2 went away empty')
})
