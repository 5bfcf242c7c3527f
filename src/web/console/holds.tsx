import { useRef } from 'preact/hooks'
import { now } from '../clock.ts'
import type { Reservation } from '../../client/client.ts'
import { clockTime, count, secondsLeft, shortId } from '../format.ts'
import { language, words } from '../language.ts'
import { Button } from '../parts/button.tsx'
import { ProblemNotice } from '../parts/notice.tsx'
import { holds, holds_problem, HOLDS_SHOWN, readHolds, stats } from './activity.ts'
import { Release } from './release.tsx'
import { search } from './search.ts'

/** Who holds what at the moment, and for how long still. */
export function Holds() {
  const { console: say } = words.value
  const frame = useRef<HTMLElement>(null)
  const all = holds.value
  const number = (n: number) => count(n, language.value)
  const pending = stats.value?.pending ?? 0
  return (
    <section class="panel" aria-labelledby="holds" tabIndex={-1} ref={frame}>
      <div class="panel-head">
        <h2 id="holds">{say.holds}</h2>
        {all !== undefined && all.length >= HOLDS_SHOWN && pending > all.length ? (
          <p class="soft small">{say.holdsShown(number(all.length), number(pending))}</p>
        ) : null}
      </div>
      <ProblemNotice problem={holds_problem.value} onRetry={() => void readHolds()} />
      {all === undefined ? (
        holds_problem.value === undefined && <div class="bone" style={{ height: '8rem' }} />
      ) : all.length === 0 ? (
        <p class="soft">{say.holdsEmpty}</p>
      ) : (
        <Table all={all} onReleased={() => frame.current?.focus()} />
      )}
    </section>
  )
}

function Table({ all, onReleased }: { all: readonly Reservation[]; onReleased: () => void }) {
  const { console: say } = words.value
  return (
    <div class="table-frame scroll" tabIndex={0} role="region" aria-labelledby="holds">
      <table class="table cards of-holds">
        <thead>
          <tr>
            <th scope="col">{say.reservation}</th>
            <th scope="col">{say.what}</th>
            <th scope="col" class="right">
              {say.remaining}
            </th>
            <th scope="col">
              <span class="unseen">{say.release}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {all.map((hold) => (
            <tr key={hold.id}>
              <th scope="row">
                <Button look="link" onPress={() => void search(hold.id)}>
                  {shortId(hold.id)}
                </Button>
              </th>
              <td class="name">
                {hold.lines.map(({ sku, quantity }) => (
                  <div key={sku}>
                    {quantity} × {sku}
                  </div>
                ))}
              </td>
              <td class="right">
                <Remaining until={hold.expires_at} />
              </td>
              <td>
                {/* With its row the button goes, and the focus must go somewhere. */}
                <Release id={hold.id} onReleased={onReleased} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** Such as `2 × TEE-BLK-M, 1 × TOTE-NATURAL`. */
export function linesOf({ lines }: Reservation): string {
  return lines.map(({ sku, quantity }) => `${quantity} × ${sku}`).join(', ')
}

/** What is left of a hold, by the server's clock. */
export function Remaining({ until }: { until: string }) {
  const { console: say } = words.value
  const left = secondsLeft(until, now.value)
  return left === 0 ? <span class="chip warn">{say.overdueShort}</span> : <span class="number">{clockTime(left)}</span>
}
