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

export class Answers {
  #waiting: (() => void)[] = []
  readonly #onEmpty: () => void

  /** @param onEmpty called when the last that waited for its turn was given */
  constructor(onEmpty: () => void) {
    this.#onEmpty = onEmpty
  }

  /** Whether some still wait for their turn. */
  get pending(): boolean {
    return this.#waiting.length > 0
  }

  /** Gives answers in order, after those that wait already. */
  give(answers: readonly (() => void)[]): void {
    if (answers.length <= FEW_ANSWERS && !this.pending) {
      for (const answer of answers) answer()
      return
    }
    // Were others still to be given, a turn for it is set already.
    const is_set = this.pending
    for (const answer of answers) this.#waiting.push(answer)
    if (!is_set) this.#giveNextTurn()
  }

  #giveNextTurn(): void {
    const since = performance.now()
    setImmediate(() => {
      const is_long = performance.now() - since > TURN_MS_MAX
      const { length } = this.#waiting
      const count = is_long ? length : Math.max(ANSWERS_PER_TURN, length >> 3)
      for (const answer of this.#waiting.splice(0, count)) answer()
      if (this.pending) this.#giveNextTurn()
      else this.#onEmpty()
    })
  }
}
