import { words } from '../language.ts'

const [WIDTH, HEIGHT] = [120, 28]

/** How a number went, one step for each change. */
export function Sparkline({ sku, values }: { sku: string; values: readonly number[] }) {
  const { console: say } = words.value
  const [first, last] = [values[0] ?? 0, values.at(-1) ?? 0]
  const top = Math.max(1, ...values)
  const x = (i: number) => (values.length < 2 ? 0 : (i / (values.length - 1)) * WIDTH)
  const y = (value: number) => HEIGHT - 2 - (value / top) * (HEIGHT - 4)
  const line = values.map((value, i) => (i === 0 ? `M0 ${y(value)}` : `H${x(i).toFixed(1)}V${y(value).toFixed(1)}`))
  const path = values.length < 2 ? `M0 ${y(last)}H${WIDTH}` : line.join('')
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={say.trendOf(sku, first, last)}>
      <path d={`${path}V${HEIGHT}H0Z`} fill="currentColor" opacity="0.12" />
      <path d={path} fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round" />
    </svg>
  )
}
