import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { apiDocument } from '../src/http/document.ts'

/**
 * Writes src/client/schema.ts: the OpenAPI document as the types that openapi-fetch reads. Ours, because
 * openapi-typescript needs a TypeScript older than the one that compiles this service.
 */

type Json = { [key: string]: unknown }
type Operation = Json & { parameters?: Parameter[]; requestBody?: Body; responses: Record<string, Answer> }
type Parameter = { name: string; in: string; required?: boolean; description?: string; schema: Schema }
type Body = { required?: boolean; content: Record<string, { schema: Schema }> }
type Answer = { content?: Record<string, { schema: Schema }>; headers?: Record<string, { schema: Schema }> }
type Schema = {
  $ref?: string
  type?: string | string[]
  enum?: unknown[]
  const?: unknown
  anyOf?: Schema[]
  items?: Schema
  properties?: Record<string, Schema>
  required?: string[]
  additionalProperties?: boolean | Schema
  description?: string
}

const HEADER = `/**
 * The HTTP contract as types, generated from the OpenAPI document by "npm run generate:client". Not edited by hand.
 */
`

/** The text of src/client/schema.ts for a document. */
export function renderSchema(document: Json): string {
  const paths = document.paths as Record<string, Record<string, Operation>>
  const { schemas } = document.components as { schemas: Record<string, Schema> }
  return [
    HEADER,
    'export interface paths {',
    ...Object.entries(paths).map(([path, methods]) => indent(`${quote(path)}: ${renderPath(methods)}`)),
    '}',
    '',
    'export interface components {',
    indent('schemas: {'),
    ...Object.entries(schemas).map(([name, schema]) =>
      indent(indent(`${comment(schema.description)}${name}: ${typeOf(schema)}`)),
    ),
    indent('}'),
    '}',
    '',
    '/** What every refusal is answered with. */',
    'interface Failure {',
    '  headers: { [name: string]: unknown }',
    "  content: { 'application/problem+json': components['schemas']['Problem'] }",
    '}',
    '',
  ].join('\n')
}

function renderPath(methods: Record<string, Operation>): string {
  const operations = Object.entries(methods).map(([method, operation]) =>
    indent(`${comment(operation.summary as string)}${method}: ${renderOperation(operation)}`),
  )
  return `{\n${operations.join('\n')}\n}`
}

function renderOperation({ parameters = [], requestBody, responses }: Operation): string {
  const places = ['query', 'header', 'path'].map((place) => {
    const here = parameters.filter((parameter) => parameter.in === place)
    if (here.length === 0) return `${place}?: never`
    const optional = here.some((parameter) => parameter.required) ? '' : '?'
    return `${place}${optional}: ${block(here.map((p) => field(p.name, p.schema, p.required ?? false, p.description)))}`
  })
  const body =
    requestBody === undefined
      ? 'requestBody?: never'
      : `requestBody${requestBody.required ? '' : '?'}: ${block([`content: ${renderContent(requestBody.content)}`])}`
  const answers = Object.entries(responses).map(([status, answer]) => `${status}: ${renderAnswer(answer)}`)
  return block([`parameters: ${block([...places, 'cookie?: never'])}`, body, `responses: ${block(answers)}`])
}

function renderAnswer({ content, headers = {} }: Answer): string {
  if (content?.['application/problem+json'] !== undefined) return 'Failure'
  const names = [...Object.keys(headers).map((name) => `${quote(name)}?: string`), '[name: string]: unknown']
  return block([`headers: ${block(names)}`, content ? `content: ${renderContent(content)}` : 'content?: never'])
}

function renderContent(content: Record<string, { schema: Schema }>): string {
  return block(Object.entries(content).map(([type, { schema }]) => `${quote(type)}: ${typeOf(schema)}`))
}

function typeOf(schema: Schema): string {
  if (schema.$ref !== undefined) return `components['schemas'][${quote(schema.$ref.split('/').at(-1)!)}]`
  if (schema.const !== undefined) return literal(schema.const)
  if (schema.enum !== undefined) return schema.enum.map(literal).join(' | ')
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(' | ')
  if (Array.isArray(schema.type)) return schema.type.map((type) => typeOf({ ...schema, type })).join(' | ')
  if (schema.type === 'array') return arrayType(typeOf(schema.items ?? {}))
  if (schema.type === 'object') return objectType(schema)
  return SCALARS[schema.type ?? ''] ?? 'unknown'
}

const SCALARS: Record<string, string> = {
  integer: 'number',
  number: 'number',
  string: 'string',
  boolean: 'boolean',
  null: 'null',
}

function arrayType(item: string): string {
  return item.includes(' | ') ? `(${item})[]` : `${item}[]`
}

function objectType({ properties, required = [], additionalProperties }: Schema): string {
  if (properties === undefined) {
    const value = typeof additionalProperties === 'object' ? typeOf(additionalProperties) : 'unknown'
    return `{ [key: string]: ${value} }`
  }
  const fields = Object.entries(properties).map(([name, schema]) =>
    field(name, schema, required.includes(name), schema.description),
  )
  return block(additionalProperties === true ? [...fields, '[key: string]: unknown'] : fields)
}

function field(name: string, schema: Schema, required: boolean, description: string | undefined): string {
  return `${comment(description)}${/^\w+$/.test(name) ? name : quote(name)}${required ? '' : '?'}: ${typeOf(schema)}`
}

function block(lines: readonly string[]): string {
  return `{\n${lines.map(indent).join('\n')}\n}`
}

function indent(text: string): string {
  return text.replaceAll(/^(?=.)/gm, '  ')
}

function comment(text: string | undefined): string {
  return text === undefined || text === ''
    ? ''
    : `/** ${text.replaceAll('*/', '*\\/').replaceAll(/\s*\n\s*/g, ' ')} */\n`
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}

function literal(value: unknown): string {
  return typeof value === 'string' ? quote(value) : JSON.stringify(value)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL('../src/client/schema.ts', import.meta.url), renderSchema(apiDocument()))
}
