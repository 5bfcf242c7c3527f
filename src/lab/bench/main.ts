import { runBench } from './bench.ts'
import { verdictOf, type Goal } from './goal.ts'
import { oneSku } from './goals/01_one_sku.ts'
import { naive } from './goals/02_naive.ts'
import { manySkus } from './goals/03_many_skus.ts'
import { soldOut } from './goals/04_sold_out.ts'
import { orders } from './goals/05_orders.ts'
import { pairs } from './goals/06_pairs.ts'
import { expiry } from './goals/07_expiry.ts'
import { overload } from './goals/08_overload.ts'
import { oneClient } from './goals/09_one_client.ts'
import { levels } from './goals/10_levels.ts'
import { history } from './goals/11_history.ts'
import { bulk } from './goals/12_bulk.ts'
import { readOptions, USAGE, type Options } from './options.ts'

/** npm run bench: how fast the service is on this machine, against what it could be. */

const GOALS: readonly Goal[] = [
  oneSku,
  naive,
  manySkus,
  soldOut,
  orders,
  pairs,
  expiry,
  overload,
  oneClient,
  levels,
  history,
  bulk,
]

/** What a shell expects of a program that a signal ended. The exit takes everything along that was started. */
process.once('SIGINT', () => process.exit(130))
process.once('SIGTERM', () => process.exit(143))

function options(): Options | undefined {
  try {
    return readOptions(
      process.argv.slice(2),
      GOALS.map((goal) => goal.id),
    )
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
    return undefined
  }
}

const chosen = options()
if (chosen === undefined) {
  process.exitCode = 2
} else {
  const goals = GOALS.filter((goal) => chosen.only.length === 0 || chosen.only.includes(goal.id))
  const report = await runBench(chosen, goals, (text) => void process.stdout.write(`${text}\n`))
  // A goal that falls short is an answer; one that could not be measured is none.
  const invalid = report.goals.some(({ result }) => verdictOf(result.rows) === 'INVALID')
  process.exit(invalid ? 1 : 0)
}
