import { pino, type Logger } from 'pino'

/** A line is written for every request, and one write for each takes longer than a small answer: they go out together. */
const GATHERED_BYTES = 8192
/** So long after it was logged a line is on its way. */
const FLUSH_INTERVAL_MS = 100
/** When nobody reads standard output, what is logged beyond this is dropped: the shop goes on, and memory has a bound. */
const BUFFERED_BYTES_MAX = 16_777_216

/**
 * The log of a process: JSON lines on standard output. Every way to end but SIGKILL writes what was gathered.
 *
 * @param level pino's name of the least level that is logged
 */
export function createLog(level: string): Logger {
  const destination = pino.destination({
    dest: 1,
    sync: false,
    minLength: GATHERED_BYTES,
    maxLength: BUFFERED_BYTES_MAX,
    periodicFlush: FLUSH_INTERVAL_MS,
  })
  return pino({ level }, destination)
}
