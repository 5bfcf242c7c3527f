import { signal } from '@preact/signals'
import type { Level } from '../client/client.ts'

/**
 * Levels as they change, over server-sent events. A stream is open only while the page is seen: a browser has few
 * connections to one server, and a page in the background must not keep one.
 */

/** Whether the numbers on the page are live. True until it is known that they are not. */
export const live = signal(true)

/** Of one stream; the server's own bound. */
const SKUS_MAX = 200
const AGAIN_MS = 2000
/** A stream that opens within this time was never away, as far as people are concerned. */
const GRACE_MS = 1500

export type LiveStock = {
  /** Watches these SKUs instead of those before. */
  watch(skus: readonly string[]): void
}

/**
 * @param url of the stream, without a query
 * @param onLevel told each SKU's level at the beginning, after every interruption, and when it changes
 */
export function createLiveStock(url: string, onLevel: (level: Level) => void): LiveStock {
  let skus: readonly string[] = []
  let source: EventSource | undefined
  let again: ReturnType<typeof setTimeout> | undefined
  let doubt: ReturnType<typeof setTimeout> | undefined

  function open(): void {
    close()
    if (document.hidden || skus.length === 0) return
    doubt ??= setTimeout(() => (live.value = false), GRACE_MS)
    const query = skus.slice(0, SKUS_MAX).map((sku) => `sku=${encodeURIComponent(sku)}`)
    source = new EventSource(`${url}?${query.join('&')}`)
    source.addEventListener('open', () => {
      clearTimeout(doubt)
      doubt = undefined
      live.value = true
    })
    source.addEventListener('message', ({ data }: MessageEvent<string>) => onLevel(JSON.parse(data) as Level))
    source.addEventListener('error', () => {
      doubt ??= setTimeout(() => (live.value = false), GRACE_MS)
      // A browser comes back by itself after a broken connection, and never after a refusal.
      if (source?.readyState === EventSource.CLOSED) again = setTimeout(open, AGAIN_MS)
    })
  }

  function close(): void {
    clearTimeout(again)
    clearTimeout(doubt)
    doubt = undefined
    source?.close()
    source = undefined
  }

  document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()))

  return {
    watch(wanted) {
      if (wanted.length === skus.length && wanted.every((sku, i) => sku === skus[i])) return
      skus = wanted
      open()
    },
  }
}
