import Table from 'cli-table3'
import type { Goal, GoalResult, Row, Target } from './goal.ts'
import { verdictOf } from './goal.ts'
import type { Machine } from './machine.ts'
import type { Series } from './series.ts'

/** What a run found, for a terminal and for a file that a later run can be compared with. */

export type Finished = { id: number; title: string; result: GoalResult; duration_ms: number }

export type Report = { machine: Machine; quick: boolean; date: string; bare_rate: number; goals: Finished[] }

export function tellGoal(
  { id, title }: Pick<Goal, 'id' | 'title'>,
  result: GoalResult,
  baseline: Report | undefined,
): string {
  const earlier = baseline?.goals.find((goal) => goal.id === id)?.result
  const parts = [
    `\n${id}. ${title}`,
    tellArms(result.arms, earlier?.arms ?? []),
    tellRows(result.rows, earlier?.rows ?? []),
  ]
  for (const note of result.notes) parts.push(`   ${note}`)
  for (const fault of new Set(result.rows.flatMap((row) => row.faults))) parts.push(`   INVALID because ${fault}`)
  return parts.filter((part) => part !== '').join('\n')
}

function tellArms(arms: readonly Series[], earlier: readonly Series[]): string {
  if (arms.length === 0) return ''
  const head = ['measured', 'median', 'min', 'max', '', ...(earlier.length > 0 ? ['÷ baseline'] : [])]
  const lines = arms.map((arm) => {
    const before = earlier.find((other) => other.name === arm.name)
    const cells = [arm.name, number(arm.median), number(arm.min), number(arm.max), arm.unit]
    return earlier.length > 0 ? [...cells, before === undefined ? '' : number(arm.median / before.median)] : cells
  })
  return table(head, lines)
}

function tellRows(rows: readonly Row[], earlier: readonly Row[]): string {
  const head = ['compared', 'value', 'min', 'max', 'goal', '', ...(earlier.length > 0 ? ['÷ baseline'] : [])]
  const lines = rows.map((row) => {
    const before = earlier.find((other) => other.label === row.label)
    const { min, max } = row.spread
    const alone = min === max
    const cells = [row.label, number(row.value), alone ? '' : number(min), alone ? '' : number(max)]
    cells.push(target(row.target), row.verdict ?? '')
    return earlier.length > 0 ? [...cells, before === undefined ? '' : number(row.value / before.value)] : cells
  })
  return table(head, lines)
}

/** All rows with a goal, one line each: what is worth copying. */
export function tellSummary(goals: readonly Finished[]): string {
  const lines = goals.flatMap(({ id, result }) =>
    result.rows
      .filter((row) => row.target !== null)
      .map((row) => [String(id), row.label, number(row.value), target(row.target), row.verdict ?? '']),
  )
  const counts = (['PASS', 'FALLS SHORT', 'INVALID'] as const).map(
    (verdict) => `${goals.filter(({ result }) => verdictOf(result.rows) === verdict).length} ${verdict}`,
  )
  return `\n${table(['#', 'compared', 'value', 'goal', ''], lines)}\n\n${counts.join(', ')}`
}

export function tellMachine(machine: Machine): string {
  return table(
    ['machine', ''],
    Object.entries(machine).map(([name, value]) => [name.replaceAll('_', ' '), String(value)]),
  )
}

function target(of: Target | null): string {
  if (of === null) return ''
  return 'at_least' in of ? `≥ ${of.at_least}` : `≤ ${of.at_most}`
}

/** As many digits as mean something. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return '-'
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US')
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2)
}

/** Columns without lines, three to the right. */
export function table(head: string[], lines: readonly string[][]): string {
  const drawn = new Table({
    head,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
    chars: NO_LINES,
  })
  drawn.push(...lines)
  const indented = drawn.toString().split('\n')
  return indented.map((line) => `   ${line}`.trimEnd()).join('\n')
}

const NO_LINES = Object.fromEntries(
  ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right']
    .concat(['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'])
    .map((place) => [place, '']),
)
