import { signal } from '@preact/signals'
import type { LedgerEntry, Level, Reservation } from '../../client/client.ts'
import { ask, type Answer } from '../api.ts'
import type { Order } from '../shapes.ts'
import type { ProblemFacts } from '../words.ts'
import { api } from './session.ts'

/** Finds what somebody has the name of: an order, a reservation, or a SKU with its history. */

export type Found = { asked: string } & (
  | { kind: 'order'; order: Order }
  | { kind: 'reservations'; reservations: Reservation[] }
  | Sku
  | { kind: 'nothing' }
  | { kind: 'problem'; problem: ProblemFacts }
)

/** A SKU with its history, the newest first, and the way to what is older. */
type Sku = { kind: 'sku'; level: Level; ledger: readonly LedgerEntry[]; older: string | null }

export const found = signal<Found | undefined>(undefined)
export const searching = signal(false)

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const LEDGER_SHOWN = 50
const RESERVATIONS_SHOWN = 20

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
  found.value = result
}

/** Reads again what is shown. What was there stays while it can't be read. */
export async function refresh(): Promise<void> {
  const asked = found.value?.asked
  const attempt = {
    order: findOrder,
    reservations: findReservations,
    sku: findSku,
    nothing: undefined,
    problem: undefined,
  }[found.value?.kind ?? 'nothing']
  if (asked === undefined || attempt === undefined) return
  const turn = latest
  const result = await attempt(asked)
  const shown = found.value
  if (turn !== latest || result === undefined || result.kind !== shown?.kind) return
  found.value = result.kind === 'sku' ? { ...result, ...withOlder(result, shown as Sku) } : result
}

/** What is older was read before and never changes; unless too much has come meanwhile it still follows on. */
function withOlder(newest: Sku, shown: Sku): Pick<Sku, 'ledger' | 'older'> {
  const last = newest.ledger.at(-1)?.seq ?? 0
  if ((shown.ledger[0]?.seq ?? 0) < last - 1) return newest
  return { ledger: [...newest.ledger, ...shown.ledger.filter(({ seq }) => seq < last)], older: shown.older }
}

/** Shows more of a SKU's history. */
export async function showOlder(): Promise<void> {
  const { asked, older } = found.value?.kind === 'sku' ? found.value : { asked: '', older: null }
  if (older === null) return
  const turn = latest
  const answer = await readLedger(asked, older)
  const shown = found.value
  // Pressed twice, it is read twice and shown once.
  if (turn !== latest || !answer.ok || shown?.kind !== 'sku' || shown.older !== older) return
  found.value = { ...shown, ledger: [...shown.ledger, ...answer.value.data], older: answer.value.next_cursor }
}

export function dismiss(): void {
  latest += 1
  searching.value = false
  found.value = undefined
}

async function look(asked: string): Promise<Found> {
  const attempts = UUID.test(asked) ? [findOrder, findReservations, findSku] : [findSku, findReservations]
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
  return orProblem(answer, id, (order) => ({ kind: 'order', asked: id, order }))
}

/** By its id, or all that have it for a reference. */
async function findReservations(asked: string): Promise<Found | undefined> {
  const kind = 'reservations'
  if (UUID.test(asked)) {
    const answer = await ask(() => api.GET('/v1/reservations/{id}', { params: { path: { id: asked } } }))
    const one = orProblem(answer, asked, (reservation) => ({ kind, asked, reservations: [reservation] }))
    if (one !== undefined) return one
  }
  const query = { reference: asked, limit: RESERVATIONS_SHOWN }
  const answer = await ask(() => api.GET('/v1/reservations', { params: { query } }))
  return orProblem(answer, asked, ({ data }) => (data.length === 0 ? undefined : { kind, asked, reservations: data }))
}

async function findSku(sku: string): Promise<Found | undefined> {
  const path = { sku }
  const level = await ask(() => api.GET('/v1/stock/{sku}', { params: { path } }))
  if (!level.ok) return orProblem(level, sku, () => undefined)
  return orProblem(await readLedger(sku), sku, ({ data, next_cursor }) => ({
    kind: 'sku',
    asked: sku,
    level: level.value,
    ledger: data,
    older: next_cursor,
  }))
}

function readLedger(sku: string, cursor?: string) {
  const query = { limit: LEDGER_SHOWN, ...(cursor === undefined ? {} : { cursor }) }
  return ask(() => api.GET('/v1/stock/{sku}/ledger', { params: { path: { sku }, query } }))
}
