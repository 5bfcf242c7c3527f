import type { Knex } from 'knex'
import { addToCart, readCart, removeFromCart, setInCart, takeFromCartIn, type Cart } from '../../src/carts/carts.ts'
import { changeProduct } from '../../src/catalog/change.ts'
import { createPool } from '../../src/database/pool.ts'
import { rows, transaction } from '../../src/database/transaction.ts'
import { newId } from '../../src/ids.ts'
import { setStock } from '../../src/stock/set.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  counters,
  customerWith,
  hold,
  keyed,
  manyCustomers,
  must,
  onSale,
  openCore,
  refusal,
  stocked,
  stopCores,
  type Core,
} from '../factories.ts'

/** Carts: what is in them is what was put in, and what can be had is asked for at every look. */

let database: TestDatabase
let db: Knex
let core: Core

beforeAll(async () => {
  database = await createTestDatabase({ max: 12 })
  db = database.db
  core = openCore(database)
})

afterAll(async () => {
  await stopCores()
  await database.drop()
})

function add(customer_id: string, sku: string, quantity = 1, more: ReturnType<typeof keyed> | {} = {}) {
  return addToCart(db, { customer_id, sku, quantity, client: '', ...more })
}

/** A cart's lines, each as `sku quantity`. */
async function inCart(customer_id: string): Promise<string[]> {
  return linesOf(must(await readCart(db, customer_id)))
}

function linesOf({ lines }: Cart): string[] {
  return lines.map(({ sku, quantity }) => `${sku} ${quantity}`)
}

test('what is added adds up, at the prices of now, in the order of first addition', async () => {
  const kim = await customerWith(db)
  const mug = await onSale(db, 9, { name: 'Mug', price: 700 })
  const tee = await onSale(db, [5, 5], { name: 'Tee', price: 2900 })
  must(await add(kim, tee.skus[1]!))
  must(await add(kim, mug.skus[0]!, 3))
  const { cart } = must(await add(kim, tee.skus[1]!, 1))
  expect(cart).toEqual({
    customer_id: kim,
    lines: [
      {
        sku: tee.skus[1],
        quantity: 2,
        product_id: tee.id,
        name: 'Tee',
        options: { size: '1' },
        unit_price: 2900,
        total: 5800,
        available: 5,
        problem: null,
      },
      {
        sku: mug.skus[0],
        quantity: 3,
        product_id: mug.id,
        name: 'Mug',
        options: null,
        unit_price: 700,
        total: 2100,
        available: 9,
        problem: null,
      },
    ],
    subtotal: 7900,
    orderable: true,
  })
  expect(must(await readCart(db, kim))).toEqual(cart)
})

test('lines stand in the order of first addition wherever their rows lie, and so they are taken', async () => {
  const kim = await customerWith(db)
  const { skus } = await onSale(db, [5, 5, 5])
  const [a, b, c] = skus as [string, string, string]
  for (const sku of [c, b]) must(await add(kim, sku))
  must(await removeFromCart(db, { customer_id: kim, sku: c }))
  // The next row takes the place that is free.
  await rows(db, 'VACUUM cart_lines')
  must(await add(kim, a))
  must(await add(kim, c))
  const in_order = [`${b} 1`, `${a} 1`, `${c} 1`]
  expect(linesOf(must(await readCart(db, kim)))).toEqual(in_order)
  const taken = await transaction(db, (tx) => takeFromCartIn(tx, kim))
  expect(taken.map(({ sku, quantity }) => `${sku} ${quantity}`)).toEqual(in_order)
})

test('a cart holds no stock: a hundred customers may want the last unit', async () => {
  const { skus } = await onSale(db, 1)
  const customers = await manyCustomers(db, 100)
  for (const result of await Promise.all(customers.map((customer) => add(customer, skus[0]!)))) must(result)
  expect(await counters(db, skus[0]!)).toBe('1/0')
})

test('more than is available is refused with what is; what the cart has already counts', async () => {
  const kim = await customerWith(db)
  const [sku] = (await onSale(db, 5)).skus
  must(await add(kim, sku!, 3))
  await hold(core.reservations, [{ sku: sku!, quantity: 1 }])
  const shortages = [{ sku, requested: 5, available: 4 }]
  expect(refusal(await add(kim, sku!, 2))).toEqual({ code: 'insufficient_stock', shortages })
  expect(refusal(await setInCart(db, { customer_id: kim, sku: sku!, quantity: 5 }))).toEqual({
    code: 'insufficient_stock',
    shortages,
  })
  expect(await inCart(kim)).toEqual([`${sku} 3`])
  must(await add(kim, sku!, 1))
  expect(await inCart(kim)).toEqual([`${sku} 4`])
})

test('a SKU that nobody sells is refused: unknown, counted without a product, a draft, archived', async () => {
  const kim = await customerWith(db)
  const draft = await onSale(db, 5, { status: 'draft' })
  const archived = await onSale(db, 5, { status: 'archived' })
  for (const sku of ['nobody', await stocked(db), draft.skus[0]!, archived.skus[0]!]) {
    expect(refusal(await add(kim, sku))).toEqual({ code: 'skus_not_on_sale', skus: [sku] })
  }
  expect(await inCart(kim)).toEqual([])
})

test('a look says what is sold out, what is short, what is off sale, and the price of now', async () => {
  const kim = await customerWith(db)
  const products = await Promise.all(Array.from({ length: 5 }, () => onSale(db, 5)))
  const [gone, short, off, dearer, same] = products.map(({ id, skus }) => ({ id, sku: skus[0]! }))
  for (const { skus } of products) must(await add(kim, skus[0]!, 3))
  await hold(core.reservations, [{ sku: gone!.sku, quantity: 5 }])
  must(await setStock(db, [{ sku: short!.sku, stock: 2 }]))
  must(await changeProduct(db, off!.id, { status: 'archived' }))
  must(await changeProduct(db, dearer!.id, { skus: [{ sku: dearer!.sku, price: 1500 }] }))
  const cart = must(await readCart(db, kim))
  const seen = cart.lines.map(({ sku, unit_price, total, available, problem }) => [
    sku,
    unit_price,
    total,
    available,
    problem,
  ])
  expect(seen).toEqual([
    [gone!.sku, 1000, 3000, 0, 'sold_out'],
    [short!.sku, 1000, 3000, 2, 'insufficient_stock'],
    [off!.sku, null, null, 0, 'not_on_sale'],
    [dearer!.sku, 1500, 4500, 5, null],
    [same!.sku, 1000, 3000, 5, null],
  ])
  expect([cart.subtotal, cart.orderable]).toEqual([13_500, false])
})

test('a quantity is set, a line taken out, and what is not there is gone already', async () => {
  const kim = await customerWith(db)
  const { skus } = await onSale(db, [9, 9])
  must(await add(kim, skus[0]!, 5))
  const set = (sku: string, quantity: number) => setInCart(db, { customer_id: kim, sku, quantity })
  must(await set(skus[0]!, 2))
  expect(linesOf(must(await set(skus[1]!, 7)))).toEqual([`${skus[0]} 2`, `${skus[1]} 7`])
  const remove = (sku: string) => removeFromCart(db, { customer_id: kim, sku })
  expect(linesOf(must(await remove(skus[0]!)))).toEqual([`${skus[1]} 7`])
  expect(linesOf(must(await remove(skus[0]!)))).toEqual([`${skus[1]} 7`])
  expect(linesOf(must(await remove('nobody')))).toEqual([`${skus[1]} 7`])
})

test('what is off sale can still be taken out', async () => {
  const kim = await customerWith(db)
  const { id, skus } = await onSale(db, 5)
  must(await add(kim, skus[0]!))
  must(await changeProduct(db, id, { status: 'archived' }))
  expect(linesOf(must(await removeFromCart(db, { customer_id: kim, sku: skus[0]! })))).toEqual([])
})

test('one key adds once, also ten times at once, and a late retry does not fill a cart that was ordered', async () => {
  const kim = await customerWith(db)
  const [sku] = (await onSale(db, 50)).skus
  const added = await Promise.all(Array.from({ length: 10 }, () => add(kim, sku!, 2, keyed('add'))))
  expect(added.filter((result) => !must(result).replayed)).toHaveLength(1)
  expect(await inCart(kim)).toEqual([`${sku} 2`])
  expect(refusal(await add(kim, sku!, 3, keyed('add', 'another body')))).toEqual({ code: 'idempotency_key_reused' })
  await transaction(db, (tx) => takeFromCartIn(tx, kim))
  const late = must(await add(kim, sku!, 2, keyed('add')))
  expect([late.replayed, linesOf(late.cart)]).toEqual([true, []])
})

test('a refused addition is not remembered: its key may be used', async () => {
  const kim = await customerWith(db)
  const [sku] = (await onSale(db, 0)).skus
  expect(refusal(await add(kim, sku!, 1, keyed('later')))).toMatchObject({ code: 'insufficient_stock' })
  must(await setStock(db, [{ sku: sku!, stock: 1 }]))
  expect(must(await add(kim, sku!, 1, keyed('later'))).replayed).toBe(false)
})

test('twenty additions at once, none is lost', async () => {
  const kim = await customerWith(db)
  const { skus } = await onSale(db, [50, 50])
  await Promise.all(Array.from({ length: 20 }, (_, i) => add(kim, skus[i % 2]!)))
  expect((await inCart(kim)).toSorted()).toEqual(skus.map((sku) => `${sku} 10`).toSorted())
})

test('a cart has at most 100 lines, also when two come for the last place at once', async () => {
  const kim = await customerWith(db)
  const { skus } = await onSale(
    db,
    Array.from({ length: 101 }, () => 5),
  )
  for (const sku of skus.slice(0, 99)) must(await add(kim, sku))
  const last = await Promise.all(skus.slice(99).map((sku) => add(kim, sku)))
  expect(last.filter(({ ok }) => ok)).toHaveLength(1)
  expect(last.flatMap((result) => (result.ok ? [] : [result.refusal.code]))).toEqual(['cart_limit'])
  must(await add(kim, skus[0]!))
  expect(await inCart(kim)).toHaveLength(100)
})

test('a line has at most a million units', async () => {
  const kim = await customerWith(db)
  const [sku] = (await onSale(db, 3_000_000)).skus
  must(await add(kim, sku!, 1_000_000))
  expect(refusal(await add(kim, sku!, 1))).toMatchObject({ code: 'cart_limit' })
  expect(await inCart(kim)).toEqual([`${sku} 1000000`])
})

test('who does not exist has no cart', async () => {
  const id = newId()
  const refused = { code: 'customer_not_found', id }
  expect(refusal(await add(id, 'x'))).toEqual(refused)
  expect(refusal(await readCart(db, id))).toEqual(refused)
  expect(refusal(await setInCart(db, { customer_id: id, sku: 'x', quantity: 1 }))).toEqual(refused)
  expect(refusal(await removeFromCart(db, { customer_id: id, sku: 'x' }))).toEqual(refused)
})

test('a cart that another session keeps locked is too much at once', async () => {
  const kim = await customerWith(db)
  const [sku] = (await onSale(db, 5)).skus
  must(await add(kim, sku!))
  const limits = { lock_timeout_ms: 50, statement_timeout_ms: 5000 }
  const brief = createPool({ ...limits, url: database.url, max: 1, application_name: 'brief' })
  const other = await begin(db)
  await rows(other, 'SELECT 1 FROM carts WHERE customer_id = ? FOR UPDATE', [kim])
  const line = { customer_id: kim, sku: sku!, quantity: 1 }
  expect(refusal(await addToCart(brief, { ...line, client: '' }))).toMatchObject({ code: 'overloaded' })
  expect(refusal(await removeFromCart(brief, line))).toMatchObject({ code: 'overloaded' })
  expect(must(await readCart(brief, kim)).lines).toHaveLength(1)
  await other.rollback()
  await brief.destroy()
})

describe('taking a cart for an order', () => {
  test('of ten orders of one cart at once one finds something in it', async () => {
    const kim = await customerWith(db)
    const { skus } = await onSale(db, [9, 9])
    for (const sku of skus) must(await add(kim, sku, 2))
    const taken = await Promise.all(Array.from({ length: 10 }, () => transaction(db, (tx) => takeFromCartIn(tx, kim))))
    expect(taken.filter((lines) => lines.length > 0)).toEqual([skus.map((sku) => ({ sku, quantity: 2 }))])
    expect(await inCart(kim)).toEqual([])
  })

  test('an order that is refused leaves the cart as it was', async () => {
    const kim = await customerWith(db)
    const { skus } = await onSale(db, [9, 9])
    for (const sku of skus) must(await add(kim, sku, 2))
    await transaction<unknown>(db, async (tx, rollback) => rollback(await takeFromCartIn(tx, kim)))
    expect(await inCart(kim)).toEqual(skus.map((sku) => `${sku} 2`))
  })

  test('only the SKUs that are named are taken', async () => {
    const kim = await customerWith(db)
    const { skus } = await onSale(db, [9, 9])
    for (const sku of skus) must(await add(kim, sku, 2))
    const taken = await transaction(db, (tx) => takeFromCartIn(tx, kim, [skus[1]!, 'nobody']))
    expect([taken, await inCart(kim)]).toEqual([[{ sku: skus[1], quantity: 2 }], [`${skus[0]} 2`]])
  })

  test('a cart that was never used is empty', async () => {
    const kim = await customerWith(db)
    expect(await transaction(db, (tx) => takeFromCartIn(tx, kim))).toEqual([])
  })
})
