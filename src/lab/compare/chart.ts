import type { Bar, Chart, Report } from './report.ts'

/** Bars as SVG, for documents and without anything that a page would have to load. */

const WIDTH = 760
const LABEL_END = 190
const BAR_START = 200
const BAR_MAX = 430
const ROW = 22
const GROUP = 24
const TITLE = 52
const MARGIN = 10

/** All charts of a report, one below the other. */
export function svgOf({ sections, date, machine }: Report): string {
  const parts: string[] = []
  let y = 0
  for (const { chart } of sections) {
    if (chart === undefined) continue
    parts.push(`<g transform="translate(0 ${y})">${drawn(chart)}</g>`)
    y += heightOf(chart)
  }
  const height = y + 24
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img"
  aria-label="${escaped(sections.flatMap(({ chart }) => chart?.title ?? []).join('; '))}">
<style>text { font: 12px system-ui, sans-serif; fill: #222 } .title { font-weight: 600 } .ours { fill: #2563a8 } .unsafe { fill: #c2410c } .other { fill: #b3b3b3 }</style>
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
${parts.join('\n')}
<text x="${BAR_START}" y="${height - 8}">${escaped(`${date.slice(0, 10)}, ${machine.cores} cores`)}</text>
</svg>
`
}

function heightOf({ groups }: Chart): number {
  return TITLE + groups.reduce((sum, { name, bars }) => sum + (name === '' ? 0 : GROUP) + bars.length * ROW, 0) + 12
}

function drawn({ title, unit, groups }: Chart): string {
  const values = groups.flatMap(({ bars }) => bars.map(({ value }) => value)).filter(Number.isFinite)
  const longest = Math.max(Number.MIN_VALUE, ...values)
  const parts = [
    `<text x="${MARGIN}" y="20" class="title">${escaped(title)}</text>`,
    `<text x="${BAR_START}" y="42">${escaped(unit)}</text>`,
  ]
  let y = TITLE
  for (const { name, bars } of groups) {
    if (name !== '') parts.push(`<text x="${BAR_START}" y="${(y += GROUP) - 8}">${escaped(name)}</text>`)
    for (const bar of bars) {
      parts.push(drawnBar(bar, y, longest))
      y += ROW
    }
  }
  return parts.join('\n')
}

function drawnBar({ name, value, kind, note }: Bar, y: number, longest: number): string {
  const width = Number.isFinite(value) ? Math.max(1, Math.round((value / longest) * BAR_MAX)) : 0
  const told = Number.isFinite(value) ? value.toLocaleString('en-US', { maximumSignificantDigits: 3 }) : 'no answer'
  return (
    `<text x="${LABEL_END}" y="${y + 12}" text-anchor="end">${escaped(name)}</text>` +
    `<rect x="${BAR_START}" y="${y}" width="${width}" height="16" class="${kind}"/>` +
    `<text x="${BAR_START + 6 + width}" y="${y + 12}">${escaped(note === undefined ? told : `${told} (${note})`)}</text>`
  )
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
