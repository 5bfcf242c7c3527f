import type { Knex } from 'knex'
import { takeFromCartIn } from '../carts/carts.ts'
import { priceSkusIn } from '../catalog/read.ts'
import { applyIn } from '../coupons/apply.ts'
import { findCustomers } from '../customers/customers.ts'
import { reading } from '../database/transaction.ts'
import { ok, refused, type Result } from '../errors.ts'
import { newId } from '../ids.ts'
import { appendEvents } from '../outbox/append.ts'
import { sumLines, type Idempotency, type Line } from '../reservations/reservation.ts'
import type { Reservations } from '../reservations/reservations.ts'
import type { OrderPayments } from './end.ts'
import {
  divideDiscount,
  orderEvent,
  referenceOf,
  type Order,
  type OrderLine,
  type OrderPayment,
  type OrderRow,
} from './order.ts'
import { insertOrder, insertOrderLines, selectOrder, selectOverdueHold } from './queries.ts'
import { claimKey, type Transact } from './transact.ts'

export type NewOrder = {
  customer_id: string
  /** 1–100; absent, the cart is ordered and emptied of it. */
  lines?: Line[]
  coupon_code?: string
  client: string
  idempotency?: Idempotency
}

/** An order, and whether its key had made it before. */
export type Ordered = { order: Order; replayed: boolean }

export type CreateDeps = {
  db: Knex
  transact: Transact
  reservations: Pick<Reservations, 'reserveIn' | 'release'>
  payments: Pick<OrderPayments, 'openIn'>
  currency: string
}

/**
 * Makes an order: its lines are held, its prices settled, its coupon used and its payment opened, all together or not at
 * all. It awaits payment until the hold's end.
 *
 * @returns refused with `insufficient_stock`, `skus_not_on_sale`, `skus_not_found`, `cart_empty`, `unknown_customer`,
 *   `unknown_coupon`, `coupon_already_used`, `overloaded`, `stock_conflict`, or by its key
 */
export async function createOrder(deps: CreateDeps, request: NewOrder): Promise<Result<Ordered>> {
  const ordered = await createOnce(deps, request)
  if (ordered.ok) return ordered
  const { refusal } = ordered
  if (refusal.code !== 'coupon_already_used') return ordered
  // An order has expired from its hold's end on, swept or not, and its customer has the coupon again.
  const overdue = await reading(() => selectOverdueHold(deps.db, refusal.order_id))
  if (overdue === undefined) return ordered
  const released = await deps.reservations.release({ id: overdue })
  return released.ok ? createOnce(deps, request) : released
}

function createOnce(deps: CreateDeps, request: NewOrder): Promise<Result<Ordered>> {
  const id = newId()
  const { client, idempotency } = request
  return deps.transact<Ordered>({
    async claim(tx) {
      const claimed = await claimKey(tx, { client, kind: 'order', idempotency, made_id: id })
      if (!claimed.ok) return claimed
      if (claimed.value === undefined) return undefined
      return ok({ order: (await selectOrder(tx, claimed.value))!, replayed: true })
    },
    async work(tx) {
      const order = await createIn(tx, deps, { ...request, id })
      return order.ok ? ok({ order: order.value, replayed: false }) : order
    },
    blocked: 'Another session holds a row that this order needs.',
  })
}

async function createIn(
  tx: Knex.Transaction,
  deps: CreateDeps,
  request: NewOrder & { id: string },
): Promise<Result<Order>> {
  const { id, customer_id, coupon_code } = request
  const wanted = await linesOf(tx, request)
  if (!wanted.ok) return wanted
  const priced = await priceLines(tx, wanted.value)
  if (!priced.ok) return priced
  const subtotal = priced.value.reduce((sum, { total }) => sum + total, 0)
  if (!Number.isSafeInteger(subtotal)) return TOO_DEAR
  let discount = 0
  if (coupon_code !== undefined) {
    const applied = await applyIn(tx, { code: coupon_code, customer_id, order_id: id, subtotal })
    if (!applied.ok) return applied
    discount = applied.value.discount
  }
  const lines = withDiscount(priced.value, discount)
  const row = {
    id,
    status: 'awaiting_payment' as const,
    customer_id,
    currency: deps.currency,
    subtotal,
    discount,
    total: subtotal - discount,
    coupon_code: coupon_code ?? null,
    reservation_id: newId(),
  }
  const { created_at, payment } = await writeIn(tx, deps, row, lines)
  // Last: the counters are locked from here on.
  const reserved = await deps.reservations.reserveIn(tx, {
    id: row.reservation_id,
    lines: wanted.value,
    customer_id,
    reference: referenceOf(id),
    client: request.client,
  })
  if (!reserved.ok) return reserved
  const { expires_at } = reserved.value.reservation
  // Not read back: the counters are locked.
  return ok({ ...row, lines, expires_at, created_at, paid_at: null, closed_at: null, payments: [payment], refunds: [] })
}

const TOO_DEAR = refused({
  code: 'invalid_request',
  errors: [{ path: '/lines', message: `must not cost more than ${Number.MAX_SAFE_INTEGER} together` }],
})

async function linesOf(tx: Knex.Transaction, { customer_id, lines }: NewOrder): Promise<Result<Line[]>> {
  if (!(await findCustomers(tx, [customer_id])).has(customer_id)) {
    return refused({ code: 'unknown_customer', id: customer_id })
  }
  if (lines !== undefined) return ok(sumLines(lines))
  const taken = await takeFromCartIn(tx, customer_id)
  return taken.length === 0 ? refused({ code: 'cart_empty' }) : ok(taken)
}

type PricedLine = Omit<OrderLine, 'discount' | 'refunded_quantity'>

async function priceLines(tx: Knex.Transaction, lines: readonly Line[]): Promise<Result<PricedLine[]>> {
  const found = await priceSkusIn(
    tx,
    lines.map(({ sku }) => sku),
  )
  const priced: PricedLine[] = []
  const not_on_sale: string[] = []
  for (const { sku, quantity } of lines) {
    const one = found.get(sku)
    if (one?.status !== 'active') {
      not_on_sale.push(sku)
      continue
    }
    const { product_id, name, options, price } = one
    priced.push({ sku, product_id, name, options, quantity, unit_price: price, total: price * quantity })
  }
  return not_on_sale.length > 0 ? refused({ code: 'skus_not_on_sale', skus: not_on_sale }) : ok(priced)
}

function withDiscount(lines: readonly PricedLine[], discount: number): OrderLine[] {
  const parts = divideDiscount(
    lines.map(({ total }) => total),
    discount,
  )
  return lines.map((line, i) => ({ ...line, discount: parts[i] ?? 0, refunded_quantity: 0 }))
}

async function writeIn(
  tx: Knex.Transaction,
  { payments }: CreateDeps,
  row: Omit<OrderRow, 'payment_id' | 'created_at' | 'paid_at' | 'closed_at'>,
  lines: readonly OrderLine[],
): Promise<{ created_at: Date; payment: OrderPayment }> {
  const event = orderEvent(
    { ...row, payment_id: null, created_at: new Date(0), paid_at: null, closed_at: null },
    row.status,
    {
      lines: lines.map(({ sku, quantity, unit_price }) => ({ sku, quantity, unit_price })),
    },
  )
  const [created_at, , payment] = await Promise.all([
    insertOrder(tx, row),
    insertOrderLines(tx, row.id, lines),
    payments.openIn(tx, row),
    appendEvents(tx, [event], null),
  ])
  return { created_at, payment }
}
