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

const SKU = 'sku:'
const RESERVATION = 'reservation:'

/** The subject under which operations wait for a counter. */
export function subjectOfSku(sku: string): string {
  return SKU + sku
}

/** The subject under which operations wait for a reservation. */
export function subjectOfReservation(id: string): string {
  return RESERVATION + id
}

/** The row that a subject stands for; undefined for {@link KEYS}. */
export function rowOf(subject: string): { sku: string } | { reservation_id: string } | undefined {
  if (subject.startsWith(SKU)) return { sku: subject.slice(SKU.length) }
  if (subject.startsWith(RESERVATION)) return { reservation_id: subject.slice(RESERVATION.length) }
  return undefined
}

/** Keys can't be asked whether they are locked, so all keyed reserves of a batch wait under one subject, one by one. */
export const KEYS = 'keys'
