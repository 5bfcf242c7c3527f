import type { Context } from 'koa'
import type { ServerResponse } from 'node:http'
import { hasLeft } from './disconnect.ts'
import { API_HEADERS, computeHeaders } from './middleware/security_headers.ts'
import { refuse } from './problem.ts'
import { visitorOf } from './visitors.ts'

/**
 * Server-sent events. Streams are bounded: in number, in what waits for a reader that does not take it (merged by key), and
 * in how long it may not. One ends when its client leaves, when its key is no longer good, and when its source ends it.
 */

/** Streams of one process; more are refused. */
const STREAMS_MAX = 1000
/** The share of them that is left to who has a key: whoever looks at the shop needs none, and must not shut out the console. */
const KEPT_FOR_KEYS = 0.1
/** Shows the client, and every proxy in between, that the connection lives. */
const HEARTBEAT_MS = 15_000
/** A reader that has taken nothing for so long is let go. */
const BLOCKED_MS_MAX = 30_000
/** Bytes that may wait in a socket; what comes behind them is merged. */
const BUFFERED_MAX = 65_536
/** Keys that may wait to be sent; past them the reader is let go, and begins anew. */
const MERGED_MAX = 5000
/** How soon a browser comes back. */
const RETRY_MS = 1000
/** How often streams are looked after. A revoked key acts within 5 s, nearly all of which others take. */
const CARE_MS = 250

/** JSON as one event. Of those that wait for a slow reader only the last of each key is kept. */
export type StreamEvent = { key: string; json: string }

export type EventStream = {
  send(events: readonly StreamEvent[]): void
  end(): void
}

/**
 * What feeds a stream; called before the head is sent, so that a client misses nothing once it is open.
 *
 * @returns what to do when the stream has ended, however it did; undefined if there is nothing to read any more
 */
export type StreamSource = (stream: EventStream) => Promise<(() => void) | undefined>

/** Whether the reader may read on; asked again and again, so nearly always known at once. */
export type MayRead = () => boolean | Promise<boolean>

export type EventStreams = {
  /** Answers a request with a stream; resolves when it has begun, or was refused. */
  open(ctx: Context, source: StreamSource, mayRead: MayRead): Promise<void>
}

type Cared = { isFinished(): boolean; care(): void }

/** @param options for tests: how many at most, and milliseconds between heartbeats */
export function createEventStreams(options: { streams_max?: number; heartbeat_ms?: number } = {}): EventStreams {
  const { streams_max = STREAMS_MAX, heartbeat_ms = HEARTBEAT_MS } = options
  const guests_max = streams_max - Math.floor(streams_max * KEPT_FOR_KEYS)
  const open = new Set<Cared>()
  let opening = 0
  let timer: NodeJS.Timeout | undefined

  /** One timer for all. */
  function careForAll(): void {
    for (const stream of open) {
      if (stream.isFinished()) open.delete(stream)
      else stream.care()
    }
    if (open.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  return {
    async open(ctx, source, mayRead) {
      if (open.size + opening >= (isGuest(ctx) ? guests_max : streams_max)) {
        return refuse(ctx, { code: 'overloaded', detail: 'as many streams are open as there may be' })
      }
      const stream = createStream(ctx, { mayRead, heartbeat_ms })
      opening += 1
      const leave = await source(stream).finally(() => (opening -= 1))
      if (leave === undefined) return refuse(ctx, { code: 'overloaded', detail: 'the service is stopping' })
      if (!stream.begin(leave)) return
      open.add(stream)
      timer ??= setInterval(careForAll, CARE_MS)
    },
  }
}

/** Came through the shop's door, where nobody needs a key. */
function isGuest(ctx: Context): boolean {
  const visitor = visitorOf(ctx)
  return visitor !== undefined && visitor.kind !== 'key'
}

const HEAD = Object.entries({
  ...Object.fromEntries(computeHeaders(API_HEADERS)),
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-store',
  // nginx holds an answer back unless it is told not to.
  'X-Accel-Buffering': 'no',
  // A stream that ends while the service stops must not leave an idle connection behind.
  Connection: 'close',
}).flat()

function createStream(ctx: Context, options: { mayRead: MayRead; heartbeat_ms: number }) {
  const { res } = ctx
  const outlet = createOutlet(res)
  let leave: (() => void) | undefined
  let finished = false
  let beaten_at = performance.now()
  let asking = false

  function finish(): void {
    if (finished) return
    finished = true
    if (leave !== undefined) close(leave)
  }

  function close(onEnd: () => void): void {
    onEnd()
    // Whoever has not taken what was sent before won't take the end of it either.
    if (outlet.isFull()) res.destroy()
    else if (!res.destroyed) res.end()
  }

  async function recheck(): Promise<void> {
    if (asking) return
    const may = options.mayRead()
    if (may === true) return
    asking = true
    // What can't be asked is not allowed, as it is for any other request.
    if (!(await Promise.resolve(may).catch(() => false))) finish()
    asking = false
  }

  return {
    send(events: readonly StreamEvent[]): void {
      if (!finished && !outlet.send(events)) finish()
    },
    end: finish,
    isFinished: () => finished,
    /** @returns false if it is over already */
    begin(onEnd: () => void): boolean {
      leave = onEnd
      ctx.respond = false
      if (!hasLeft(ctx)) res.writeHead(200, ['X-Request-Id', ctx.state.request_id as string, ...HEAD])
      if (finished || hasLeft(ctx) || ctx.method === 'HEAD') {
        finished = true
        close(onEnd)
        return false
      }
      res.once('close', finish)
      outlet.begin()
      return true
    },
    care(): void {
      const now = performance.now()
      if (now - outlet.blockedSince() > BLOCKED_MS_MAX) return finish()
      void recheck()
      if (now - beaten_at < options.heartbeat_ms) return
      beaten_at = now
      if (!outlet.isFull()) res.write(':\n\n')
    },
  }
}

/**
 * What goes out as fast as the reader takes it, and is merged by key until it does. Merges until it begins. However much is sent
 * at once, no more than BUFFERED_MAX of it is text of this stream's own: what is merged is shared with all others.
 */
function createOutlet(res: ServerResponse) {
  const merged = new Map<string, string>()
  let blocked_since = Infinity
  let begun = false
  const isFull = (): boolean => res.writableLength > BUFFERED_MAX

  function flush(): void {
    let text = ''
    for (const [key, json] of merged) {
      if (res.writableLength + text.length > BUFFERED_MAX) break
      merged.delete(key)
      text += frame(json)
    }
    if (text !== '') res.write(text)
    blocked_since = merged.size === 0 ? Infinity : Math.min(blocked_since, performance.now())
  }

  return {
    isFull,
    /** In milliseconds of performance.now(); Infinity while the reader takes what comes. */
    blockedSince: () => blocked_since,
    begin(): void {
      begun = true
      res.on('drain', flush)
      res.write(`retry: ${RETRY_MS}\n\n`)
      flush()
    },
    /** @returns false if too much waits */
    send(events: readonly StreamEvent[]): boolean {
      for (const { key, json } of events) merged.set(key, json)
      if (begun) flush()
      return merged.size <= MERGED_MAX
    },
  }
}

function frame(json: string): string {
  return `data: ${json}\n\n`
}
