import type { TObject, TSchema } from 'typebox'
import type { RefusalCode } from '../errors.ts'
import { problemOf, ProblemSchema } from './problem.ts'
import type { Response, Route } from './route.ts'

/** The OpenAPI 3.1 document, made from the routes and the schemas that validate. */

/** The contract's version: it changes when a client must. */
const VERSION = '1.0.0'

type Json = { [key: string]: unknown }

const INTRODUCTION = `Holds stock while a customer pays: \`available = stock − temp_reserved_stock\`.

Errors are RFC 9457 problem details; switch on \`code\`, see [all codes](/docs/errors). Every response carries
\`X-Request-Id\`. A POST that creates something takes an \`Idempotency-Key\`: the same key and body reserve once.`

/** @returns the document, ready to be sent */
export function openApiDocument(routes: readonly Route[]): Json {
  const components = new Map<string, Json>()
  const paths: Record<string, Json> = {}
  for (const route of routes) {
    const path = (paths[route.path] ??= {})
    path[route.method.toLowerCase()] = operation(route, components)
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Stock reservation service',
      version: VERSION,
      description: INTRODUCTION,
    },
    servers: [{ url: '/' }],
    tags: [...new Set(routes.map((route) => route.tag))].map((name) => ({ name })),
    security: [{ api_key: [] }],
    paths,
    components: {
      schemas: Object.fromEntries([...components].toSorted(([a], [b]) => (a < b ? -1 : 1))),
      securitySchemes: {
        api_key: {
          type: 'http',
          scheme: 'bearer',
          description: 'An API key. Until the first one is created the service is open, to its own machine only.',
        },
      },
    },
  }
}

function operation(route: Route, components: Map<string, Json>): Json {
  const schema = (given: TSchema) => named(given, components)
  const needs = route.scope === 'open' ? undefined : `Needs the scope \`${route.scope}\`.`
  return {
    operationId: route.operation_id,
    tags: [route.tag],
    summary: route.summary,
    description: [route.description, needs].filter(Boolean).join('\n\n'),
    ...(route.scope === 'open' ? { security: [] } : {}),
    ...(route.open_locally ? { security: [{}, { api_key: [] }] } : {}),
    parameters: [...pathAndQuery(route, schema), ...headerParameters(route)],
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: !route.body_optional,
            content: { 'application/json': { schema: schema(route.body) } },
          },
        }),
    responses: { ...successes(route, schema), ...failures(route, schema) },
  }
}

function pathAndQuery(route: Route, schema: (schema: TSchema) => unknown): Json[] {
  const of = (place: 'path' | 'query', object: TObject | undefined) =>
    Object.entries((object?.properties ?? {}) as Record<string, TSchema & { description?: string }>).map(
      ([name, property]) => ({
        name,
        in: place,
        required: place === 'path' || ((object?.required as string[] | undefined) ?? []).includes(name),
        ...(property.description === undefined ? {} : { description: property.description }),
        schema: schema(property),
      }),
    )
  return [...of('path', route.params), ...of('query', route.query)]
}

function headerParameters(route: Route): Json[] {
  return [
    ...(route.idempotency === 'accepted' || route.idempotency === 'required'
      ? [
          {
            ...header('Idempotency-Key', '1–255 printable ASCII. The same key and body get the first answer again.'),
            required: route.idempotency === 'required',
          },
        ]
      : []),
    ...(route.if_match ? [header('If-Match', 'The ETag that the SKU must still have, or `*`: it must exist.')] : []),
    ...(route.if_none_match ? [header('If-None-Match', 'The ETag of your copy; 304 if it is still current.')] : []),
  ]
}

function header(name: string, description: string): Json {
  return { name, in: 'header', required: false, description, schema: { type: 'string', minLength: 1, maxLength: 255 } }
}

function successes(route: Route, schema: (schema: TSchema) => unknown): Json {
  return Object.fromEntries(
    Object.entries(route.responses).map(([status, response]) => [status, success(response, schema)]),
  )
}

function success(response: Response, schema: (schema: TSchema) => unknown): Json {
  const headers = Object.entries({ ...REQUEST_ID, ...response.headers })
  return {
    description: response.description,
    headers: Object.fromEntries(
      headers.map(([name, description]) => [name, { description, schema: { type: 'string' } }]),
    ),
    ...(response.schema === undefined
      ? {}
      : { content: { [response.content_type ?? 'application/json']: { schema: schema(response.schema) } } }),
  }
}

const REQUEST_ID = { 'X-Request-Id': 'Names this request in the log; yours if you sent one.' }

/** One response for each status, which lists the codes that it may carry. */
function failures(route: Route, schema: (schema: TSchema) => unknown): Json {
  const by_status = new Map<number, { code: string; about: string }[]>()
  for (const refusal of refusalsOf(route)) {
    const { status, code, about } = problemOf(refusal)
    by_status.set(status, [...(by_status.get(status) ?? []), { code, about }])
  }
  const content = { 'application/problem+json': { schema: schema(ProblemSchema) } }
  return Object.fromEntries(
    [...by_status].map(([status, codes]) => [
      String(status),
      { description: codes.map(({ code, about }) => `\`${code}\`: ${about}`).join('\n\n'), content },
    ]),
  )
}

/** What a route may refuse: what it declares, and what follows from what it takes. */
export function refusalsOf(route: Route): RefusalCode[] {
  const refusals: RefusalCode[] = [...(route.refusals ?? []), 'invalid_request', 'internal_error']
  if (route.body !== undefined) refusals.push('malformed_json', 'payload_too_large', 'unsupported_media_type')
  if (route.scope !== 'open') refusals.push('unauthenticated', 'forbidden', 'rate_limited', 'database_unavailable')
  return [...new Set(refusals)]
}

/** A schema with a title becomes a component of that name; everything in it is looked at alike. */
function named(schema: unknown, components: Map<string, Json>): unknown {
  if (Array.isArray(schema)) return schema.map((item) => named(item, components))
  if (schema === null || typeof schema !== 'object') return schema
  const { title } = schema as { title?: unknown }
  if (typeof title !== 'string') return mapValues(schema, (value) => named(value, components))
  if (!components.has(title)) {
    components.set(title, {})
    components.set(
      title,
      mapValues(schema, (value) => named(value, components)),
    )
  }
  return { $ref: `#/components/schemas/${title}` }
}

function mapValues(object: object, map: (value: unknown) => unknown): Json {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value)]))
}
