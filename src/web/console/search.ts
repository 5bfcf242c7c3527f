import { signal } from '@preact/signals'
import type { LedgerEntry, Level, Reservation } from '../../client/client.ts'
import { ask, type Answer } from '../api.ts'
import type { Order } from '../shapes.ts'
import type { ProblemFacts } from '../words.ts'
import { api, noticeEnd } from './session.ts'

/** Finds what somebody has the name of: an order, a reservation, or a SKU with its history. */

export type Found =
  | { kind: 'order'; order: Order }
  | { kind: 'reservations'; reservations: Reservation[] }
  | { kind: 'sku'; level: Level; ledger: LedgerEntry[] }
  | { kind: 'nothing'; asked: string }
  | { kind: 'problem'; asked: string; problem: ProblemFacts }

export const found = signal<Found | undefined>(undefined)
export const searching = signal(false)

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const LEDGER_SHOWN = 50

let latest = 0

/** Looks for it and shows what it is. */
export async function search(text: string): Promise<void> {
  const asked = text.trim()
  if (asked === '') return
  const turn = (latest += 1)
  searching.value = true
  const result = await look(asked)
  // Somebody has asked for something else meanwhile.
  if (turn !== latest) return
  searching.value = false
  if (result.kind === 'problem') noticeEnd(result.problem)
  found.value = result
}

/** Reads again what is shown. */
export async function refresh(): Promise<void> {
  const shown = found.value
  if (shown?.kind === 'sku') await search(shown.level.sku)
  if (shown?.kind === 'order') await search(shown.order.id)
  if (shown?.kind === 'reservations' && shown.reservations.length === 1) await search(shown.reservations[0]!.id)
}

export function dismiss(): void {
  latest += 1
  searching.value = false
  found.value = undefined
}

async function look(asked: string): Promise<Found> {
  const attempts = UUID.test(asked) ? [findOrder, findReservation, findSku, findReference] : [findSku, findReference]
  for (const attempt of attempts) {
    const answer = await attempt(asked)
    if (answer !== undefined) return answer
  }
  return { kind: 'nothing', asked }
}

/** Undefined for what is not there; what can't be asked is a problem. */
function orProblem<T>(answer: Answer<T>, asked: string, show: (value: T) => Found | undefined): Found | undefined {
  if (answer.ok) return show(answer.value)
  const is_absent = /_not_found$|^invalid_request$/.test(answer.problem.code)
  return is_absent ? undefined : { kind: 'problem', asked, problem: answer.problem }
}

async function findOrder(id: string): Promise<Found | undefined> {
  const answer = await ask(() => api.GET('/v1/orders/{id}', { params: { path: { id } } }))
  return orProblem(answer, id, (order) => ({ kind: 'order', order }))
}

async function findReservation(id: string): Promise<Found | undefined> {
  const answer = await ask(() => api.GET('/v1/reservations/{id}', { params: { path: { id } } }))
  return orProblem(answer, id, (reservation) => ({ kind: 'reservations', reservations: [reservation] }))
}

async function findReference(reference: string): Promise<Found | undefined> {
  const answer = await ask(() => api.GET('/v1/reservations', { params: { query: { reference, limit: 20 } } }))
  return orProblem(answer, reference, ({ data }) =>
    data.length === 0 ? undefined : { kind: 'reservations', reservations: data },
  )
}

async function findSku(sku: string): Promise<Found | undefined> {
  const path = { sku }
  const level = await ask(() => api.GET('/v1/stock/{sku}', { params: { path } }))
  if (!level.ok) return orProblem(level, sku, () => undefined)
  const query = { limit: LEDGER_SHOWN }
  const ledger = await ask(() => api.GET('/v1/stock/{sku}/ledger', { params: { path, query } }))
  return orProblem(ledger, sku, ({ data }) => ({ kind: 'sku', level: level.value, ledger: data }))
}
