import type { Knex } from 'knex'
import { isConsequence, isLockTimeout } from '../database/sqlstate.ts'
import { reading, transaction } from '../database/transaction.ts'
import { refused } from '../errors.ts'
import type { Recorded } from '../stock/counters.ts'
import { lockLevels, selectUnlockedSkus } from '../stock/queries.ts'
import { Blocked, findApart, KEYS, rowOf, subjectOfReservation, subjectOfSku, throwIfApart } from './blocked.ts'
import type { ClosingHooks } from './hooks.ts'
import { lookAndDraw, type Looked } from './look.ts'
import { draw, isTestedByWrites } from './plan.ts'
import type { Operation, Outcome, Plan, PlanSettings, View } from './plan.ts'
import {
  applyTransitions,
  deleteInserted,
  insertReservations,
  lockReservations,
  peekOverdue,
  selectUnlockedIds,
} from './queries.ts'
import { reclaim } from './reclaim.ts'
import { lockFor, moveAndRecord, moveFor, recordMove, type Fitting } from './write.ts'

/**
 * Runs one batch: look, plan, write if everything still is as the plan saw it, else look again. Invariant: nothing that
 * was read decides; each statement that writes tests what it rests on, and its row count is the answer.
 *
 * Locks are taken in this order, in every path: idempotency keys (sorted), reservations (by id), what the hooks add,
 * counters (by SKU).
 */

/** Looks at most this often; each further look means that another process got ahead or holds were reclaimed. */
const LOOKS_MAX = 12
/** Takes overdue holds back at most this often for a batch. */
const RECLAIMS_MAX = 8

export type FlightDeps = PlanSettings &
  ClosingHooks & {
    db: Knex
    /** SKUs whose counters were found locked by another session: reclaims leave them alone, their requests wait apart. */
    known_locked: Set<string>
    observePhase: (phase: 'read' | 'write', duration_ms: number) => void
  }

export type FlightOptions = {
  /** Milliseconds of `performance.now()` after which no further look is taken. */
  deadline: number
  /** Operations that need one of these subjects are to wait apart: they are not even tried. */
  apart?: { readonly size: number; has(subject: string): boolean }
  /** The subject that these operations wait for apart from others. */
  waits_for?: string
  /**
   * How the counters are moved. By default one statement locks, tests and moves them. `locked`: they are locked and read
   * first, decided on again, and then moved. `as_read`: only if their `seq` still is what was read, else everybody is
   * refused with `stock_conflict`, nothing being written.
   */
  counters?: 'locked' | 'as_read'
  /** The first look, taken while the batch before was in flight; taken again if it failed or an outcome would rest on it alone. */
  looked?: Promise<Looked> | undefined
  /** Called when the last statement before COMMIT was sent, once for each try; not if an outcome rests on the look alone. */
  onSent?: () => void
  /** Called when what was read no longer holds where it is to be written: somebody else was faster. */
  onConflict?: () => void
  /** With `locked`: how long the locks took. */
  onLocked?: (duration_ms: number) => void
  /**
   * Runs last in the transaction that writes, with what it decided; what it throws undoes all. The counters are locked by then:
   * it may lock only what nobody holds who waits for a counter.
   */
  alongside?: (tx: Knex.Transaction, outcomes: ReadonlyMap<Operation, Outcome>) => Promise<void>
}

type Phase = 'keys' | 'reservations' | 'counters'

/** Something changed between look and write; the transaction was undone. */
const STALE = Symbol('stale')
const DONE = Symbol('done')

/**
 * Decides and writes operations in one transaction of their own.
 *
 * @returns an outcome for each operation, after COMMIT
 * @throws Blocked if a lock was not had in time; DatabaseUnavailable; anything else is a fault of one of the operations
 */
export async function fly(
  deps: FlightDeps,
  operations: readonly Operation[],
  options: FlightOptions,
): Promise<Map<Operation, Outcome>> {
  const { deadline, apart, waits_for } = options
  if (waits_for !== undefined) await waitAlone(deps, operations, waits_for)
  const ignored = new Set<string>()
  const settled = new Set<string>()
  const denied = new Map<Operation, Outcome>()
  const reclaim_until = (performance.now() + deadline) / 2
  let with_keys = false
  let ahead = options.looked
  for (let looks = 0; looks < LOOKS_MAX && (looks === 0 || performance.now() < deadline); looks++) {
    const started = performance.now()
    const seen = await ahead?.catch(() => undefined)
    ahead = undefined
    const { plan, view } =
      seen !== undefined && isTestedByWrites(seen.plan)
        ? seen
        : await reading(() => lookAndDraw(deps, deps.db, operations, with_keys, denied))
    deps.observePhase('read', performance.now() - started)
    if (apart !== undefined && apart.size + deps.known_locked.size > 0) {
      throwIfApart(operations, view, (subject) => apart.has(subject) || isKnownLocked(deps, subject))
    }
    if (plan.short.size > 0 && (await reclaimShort(deps, { operations, plan, view }, ignored))) {
      if (looks + 1 >= RECLAIMS_MAX || performance.now() > reclaim_until) denyShort(plan, denied)
      continue
    }
    if (await waitForLastConfirms(deps.db, { operations, plan, view }, settled)) continue
    if (plan.steps.length === 0) return plan.outcomes
    const written = await write(deps, { operations, plan, view, ignored }, options)
    if (written !== STALE) return written
    with_keys = true
  }
  return new Map(operations.map((operation) => [operation, CONTENDED]))
}

const CONTENDED = refused({
  code: 'overloaded',
  detail: 'These SKUs are contended beyond what could be settled in time.',
})

const CONFLICT = refused({ code: 'stock_conflict' })

/** Who needs more overdue holds than can be taken back in time must not keep the rest of the batch from its answer. */
function denyShort(plan: Plan, denied: Map<Operation, Outcome>): void {
  for (const [operation, outcome] of plan.outcomes) {
    if (!outcome.ok && outcome.refusal.code === 'insufficient_stock') denied.set(operation, CONTENDED)
  }
}

/**
 * Decides and writes one operation in the caller's transaction, which commits or undoes it.
 *
 * @returns its outcome; on `stock_conflict` the caller must roll back and may run its transaction again: another session got
 *   ahead, or the hold's time ran out while a counter was waited for
 */
export async function flyIn(deps: FlightDeps, tx: Knex.Transaction, operation: Operation): Promise<Outcome> {
  const ignored = new Set<string>()
  let with_keys = operation.verb === 'reserve' && operation.request.idempotency !== undefined
  if (operation.verb !== 'reserve') await lockReservations(tx, [operation.id])
  for (let looks = 0; looks < LOOKS_MAX; looks++) {
    const { plan, view } = await lookAndDraw(deps, tx, [operation], with_keys)
    if (plan.short.size > 0 && (await reclaimShort(deps, { operations: [operation], plan, view }, ignored))) continue
    const outcome = plan.outcomes.get(operation)
    if (plan.steps.length === 0 && outcome !== undefined) return outcome
    if ((await claimAndClose(deps, tx, plan, { phase: undefined })) === STALE) {
      with_keys = true
      continue
    }
    const written = await moveAndRecord(tx, plan.steps)
    if (written.fits && !isPastAnEnd(plan, view, written.locked_at) && outcome !== undefined) return outcome
    break
  }
  return CONFLICT
}

/** True if the batch should look again. A counter that somebody keeps locked sets those who need it apart, untried. */
async function reclaimShort(
  deps: FlightDeps,
  seen: { operations: readonly Operation[]; plan: Plan; view: View },
  ignored: Set<string>,
): Promise<boolean> {
  const { operations, plan, view } = seen
  const short = new Map(Array.from(plan.short, (sku) => [sku, availableIn(view, sku)]))
  const reclaimed = await reading(() => reclaim(deps.db, short, { ignored, known_locked: deps.known_locked }, deps))
  const locked = new Set(reclaimed.blocked_skus.map(subjectOfSku))
  throwIfApart(operations, view, (subject) => locked.has(subject))
  return reclaimed.look_again
}

function availableIn(view: View, sku: string): number {
  const counter = view.counters.get(sku)
  return counter === undefined ? 0 : counter.stock - counter.temp_reserved_stock
}

async function write(
  deps: FlightDeps,
  drawn: { operations: readonly Operation[]; plan: Plan; view: View; ignored: ReadonlySet<string> },
  { counters: how, onConflict, onLocked, onSent, alongside }: FlightOptions,
): Promise<Map<Operation, Outcome> | typeof STALE> {
  const { operations, plan, view, ignored } = drawn
  const failed: Failed = { phase: undefined }
  const started = performance.now()
  let recorded: readonly Recorded[] = []
  try {
    const written = await transaction<Map<Operation, Outcome> | typeof STALE>(deps.db, async (tx, rollback, last) => {
      recorded = []
      // Sent one behind the other. If one fails or misses, those behind it did nothing that the rollback does not undo.
      const claimed = claimAndClose(deps, tx, plan, failed)
      if (runsHooks(deps, plan) && (await claimed) === STALE) return rollback(STALE)
      const moving = noting(
        failed,
        'counters',
        how === 'locked'
          ? lockFor(tx, plan.steps, onLocked)
          : moveFor(tx, plan.steps, how === 'as_read' ? view.counters : undefined),
      )
      // What it could not move for holds that somebody else has ended is no fault: it is not asked about.
      moving.catch(() => undefined)
      if ((await claimed) === STALE) return rollback(STALE)
      const moved = await moving
      if (moved.fits) {
        if (isPastAnEnd(plan, view, moved.locked_at)) return rollback(STALE)
        last(recordMove(tx, plan.steps, moved))
        if (isTestedByWrites(plan)) onSent?.()
        recorded = moved.recorded
        await alongside?.(tx, plan.outcomes)
        return plan.outcomes
      }
      if (how !== 'locked') onConflict?.()
      if (how === 'as_read') return rollback(new Map(operations.map((operation) => [operation, CONFLICT])))
      // Another process took units meanwhile, or may have. The counters are locked now and these are their values: refuse
      // whom they do not cover, keep the rest. Without this two processes could overtake one another without end.
      const { counters } = moved
      const shrunk = draw(operations, { ...view, counters }, deps, refusalsOf(plan))
      const rewritten = await shrink(tx, plan, shrunk, ignored)
      if (rewritten === STALE || isPastAnEnd(shrunk, view, rewritten.locked_at)) return rollback(STALE)
      recorded = rewritten.recorded
      await alongside?.(tx, shrunk.outcomes)
      return shrunk.outcomes
    })
    if (written !== STALE) deps.onMoved?.(recorded)
    return written
  } catch (error) {
    if (!isLockTimeout(error)) throw error
    const apart = await findBlocked(deps.db, { operations, plan, view, phase: failed.phase ?? 'counters' })
    for (const subject of apart.values()) {
      const row = rowOf(subject)
      if (row !== undefined && 'sku' in row) deps.known_locked.add(row.sku)
    }
    throw new Blocked(apart)
  } finally {
    deps.observePhase('write', performance.now() - started)
  }
}

function refusalsOf(plan: Plan): Map<Operation, Outcome> {
  return new Map([...plan.outcomes].filter(([, outcome]) => !outcome.ok))
}

/** Claims keys by inserting the reservations, then closes or extends those that exist, then runs the hooks. */
async function claimAndClose(
  deps: FlightDeps,
  tx: Knex.Transaction,
  plan: Plan,
  failed: Failed,
): Promise<typeof DONE | typeof STALE> {
  const transitions = [...plan.transitions.values()]
  const ids = transitions.map((transition) => transition.id)
  // All of them are sent before the first is waited for.
  const [inserted, , applied] = await Promise.all([
    plan.inserts.length === 0 ? 0 : noting(failed, 'keys', insertReservations(tx, plan.inserts)),
    ids.length === 0 ? undefined : noting(failed, 'reservations', lockReservations(tx, ids)),
    ids.length === 0 ? 0 : noting(failed, 'reservations', applyTransitions(tx, transitions)),
  ])
  if (inserted < plan.inserts.length || applied < transitions.length) return STALE
  if (runsHooks(deps, plan)) await deps.onClosed?.(tx, [...plan.closed.values()])
  return DONE
}

function runsHooks({ onClosed }: FlightDeps, plan: Plan): boolean {
  if (onClosed === undefined) return false
  for (const closed of plan.closed.values()) if (onClosed.concerns?.(closed) ?? true) return true
  return false
}

/** The phase of the statement that failed. */
type Failed = { phase: Phase | undefined }

function noting<T>(failed: Failed, phase: Phase, statement: Promise<T>): Promise<T> {
  return statement.catch((error: unknown) => {
    if (!isConsequence(error)) failed.phase = phase
    throw error
  })
}

/** Writes the smaller plan in place of the first; STALE if that can't be done here and the batch must look again. */
async function shrink(
  tx: Knex.Transaction,
  plan: Plan,
  shrunk: Plan,
  ignored: ReadonlySet<string>,
): Promise<Fitting | typeof STALE> {
  const sameClosings =
    shrunk.transitions.size === plan.transitions.size &&
    [...shrunk.transitions].every(([id, { to }]) => plan.transitions.get(id)?.to === to)
  if (!sameClosings || shrunk.keys_unknown) return STALE
  const take = { limit: 1, skus: [...shrunk.short], except_skus: [], except_ids: [...ignored] }
  if (take.skus.length > 0 && (await peekOverdue(tx, take)).length > 0) return STALE
  const kept = new Set(shrunk.inserts.map(({ reservation }) => reservation.id))
  const dropped = plan.inserts.map(({ reservation }) => reservation.id).filter((id) => !kept.has(id))
  if (dropped.length > 0) await deleteInserted(tx, dropped)
  const written = await moveAndRecord(tx, shrunk.steps)
  return written.fits ? written : STALE
}

/**
 * Whether a hold that was decided on while it lasted was past its end when the last counter was had: by then everybody
 * was told that it has expired, and nothing may take that back.
 */
function isPastAnEnd(plan: Plan, view: View, locked_at: Date | null): boolean {
  if (locked_at === null) return false
  return [...plan.transitions.values()].some((transition) => {
    const ends_at = view.reservations.get(transition.id)?.expires_at
    return !transition.from_overdue && transition.from === 'pending' && ends_at !== undefined && locked_at >= ends_at
  })
}

/**
 * Nobody is told that a hold has expired while another session may be committing a confirm that came in time. Waits for
 * whoever has such holds locked; who locks them from now on finds them past their end.
 *
 * @param settled holds that were waited for; those that are now are added
 * @returns whether the batch should look again
 */
async function waitForLastConfirms(
  db: Knex,
  seen: { operations: readonly Operation[]; plan: Plan; view: View },
  settled: Set<string>,
): Promise<boolean> {
  const { operations, plan, view } = seen
  const doubtful = new Set<string>()
  for (const operation of operations) {
    if (operation.verb === 'reserve' || settled.has(operation.id) || plan.outcomes.get(operation)?.ok !== false)
      continue
    const stored = view.reservations.get(operation.id)
    if (stored?.status === 'pending' && stored.overdue) doubtful.add(operation.id)
  }
  if (doubtful.size === 0) return false
  const ids = [...doubtful]
  try {
    await transaction(db, (tx) => lockReservations(tx, ids))
  } catch (error) {
    if (!isLockTimeout(error)) throw error
    const unlocked = new Set(await reading(() => selectUnlockedIds(db, ids)))
    const locked = new Set(ids.filter((id) => !unlocked.has(id)).map(subjectOfReservation))
    throw new Blocked(findApart(operations, view, (subject) => locked.has(subject)))
  }
  for (const id of ids) settled.add(id)
  return true
}

/** Asks, without waiting, which of the rows that the plan wanted another session still holds, and who needs them. */
async function findBlocked(
  db: Knex,
  failed: { operations: readonly Operation[]; plan: Plan; view: View; phase: Phase },
): Promise<Map<Operation, string>> {
  const { operations, plan, view, phase } = failed
  if (phase === 'keys') {
    return new Map(operations.filter((one) => idempotencyOf(one) !== undefined).map((one) => [one, KEYS]))
  }
  const ids = phase === 'reservations' ? [...plan.transitions.keys()] : []
  const changes = plan.steps.flatMap((step) => step.changes)
  const skus = phase === 'counters' ? [...new Set(changes.map((change) => change.sku))] : []
  const [unlocked_ids, unlocked_skus] = await reading(async () => [
    new Set(ids.length > 0 ? await selectUnlockedIds(db, ids) : []),
    new Set(skus.length > 0 ? await selectUnlockedSkus(db, skus) : []),
  ])
  const locked = new Set([
    ...ids.filter((id) => !unlocked_ids.has(id)).map(subjectOfReservation),
    ...skus.filter((sku) => !unlocked_skus.has(sku)).map(subjectOfSku),
  ])
  return findApart(operations, view, (subject) => locked.has(subject))
}

function idempotencyOf(operation: Operation): unknown {
  return operation.verb === 'reserve' ? operation.request.idempotency : undefined
}

/**
 * Waits for a row that somebody kept locked while nothing else is locked. Without this an order of two SKUs would keep the
 * first one's counter from everybody for as long as it waits for the second.
 */
async function waitAlone(deps: FlightDeps, operations: readonly Operation[], subject: string): Promise<void> {
  const row = rowOf(subject)
  if (row === undefined) return
  try {
    await transaction(deps.db, async (tx) => {
      if ('sku' in row) await lockLevels(tx, [row.sku])
      else await lockReservations(tx, [row.reservation_id])
    })
  } catch (error) {
    if (!isLockTimeout(error)) throw error
    throw new Blocked(new Map(operations.map((operation) => [operation, subject])))
  }
  if ('sku' in row) deps.known_locked.delete(row.sku)
}

function isKnownLocked({ known_locked }: FlightDeps, subject: string): boolean {
  const row = rowOf(subject)
  return row !== undefined && 'sku' in row && known_locked.has(row.sku)
}
