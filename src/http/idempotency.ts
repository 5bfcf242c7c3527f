import { hash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { refused, ok, type Result } from '../errors.ts'
import { canonicalJson } from './json.ts'

/** What an idempotency key may look like, as a header or in the body of a bulk route. */
export const IDEMPOTENCY_KEY_PATTERN = '^[ -~]{1,255}$'
const PATTERN = new RegExp(IDEMPOTENCY_KEY_PATTERN)

/** The Idempotency-Key of a request, if it has one. */
export function readIdempotencyKey(request: IncomingMessage): Result<string | undefined> {
  const value = request.headers['idempotency-key']
  if (value === undefined) return ok(undefined)
  // Node joins a repeated header with a comma, which would make one key out of two.
  if (typeof value !== 'string' || !PATTERN.test(value) || isRepeated(request.rawHeaders)) {
    const message = 'must be one value of 1 to 255 printable ASCII characters'
    return refused({ code: 'invalid_request', errors: [{ path: 'header/Idempotency-Key', message }] })
  }
  return ok(value)
}

function isRepeated(raw_headers: readonly string[]): boolean {
  let seen = 0
  for (let i = 0; i < raw_headers.length; i += 2) {
    const name = raw_headers[i]!
    if (name.length === NAME.length && name.toLowerCase() === NAME) seen += 1
  }
  return seen > 1
}

const NAME = 'idempotency-key'

/**
 * The key of a request with the hash of what it stands for, ready to be spread into the room's request. "The same
 * request" means an equal hash of method, route and body, whatever the order of its keys.
 */
export function idempotencyOf(
  key: string | undefined,
  method: string,
  route: string,
  body: unknown,
): { idempotency?: { key: string; request_hash: string } } {
  if (key === undefined) return {}
  return { idempotency: { key, request_hash: hash('sha256', `${method} ${route}\n${canonicalJson(body)}`, 'hex') } }
}
