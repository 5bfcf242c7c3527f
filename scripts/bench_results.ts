import { readFileSync, writeFileSync } from 'node:fs'
import { number, type Report } from '../src/lab/bench/report.ts'

/**
 * What `npm run bench -- --json FILE` wrote, as the documentation shows it: every row of the last run, with those of earlier
 * ones beside it, as a Markdown table on standard output, and the rates of the last one as a chart.
 *
 * Usage: npm run bench:results -- run1.json [run2.json …] [chart.svg]
 */

/** The rates worth a bar: the goal, the arm, and what it is called there. */
const BARS: [goal: number, arm: RegExp, name: string, kind: 'ours' | 'other'][] = [
  [1, /^bare node/, 'bare node:http', 'other'],
  [1, /^bare Koa/, 'bare Koa', 'other'],
  [1, /^constant route/, 'constant route (the service without its core)', 'other'],
  [1, /^service$/, 'reserve, one SKU', 'ours'],
  [1, /WORKERS=2/, 'reserve, one SKU, WORKERS=2', 'ours'],
  [3, /^10,000 SKUs/, 'reserve, 10,000 SKUs', 'ours'],
  [4, /^refusals/, 'refuse, sold out', 'ours'],
  [10, /^levels/, 'read a SKU', 'ours'],
  [12, /batch/i, 'reserve in batches of 500', 'ours'],
  [2, /^naive statement/, 'naive statement under pgbench, one SKU', 'other'],
  [3, /^conditional/, 'conditional strategy, 10,000 SKUs', 'other'],
]

const files = process.argv.slice(2)
const runs = files
  .filter((file) => file.endsWith('.json'))
  .map((file) => JSON.parse(readFileSync(file, 'utf8')) as Report)
const chart_file = files.find((file) => file.endsWith('.svg'))
const last = runs.at(-1)
if (last === undefined) throw new Error('name at least one file that npm run bench -- --json has written')

process.stdout.write(`${tableOf(runs, last)}\n`)
if (chart_file !== undefined) writeFileSync(chart_file, chartOf(last))

function tableOf(reports: readonly Report[], shown: Report): string {
  const lines = shown.goals.flatMap(({ id, result }) =>
    result.rows.map(({ label, target }) => {
      const goal = target === null ? 'told' : 'at_least' in target ? `≥ ${target.at_least}` : `≤ ${target.at_most}`
      const cells = reports.map((report) => {
        const row = report.goals.find((one) => one.id === id)?.result.rows.find((one) => one.label === label)
        return row === undefined ? '' : `${number(row.value)} ${row.verdict ?? ''}`.trim()
      })
      return `| ${[id, label, goal, ...cells].join(' | ')} |`
    }),
  )
  const runs_head = reports.map((_, i) => `run ${i + 1}`)
  return [`| # | compared | goal | ${runs_head.join(' | ')} |`, `|${'---|'.repeat(3 + reports.length)}`, ...lines].join(
    '\n',
  )
}

function chartOf(report: Report): string {
  const bars = BARS.flatMap(([id, pattern, name, kind]) => {
    const arm = report.goals.find((goal) => goal.id === id)?.result.arms.find((one) => pattern.test(one.name))
    return arm === undefined ? [] : [{ name, kind, rate: arm.median }]
  })
  const longest = Math.max(...bars.map((bar) => bar.rate))
  const rows = bars.map(({ name, kind, rate }, i) => {
    const y = 34 + i * 26
    const width = Math.round((rate / longest) * 340)
    return (
      `<text x="290" y="${y + 13}" text-anchor="end">${name}</text>` +
      `<rect x="300" y="${y}" width="${width}" height="18" class="${kind}"/>` +
      `<text x="${306 + width}" y="${y + 13}">${Math.round(rate).toLocaleString('en-US')}</text>`
    )
  })
  const height = 44 + bars.length * 26
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 ${height}" width="720" height="${height}" role="img"
  aria-label="Rates per second of the service and of what it is compared with">
<style>text { font: 12px system-ui, sans-serif; fill: #222 } .ours { fill: #2563a8 } .other { fill: #b3b3b3 }</style>
<rect width="720" height="${height}" fill="#fff"/>
<text x="300" y="20">a second, committed or answered (${report.date.slice(0, 10)}, ${report.machine.cores} cores)</text>
${rows.join('\n')}
</svg>
`
}
