import { createClient, type Client } from '../client/client.ts'
import type { ProblemFacts } from './words.ts'

/** The pages' way to the service: the typed client through a page's own door, and every failure as something to say. */

export type Answer<T> = { ok: true; value: T } | { ok: false; problem: ProblemFacts }

/** What the typed client answers. */
type Fetched<T> = { data?: T; error?: unknown; response: Response }

/** The client of one page; its session goes along by itself. */
export function createApi(page: 'shop' | 'console'): Client {
  return createClient({ base_url: `${location.origin}/${page}` })
}

let onEnd: () => void = () => undefined

/** Calls back whenever a call was refused for want of a session, so that the page asks for a login. */
export function whenSessionEnds(listener: () => void): void {
  onEnd = listener
}

/** How often a call that got no answer, or was told to come back, is made again by itself. */
const TRIES = 3
const WAIT_MS = 700

/**
 * Makes a call and says how it went. One that got no definite answer is made again, which does no harm: a read changes
 * nothing, and what changes something carries its idempotency key, the same for every try.
 */
export async function ask<T>(call: () => Promise<Fetched<T>>): Promise<Answer<T>> {
  for (let left = TRIES - 1; ; left--) {
    const answer = await askOnce(call)
    if (answer.ok || left === 0 || !PASSING.has(answer.problem.code)) {
      if (!answer.ok && answer.problem.code === 'unauthenticated') onEnd()
      return answer
    }
    await new Promise((resolve) => setTimeout(resolve, WAIT_MS))
  }
}

const PASSING = new Set(['network', 'overloaded', 'stock_conflict', 'database_unavailable', 'idempotency_key_in_use'])

async function askOnce<T>(call: () => Promise<Fetched<T>>): Promise<Answer<T>> {
  try {
    const { data, error, response } = await call()
    if (response.ok) return { ok: true, value: data as T }
    return { ok: false, problem: factsOf(error) }
  } catch {
    return { ok: false, problem: NO_CONNECTION }
  }
}

const NO_CONNECTION: ProblemFacts = {
  code: 'network',
  detail: '',
  request_id: '',
  available: undefined,
  held: undefined,
}

function factsOf(error: unknown): ProblemFacts {
  // What is no problem of ours was answered by something in between.
  const problem = (typeof error === 'object' && error !== null ? error : {}) as Partial<{
    code: string
    detail: string
    request_id: string
    shortages: { available: number }[]
    temp_reserved_stock: number
  }>
  return {
    code: problem.code ?? 'network',
    detail: problem.detail ?? '',
    request_id: problem.request_id ?? '',
    // Of several, no single number would be right.
    available: problem.shortages?.length === 1 ? problem.shortages[0]!.available : undefined,
    held: problem.temp_reserved_stock,
  }
}

/** A key for one wish of one person, however often it is sent. */
export function newKey(): { 'Idempotency-Key': string } {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return { 'Idempotency-Key': Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('') }
}

/** A route of the pages themselves, which the contract does not have. */
export async function askPage<T>(
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  options: { body?: unknown; headers?: Record<string, string> } = {},
): Promise<Answer<T>> {
  const { body, headers = {} } = options
  return ask<T>(async () => {
    const response = await fetch(path, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    const said: unknown = text === '' ? undefined : JSON.parse(text)
    return response.ok ? { data: said as T, response } : { error: said, response }
  })
}
