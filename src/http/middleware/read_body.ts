import type { Context, Middleware, Next } from 'koa'
import type { IncomingMessage } from 'node:http'
import type { Refusal } from '../../errors.ts'
import { findUnstorable, parseJson } from '../json.ts'
import { stop } from '../problem.ts'

/** Bytes of a body at most. */
export const BODY_BYTES_MAX = 65_536
export const BULK_BODY_BYTES_MAX = 1_048_576

/**
 * Reads and parses the body into `ctx.state.body`; `ctx.state.body_bytes` is its size.
 *
 * @param options.optional an absent body is undefined, not a refusal
 * @param options.keep leaves its bytes in `ctx.state.body_raw`
 */
export function readBody(options: { optional: boolean; limit_bytes: number; keep?: boolean }): Middleware {
  const { optional, limit_bytes, keep = false } = options
  const too_large: Refusal = { code: 'payload_too_large', limit_bytes }

  const goOn = (ctx: Context, next: Next, bytes: Received): Promise<unknown> => {
    if (bytes === 'too large') return stop(ctx, too_large)
    // The client has left, so nobody reads this.
    if (bytes === 'broken off') return stop(ctx, { code: 'malformed_json', detail: 'the body broke off' })
    if (bytes.length === 0) return optional ? next() : stop(ctx, EMPTY)
    if (keep) ctx.state.body_raw = bytes
    const refusal = take(ctx, bytes)
    return refusal === undefined ? next() : stop(ctx, refusal)
  }

  return (ctx, next) => {
    const length = announcedLength(ctx)
    if (length === 0) return optional ? next() : stop(ctx, EMPTY)
    if (!isJson(ctx)) return stop(ctx, { code: 'unsupported_media_type' })
    if (length !== undefined && length > limit_bytes) return stop(ctx, too_large)
    return receive(ctx.req, limit_bytes).then((bytes) => goOn(ctx, next, bytes))
  }
}

type Received = Buffer | 'too large' | 'broken off'

/** A whole body. What comes after the limit is thrown away by Node, which reads on to keep the connection usable. */
export function receive(request: IncomingMessage, limit_bytes: number): Promise<Received> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let size = 0
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > limit_bytes) resolve('too large')
      else chunks.push(chunk)
    })
    // Not once(): a promise settles once anyway, and a listener that need not be wrapped is cheaper.
    request.on('end', () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)))
    request.on('error', () => resolve('broken off'))
  })
}

const EMPTY: Refusal = { code: 'malformed_json', detail: 'the body is empty' }

function take(ctx: Context, bytes: Buffer): Refusal | undefined {
  let body: unknown
  try {
    body = parseJson(bytes)
  } catch (error) {
    return { code: 'malformed_json', detail: describe(error) }
  }
  const fault = findUnstorable(body)
  if (fault !== undefined) return { code: 'invalid_request', errors: [fault] }
  ctx.state.body = body
  ctx.state.body_bytes = bytes.length
  return undefined
}

/** V8 quotes the text around the fault, which may be a customer's; the position is enough. */
function describe(error: unknown): string {
  const position = /at position \d+/.exec((error as SyntaxError).message)?.[0]
  return position === undefined ? 'it could not be parsed' : `it could not be parsed ${position}`
}

/** 0 for no body at all, undefined for one whose length is not known before it ends. */
function announcedLength(ctx: Context): number | undefined {
  const { headers } = ctx.req
  if (headers['transfer-encoding'] !== undefined) return undefined
  return headers['content-length'] === undefined ? 0 : Number(headers['content-length'])
}

const JSON_UTF_8 = /^application\/json[ \t]*(;[ \t]*charset[ \t]*=[ \t]*"?utf-?8"?[ \t]*)?;?$/i

function isJson(ctx: Context): boolean {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = ctx.req.headers
  return (type === 'application/json' || JSON_UTF_8.test(type)) && encoding.toLowerCase() === 'identity'
}
