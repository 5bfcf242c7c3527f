import type { Found } from '../../src/lab/compare/crowd.ts'
import { checkCrowd, runCompare } from './comparing.ts'
import { runSuite, type Suite } from './suite.ts'

/** npm run compare with a hundred buyers before three processes, and its other loads; a thousand are a suite of their own. */

async function main(suite: Suite): Promise<void> {
  await checkCrowd(suite, { buyers: 100, processes: 3 })
  await checkCoupons(suite)
  await checkLoads(suite, ['--rate', '100,200', '--seconds', '1'], 2)
  await checkLoads(suite, ['--conflict', '1,50', '--buyers', '100'], 2)
}

async function checkCoupons(suite: Suite): Promise<void> {
  const { said } = await runCompare(suite, ['--scenario', 'coupon', '--strategies', 'batched'])
  suite.check(
    'thirty coupons go to the first thirty of forty customers',
    /batched +30 +10 +0 +yes .*1–30 .*clean/.test(said),
    /batched.*/.exec(said)?.[0] ?? said.slice(-1500),
  )
}

/** Everybody is answered and gets what they want: there is one unit for each. */
async function checkLoads(suite: Suite, args: readonly string[], loads: number): Promise<void> {
  const { code, said, report } = await runCompare(suite, [...args, '--strategies', 'batched,pessimistic'])
  const found = (report?.sections[0]?.data as { found: Found[] } | undefined)?.found ?? []
  const measured = found.flatMap(({ rounds }) => rounds.flatMap((round) => round.measured))
  const load = args.slice(0, 2).join(' ')
  const is_whole = code === 0 && measured.length === 2 * loads
  suite.check(`${load}: every load is measured`, is_whole, is_whole ? '' : said.slice(-1500))
  suite.checkInTime(
    `${load}: every buyer of every load gets a unit`,
    measured.every(({ successes, buyers, left }) => successes === buyers && left === 0),
    measured.map(({ successes }) => successes).join(', '),
  )
}

await runSuite(main)
