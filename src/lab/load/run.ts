import { connect, type Socket } from 'node:net'
import { Histogram, type PackedHistogram } from './histogram.ts'
import { ResponseParser } from './response_parser.ts'
import { createTalks, type Door, type Scenario, type Talk } from './scenario.ts'

/** The load of one process: connections that stay open, each with one request under way, until the time is over. */

export type LoadPlan = {
  /** Of a server on this machine; of several, connections are opened to each in turn. */
  port: number | readonly number[]
  api_key: string
  scenario: Scenario
  /** Statuses that are no fault besides the one the scenario is about: 503 where overload is what is measured. */
  tolerate?: readonly number[]
  /** How many at most; an open loop opens them as it needs them. */
  connections: number
  /**
   * Requests a second, sent when they are due whatever the answers do, and timed from when they were due. Absent: a closed
   * loop, each connection sending when it has its answer.
   */
  rate?: number
  duration_ms: number
  /** Ends earlier after so many requests. */
  count_max?: number
  /** A request without an answer for so long is an error, and its connection is given up. */
  timeout_ms?: number
  /**
   * Each connection that is opened before the clock starts asks once for the service's health by then. A connection is made
   * without the server, which takes over one in each turn of its event loop: while others keep it busy that may take seconds.
   */
  greets?: boolean
  /** Which answers are timed: those that were accepted, unless this says all that are no fault. */
  timed?: 'accepted' | 'answered'
  /** Milliseconds since the epoch, rising, at which the latencies of what is due from then on are counted apart. */
  cuts?: readonly number[]
}

/** What one process saw. Times are milliseconds since the epoch. */
export type LoadCounts = {
  sent: number
  accepted: number
  tolerated: number
  wrong: number
  /** Due, but still without a free connection when the time for that was over too. */
  unsent: number
  /** By what happened: `timeout`, `closed`, or the code of a socket's error. */
  errors: Record<string, number>
  by_status: Record<string, number>
  /** The first few answers that were wrong. */
  examples: string[]
  body_bytes: number
  started_at: number
  ended_at: number
  /** When the last answer came; `started_at` if none did. */
  last_answer_at: number
  /** Of accepted answers, or of all that the plan times; one more than the plan has cuts. */
  latencies: PackedHistogram[]
  /** Accepted answers in each {@link INTERVAL_MS} since the start. */
  timeline: number[]
}

export const INTERVAL_MS = 250
const TIMEOUT_MS = 10_000
const EXAMPLES_MAX = 3
/** An open loop starts with so many connections and opens more when it runs out. */
const OPEN_AT_START = 128
/** Opened at a time; servers keep few that they have not accepted yet. */
const CONNECTING_MAX = 64
const RECONNECT_MS = 20
const GREETING = 'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'
/** How much may be read at once; one buffer serves all connections, because each answer is looked at on arrival. */
const READ_BYTES = 262_144

type Line = {
  socket: Socket | undefined
  parser: ResponseParser
  talk: Talk
  /** What to do when the answer to its greeting comes. */
  onGreeted: (() => void) | undefined
  busy: boolean
  /** When the request under way was due, and when it went out. */
  due: number
  sent: number
}

/**
 * Runs a plan in this process.
 *
 * @param whenConnected called when the first connections are open; the clock starts when what it returns resolves
 * @throws nothing: what goes wrong is counted
 */
export function runLoad(plan: LoadPlan, whenConnected?: () => Promise<void>): Promise<LoadCounts> {
  return new Run(plan, whenConnected).result
}

class Run {
  readonly result: Promise<LoadCounts>
  readonly #plan: LoadPlan
  readonly #timeout_ms: number
  readonly #newTalk: (door: Door) => Talk
  readonly #ports: readonly number[]
  readonly #buffer = Buffer.allocUnsafe(READ_BYTES)
  readonly #lines = new Set<Line>()
  readonly #idle: Line[] = []
  readonly #latencies: Histogram[]
  readonly #counts: LoadCounts
  /** Requests that are due and wait for a connection, from `#head` on: when they were due. */
  #backlog: number[] = []
  #head = 0
  #scheduled = 0
  #connecting = 0
  #opened = 0
  #busy = 0
  #started = 0
  #deadline = Infinity
  #ended = false
  #finish: (counts: LoadCounts) => void = () => undefined
  #watch: NodeJS.Timeout | undefined

  constructor(plan: LoadPlan, whenConnected: (() => Promise<void>) | undefined) {
    this.#plan = plan
    this.#timeout_ms = plan.timeout_ms ?? TIMEOUT_MS
    this.#newTalk = createTalks(plan.scenario)
    this.#ports = [plan.port].flat()
    this.#latencies = Array.from({ length: (plan.cuts?.length ?? 0) + 1 }, () => new Histogram())
    this.#counts = {
      sent: 0,
      accepted: 0,
      tolerated: 0,
      wrong: 0,
      unsent: 0,
      errors: {},
      by_status: {},
      examples: [],
      body_bytes: 0,
      started_at: 0,
      ended_at: 0,
      last_answer_at: 0,
      latencies: [],
      timeline: [],
    }
    this.result = new Promise((resolve) => (this.#finish = resolve))
    void this.#begin(whenConnected)
  }

  /** Connects before the clock starts, so that a rate is not that of connecting. */
  async #begin(whenConnected: (() => Promise<void>) | undefined): Promise<void> {
    const { connections, rate, duration_ms } = this.#plan
    const first = rate === undefined ? connections : Math.min(connections, OPEN_AT_START)
    for (let left = first; left > 0; left -= CONNECTING_MAX) {
      await Promise.all(Array.from({ length: Math.min(left, CONNECTING_MAX) }, () => this.#open()))
    }
    await whenConnected?.()
    this.#started = performance.now()
    this.#counts.started_at = performance.timeOrigin + this.#started
    this.#counts.last_answer_at = this.#counts.started_at
    this.#deadline = this.#started + duration_ms
    this.#watch = setInterval(() => this.#look(), 100)
    if (rate !== undefined) this.#schedule(rate)
    else for (const line of this.#idle.splice(0)) this.#next(line)
    this.#endIfDone()
  }

  #open(): Promise<void> {
    this.#connecting++
    return new Promise((resolve) => {
      const { api_key, tolerate = [] } = this.#plan
      const port = this.#ports[this.#opened++ % this.#ports.length]!
      const talk = this.#newTalk({ host: `127.0.0.1:${port}`, api_key, tolerate })
      const line: Line = {
        socket: undefined,
        parser: this.#parserFor(() => line),
        talk,
        onGreeted: undefined,
        busy: false,
        due: 0,
        sent: 0,
      }
      const socket = connect({
        port,
        host: '127.0.0.1',
        noDelay: true,
        onread: {
          buffer: this.#buffer,
          callback: (length, buffer) => this.#read(line, (buffer as Buffer).subarray(0, length)),
        },
      })
      line.socket = socket
      let failure = 'closed'
      const onOpen = (): void => {
        clearTimeout(limit)
        this.#connecting--
        this.#lines.add(line)
        this.#free(line)
        resolve()
      }
      socket.once('connect', () => {
        if (this.#started > 0 || this.#plan.greets !== true) return onOpen()
        line.onGreeted = onOpen
        socket.write(GREETING, 'latin1')
      })
      const limit = setTimeout(() => {
        failure = 'timeout'
        socket.destroy()
      }, this.#timeout_ms)
      socket.on('error', (error: NodeJS.ErrnoException) => (failure = error.code ?? 'error'))
      socket.once('close', () => {
        clearTimeout(limit)
        if (this.#lines.has(line)) return this.#lost(line, failure)
        this.#connecting--
        this.#fail(failure)
        this.#replace()
        resolve()
      })
    })
  }

  #parserFor(lineOf: () => Line): ResponseParser {
    return new ResponseParser((status, body, keep_alive) => this.#answered(lineOf(), status, body, keep_alive))
  }

  #read(line: Line, bytes: Buffer): boolean {
    try {
      line.parser.push(bytes)
    } catch (error) {
      this.#noteWrong(`not HTTP: ${String(error)}`)
      line.socket?.destroy()
    }
    return true
  }

  #answered(line: Line, status: number, body: Buffer, keep_alive: boolean): void {
    if (line.onGreeted !== undefined) {
      line.onGreeted()
      line.onGreeted = undefined
      if (!keep_alive) line.socket?.destroy()
      return
    }
    if (!line.busy) {
      this.#noteWrong(`an answer nobody asked for: ${status}`)
      return void line.socket?.destroy()
    }
    const now = performance.now()
    const counts = this.#counts
    counts.by_status[status] = (counts.by_status[status] ?? 0) + 1
    counts.body_bytes += body.length
    counts.last_answer_at = performance.timeOrigin + now
    const verdict = line.talk.judge(status, body)
    if (verdict === 'wrong') this.#noteWrong(`${status} ${body.toString('utf8', 0, 300)}`)
    else counts[verdict]++
    if (verdict === 'accepted' || (verdict === 'tolerated' && this.#plan.timed === 'answered')) {
      this.#latencyOf(line.due).record((now - line.due) * 1000)
    }
    if (verdict === 'accepted') {
      const interval = Math.floor((now - this.#started) / INTERVAL_MS)
      counts.timeline[interval] = (counts.timeline[interval] ?? 0) + 1
    }
    line.busy = false
    this.#busy--
    if (keep_alive) this.#free(line)
    else line.socket?.destroy()
    this.#endIfDone()
  }

  #latencyOf(due: number): Histogram {
    const at = performance.timeOrigin + due
    const next = this.#plan.cuts?.findIndex((cut) => at < cut) ?? -1
    return next < 0 ? this.#latencies.at(-1)! : this.#latencies[next]!
  }

  /** A connection has nothing under way: it takes what is due next, or waits. */
  #free(line: Line): void {
    if (this.#plan.rate === undefined) {
      if (this.#started > 0) this.#next(line)
      else this.#idle.push(line)
    } else if (this.#head < this.#backlog.length) {
      this.#send(line, this.#backlog[this.#head++]!)
      if (this.#head === this.#backlog.length) {
        this.#backlog = []
        this.#head = 0
      }
    } else {
      this.#idle.push(line)
    }
  }

  #next(line: Line): void {
    const now = performance.now()
    if (now >= this.#deadline || this.#counts.sent >= (this.#plan.count_max ?? Infinity)) this.#idle.push(line)
    else this.#send(line, now)
  }

  #send(line: Line, due: number): void {
    line.busy = true
    line.due = due
    line.sent = performance.now()
    this.#busy++
    this.#counts.sent++
    line.socket?.write(line.talk.ask(), 'latin1')
  }

  /** Sends what is due, now and in a millisecond again. What finds no free connection waits, and its time runs. */
  #schedule(rate: number): void {
    const total = Math.min(Math.floor((rate * this.#plan.duration_ms) / 1000), this.#plan.count_max ?? Infinity)
    const tick = (): void => {
      if (this.#ended) return
      const now = performance.now()
      const due_count = Math.min(total, Math.floor(((now - this.#started) * rate) / 1000) + 1)
      for (; this.#scheduled < due_count; this.#scheduled++) {
        const due = this.#started + (this.#scheduled * 1000) / rate
        // In turn: a connection on which nothing comes is closed by its server with a 408.
        const line = this.#idle.shift()
        if (line === undefined) this.#backlog.push(due)
        else this.#send(line, due)
      }
      this.#grow()
      if (this.#scheduled < total) setTimeout(tick, 1)
      else this.#deadline = Math.min(this.#deadline, now)
      this.#endIfDone()
    }
    tick()
  }

  #grow(): void {
    const waiting = this.#backlog.length - this.#head
    const room = this.#plan.connections - this.#lines.size - this.#connecting
    const wanted = Math.min(waiting - this.#connecting, room, CONNECTING_MAX - this.#connecting)
    for (let i = 0; i < wanted; i++) void this.#open()
  }

  #lost(line: Line, failure: string): void {
    this.#lines.delete(line)
    const at = this.#idle.indexOf(line)
    if (at >= 0) this.#idle.splice(at, 1)
    // A body that ends with the connection is complete now.
    if (line.busy) this.#endOfBody(line)
    if (line.busy) {
      line.busy = false
      this.#busy--
      this.#fail(failure)
    }
    this.#replace()
    this.#endIfDone()
  }

  #endOfBody(line: Line): void {
    try {
      line.parser.end()
    } catch (error) {
      this.#noteWrong(`not HTTP: ${String(error)}`)
    }
  }

  #replace(): void {
    if (this.#ended || performance.now() >= this.#deadline) return
    setTimeout(() => {
      if (!this.#ended && performance.now() < this.#deadline) void this.#open()
    }, RECONNECT_MS)
  }

  #fail(what: string): void {
    this.#counts.errors[what] = (this.#counts.errors[what] ?? 0) + 1
  }

  #noteWrong(example: string): void {
    this.#counts.wrong++
    if (this.#counts.examples.length < EXAMPLES_MAX) this.#counts.examples.push(example)
  }

  /** Gives up requests that are without an answer for too long, and ends what is over. */
  #look(): void {
    const now = performance.now()
    for (const line of this.#lines) {
      if (!line.busy || now - line.sent <= this.#timeout_ms) continue
      line.busy = false
      this.#busy--
      this.#fail('timeout')
      line.socket?.destroy()
    }
    this.#endIfDone()
  }

  #endIfDone(): void {
    const now = performance.now()
    const all_sent = now >= this.#deadline || this.#counts.sent >= (this.#plan.count_max ?? Infinity)
    if (this.#ended || this.#started === 0 || !all_sent || this.#busy > 0) return
    const waiting = this.#backlog.length - this.#head
    if (waiting > 0 && now < this.#deadline + this.#timeout_ms) return this.#grow()
    this.#ended = true
    clearInterval(this.#watch)
    for (const line of this.#lines) line.socket?.destroy()
    const timeline = Array.from(this.#counts.timeline, (count) => count ?? 0)
    this.#finish({
      ...this.#counts,
      unsent: waiting,
      ended_at: performance.timeOrigin + now,
      latencies: this.#latencies.map((histogram) => histogram.pack()),
      timeline,
    })
  }
}
