import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/**
 * Measures what docs/strategies.md shows and writes it there, each comparison in its place.
 *
 * Usage: npm run compare:page [-- --quick] [place …]; without places all of them, some 45 minutes (a quarter of it with --quick).
 */

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const PAGE = 'docs/strategies.md'

/** Each place of the page, and the flags that fill it. */
const PLACES: Record<string, string> = {
  sale: '--buyers 1000 --stock 1000 --svg docs/strategies.svg',
  'sale-3': '--buyers 1000 --stock 1000 --processes 3',
  scarce: '--buyers 1000 --stock 100 --processes 3',
  'sale-100': '--buyers 100 --stock 100',
  'sale-100-3': '--buyers 100 --stock 100 --processes 3',
  rate: '--rate 100,500,1000 --rounds 1 --svg docs/strategies-rate.svg',
  conflict: '--buyers 1000 --conflict 1,5,10,20 --rounds 1',
  coupon: '--scenario coupon',
  'coupon-3': '--scenario coupon --processes 3',
  http: '--http --svg docs/strategies-http.svg',
  indexes: '--indexes',
}

const args = process.argv.slice(2)
const quick = args.includes('--quick')
const wanted = args.filter((arg) => arg !== '--quick')
const unknown = wanted.find((name) => !(name in PLACES))
if (unknown !== undefined) {
  console.error(`there is no place ${unknown}; there are ${Object.keys(PLACES).join(', ')}`)
  process.exit(2)
}
for (const [place, flags] of Object.entries(PLACES)) {
  if (wanted.length > 0 && !wanted.includes(place)) continue
  // One round is what --quick means; the flags of a place say so themselves where they want it.
  const all = [...flags.split(' '), ...(quick ? ['--quick'] : []), '--markdown', PAGE, '--section', place]
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', 'src/lab/compare/main.ts', ...all], {
    cwd: ROOT,
    stdio: 'inherit',
  })
  if (status !== 0) {
    console.error(`${place} ended with ${status}`)
    process.exit(1)
  }
}
