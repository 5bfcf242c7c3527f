import type { Context } from 'koa'
import type { Static, TObject, TSchema } from 'typebox'
import type { Fault, Refusal, RefusalCode } from '../errors.ts'
import { abortSignalOf } from './disconnect.ts'
import type { StreamSource } from './event_stream.ts'

/**
 * One declaration per route. The router and the OpenAPI document are both made from it, so neither can promise what the
 * other doesn't do.
 */

export type Scope = 'read' | 'reserve' | 'admin'

/** What a handler gets: everything checked, nothing left to parse. */
export type Call<Params, Query, Body> = {
  params: Params
  query: Query
  body: Body
  /** The API key's name; '' while the service is open. */
  client: string
  /** The Idempotency-Key, where the route takes one and the request has one. */
  idempotency_key: string | undefined
  /** Whether the caller has the scope `admin`, for routes that show more to who has. */
  is_admin: boolean
  ctx: Context
}

/**
 * What a handler answers. `body` is sent as JSON, a string as it is, under the Content-Type that `headers` may name; a
 * `stream` as server-sent events.
 */
export type Answer =
  | { status: number; body: unknown; headers?: Readonly<Record<string, string>> }
  | { refusal: Refusal }
  | { stream: StreamSource }

/** An answer as the document describes it. */
export type Response = {
  description: string
  schema?: TSchema
  content_type?: string
  headers?: Readonly<Record<string, string>>
}

/**
 * What a route does with an Idempotency-Key: `accepted`, `required`, `ignored` (the verb is idempotent by itself, so the
 * key is only checked) or `refused` (the keys belong to the items of the body).
 */
export type IdempotencyRule = 'accepted' | 'required' | 'ignored' | 'refused'

type Definition<Params extends TObject, Query extends TObject, Body extends TSchema> = {
  method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'
  /** With its parameters in braces, as OpenAPI writes it. */
  path: string
  operation_id: string
  tag: string
  summary: string
  description?: string
  /** What an API key needs; `open` for none. */
  scope: Scope | 'open'
  /** No key is needed from this machine itself. */
  open_locally?: boolean
  params?: Params
  /** What a path is answered whose parameters nothing can have; without it, or undefined: 400 `invalid_request`. */
  impossible?: (params: Record<string, string>) => Refusal | undefined
  query?: Query
  body?: Body
  body_optional?: boolean
  /** The handler gets the body's bytes too, for a signature over them: `bodyBytesOf`. */
  keeps_bytes?: boolean
  /** A bulk route: its body may have 1 MiB. */
  bulk?: boolean
  idempotency?: IdempotencyRule
  if_match?: boolean
  if_none_match?: boolean
  /** What a schema can't say. Called with what the schemas let through. */
  check?: (call: { query: Static<Query>; body: Static<Body> }) => Fault[]
  /** Asked before the body is read: false refuses with 503. */
  hasRoom?: () => boolean
  responses: Readonly<Record<number, Response>>
  /** What it may refuse with, besides what every route may. */
  refusals?: readonly RefusalCode[]
  handle: (call: Call<Static<Params>, Static<Query>, Static<Body>>) => Answer | Promise<Answer>
}

/** A route as the router and the document see it. */
export type Route = Definition<TObject, TObject, TSchema>

/** A route, its handler typed by its schemas. */
export function route<
  Params extends TObject = TObject<{}>,
  Query extends TObject = TObject<{}>,
  Body extends TSchema = TSchema,
>(definition: Definition<Params, Query, Body>): Route {
  return definition as unknown as Route
}

/** A successful answer. */
export function answer(status: number, body: unknown, headers?: Readonly<Record<string, string>>): Answer {
  return headers === undefined ? { status, body } : { status, body, headers }
}

/** What the document says of an answer to a repeated request. */
export const REPLAYED_HEADER = { 'Idempotent-Replayed': '`true` for a repeated Idempotency-Key.' }

/** 201 for what a request has made, now or when its key was sent first. `location`: where to read it. */
export function created(body: string, { replayed, location }: { replayed: boolean; location?: string }): Answer {
  const headers: Record<string, string> = {}
  if (location !== undefined) headers.Location = location
  if (replayed) headers['Idempotent-Replayed'] = 'true'
  return { status: 201, body, headers }
}

/** A refusal as an answer. */
export function refuseWith(refusal: Refusal): Answer {
  return { refusal }
}

/** Server-sent events as an answer. */
export function streamFrom(stream: StreamSource): Answer {
  return { stream }
}

/** The body as it came, where the route keeps it. */
export function bodyBytesOf(call: { ctx: Context }): Buffer {
  return call.ctx.state.body_raw as Buffer
}

/** Aborts when the client leaves. One signal for all requests of a connection: look at `aborted`, and don't listen. */
export function signalOf(call: { ctx: Context }): AbortSignal {
  return abortSignalOf(call.ctx)
}
