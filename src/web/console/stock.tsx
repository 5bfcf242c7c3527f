import { useSignal, type Signal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { count } from '../format.ts'
import { language, words } from '../language.ts'
import { Button } from '../parts/button.tsx'
import { ProblemNotice } from '../parts/notice.tsx'
import { has_more, levels_problem, showMore, watched, type Watched } from './levels.ts'
import { search } from './search.ts'
import { Sparkline } from './sparkline.tsx'

/** The counters of every SKU, live. */
export function Stock() {
  const { console: say } = words.value
  const filter = useSignal('')
  useEffect(() => void showMore(), [])
  const all = watched.value
  const wanted = filter.value.trim().toLowerCase()
  const rows = [...(all ?? [])].filter(([sku]) => sku.toLowerCase().includes(wanted))
  return (
    <section class="panel" aria-labelledby="stock">
      <div class="panel-head">
        <h2 id="stock">{say.stock}</h2>
        <input
          class="input"
          style={{ maxWidth: '14rem' }}
          type="search"
          placeholder={say.filter}
          aria-label={say.filter}
          value={filter.value}
          onInput={(event) => (filter.value = event.currentTarget.value)}
        />
      </div>
      <ProblemNotice problem={levels_problem.value} onRetry={() => void showMore()} />
      {all === undefined ? (
        levels_problem.value === undefined && <div class="bone" style={{ height: '20rem' }} />
      ) : all.size === 0 ? (
        <div class="empty">
          <p>{say.stockEmpty}</p>
          <p class="soft code">{say.stockEmptyNext}</p>
        </div>
      ) : (
        <Table rows={rows} />
      )}
      {all !== undefined && all.size > 0 && rows.length === 0 ? <p class="soft">{say.noMatch}</p> : null}
      {has_more.value ? <Button onPress={() => void showMore()}>{say.more}</Button> : null}
    </section>
  )
}

function Table({ rows }: { rows: [string, Signal<Watched>][] }) {
  const { console: say } = words.value
  return (
    <div class="table-frame" tabIndex={0} role="region" aria-labelledby="stock">
      <table class="table cards of-stock">
        <thead>
          <tr>
            <th scope="col">{say.sku}</th>
            <th scope="col">{say.trend}</th>
            <th scope="col" class="right">
              {say.available}
            </th>
            <th scope="col" class="right">
              {say.held}
            </th>
            <th scope="col" class="right">
              {say.onHand}
            </th>
            <th scope="col">
              <span class="unseen">{say.detailsShort}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([sku, one]) => (
            <Row key={sku} one={one} />
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** Each row follows its own SKU, so a change draws one row. */
function Row({ one }: { one: Signal<Watched> }) {
  const { console: say } = words.value
  const { level, trend } = one.value
  return (
    <tr>
      <th scope="row" class="name">
        {level.sku}
      </th>
      <td>
        <Sparkline sku={level.sku} values={trend} />
      </td>
      <td class="right" data-label={say.available}>
        <Changing value={level.available} tone={level.available === 0 ? 'bad' : ''} />
      </td>
      <td class="right" data-label={say.held}>
        <Changing value={level.temp_reserved_stock} />
      </td>
      <td class="right" data-label={say.onHand}>
        <Changing value={level.stock} />
      </td>
      <td class="right">
        <Button look="little" label={say.details(level.sku)} onPress={() => void search(level.sku)}>
          {say.detailsShort}
        </Button>
      </td>
    </tr>
  )
}

/** A number that shows that it has just changed: with another key it is another element, and its animation begins anew. */
export function Changing({ value, tone = '' }: { value: number; tone?: string }) {
  const first = useSignal(value)
  return (
    <span key={value} class={`${value === first.value ? '' : 'changed'} ${tone === '' ? '' : `chip ${tone}`}`}>
      {count(value, language.value)}
    </span>
  )
}
