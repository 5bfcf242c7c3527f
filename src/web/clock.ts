import { signal } from '@preact/signals'

/**
 * The server's clock. A hold ends by the database's clock, and the browser's may be off by minutes, or be set while
 * the page is open; so only the time that has passed since the server said what time it is is measured here, by a clock that
 * nobody can set.
 */

/** What performance.now() has to be added to. */
let origin_ms = Date.now() - performance.now()

/** Notes what the server said, and when it was asked and answered, in milliseconds of performance.now(). */
export function synchronise(server_now: string, asked_ms: number, answered_ms: number): void {
  origin_ms = Date.parse(server_now) - (asked_ms + answered_ms) / 2
  now.value = serverNow()
}

/** Milliseconds since 1970, as the server counts them. */
export function serverNow(): number {
  return origin_ms + performance.now()
}

/** The server's time, four times a second while the page is seen. */
export const now = signal(serverNow())

const TICK_MS = 250

setInterval(() => {
  if (!document.hidden) now.value = serverNow()
}, TICK_MS)
