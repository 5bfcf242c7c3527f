import { merge, type LoadResult } from '../../src/lab/load/drive.ts'
import { faultsOf, interleave, invalid, judge, judgeRatio, verdictOf, withFaults } from '../../src/lab/bench/goal.ts'
import { oneSku } from '../../src/lab/bench/goals/01_one_sku.ts'
import { readOptions } from '../../src/lab/bench/options.ts'
import { tellGoal, tellSummary, type Report } from '../../src/lab/bench/report.ts'
import { median, ratioOf, seriesOf } from '../../src/lab/bench/series.ts'

function series(name: string, values: number[], faults: string[] = []) {
  return seriesOf(
    name,
    '/s',
    values.map((value) => ({ value, faults })),
  )
}

test('a median is the middle value, or the mean of the two in the middle', () => {
  expect(median([9, 1, 5])).toBe(5)
  expect(median([4, 1, 3, 2])).toBe(2.5)
  expect(median([])).toBeNaN()
})

test('a ratio is the median of those of the rounds', () => {
  const spread = ratioOf(series('a', [100, 200, 300]), series('b', [100, 50, 50]))
  expect(spread).toEqual({ median: 4, min: 1, max: 6 })
})

test('a ratio that meets its goal passes, another falls short, in either direction', () => {
  const [a, b] = [series('a', [100]), series('b', [80])]
  expect(judgeRatio('a ÷ b', a, b, { at_least: 1.25 }).verdict).toBe('PASS')
  expect(judgeRatio('a ÷ b', a, b, { at_least: 1.26 }).verdict).toBe('FALLS SHORT')
  expect(judgeRatio('a ÷ b', a, b, { at_most: 1.25 }).verdict).toBe('PASS')
  expect(judgeRatio('a ÷ b', a, b, { at_most: 1.2 }).verdict).toBe('FALLS SHORT')
  expect(judgeRatio('a ÷ b', a, b, null).verdict).toBeNull()
})

test('with a fault in either arm, or no number at all, a row is invalid however good it looks', () => {
  const [a, faulty] = [series('a', [100]), series('b', [10], ['3 wrong answers'])]
  expect(judgeRatio('a ÷ b', a, faulty, { at_least: 1 })).toMatchObject({
    verdict: 'INVALID',
    faults: ['3 wrong answers'],
  })
  expect(judge('nothing', Number.NaN, { at_most: 1 }).verdict).toBe('INVALID')
  expect(invalid('x', { at_least: 1 }, 'pgbench is not installed').faults[0]).toBe('pgbench is not installed')
  expect(withFaults(judge('x', 1, { at_least: 1 }), ['verify: broken']).verdict).toBe('INVALID')
  expect(withFaults(judge('x', 1, { at_least: 1 }), []).verdict).toBe('PASS')
})

test("a goal's verdict is its worst row's", () => {
  const [pass, short, told] = [judge('a', 1, { at_least: 1 }), judge('b', 0, { at_least: 1 }), judge('c', 0, null)]
  expect(verdictOf([pass, told])).toBe('PASS')
  expect(verdictOf([pass, short])).toBe('FALLS SHORT')
  expect(verdictOf([short, invalid('d', { at_least: 1 }, 'why')])).toBe('INVALID')
})

function load(changes: Partial<LoadResult>): LoadResult {
  const latencies = [{ counts: [], sum_us: 0, max_us: 0 }]
  const counts = { sent: 0, accepted: 0, tolerated: 0, wrong: 0, unsent: 0, body_bytes: 0 }
  const seen = { errors: {}, by_status: {}, examples: [], timeline: [] }
  return {
    ...merge([{ ...counts, ...seen, latencies, started_at: 0, ended_at: 1000, last_answer_at: 1000 }]),
    ...changes,
  }
}

test('load that was wrong, broke, or came from drivers at their limit is a fault', () => {
  expect(faultsOf(load({ by_status: { 201: 1000 } }), 1500)).toEqual([])
  expect(faultsOf(load({ by_status: { 201: 1001 } }), 1500)[0]).toMatch(/drivers reach 1500\/s/)
  expect(faultsOf(load({ wrong: 2, examples: ['500 x'] }), 1500)).toEqual(['2 wrong answers, such as: 500 x'])
  expect(faultsOf(load({ errors: { closed: 2 } }), 1500)).toEqual(['connections failed: closed 2'])
})

test('arms are measured there and back', async () => {
  const order: string[] = []
  const arm = (name: string) => ({
    name,
    unit: '',
    measure() {
      order.push(name)
      return Promise.resolve({ value: order.length, faults: [] })
    },
  })
  const [a] = await interleave([arm('A'), arm('B')], 3, {
    progress: () => undefined,
    undisturbed: (measure) => measure(),
  })
  expect(order.join('')).toBe('ABBAAB')
  expect(a!.values).toEqual([1, 4, 5])
})

test('the command line names goals that exist, or says which do', () => {
  const goals = [1, 2, 12]
  expect(readOptions(['--quick', '--only', '1,12', '--json', 'out.json'], goals)).toEqual({
    quick: true,
    only: [1, 12],
    json: 'out.json',
    baseline: undefined,
    profile: undefined,
    patience: 0,
  })
  expect(readOptions([], goals)).toMatchObject({ quick: false, only: [] })
  expect(() => readOptions(['--only', '3'], goals)).toThrow('from 1 to 12')
  expect(() => readOptions(['--only', 'x'], goals)).toThrow('from 1 to 12')
  expect(readOptions(['--patience', '90'], goals)).toMatchObject({ patience: 90 })
  expect(() => readOptions(['--patience=-1'], goals)).toThrow('0 to 1440 minutes')
  expect(() => readOptions(['--patience', 'long'], goals)).toThrow('0 to 1440 minutes')
  expect(() => readOptions(['--fast'], goals)).toThrow('--fast')
})

test('what was found is told in tables, with what it is to an earlier run', () => {
  const arms = [series('service', [1200, 1000, 1100]), series('constant route', [1000, 1000, 1000])]
  const rows = [judgeRatio('one SKU ÷ constant route', arms[0]!, arms[1]!, { at_least: 1 })]
  const result = { arms, rows, notes: ['verify: clean'] }
  const told = tellGoal(oneSku, result, undefined)
  expect(told).toMatch(/service +1,100 +1,000 +1,200 +\/s/)
  expect(told).toMatch(/one SKU ÷ constant route +1\.10 .*≥ 1 +PASS/)
  const goals = [{ id: 1, title: oneSku.title, duration_ms: 1, result }]
  const baseline = { goals } as unknown as Report
  expect(tellGoal(oneSku, result, baseline)).toMatch(/÷ baseline[\s\S]*1\.00/)
  expect(tellSummary(goals)).toContain('1 PASS, 0 FALLS SHORT, 0 INVALID')
})
