import type { TObject, TSchema } from 'typebox'
import { ok, refused, type Fault, type Result } from '../errors.ts'
import { findBadText } from './json.ts'
import { compileCheck } from './validation.ts'

/**
 * Query parameters. They arrive as text, so what the schema says is a number or a boolean is read as one, and
 * only in the one way that each is written; parameters that the schema does not know are refused.
 */

type Query = Record<string, unknown>

const PARAMETERS_MAX = 300
const NONE: Result<Query> = ok(Object.freeze({}) as Query)

/** Reads a query string by its schema; without a schema nothing may stand in it. */
export function createQueryReader(schema: TObject | undefined): (querystring: string) => Result<Query> {
  const properties = (schema?.properties ?? {}) as Record<string, TSchema & { type?: string }>
  const check = compileCheck(schema ?? { type: 'object', properties: {}, additionalProperties: false }, 'query')
  const needs_some = ((schema?.required as string[] | undefined) ?? []).length > 0

  return (querystring) => {
    if (querystring === '' && !needs_some) return NONE
    const raw = split(querystring)
    if (!raw.ok) return raw
    // Without a prototype `__proto__` is a name like any other, and no known one.
    const query = Object.create(null) as Query
    const faults: Fault[] = []
    for (const [name, values] of raw.value) {
      const type = Object.hasOwn(properties, name) ? properties[name]!.type : undefined
      if (type === 'array') query[name] = values
      else if (values.length > 1) faults.push({ path: `query/${name}`, message: 'must be given once' })
      else query[name] = read(type, values[0]!)
    }
    faults.push(...(check(query) ?? []))
    return faults.length === 0 ? ok(query) : refused({ code: 'invalid_request', errors: faults.slice(0, 20) })
  }
}

function split(querystring: string): Result<Map<string, string[]>> {
  const parameters = new Map<string, string[]>()
  const parts = querystring.split('&')
  if (parts.length > PARAMETERS_MAX) return fault('query', `must have at most ${PARAMETERS_MAX} parameters`)
  for (const part of parts) {
    if (part === '') continue
    const [name, value] = decodePair(part) ?? []
    if (name === undefined || value === undefined) return fault('query', 'must be percent-encoded UTF-8')
    const bad = findBadText(name, 'query') ?? findBadText(value, `query/${name}`)
    if (bad) return refused({ code: 'invalid_request', errors: [bad] })
    const values = parameters.get(name)
    if (values) values.push(value)
    else parameters.set(name, [value])
  }
  return ok(parameters)
}

function decodePair(part: string): [string, string] | undefined {
  const at = part.indexOf('=')
  const [name, value] = at === -1 ? [part, ''] : [part.slice(0, at), part.slice(at + 1)]
  try {
    return [decodeURIComponent(name.replaceAll('+', ' ')), decodeURIComponent(value.replaceAll('+', ' '))]
  } catch {
    return undefined
  }
}

/** What can't be read is left as text, for the schema to refuse. */
function read(type: string | undefined, value: string): unknown {
  if (type === 'integer' && /^(0|-?[1-9]\d{0,15})$/.test(value)) return Number(value)
  if (type === 'boolean' && (value === 'true' || value === 'false')) return value === 'true'
  return value
}

function fault(path: string, message: string): Result<never> {
  return refused({ code: 'invalid_request', errors: [{ path, message }] })
}
