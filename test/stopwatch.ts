import { cpus } from 'node:os'
import { watchStolen } from '../src/lab/bench/stolen.ts'

/**
 * Time as a test can judge it: what the host of a virtual machine kept back meanwhile, of all its processors together, is taken
 * off, because nobody can say which of it a promise would have needed.
 *
 * @returns milliseconds since then, at least 0
 */
export function startStopwatch(): () => number {
  const began = performance.now()
  const shareStolen = watchStolen()
  return () => {
    const took_ms = performance.now() - began
    return Math.max(0, took_ms * (1 - shareStolen() * cpus().length))
  }
}
