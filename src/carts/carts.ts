import type { Knex } from 'knex'
import type { Options, ProductStatus } from '../catalog/product.ts'
import type { PricedSku } from '../catalog/queries.ts'
import { priceSkusIn } from '../catalog/read.ts'
import { findCustomers } from '../customers/customers.ts'
import { doOnce, earlierOf, unkeyed } from '../database/keyed.ts'
import { reading, type Executor } from '../database/transaction.ts'
import { ok, refused, type Refusal, type Result } from '../errors.ts'
import type { Idempotency, Line } from '../reservations/reservation.ts'
import { LINES_MAX, QUANTITY_MAX } from '../reservations/schemas.ts'
import {
  deleteCartLines,
  insertAddition,
  lockCart,
  lockCartIfAny,
  selectAddition,
  selectCartLines,
  upsertCartLine,
} from './queries.ts'

/**
 * What customers mean to buy. A cart holds no stock and remembers no prices: both are as they are at the moment of reading,
 * and only an order settles them.
 */

/** Why a line can't be ordered as it is. */
export type Problem = 'not_on_sale' | 'sold_out' | 'insufficient_stock'

export type CartLine = {
  sku: string
  quantity: number
  product_id: string | null
  name: string | null
  options: Options | null
  /** The price now, in the currency's minor unit; null for what is not on sale. */
  unit_price: number | null
  total: number | null
  /** Units that could be reserved now. */
  available: number
  problem: Problem | null
}

export type Cart = {
  customer_id: string
  lines: CartLine[]
  /** The totals of all lines that have a price. */
  subtotal: number
  /** Whether an order of the whole cart would have found stock and prices. */
  orderable: boolean
}

/** A cart, and whether the request had been done before. */
export type CartAnswer = { cart: Cart; replayed: boolean }

/**
 * Adds units to a cart. What is in it already counts: the line would hold the sum.
 *
 * @param request.quantity 1–1,000,000
 * @returns refused with `customer_not_found`, `skus_not_on_sale`, `insufficient_stock` (with what is available now),
 *   `cart_limit`, or by its key
 */
export function addToCart(
  db: Knex,
  request: { customer_id: string; sku: string; quantity: number; client: string; idempotency?: Idempotency },
): Promise<Result<CartAnswer>> {
  const { customer_id, sku, quantity, client, idempotency } = request
  return doOnce<CartAnswer>(db, {
    async claim(tx) {
      if (idempotency === undefined) return undefined
      if (await insertAddition(tx, { client, customer_id, ...idempotency })) return undefined
      const earlier = earlierOf(await selectAddition(tx, client, idempotency.key), idempotency.request_hash)
      return earlier.ok ? ok({ cart: await presentCart(tx, customer_id), replayed: true }) : earlier
    },
    work: (tx) => putIn(tx, { customer_id, sku }, (in_cart) => in_cart + quantity),
    blocked: BLOCKED,
  })
}

const BLOCKED = 'Another request is changing this cart.'

/**
 * Sets how many units a cart has of a SKU. Refused as {@link addToCart} is.
 *
 * @param request.quantity 1–1,000,000
 */
export function setInCart(
  db: Knex,
  { customer_id, sku, quantity }: { customer_id: string; sku: string; quantity: number },
): Promise<Result<Cart>> {
  return change(db, (tx) => putIn(tx, { customer_id, sku }, () => quantity))
}

/** Takes a SKU out of a cart; where it is not in it, nothing changes. Refused with `customer_not_found`. */
export function removeFromCart(
  db: Knex,
  { customer_id, sku }: { customer_id: string; sku: string },
): Promise<Result<Cart>> {
  return change(db, async (tx) => {
    if (!(await exists(tx, customer_id))) return refused({ code: 'customer_not_found', id: customer_id })
    await takeFromCartIn(tx, customer_id, [sku])
    return ok({ cart: await presentCart(tx, customer_id), replayed: false })
  })
}

/** A cart with prices and availability as of now; one that was never used is empty. Refused with `customer_not_found`. */
export async function readCart(db: Executor, customer_id: string): Promise<Result<Cart>> {
  if (!(await exists(db, customer_id))) return refused({ code: 'customer_not_found', id: customer_id })
  return ok(await presentCart(db, customer_id))
}

/**
 * Takes lines out of a cart in the caller's transaction, and answers with what they held: for an order of the cart. Two
 * orders at once queue here, and the second finds the cart empty; undone with its transaction, the lines are back.
 *
 * @param skus undefined for all lines
 * @returns lines, in the cart's order; as they stood, whatever is on sale or available
 */
export async function takeFromCartIn(
  tx: Knex.Transaction,
  customer_id: string,
  skus?: readonly string[],
): Promise<Line[]> {
  if (!(await lockCartIfAny(tx, customer_id))) return []
  return deleteCartLines(tx, customer_id, skus ?? null)
}

async function change(db: Knex, work: (tx: Knex.Transaction) => Promise<Result<CartAnswer>>): Promise<Result<Cart>> {
  const result = await doOnce(db, { claim: unkeyed, work, blocked: BLOCKED })
  return result.ok ? ok(result.value.cart) : result
}

async function exists(db: Executor, customer_id: string): Promise<boolean> {
  return (await findCustomers(db, [customer_id])).has(customer_id)
}

async function putIn(
  tx: Knex.Transaction,
  { customer_id, sku }: { customer_id: string; sku: string },
  quantityOf: (in_cart: number) => number,
): Promise<Result<CartAnswer>> {
  // Sent together; the lines are read after the lock.
  const [locked, lines] = await Promise.all([lockCart(tx, customer_id), selectCartLines(tx, customer_id)])
  if (!locked) return refused({ code: 'customer_not_found', id: customer_id })
  const line = lines.find((one) => one.sku === sku)
  const quantity = quantityOf(line?.quantity ?? 0)
  const after = line === undefined ? [...lines, { sku, quantity }] : lines.with(lines.indexOf(line), { sku, quantity })
  if (after.length > LINES_MAX) return refused(FULL)
  const priced = await priceSkusIn(
    tx,
    after.map((one) => one.sku),
  )
  const refusal = whyNot(priced.get(sku), { sku, quantity })
  if (refusal !== undefined) return refused(refusal)
  await upsertCartLine(tx, { customer_id, sku, quantity })
  return ok({ cart: present(customer_id, after, priced), replayed: false })
}

/** A cart has the bounds of a hold, so that all of it can be ordered at once. */
const FULL: Refusal = {
  code: 'cart_limit',
  detail: `a cart has at most ${LINES_MAX} lines; take one out, or order what is in it`,
}

function whyNot(priced: PricedSku | undefined, { sku, quantity }: Line): Refusal | undefined {
  if (priced?.status !== 'active') return { code: 'skus_not_on_sale', skus: [sku] }
  const { available } = priced
  if (quantity > available) {
    return { code: 'insufficient_stock', shortages: [{ sku, requested: quantity, available }] }
  }
  if (quantity <= QUANTITY_MAX) return undefined
  return { code: 'cart_limit', detail: `a line has at most ${QUANTITY_MAX} units; order the rest apart` }
}

async function presentCart(db: Executor, customer_id: string): Promise<Cart> {
  const lines = await reading(() => selectCartLines(db, customer_id))
  const priced = await priceSkusIn(
    db,
    lines.map(({ sku }) => sku),
  )
  return present(customer_id, lines, priced)
}

function present(customer_id: string, lines: readonly Line[], priced: ReadonlyMap<string, PricedSku>): Cart {
  const presented = lines.map((line) => presentLine(line, priced.get(line.sku)))
  return {
    customer_id,
    lines: presented,
    // Only a cart of many millions of the dearest things comes near the bound, past which integers are not exact.
    subtotal: Math.min(
      presented.reduce((sum, { total }) => sum + (total ?? 0), 0),
      Number.MAX_SAFE_INTEGER,
    ),
    orderable: presented.length > 0 && presented.every(({ problem }) => problem === null),
  }
}

function presentLine({ sku, quantity }: Line, priced: PricedSku | undefined): CartLine {
  const on_sale = priced?.status === 'active'
  const available = on_sale ? Math.max(0, priced.available) : 0
  return {
    sku,
    quantity,
    product_id: priced?.product_id ?? null,
    name: priced?.name ?? null,
    options: priced?.options ?? null,
    unit_price: on_sale ? priced.price : null,
    total: on_sale ? priced.price * quantity : null,
    available,
    problem: problemOf({ status: priced?.status, available, quantity }),
  }
}

function problemOf(line: { status: ProductStatus | undefined; available: number; quantity: number }): Problem | null {
  if (line.status !== 'active') return 'not_on_sale'
  if (line.available === 0) return 'sold_out'
  return line.quantity > line.available ? 'insufficient_stock' : null
}
