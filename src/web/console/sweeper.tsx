import { now } from '../clock.ts'
import { count } from '../format.ts'
import { language, words } from '../language.ts'
import { Notice, ProblemNotice } from '../parts/notice.tsx'
import type { Stats } from '../shapes.ts'
import { readStats, stats, stats_problem } from './activity.ts'

/** Whether what has run out is given back, and by whom. */
export function Sweeper() {
  const { console: say } = words.value
  const sweeper = stats.value?.sweeper
  return (
    <section class="panel" aria-labelledby="sweeper">
      <div class="panel-head">
        <h2 id="sweeper">{say.sweeper}</h2>
        {sweeper === undefined ? null : <State sweeper={sweeper} />}
      </div>
      <ProblemNotice problem={stats_problem.value} onRetry={() => void readStats()} />
      {sweeper === undefined ? <div class="bone" style={{ height: '5rem' }} /> : <Runs sweeper={sweeper} />}
    </section>
  )
}

type SweeperStats = Stats['sweeper']

function State({ sweeper }: { sweeper: SweeperStats }) {
  const { console: say } = words.value
  if (sweeper.stalled) return <span class="chip bad">{say.sweeperStalled}</span>
  if (sweeper.runs.length === 0) return <span class="chip">{say.sweeperOff}</span>
  return <span class="chip good">{say.sweeperWell}</span>
}

function Runs({ sweeper }: { sweeper: SweeperStats }) {
  const { console: say } = words.value
  const number = (n: number) => count(n, language.value)
  return (
    <>
      {sweeper.stalled ? <Notice tone="bad">{say.sweeperStalledNext}</Notice> : null}
      {sweeper.set_aside > 0 ? (
        <Notice tone="warn">
          <span>
            {say.setAside}: {number(sweeper.set_aside)}. {say.setAsideNext}
          </span>
        </Notice>
      ) : null}
      {sweeper.runs.length === 0 ? (
        <p class="soft">{say.sweeperOffNext}</p>
      ) : (
        <div class="table-frame" tabIndex={0} role="region" aria-labelledby="sweeper">
          <table class="table cards of-runs">
            <thead>
              <tr>
                <th scope="col">{say.instance}</th>
                <th scope="col">{say.lastRun}</th>
                <th scope="col" class="right">
                  {say.expired}
                </th>
                <th scope="col">{say.error}</th>
              </tr>
            </thead>
            <tbody>
              {sweeper.runs.map((run) => (
                <tr key={run.instance}>
                  <th scope="row" class="name">
                    {run.instance}
                  </th>
                  <td class="number" data-label={say.lastRun}>
                    {ago(run.finished_at ?? run.started_at)}
                  </td>
                  <td class="right" data-label={say.expired}>
                    {number(run.expired)}
                  </td>
                  <td data-label={say.error}>
                    {run.error === null ? say.none : `${run.error} (${ago(run.error_at)})`}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  )
}

function ago(time: string | null): string {
  const { console: say } = words.value
  return time === null ? say.never : say.ago(Math.max(0, Math.round((now.value - Date.parse(time)) / 1000)))
}
