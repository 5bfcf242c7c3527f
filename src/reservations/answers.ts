/**
 * Hands answers out a few in each turn of the event loop. Sending is among the dearest parts of a request: sent all at once,
 * the answers of a batch would keep the database waiting for the next statement.
 */

/** Answers sent in one turn. */
const ANSWERS_PER_TURN = 32
/** So few are answered at once: a buyer alone need not wait for the next turn. */
const FEW_ANSWERS = 4
/** A turn that takes longer has so much else to do that the answers would never be through: then all are sent. */
const TURN_MS_MAX = 10

export type Answers = {
  /** Gives answers in order, after those that wait already. */
  give(answers: readonly (() => void)[]): void
  /** Whether some still wait for their turn. */
  isPending(): boolean
}

/** @param onEmpty called when the last that waited for its turn was given */
export function createAnswers(onEmpty: () => void): Answers {
  const waiting: (() => void)[] = []

  const giveNextTurn = () => {
    const since = performance.now()
    setImmediate(() => {
      const is_long = performance.now() - since > TURN_MS_MAX
      const { length } = waiting
      const count = is_long ? length : Math.max(ANSWERS_PER_TURN, length >> 3)
      for (const answer of waiting.splice(0, count)) answer()
      if (waiting.length > 0) giveNextTurn()
      else onEmpty()
    })
  }

  return {
    give(answers) {
      const is_turn_set = waiting.length > 0
      if (answers.length <= FEW_ANSWERS && !is_turn_set) {
        for (const answer of answers) answer()
        return
      }
      for (const answer of answers) waiting.push(answer)
      if (!is_turn_set) giveNextTurn()
    },
    isPending: () => waiting.length > 0,
  }
}
