import type { Operation } from './plan.ts'

/**
 * A row lock was waited for in vain: some session keeps a counter, a reservation or an idempotency key. Nothing was
 * written. `apart` names the operations that need what is locked, each with the subject (`sku:…`, `reservation:…`, `keys`)
 * to wait for apart from the others; it is empty if by now nobody holds anything of the batch.
 */
export class Blocked extends Error {
  readonly apart: ReadonlyMap<Operation, string>

  constructor(apart: ReadonlyMap<Operation, string>) {
    super('a row lock was not had in time')
    this.name = 'Blocked'
    this.apart = apart
  }
}

/** The subject under which operations wait for a counter. */
export function subjectOfSku(sku: string): string {
  return `sku:${sku}`
}

/** The subject under which operations wait for a reservation. */
export function subjectOfReservation(id: string): string {
  return `reservation:${id}`
}

/** Keys can't be asked whether they are locked, so all keyed reserves of a batch wait under one subject, one by one. */
export const KEYS = 'keys'
