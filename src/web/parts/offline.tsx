import { words } from '../language.ts'
import { live } from '../live_stock.ts'
import { Notice } from './notice.tsx'

/** Says so while the numbers are not live. */
export function Offline() {
  return (
    <div role="status" aria-live="polite" class="message">
      {live.value ? null : <Notice tone="warn">{words.value.offline}</Notice>}
    </div>
  )
}
