import { effect } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import UPlot from 'uplot'
import { count } from '../format.ts'
import { language, words } from '../language.ts'
import { samples, stats } from './activity.ts'
import type { Rates as RatesShape } from './outcomes.ts'

/** What the chart draws, in the order of its colours. Releases have a number, and no line of their own. */
const SERIES = ['reservations', 'refusals', 'confirms', 'expiries'] as const satisfies (keyof RatesShape)[]

const HEIGHT = 220
/** A line is told from another by its dashes too. */
const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3]]
/** The chart begins with this many seconds of room. */
const WINDOW_SECONDS = 120

/** How many reservations, refusals, confirms and expiries there were, over the time that the page is open. */
export function Rates() {
  const { console: say } = words.value
  const last = samples.value.at(-1)?.rates
  return (
    <section class="panel" aria-labelledby="rates">
      <div class="panel-head">
        <h2 id="rates">{say.rates}</h2>
        <p class="soft small">{say.lastMinute}</p>
      </div>
      <div class="legend small" aria-hidden="true">
        {SERIES.map((name, i) => (
          <span key={name}>
            <svg class={`key series-${i + 1}`} viewBox="0 0 20 4" width="20" height="4">
              <path d="M0 2H20" stroke="currentColor" stroke-width="2.5" stroke-dasharray={DASHES[i]!.join(' ')} />
            </svg>
            {say[name]}
          </span>
        ))}
      </div>
      <Chart />
      <details class="small">
        <summary>{say.ratesTable}</summary>
        <dl class="facts">
          {[...SERIES, 'releases' as const].map((name) => (
            <div key={name}>
              <dt>{say[name]}</dt>
              <dd class="number">{last === undefined ? '–' : count(last[name], language.value)}</dd>
            </div>
          ))}
        </dl>
      </details>
      <p class="soft small">{stats.value === undefined || samples.value.length < 2 ? say.ratesEmpty : say.ratesNote}</p>
    </section>
  )
}

function Chart() {
  const frame = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const element = frame.current
    if (element === null) return undefined
    const dark = matchMedia('(prefers-color-scheme: dark)')
    let chart = draw(element)
    const redraw = () => {
      chart.destroy()
      chart = draw(element)
    }
    const observer = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: HEIGHT }))
    observer.observe(element)
    dark.addEventListener('change', redraw)
    const unfollow = effect(() => {
      void samples.value
      chart.setData(dataOf())
    })
    return () => {
      unfollow()
      observer.disconnect()
      dark.removeEventListener('change', redraw)
      chart.destroy()
    }
  }, [])
  return <div class="chart" ref={frame} aria-hidden="true" />
}

function dataOf(): UPlot.AlignedData {
  const all = samples.value
  return [all.map(({ at }) => at), ...SERIES.map((name) => all.map(({ rates }) => rates[name]))]
}

/** What stands under the chart; nothing before there is a time. */
function labelOf(seconds: number): string {
  if (samples.value.length === 0) return ''
  return new Date(seconds * 1000).toLocaleTimeString(language.value, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hour12: false,
  })
}

/** uPlot draws on a canvas, so the colours of the style sheet are read once for each chart. */
function draw(element: HTMLElement): UPlot {
  const style = getComputedStyle(document.documentElement)
  const colour = (name: string) => style.getPropertyValue(name).trim()
  const axis = { stroke: colour('--ink-soft'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } }
  const font = `12px ${colour('--font')}`
  return new UPlot(
    {
      width: element.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { time: true, range: (_, min, max) => [Math.min(min, max - WINDOW_SECONDS), max] },
        y: { range: (_, __, max) => [0, Math.max(5, Math.ceil(max * 1.1))] },
      },
      axes: [
        { ...axis, font, space: 80, size: 30, values: (_, times) => times.map(labelOf) },
        {
          ...axis,
          font,
          size: 44,
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000, 100_000],
        },
      ],
      series: [
        {},
        ...SERIES.map((_, i) => ({
          stroke: colour(`--series-${i + 1}`),
          width: 2,
          dash: DASHES[i]!,
          points: { show: false },
        })),
      ],
    },
    dataOf(),
    element,
  )
}
