import type { Context, Middleware } from 'koa'
import type { Fault, Result } from '../../errors.ts'
import { ok, refused } from '../../errors.ts'
import { readIdempotencyKey } from '../idempotency.ts'
import { findBadText } from '../json.ts'
import { stop } from '../problem.ts'
import { createQueryReader } from '../query.ts'
import type { Call, IdempotencyRule, Route } from '../route.ts'
import { compileCheck } from '../validation.ts'

/** Checks the path, query, headers and body of a request, in this order, and makes the handler's call of them. */
export function validate(route: Route): Middleware {
  const readParams = createParamsReader(route)
  const readQuery = createQueryReader(route.query)
  const findBodyFaults = createBodyCheck(route)

  return (ctx, next) => {
    const params = readParams(ctx)
    if (!params.ok) return stop(ctx, params.refusal)
    const query = readQuery(queryOf(ctx))
    if (!query.ok) return stop(ctx, query.refusal)
    const key = readKey(ctx, route.idempotency)
    if (!key.ok) return stop(ctx, key.refusal)
    const body: unknown = ctx.state.body
    const errors = findBodyFaults(ctx, body) ?? route.check?.({ query: query.value as never, body: body as never })
    if (errors !== undefined && errors.length > 0) return stop(ctx, { code: 'invalid_request', errors })
    const client = (ctx.state.client as string | undefined) ?? ''
    ctx.state.call = {
      params: params.value,
      query: query.value,
      body,
      client,
      idempotency_key: key.value,
      is_admin: ctx.state.is_admin === true,
      ctx,
    } satisfies Call<unknown, unknown, unknown>
    return next()
  }
}

/** Koa parses the whole URL to say that there is no query, as nearly always. */
function queryOf(ctx: Context): string {
  return ctx.req.url?.includes('?') ? ctx.querystring : ''
}

type Params = Record<string, string>
const NO_PARAMS: Result<Params> = ok({})

/** The router leaves what it can't decode as it is; here that is refused. */
function createParamsReader(route: Route): (ctx: Context) => Result<Params> {
  if (route.params === undefined) return () => NO_PARAMS
  const names = [...route.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!)
  const check = compileCheck(route.params, 'path')
  return (ctx) => {
    const params: Params = {}
    for (const [i, name] of names.entries()) {
      const value = decode((ctx.captures as string[])[i] ?? '')
      const fault =
        value === undefined ? { path: `path/${name}`, message: UNDECODABLE } : findBadText(value, `path/${name}`)
      if (fault !== undefined) return refused({ code: 'invalid_request', errors: [fault] })
      params[name] = value!
    }
    const errors = check(params)
    if (errors === undefined) return ok(params)
    return refused(route.impossible?.(params) ?? { code: 'invalid_request', errors })
  }
}

const UNDECODABLE = 'must be percent-encoded UTF-8'

function decode(raw: string): string | undefined {
  if (!raw.includes('%')) return ASCII.test(raw) ? raw : undefined
  try {
    return ASCII.test(raw) ? decodeURIComponent(raw) : undefined
  } catch {
    return undefined
  }
}

/** Node hands bytes beyond ASCII on as Latin-1, which would make another SKU of one that was not encoded. */
const ASCII = /^[!-~]*$/

const NO_KEY: Result<string | undefined> = ok(undefined)

function readKey(ctx: Context, rule: IdempotencyRule | undefined): Result<string | undefined> {
  if (rule === undefined) return NO_KEY
  if (rule === 'refused' && ctx.req.headers['idempotency-key'] !== undefined) {
    const message = 'is not taken here: give each item of the body its own idempotency_key, or send the items singly'
    return refused({ code: 'invalid_request', errors: [{ path: 'header/Idempotency-Key', message }] })
  }
  const key = readIdempotencyKey(ctx.req)
  if (key.ok && key.value === undefined && rule === 'required') {
    const message = 'is required here, so that a retry is safe: send a key of your own, and the same one with a retry'
    return refused({ code: 'invalid_request', errors: [{ path: 'header/Idempotency-Key', message }] })
  }
  return key.ok && rule === 'ignored' ? NO_KEY : key
}

function createBodyCheck(route: Route): (ctx: Context, body: unknown) => Fault[] | undefined {
  if (route.body === undefined) return () => undefined
  const check = compileCheck(route.body)
  return (ctx, body) => {
    if (body === undefined && route.body_optional) return undefined
    return check(body, ctx.state.body_bytes as number)
  }
}
