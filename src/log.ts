import { setTimeout as delay } from 'node:timers/promises'
import { pino, type Logger } from 'pino'

/** A line is written for every request, and one write for each takes longer than a small answer: they go out together. */
const GATHERED_BYTES = 8192
/** What several processes write to one pipe stays in whole lines up to this size: PIPE_BUF on Linux. */
const SHARED_BYTES_MAX = 4096
/** Characters that are handed on together; with three bytes for each of them they still are one write to such a pipe. */
const TOGETHER_LENGTH_MAX = Math.floor(SHARED_BYTES_MAX / 3)
/** What is gathered for such a pipe: what is handed on next, of one byte for each character, must still fit. */
const SHARED_GATHERED_BYTES = SHARED_BYTES_MAX - TOGETHER_LENGTH_MAX
/** So long after it was logged a line is on its way. */
const FLUSH_INTERVAL_MS = 100
/** When nobody reads standard output, what is logged beyond this is dropped: the shop goes on, and memory has a bound. */
const BUFFERED_BYTES_MAX = 16_777_216
/** A reader of standard output that has stopped reading holds nobody up for longer. */
const WRITTEN_TIMEOUT_MS = 400

/**
 * The log of a process: JSON lines on standard output. An end that runs Node's exit hooks writes what was gathered; SIGKILL, a
 * signal that nobody handles and an abort lose the last tenth of a second. Whoever calls `process.exit` waits for
 * {@link logWritten} before, because a write that is under way at that moment may be given up.
 *
 * @param level pino's name of the least level that is logged
 * @param options.shared other processes write to the same standard output
 */
export function createLog(level: string, options: { shared?: boolean } = {}): Logger {
  const destination = pino.destination({
    dest: 1,
    sync: false,
    ...(options.shared
      ? { minLength: SHARED_GATHERED_BYTES, maxWrite: SHARED_BYTES_MAX }
      : { minLength: GATHERED_BYTES }),
    maxLength: BUFFERED_BYTES_MAX,
    periodicFlush: FLUSH_INTERVAL_MS,
  })
  return pino({ level }, handOnTogether(destination))
}

type Destination = ReturnType<typeof pino.destination>

/**
 * Hands lines of one turn of the event loop on together. With each write the destination measures all that it has gathered,
 * 8 KiB and more: line by line that was a quarter of the memory that the constant route took for a request.
 */
function handOnTogether(destination: Destination): Pick<Destination, 'write' | 'flush' | 'flushSync'> {
  let lines = ''
  const handOn = (): void => {
    const together = lines
    lines = ''
    if (together !== '') destination.write(together)
  }
  // Before the destination's own listener, which writes what it has.
  process.prependListener('exit', handOn)
  return {
    write(line) {
      if (lines.length + line.length > TOGETHER_LENGTH_MAX) handOn()
      // Not unref'd: a process that has nothing else to do must not end before.
      if (lines === '') setImmediate(handOn)
      lines += line
      return true
    },
    flush(done) {
      handOn()
      destination.flush(done)
    },
    flushSync() {
      handOn()
      destination.flushSync()
    },
  }
}

/**
 * Waits until all that was logged so far is written, so that what is printed next comes after it.
 *
 * @returns false if nobody reads: then not even `process.exit` would end, which writes what is left and waits for it
 */
export async function logWritten(log: Logger): Promise<boolean> {
  const limit = delay(WRITTEN_TIMEOUT_MS, false, { ref: false })
  const flushed = () => new Promise<boolean>((resolve) => log.flush(() => resolve(true)))
  // The first may end with a write that was under way, the second with what was logged meanwhile.
  return (await Promise.race([flushed(), limit])) && (await Promise.race([flushed(), limit]))
}
