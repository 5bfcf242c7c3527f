import { number, table } from '../bench/report.ts'
import type { Machine } from '../bench/machine.ts'

/** What a comparison found, as tables for a terminal and for Markdown, and as data. */

export type Table = { title: string; head: string[]; rows: string[][] }

/** Bars that are drawn together, longest at most as long as the chart is wide. */
export type Chart = { title: string; unit: string; groups: { name: string; bars: Bar[] }[] }
export type Bar = { name: string; value: number; kind: 'ours' | 'unsafe' | 'other'; note?: string }

/** One thing that was compared. */
export type Section = {
  title: string
  tables: Table[]
  notes: string[]
  /** What may not be: numbers that must not be used, promises that were broken by what claims to keep them. */
  faults: string[]
  chart?: Chart
  /** All that was measured, for whoever reads the JSON. */
  data: unknown
}

export type Report = {
  date: string
  /** The command that makes this report. */
  command: string
  machine: Machine
  sections: Section[]
  /** Which contenders could not be measured, and why. */
  left_out: { name: string; why: string }[]
}

/** For a terminal. */
export function tellSection({ title, tables, notes, faults }: Section): string {
  const parts = [`\n${title}`]
  for (const { title: of, head, rows } of tables) parts.push(...(of === '' ? [] : [`\n   ${of}`]), table(head, rows))
  return [...parts, ...[...notes, ...faults.map((fault) => `WRONG: ${fault}`)].map(wrapped)].join('\n')
}

const COLUMNS = 120

/** A note, indented, on as many lines as it takes. */
function wrapped(note: string): string {
  const lines = ['  ']
  for (const word of note.split(' ')) {
    if (lines.at(-1)!.length + 1 + word.length > COLUMNS) lines.push('    ')
    lines[lines.length - 1] += ` ${word}`
  }
  return lines.join('\n')
}

export function tellLeftOut(left_out: Report['left_out']): string {
  return left_out.map(({ name, why }) => `   left out: ${name}: ${why}`).join('\n')
}

/** For a document: what was measured on, then each section. */
export function markdownOf({ date, command, machine, sections, left_out }: Report): string {
  const { processor, cores, memory, kernel, node, postgresql, fdatasync, load_before } = machine
  const measured_on =
    `\`${command}\` on ${date.slice(0, 10)}: ${cores} cores (${processor}), ${memory}, Linux ${kernel}, Node ${node.replace(/^v/, '')}, ` +
    `PostgreSQL ${postgresql}, fdatasync ${fdatasync}, load before ${load_before}.`
  const parts = [measured_on]
  for (const { title, tables, notes, faults } of sections) {
    parts.push(`**${title}**`)
    for (const { title: of, head, rows } of tables)
      parts.push(...(of === '' ? [] : [`${of}:`]), markdownTable(head, rows))
    const said = [...notes, ...faults.map((fault) => `WRONG: ${fault}`)]
    if (said.length > 0) parts.push(said.map((note) => `- ${note}`).join('\n'))
  }
  if (left_out.length > 0) parts.push(left_out.map(({ name, why }) => `- left out: \`${name}\`: ${why}`).join('\n'))
  return `${parts.join('\n\n')}\n`
}

function markdownTable(head: readonly string[], rows: readonly string[][]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n')
}

/** Milliseconds with as many digits as mean something; a dash where nothing was measured. */
export function ms(value: number | null): string {
  return value === null ? '–' : number(value)
}

export function count(value: number): string {
  return value.toLocaleString('en-US')
}
