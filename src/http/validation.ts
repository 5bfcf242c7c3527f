import { Ajv2020, type AnySchema, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormatsModule from 'ajv-formats'
import type { Fault } from '../errors.ts'
import { isUuid } from '../ids.ts'
import { pointerToken } from './json.ts'

/**
 * Checks values against the schemas that also make the OpenAPI document, and puts what is wrong in the contract's words.
 */

const FAULTS_MAX = 20

/** Collecting every fault of a large array can take longer than the request is worth; past this only the first is told. */
const EXPLAIN_BYTES_MAX = 65_536

/** Where a schema with a pattern says what the pattern means, because few read `(?!\\s)`. */
const PATTERN_MESSAGE = 'x-pattern-message'

const quick = createAjv(false)
const thorough = createAjv(true)

/** What is wrong with a value, at most twenty faults; undefined if nothing is. */
export type Check = (value: unknown, size_bytes?: number) => Fault[] | undefined

/** @param prefix what stands before each fault's path, such as `query` */
export function compileCheck(schema: AnySchema, prefix = ''): Check {
  const validate = quick.compile(schema)
  let explain: ValidateFunction | undefined
  return (value, size_bytes = 0) => {
    if (validate(value)) return undefined
    if (size_bytes > EXPLAIN_BYTES_MAX) return toFaults(validate.errors ?? [], prefix)
    explain ??= thorough.compile(schema)
    explain(value)
    return toFaults(explain.errors ?? [], prefix)
  }
}

function createAjv(all_errors: boolean): Ajv2020 {
  const ajv = new Ajv2020({ strict: true, allErrors: all_errors, allowUnionTypes: true, verbose: true })
  // The module's types and its shape under Node's ESM differ.
  const addFormats = addFormatsModule as unknown as { default?: (ajv: Ajv2020) => void } & ((ajv: Ajv2020) => void)
  ;(addFormats.default ?? addFormats)(ajv)
  // The module's own takes `urn:uuid:…` too, which PostgreSQL does not.
  ajv.addFormat('uuid', isUuid)
  ajv.addKeyword({ keyword: PATTERN_MESSAGE, schemaType: 'string' })
  ajv.addKeyword({
    keyword: 'x-max-bytes',
    type: 'object',
    schemaType: 'number',
    error: { message: (context) => `must have at most ${String(context.schema)} bytes as JSON` },
    validate: (bytes_max: number, value: unknown) => Buffer.byteLength(JSON.stringify(value)) <= bytes_max,
  })
  return ajv
}

function toFaults(errors: readonly ErrorObject[], prefix: string): Fault[] {
  const faults = new Map<string, Fault>()
  for (const error of errors) {
    const fault = toFault(error, prefix)
    faults.set(`${fault.path}\n${fault.message}`, fault)
    if (faults.size === FAULTS_MAX) break
  }
  return [...faults.values()]
}

function toFault(error: ErrorObject, prefix: string): Fault {
  const at = `${prefix}${error.instancePath}`
  const params = error.params as Record<string, unknown>
  switch (error.keyword) {
    case 'required':
      return { path: `${at}/${pointerToken(String(params.missingProperty))}`, message: 'is required' }
    case 'additionalProperties':
      return { path: `${at}/${pointerToken(String(params.additionalProperty))}`, message: 'is not a known field' }
    case 'enum':
      return {
        path: at,
        message: `must be one of ${(params.allowedValues as unknown[]).map((v) => JSON.stringify(v)).join(', ')}`,
      }
    case 'pattern':
      return { path: at, message: describePattern(error) }
    default:
      return { path: at, message: error.message ?? 'is not valid' }
  }
}

function describePattern(error: ErrorObject): string {
  const said = (error.parentSchema as { [PATTERN_MESSAGE]?: string } | undefined)?.[PATTERN_MESSAGE]
  return said ?? error.message ?? 'has the wrong form'
}
