import type { Context } from 'koa'
import { ok, refused, type Result } from '../errors.ts'

const ETAG_OF_SEQ = /^"(0|[1-9]\d{0,15})"$/

/** The `seq` that an If-Match asks for, `*` for any, undefined without one. */
export function readIfMatch(ctx: Context): Result<number | '*' | undefined> {
  const value = ctx.req.headers['if-match']
  if (value === undefined) return ok(undefined)
  if (value === '*') return ok('*')
  const seq = ETAG_OF_SEQ.exec(value)?.[1]
  if (seq !== undefined && Number.isSafeInteger(Number(seq))) return ok(Number(seq))
  const message = 'must be one ETag that this resource was answered with, such as "5", or *'
  return refused({ code: 'invalid_request', errors: [{ path: 'header/If-Match', message }] })
}

/** Refuses an If-Match where nothing would look at it: who sends one relies on it. */
export function refuseIfMatch(ctx: Context): Result<undefined> {
  if (ctx.req.headers['if-match'] === undefined) return ok(undefined)
  const message = 'is taken for a single SKU only: PUT /v1/stock/{sku}'
  return refused({ code: 'invalid_request', errors: [{ path: 'header/If-Match', message }] })
}

/** Whether the client's copy is the current one, so that 304 is all it needs. Weak comparison, as RFC 9110 has it. */
export function matchesNone(ctx: Context, etag: string): boolean {
  const value = ctx.req.headers['if-none-match']
  if (value === undefined) return false
  return value === '*' || value.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag)
}
