import type { Knex } from 'knex'
import { refundIn } from '../customers/account.ts'
import { ok, refused, type Result } from '../errors.ts'
import { newId } from '../ids.ts'
import { lockOrderIn } from '../orders/lock.ts'
import { orderEvent, refundOfLine, type LockedOrder, type OrderLine } from '../orders/order.ts'
import { addRefundedUnits, selectOrderLines, updateOrderStatus } from '../orders/queries.ts'
import { claimKey, type Transact } from '../orders/transact.ts'
import { appendEvents } from '../outbox/append.ts'
import { sumLines, type Idempotency, type Line } from '../reservations/reservation.ts'
import { recordSalesIn } from '../sales/record.ts'
import { statusByMoney, type Payment } from './payment.ts'
import { insertRefund, selectPaymentsOf, selectRefund, takeRefund, type Refund } from './queries.ts'
import { returnUnits } from './settle.ts'

export type RefundRequest = {
  order_id: string
  /** Absent: all that has not come back yet; where money is owed, that money. */
  lines?: Line[]
  /** Whether the units go back on the shelf. */
  restock: boolean
  client: string
  idempotency?: Idempotency
}

/** A refund, and whether its key had made it before. */
export type Refunded = { refund: Refund; replayed: boolean }

export type RefundDeps = {
  transact: Transact
  /** Asks the gateway for a refund that was written down, in the background. */
  pursueRefund: (refund_id: string) => void
}

/**
 * Gives money back: to the balance it came from in the same transaction, through the gateway right after it. Units go back
 * on the shelf with it, if they are to. What came in and could not be sold for (`refund_required`) is given back first, by a
 * refund without lines, which moves no units. Money that others have taken is written down and given back by them.
 *
 * @returns refused with `order_not_found`, `order_not_refundable`, `refund_exceeds_paid`, `stock_limit`, `balance_limit`,
 *   `overloaded`, `stock_conflict`, or by its key
 */
export async function refundOrder(deps: RefundDeps, request: RefundRequest): Promise<Result<Refunded>> {
  const { order_id, client, idempotency } = request
  const made_id = newId()
  const refunded = await deps.transact<Refunded>({
    async claim(tx) {
      const claimed = await claimKey(tx, { client, kind: 'refund', idempotency, made_id })
      if (!claimed.ok) return claimed
      if (claimed.value === undefined) return undefined
      return ok({ refund: (await selectRefund(tx, claimed.value))!, replayed: true })
    },
    async work(tx) {
      const locked = await lockOrderIn(tx, order_id)
      if (!locked.ok) return locked
      const payments = await selectPaymentsOf(tx, order_id)
      const scene = { order: locked.value, payments, id: made_id }
      const owing = payments.find(({ owed_amount }) => owed_amount > 0)
      return owing === undefined ? giveBack(tx, scene, request) : giveBackOwed(tx, { ...scene, owing }, request)
    },
    blocked: 'Another session holds a row that this refund needs.',
  })
  if (refunded.ok && refunded.value.refund.status === 'pending') deps.pursueRefund(refunded.value.refund.id)
  return refunded
}

type Scene = { order: LockedOrder; payments: readonly Payment[]; id: string }

/** Money that came in and could not be sold for: all of a payment's, the oldest first. */
async function giveBackOwed(
  tx: Knex.Transaction,
  scene: Scene & { owing: Payment },
  request: RefundRequest,
): Promise<Result<Refunded>> {
  const { order, payments, owing } = scene
  if (request.lines !== undefined) return refused({ code: 'order_not_refundable', status: 'refund_required' })
  const amount = owing.owed_amount
  const refund = await payBack(tx, scene, { payment: owing, amount, lines: [], restock: false, owed: true })
  if (!refund.ok) return refund
  const left = payments.map((payment) => (payment.id === owing.id ? { owed_amount: 0 } : payment))
  if (order.status !== 'awaiting_payment') {
    await moveOrder(tx, order, { payments: left, lines: await selectOrderLines(tx, [order.id]), refund: refund.value })
  }
  return ok({ refund: refund.value, replayed: false })
}

/** Goods that come back, and what was paid for them. */
async function giveBack(tx: Knex.Transaction, scene: Scene, request: RefundRequest): Promise<Result<Refunded>> {
  const { order, payments } = scene
  const payment = payments.find(({ id }) => id === order.payment_id)
  if (payment === undefined) return refused({ code: 'order_not_refundable', status: order.status })
  const bought = await selectOrderLines(tx, [order.id])
  const lines = request.lines === undefined ? unitsLeft(bought) : sumLines(request.lines)
  if (lines.length === 0) return refused({ code: 'order_not_refundable', status: order.status })
  const excess = lines.flatMap(({ sku, quantity }) => {
    const refundable = unitsLeft(bought).find((line) => line.sku === sku)?.quantity ?? 0
    return quantity > refundable ? [{ sku, requested: quantity, refundable }] : []
  })
  if (excess.length > 0) return refused({ code: 'refund_exceeds_paid', lines: excess })
  const priced = lines.map((line) => ({
    ...line,
    amount: refundOfLine(
      bought.find(({ sku }) => sku === line.sku)!,
      line.quantity,
    ),
  }))
  const amount = priced.reduce((sum, line) => sum + line.amount, 0)
  if ((await addRefundedUnits(tx, order.id, lines)) !== lines.length) throw new Error('an order changed under its lock')
  const { restock } = request
  const refund = await payBack(tx, scene, { payment, amount, lines, restock, owed: false })
  if (!refund.ok) return refund
  await recordSalesIn(
    tx,
    priced.map(({ sku, quantity, amount: paid }) => ({
      cause_id: scene.id,
      order_id: order.id,
      sku,
      quantity: -quantity,
      amount: -paid,
      sold_at: order.paid_at!,
    })),
  )
  const left = bought.map((line) => ({
    ...line,
    refunded_quantity: line.refunded_quantity + (lines.find(({ sku }) => sku === line.sku)?.quantity ?? 0),
  }))
  await moveOrder(tx, order, { payments, lines: left, refund: refund.value })
  // Last: the counters are locked from here on.
  const returned = restock ? await returnUnits(tx, order.id, lines) : ok(undefined)
  return returned.ok ? ok({ refund: refund.value, replayed: false }) : returned
}

function unitsLeft(lines: readonly OrderLine[]): Line[] {
  return lines
    .map(({ sku, quantity, refunded_quantity }) => ({ sku, quantity: quantity - refunded_quantity }))
    .filter(({ quantity }) => quantity > 0)
}

/** Takes the money off its payment and starts it on its way. */
async function payBack(
  tx: Knex.Transaction,
  { order, id }: Scene,
  back: { payment: Payment; amount: number; lines: readonly Line[]; restock: boolean; owed: boolean },
): Promise<Result<Refund>> {
  const { payment, amount, lines, restock, owed } = back
  if (!(await takeRefund(tx, { payment_id: payment.id, amount, owed }))) {
    return refused({ code: 'order_not_refundable', status: order.status })
  }
  if (payment.method === 'balance') {
    const { customer_id } = order
    const returned = await refundIn(tx, { customer_id, amount, payment_id: payment.id, refund_id: id })
    if (!returned.ok) return returned
  }
  const asks_gateway = payment.method === 'card' && amount > 0
  const refund = await insertRefund(tx, {
    id,
    order_id: order.id,
    payment_id: payment.id,
    amount,
    currency: payment.captured_currency ?? payment.currency,
    lines,
    restock,
    next_try: asks_gateway ? REFUND_SECONDS : null,
  })
  return ok(refund)
}

/** A refund that is not heard of is asked for again after so long. */
const REFUND_SECONDS = 5

async function moveOrder(
  tx: Knex.Transaction,
  order: LockedOrder,
  after: { payments: readonly Pick<Payment, 'owed_amount'>[]; lines: readonly OrderLine[]; refund: Refund },
): Promise<void> {
  const { payments, lines, refund } = after
  const status = statusByMoney(order, payments, unitsBack(lines))
  const { id: refund_id, payment_id, amount, restock } = refund
  const back = refund.skus.map((sku, i) => ({ sku, quantity: refund.quantities[i] ?? 0 }))
  await updateOrderStatus(tx, order.id, status)
  // Owed money that was given back may leave the order paid: part of what came in for it went back.
  const told = status === 'paid' ? 'partially_refunded' : status
  await appendEvents(
    tx,
    [orderEvent(order, told, { status, refund_id, payment_id, amount, lines: back, restock })],
    null,
  )
}

/** How many of the units that were sold came back. */
function unitsBack(lines: readonly OrderLine[]): 'none' | 'some' | 'all' {
  if (lines.every(({ refunded_quantity }) => refunded_quantity === 0)) return 'none'
  return lines.every(({ quantity, refunded_quantity }) => quantity === refunded_quantity) ? 'all' : 'some'
}
