import type { Knex } from 'knex'
import { countersOf } from '../stock/counters.ts'
import { draw, keyOf, type Operation, type Outcome, type Plan, type PlanSettings, type View } from './plan.ts'
import { selectByKeys, selectCounters, selectNow, selectReservations } from './queries.ts'

/** The reads that a batch is planned on. Nothing read here decides: what is written is tested again where it is written. */

/** What was read, and what it decides. */
export type Looked = { plan: Plan; view: View }

/**
 * Reads what the operations rest on, and decides them on it.
 *
 * @param with_keys whether idempotency keys are looked up at once; else only if somebody is refused
 * @param denied operations that stay refused, with their answers
 */
export async function lookAndDraw(
  settings: PlanSettings,
  db: Knex,
  operations: readonly Operation[],
  with_keys: boolean,
  denied?: ReadonlyMap<Operation, Outcome>,
): Promise<Looked> {
  const view = await look(db, operations)
  if (with_keys) view.keyed = await lookUpKeys(db, operations)
  let plan = draw(operations, view, settings, denied)
  // A refusal must not be the answer to the retry of what has succeeded.
  if (plan.keys_unknown) {
    view.keyed = await lookUpKeys(db, operations)
    plan = draw(operations, view, settings, denied)
  }
  return { plan, view }
}

async function look(db: Knex, operations: readonly Operation[]): Promise<View> {
  const skus = new Set<string>()
  const ids: string[] = []
  let reacquires = false
  for (const operation of operations) {
    if (operation.verb === 'reserve') for (const { sku } of operation.lines) skus.add(sku)
    else ids.push(operation.id)
    if (operation.verb === 'confirm' && operation.on_expired === 'reacquire') reacquires = true
  }
  const stored = ids.length > 0 ? await selectReservations(db, ids) : []
  if (reacquires) for (const { skus: own } of stored) for (const sku of own) skus.add(sku)
  const view: View = {
    now: new Date(0),
    counters: new Map(),
    reservations: new Map(stored.map((reservation) => [reservation.id, reservation])),
    keyed: undefined,
  }
  if (skus.size === 0) {
    view.now = await selectNow(db)
    return view
  }
  const { now_ms, counters } = await selectCounters(db, [...skus])
  view.now = new Date(now_ms)
  view.counters = countersOf(counters)
  return view
}

async function lookUpKeys(db: Knex, operations: readonly Operation[]): Promise<NonNullable<View['keyed']>> {
  const clients: string[] = []
  const keys: string[] = []
  for (const operation of operations) {
    if (operation.verb !== 'reserve' || operation.request.idempotency === undefined) continue
    clients.push(operation.request.client)
    keys.push(operation.request.idempotency.key)
  }
  const found = clients.length > 0 ? await selectByKeys(db, clients, keys) : []
  return new Map(found.map((row) => [keyOf(row.client, row.idempotency_key), row]))
}
