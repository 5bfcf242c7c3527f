import { checkCrowd } from './comparing.ts'
import { runSuite } from './suite.ts'

/** npm run compare with a thousand buyers, before one process and before three: those that need no Redis. */

const STRATEGIES = 'batched,conditional,pessimistic,optimistic,mutex,none,unguarded'

await runSuite(async (suite) => {
  await checkCrowd(suite, { buyers: 1000, processes: 1, strategies: STRATEGIES })
  await checkCrowd(suite, { buyers: 1000, processes: 3, strategies: STRATEGIES })
})
