import { refused } from '../../errors.ts'
import type { Outcome, Reserve } from '../plan.ts'
import type { StrategyParts } from './strategy.ts'

/**
 * A reserve in its turn, and a second look for whom the turn had nothing to offer: in the database, many in one look. So a
 * refusal rests on a read that began after the request came, finds what its key has made before, and takes overdue holds back
 * first; and a first look that was wrong refuses nobody.
 *
 * @param work undefined asks for the second look
 */
export async function takeTurn(
  { turns, submit }: Pick<StrategyParts, 'turns' | 'submit'>,
  { operation, signal }: { operation: Reserve; signal: AbortSignal | undefined },
  work: () => Promise<Outcome | undefined>,
): Promise<Outcome> {
  let looks_again = false
  const outcome = await turns.take(
    async () => {
      const decided = await work()
      looks_again = decided === undefined
      return decided ?? NO_ANSWER
    },
    { signal },
  )
  return looks_again ? submit(operation, signal) : outcome
}

const NO_ANSWER = refused({ code: 'stock_conflict' })
