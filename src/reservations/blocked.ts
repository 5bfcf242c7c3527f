import type { Operation, View } from './plan.ts'

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

/** Those of the operations that need a subject of which `isApart` says so, each with the first such subject. */
export function findApart(
  operations: readonly Operation[],
  view: View,
  isApart: (subject: string) => boolean,
): Map<Operation, string> {
  const apart = new Map<Operation, string>()
  for (const operation of operations) {
    const subjects =
      operation.verb === 'reserve'
        ? operation.lines.map((line) => subjectOfSku(line.sku))
        : [subjectOfReservation(operation.id), ...(view.reservations.get(operation.id)?.skus ?? []).map(subjectOfSku)]
    const subject = subjects.find(isApart)
    if (subject !== undefined) apart.set(operation, subject)
  }
  return apart
}

/**
 * The queue knows the SKUs of a reserve, but those of a confirm only once its reservation has been read.
 *
 * @throws Blocked if any of the operations is to wait apart
 */
export function throwIfApart(
  operations: readonly Operation[],
  view: View,
  isApart: (subject: string) => boolean,
): void {
  const apart = findApart(operations, view, isApart)
  if (apart.size > 0) throw new Blocked(apart)
}
