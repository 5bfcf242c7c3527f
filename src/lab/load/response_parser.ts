/**
 * Reads HTTP/1.1 responses off one connection, as much of the protocol as a server may use in answering: any split into
 * packets, Content-Length, chunked bodies with trailers, bodies that end with the connection, interim responses.
 *
 * The head is looked at byte by byte where it lies: this runs for every response on the processor that is also the
 * server's, so what it costs is taken away from what is measured.
 */

/** What one response said. `body` is valid only until the callback returns. */
export type OnResponse = (status: number, body: Buffer, keep_alive: boolean) => void

/** Bytes of a head; a server under test that sends more is broken. */
const HEAD_BYTES_MAX = 65_536
const LF = 10
const CR = 13
const EMPTY = Buffer.alloc(0)

type Head = { status: number; length: number; chunked: boolean; keep_alive: boolean; end: number }

export class ResponseParser {
  readonly #onResponse: OnResponse
  /** Bytes of a response that is not complete. */
  #rest: Buffer = EMPTY

  constructor(onResponse: OnResponse) {
    this.#onResponse = onResponse
  }

  /**
   * Takes what arrived. The buffer may be used again afterwards.
   *
   * @throws if it is not HTTP
   */
  push(data: Buffer): void {
    let bytes = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data])
    while (bytes.length > 0) {
      const used = this.#take(bytes, false)
      if (used === 0) break
      bytes = bytes.subarray(used)
    }
    // What is kept is copied, because `data` belongs to the caller.
    this.#rest = bytes.length === 0 ? EMPTY : Buffer.from(bytes)
  }

  /** The connection has ended. Returns whether it did so between two responses or at the proper end of one. */
  end(): boolean {
    const rest = this.#rest
    this.#rest = EMPTY
    return rest.length === 0 || this.#take(rest, true) === rest.length
  }

  // Returns how many bytes the first response takes, 0 if it is not complete.
  #take(bytes: Buffer, ended: boolean): number {
    const head = readHead(bytes)
    if (head === undefined) {
      if (bytes.length > HEAD_BYTES_MAX) throw new Error('a response head without end')
      return 0
    }
    const { status, end } = head
    if (status < 200) return end
    if (head.chunked) return this.#takeChunks(bytes, head)
    if (status === 204 || status === 304) head.length = 0
    if (head.length < 0) {
      if (!ended) return 0
      this.#onResponse(status, bytes.subarray(end), false)
      return bytes.length
    }
    if (bytes.length < end + head.length) return 0
    this.#onResponse(status, bytes.subarray(end, end + head.length), head.keep_alive)
    return end + head.length
  }

  #takeChunks(bytes: Buffer, head: Head): number {
    const chunks: Buffer[] = []
    let at = head.end
    for (;;) {
      const line_end = bytes.indexOf(LF, at)
      if (line_end < 0) return 0
      const size = Number.parseInt(bytes.toString('latin1', at, line_end), 16)
      if (!(size >= 0)) throw new Error('a chunk without a size')
      at = line_end + 1
      if (size === 0) break
      if (bytes.length < at + size + 2) return 0
      chunks.push(bytes.subarray(at, at + size))
      at += size + 2
    }
    // Trailers, up to an empty line.
    for (;;) {
      const line_end = bytes.indexOf(LF, at)
      if (line_end < 0) return 0
      const empty = line_end === at || (line_end === at + 1 && bytes[at] === CR)
      at = line_end + 1
      if (empty) break
    }
    this.#onResponse(head.status, chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks), head.keep_alive)
    return at
  }
}

function readHead(bytes: Buffer): Head | undefined {
  const first = bytes.indexOf(LF)
  if (first < 0) return undefined
  // "HTTP/1.1 201 Created"
  if (bytes.toString('latin1', 0, 5) !== 'HTTP/') throw new Error('a response that does not begin with HTTP/')
  const status = (bytes[9]! - 48) * 100 + (bytes[10]! - 48) * 10 + (bytes[11]! - 48)
  if (!(status >= 100 && status <= 599)) throw new Error('a response without a status')
  const head: Head = { status, length: -1, chunked: false, keep_alive: bytes[7] !== 48, end: 0 }
  for (let at = first + 1; ;) {
    const line_end = bytes.indexOf(LF, at)
    if (line_end < 0) return undefined
    if (line_end === at || (line_end === at + 1 && bytes[at] === CR)) {
      head.end = line_end + 1
      return head
    }
    readHeader(bytes, at, line_end, head)
    at = line_end + 1
  }
}

// Only three headers say where a response ends; their names are told apart by first letter and length.
function readHeader(bytes: Buffer, at: number, line_end: number, head: Head): void {
  const letter = bytes[at]! | 32
  if (letter === 99 /* c */) {
    if (bytes[at + 14] === 58 && is(bytes, at, 14, 'content-length')) {
      head.length = Number(bytes.toString('latin1', at + 15, line_end).trim())
    } else if (bytes[at + 10] === 58 && is(bytes, at, 10, 'connection')) {
      const value = bytes
        .toString('latin1', at + 11, line_end)
        .trim()
        .toLowerCase()
      if (value === 'close') head.keep_alive = false
      else if (value === 'keep-alive') head.keep_alive = true
    }
  } else if (letter === 116 /* t */ && bytes[at + 17] === 58 && is(bytes, at, 17, 'transfer-encoding')) {
    head.chunked = bytes
      .toString('latin1', at + 18, line_end)
      .toLowerCase()
      .includes('chunked')
  }
}

function is(bytes: Buffer, at: number, length: number, name: string): boolean {
  return bytes.toString('latin1', at, at + length).toLowerCase() === name
}
