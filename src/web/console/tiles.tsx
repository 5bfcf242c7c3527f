import { count } from '../format.ts'
import { language, words } from '../language.ts'
import { stats } from './activity.ts'
import { ratesOf } from './outcomes.ts'

/** Counting stops here: see the service's statistics. */
const PENDING_MAX = 100_000

/** How things stand, in six numbers. */
export function Tiles() {
  const { console: say } = words.value
  const now = stats.value
  const rates = now === undefined ? undefined : ratesOf(now.last_minute)
  const number = (n: number | undefined) => (n === undefined ? '–' : count(n, language.value))
  const pending = now?.pending ?? 0
  const tiles = [
    { name: say.pending, text: pending >= PENDING_MAX ? say.pendingMax(number(pending)) : number(now?.pending) },
    { name: say.overdue, text: number(now?.overdue) },
    { name: say.reservations, text: number(rates?.reservations), minute: true },
    { name: say.refusals, text: number(rates?.refusals), minute: true },
    { name: say.confirms, text: number(rates?.confirms), minute: true },
    { name: say.expiries, text: number(rates?.expiries), minute: true },
  ]
  return (
    <section aria-label={say.now}>
      <dl class="tiles">
        {tiles.map(({ name, text, minute }) => (
          <div class="tile" key={name}>
            <dt>{name}</dt>
            <dd class="number">
              {text} {minute ? <span class="unit">{say.perMinute}</span> : null}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  )
}
