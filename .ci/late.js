/*
 * Prints the files of a jest report in which a test waited for too long, one a line. Prints nothing, and says why, if
 * anything else went wrong, because running it again would only hide it: node .ci/late.js REPORT
 */
import { existsSync, readFileSync, statSync } from 'node:fs'

/** What tests say whose patience ended, and the codes with which the service says that it could not do it in time. */
const WAITED = /timeout|did not come|overloaded|(database|strategy)_unavailable/i

const [report] = process.argv.slice(2)
if (!existsSync(report) || statSync(report).size === 0) stop('there is no report')
const red = JSON.parse(readFileSync(report, 'utf8')).testResults.filter(({ status }) => status === 'failed')
for (const { name, assertionResults } of red) {
  const failed = assertionResults.filter(({ status }) => status === 'failed')
  if (failed.length === 0) stop(`${name} could not be run`)
  const wrong = failed.find(({ failureMessages }) => !failureMessages.every((message) => WAITED.test(message)))
  if (wrong !== undefined) stop(`it was not for a wait: ${wrong.fullName}`)
}
for (const { name } of red) console.log(name)

/** @param {string} why */
function stop(why) {
  console.error(`not run once more: ${why}`)
  process.exit()
}
