/**
 * Promises that are waited for only so long. One timer looks after all of them: setting and clearing one for each costs
 * more than a cached read.
 */

const LOOK_INTERVAL_MS = 100

type Waiting = { due: number; giveUp: () => void }

/**
 * Makes a function that answers with what a promise comes to, or with `late` if that takes longer, by up to a tenth of a
 * second more.
 *
 * @param limit_ms milliseconds
 */
export function createDeadline(limit_ms: number): <T>(promise: Promise<T>, late: T) => Promise<T> {
  // In the order in which they are due, because all wait equally long.
  const waiting = new Set<Waiting>()
  let timer: NodeJS.Timeout | undefined

  function look(): void {
    const now = performance.now()
    for (const one of waiting) {
      if (one.due > now) break
      waiting.delete(one)
      one.giveUp()
    }
    if (waiting.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  return <T>(promise: Promise<T>, late: T) =>
    new Promise<T>((resolve, reject) => {
      const one = { due: performance.now() + limit_ms, giveUp: () => resolve(late) }
      waiting.add(one)
      timer ??= setInterval(look, LOOK_INTERVAL_MS)
      promise.then(resolve, reject).finally(() => waiting.delete(one))
    })
}
