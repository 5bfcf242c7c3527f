import type { Knex } from 'knex'
import { changeProduct } from '../../src/catalog/change.ts'
import { createProduct, type NewProduct } from '../../src/catalog/create.ts'
import type { NewSku } from '../../src/catalog/product.ts'
import { listProducts, priceSkusIn, readProduct } from '../../src/catalog/read.ts'
import { createPool } from '../../src/database/pool.ts'
import { rows } from '../../src/database/transaction.ts'
import { newId } from '../../src/ids.ts'
import { setStock } from '../../src/stock/set.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  counters,
  deadlocksOf,
  findAllBroken,
  hold,
  keyed,
  ledger,
  must,
  onSale,
  openCore,
  refusal,
  stocked,
  stopCores,
  untilWaiting,
  type Core,
} from '../factories.ts'

/** Products: made with their stock, changed, listed with what is available. */

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

let count = 0

function sku(more: Partial<NewSku> = {}): NewSku {
  return { sku: `own-${++count}`, price: 2900, stock: 5, ...more }
}

function inSizes(...sizes: string[]): NewSku[] {
  return sizes.map((size) => sku({ options: { size } }))
}

function create(skus: NewSku[], more: Partial<NewProduct> = {}) {
  return createProduct(db, { name: 'Tee', client: '', skus, ...more })
}

async function productsNow(): Promise<number> {
  const [row] = await rows<{ products: number }>(db, 'SELECT count(*) AS products FROM products')
  return row!.products
}

describe('making a product', () => {
  test('makes the stock of its SKUs with it, and the ledger says where it came from', async () => {
    const [m, l] = inSizes('M', 'L')
    const { product, replayed } = must(
      await create([m!, { ...l!, stock: 0 }], { description: 'Cotton', image: '/t.png' }),
    )
    expect(product).toMatchObject({ name: 'Tee', description: 'Cotton', image: '/t.png', status: 'active' })
    expect(product.skus).toEqual([
      { sku: m!.sku, options: { size: 'M' }, price: 2900, available: 5 },
      { sku: l!.sku, options: { size: 'L' }, price: 2900, available: 0 },
    ])
    expect([replayed, await counters(db, m!.sku), await ledger(db, m!.sku)]).toEqual([false, '5/0', ['set 5 0']])
    expect(await counters(db, l!.sku)).toBe('0/0')
    expect(await readProduct(db, product.id)).toEqual(product)
  })

  test('without options it has one SKU', async () => {
    const { product } = must(await create([sku()]))
    expect(product.skus).toMatchObject([{ options: null, available: 5 }])
  })

  test('one sold-out size leaves the others on sale', async () => {
    const [m, l] = inSizes('M', 'L')
    const { product } = must(await create([m!, l!]))
    await hold(core.reservations, [{ sku: m!.sku, quantity: 5 }])
    expect((await core.reservations.reserve({ client: '', lines: [{ sku: m!.sku, quantity: 1 }] })).ok).toBe(false)
    await hold(core.reservations, [{ sku: l!.sku, quantity: 1 }])
    expect((await readProduct(db, product.id))?.skus.map(({ available }) => available)).toEqual([0, 4])
  })

  test('a SKU that has stock already is refused, and nothing is made', async () => {
    const taken = await stocked(db, 3)
    const before = await productsNow()
    const fresh = sku()
    const asked = [
      { ...fresh, options: { size: 'M' } },
      { ...sku({ sku: taken }), options: { size: 'L' } },
    ]
    expect(refusal(await create(asked))).toEqual({ code: 'sku_taken', sku: taken, product_id: null })
    expect([await productsNow(), await counters(db, fresh.sku)]).toEqual([before, 'undefined/undefined'])
    expect([await counters(db, taken), await ledger(db, taken)]).toEqual(['3/0', ['set 3 0']])
  })

  test('a SKU of another product is refused, with that product', async () => {
    const { id, skus } = await onSale(db, 5)
    expect(refusal(await create([sku({ sku: skus[0]! })]))).toEqual({ code: 'sku_taken', sku: skus[0], product_id: id })
    expect(await counters(db, skus[0]!)).toBe('5/0')
  })

  test('the same key makes it once, also ten times at once, and shows it as it is now', async () => {
    const request = { name: 'Tee', client: '', skus: inSizes('M', 'L'), ...keyed('tee') }
    const made = await Promise.all(Array.from({ length: 10 }, () => createProduct(db, request)))
    const ids = new Set(made.map((result) => must(result).product.id))
    expect([ids.size, made.filter((result) => !must(result).replayed).length]).toEqual([1, 1])
    must(await changeProduct(db, [...ids][0]!, { name: 'Shirt' }))
    expect(must(await createProduct(db, request))).toMatchObject({ product: { name: 'Shirt' }, replayed: true })
    const other = { ...request, ...keyed('tee', 'another body') }
    expect(refusal(await createProduct(db, other))).toEqual({ code: 'idempotency_key_reused' })
  })

  test('of ten products that want the same SKUs, in either order, one is made and no session deadlocks', async () => {
    const [a, b] = inSizes('M', 'L')
    const before = await productsNow()
    let made: Awaited<ReturnType<typeof createProduct>>[] = []
    const deadlocks = await deadlocksOf(database, async (own) => {
      const one = (skus: NewSku[]) => createProduct(own, { name: 'Tee', client: '', skus })
      made = await Promise.all(Array.from({ length: 10 }, (_, i) => one(i % 2 === 0 ? [a!, b!] : [b!, a!])))
    })
    expect(deadlocks).toBe(0)
    expect(made.filter(({ ok }) => ok)).toHaveLength(1)
    for (const result of made) if (!result.ok) expect(result.refusal.code).toBe('sku_taken')
    expect([await productsNow(), await counters(db, a!.sku)]).toEqual([before + 1, '5/0'])
  })

  test('a product and a count race for one new SKU: the ledger is right whoever wins', async () => {
    for (let i = 0; i < 10; i++) {
      const wanted = sku()
      const [made, set] = await Promise.all([create([wanted]), setStock(db, [{ sku: wanted.sku, stock: 7 }])])
      expect(set.ok).toBe(true)
      if (!made.ok) expect(made.refusal).toMatchObject({ code: 'sku_taken' })
      // A count that comes after the product sets its stock.
      expect(await counters(db, wanted.sku)).toBe('7/0')
    }
    expect(await findAllBroken(db)).toEqual([])
  })

  test('a count that is committed while the product waits for it stays as it is', async () => {
    const wanted = sku()
    const other = await begin(db)
    await rows(other, `INSERT INTO stock (sku, stock) VALUES (?, 0)`, [wanted.sku])
    const waiting = create([wanted])
    await untilWaiting(db)
    await other.commit()
    expect(refusal(await waiting)).toEqual({ code: 'sku_taken', sku: wanted.sku, product_id: null })
    expect(await counters(db, wanted.sku)).toBe('0/0')
  })

  test('who meets a SKU that another session is making is told that it is too much at once', async () => {
    const wanted = sku()
    const limits = { lock_timeout_ms: 50, statement_timeout_ms: 5000 }
    const brief = createPool({ ...limits, url: database.url, max: 1, application_name: 'brief' })
    const other = await begin(db)
    const product_id = newId()
    await rows(other, `INSERT INTO products (id, name) VALUES (?, 'x')`, [product_id])
    await rows(other, `INSERT INTO product_skus (sku, product_id, price, place) VALUES (?, ?, 1, 0)`, [
      wanted.sku,
      product_id,
    ])
    const result = await createProduct(brief, { name: 'Tee', client: '', skus: [wanted] })
    expect(refusal(result)).toMatchObject({ code: 'overloaded' })
    await other.rollback()
    await brief.destroy()
  })
})

describe('changing a product', () => {
  test('what is named changes, what is not named stays', async () => {
    const { product } = must(await create(inSizes('M', 'L'), { description: 'Cotton', image: '/t.png' }))
    const changed = must(await changeProduct(db, product.id, { name: 'Shirt', description: null }))
    expect(changed).toEqual({ ...product, name: 'Shirt', description: null, updated_at: changed.updated_at })
    expect(changed.updated_at.getTime()).toBeGreaterThan(product.updated_at.getTime())
    expect(must(await changeProduct(db, product.id, { status: 'archived' })).status).toBe('archived')
  })

  test('a price changes for the SKU that is named', async () => {
    const { product } = must(await create(inSizes('M', 'L')))
    const [m, l] = product.skus
    const { skus } = must(await changeProduct(db, product.id, { skus: [{ sku: m!.sku, price: 0 }] }))
    expect(skus).toEqual([{ ...m, price: 0 }, l])
  })

  test('a SKU is added with its stock, behind those that are there', async () => {
    const { product } = must(await create(inSizes('M', 'L')))
    const [added] = inSizes('S')
    const change = {
      skus: [
        { sku: product.skus[0]!.sku, price: 3000 },
        { ...added!, stock: 9 },
      ],
    }
    const { skus } = must(await changeProduct(db, product.id, change))
    expect(skus.map(({ options, price, available }) => [options?.size, price, available])).toEqual([
      ['M', 3000, 5],
      ['L', 2900, 5],
      ['S', 2900, 9],
    ])
    expect(await ledger(db, added!.sku)).toEqual(['set 9 0'])
  })

  test.each([
    ['the stock of a SKU', { stock: 9 }, '/skus/0/stock', 'PUT /v1/stock'],
    ['the options of a SKU', { options: { size: 'XL' } }, '/skus/0/options', 'cannot be changed'],
  ])('%s is not changed here, and that is said', async (_, change, path, said) => {
    const { product } = must(await create(inSizes('M', 'L')))
    const asked = { skus: [{ sku: product.skus[0]!.sku, price: 1, ...change }] }
    expect(refusal(await changeProduct(db, product.id, asked))).toEqual({
      code: 'invalid_request',
      errors: [{ path, message: expect.stringContaining(said) }],
    })
    expect(await readProduct(db, product.id)).toEqual(product)
  })

  test('a SKU may be named with the options that it has', async () => {
    const { product } = must(await create([sku({ options: { size: 'M', color: 'red' } })]))
    const own = { sku: product.skus[0]!.sku, options: { color: 'red', size: 'M' }, price: 7 }
    expect(must(await changeProduct(db, product.id, { skus: [own] })).skus[0]?.price).toBe(7)
  })

  test.each([
    ['without a price', { price: undefined }, ['/skus/0/price']],
    ['without stock', { stock: undefined }, ['/skus/0/stock']],
    ['without options', { options: undefined }, ['/skus/0/options']],
    ['with other options', { options: { color: 'red' } }, ['/skus/0/options']],
    ['in a combination that is there', { options: { size: 'M' } }, ['/skus/0/options']],
  ])('a SKU %s is not added', async (_, more, paths) => {
    const { product } = must(await create(inSizes('M', 'L')))
    const added = { ...inSizes('S')[0]!, ...more } as NewSku
    for (const name of ['price', 'stock', 'options'] as const) if (added[name] === undefined) delete added[name]
    const refused = refusal(await changeProduct(db, product.id, { name: 'Other', skus: [added] }))
    expect(refused).toMatchObject({ code: 'invalid_request', errors: paths.map((path) => ({ path })) })
    expect(await readProduct(db, product.id)).toEqual(product)
  })

  test('a product without options gains no second SKU', async () => {
    const { id } = await onSale(db, 5)
    const refused = refusal(await changeProduct(db, id, { skus: inSizes('M') }))
    expect(refused).toMatchObject({ code: 'invalid_request', errors: [{ path: '/skus/0/options' }] })
  })

  test('a SKU of another product, or one that has stock, is not added, and the rest of the change is undone', async () => {
    const { product } = must(await create(inSizes('M', 'L')))
    const other = await onSale(db, 3)
    const counted = await stocked(db, 3)
    const add = (name: string) =>
      changeProduct(db, product.id, { name: 'Other', skus: [{ ...inSizes('S')[0]!, sku: name }] })
    expect(refusal(await add(other.skus[0]!))).toMatchObject({ code: 'sku_taken', product_id: other.id })
    expect(refusal(await add(counted))).toMatchObject({ code: 'sku_taken', product_id: null })
    expect(await readProduct(db, product.id)).toEqual(product)
  })

  test('of ten that add the same size at once one does', async () => {
    const { product } = must(await create(inSizes('M', 'L')))
    const results = await Promise.all(
      Array.from({ length: 10 }, () => changeProduct(db, product.id, { skus: inSizes('S') })),
    )
    expect(results.filter(({ ok }) => ok)).toHaveLength(1)
    expect((await readProduct(db, product.id))?.skus).toHaveLength(3)
  })

  test('no product has more than 200 SKUs', async () => {
    const sizes = Array.from({ length: 199 }, (_, i) => `${i}`)
    const { product } = must(await create(inSizes(...sizes)))
    const two = await changeProduct(db, product.id, { skus: inSizes('x', 'y') })
    expect(refusal(two)).toMatchObject({ code: 'invalid_request', errors: [{ path: '/skus' }] })
    expect(must(await changeProduct(db, product.id, { skus: inSizes('x') })).skus).toHaveLength(200)
  })

  test('what does not exist is not changed', async () => {
    const id = newId()
    expect(refusal(await changeProduct(db, id, { name: 'x' }))).toEqual({ code: 'product_not_found', id })
  })
})

describe('listing products', () => {
  test('only those of one status, the newest first, page by page', async () => {
    const made: string[] = []
    for (const status of ['draft', 'archived', 'draft', 'active', 'draft'] as const) {
      made.push((await onSale(db, 1, { status })).id)
    }
    const drafts = await listProducts(db, { status: 'draft', limit: 50 })
    expect(drafts.map(({ id }) => id)).toEqual([made[4], made[2], made[0]])
    const next = await listProducts(db, { status: 'draft', limit: 50, before_id: made[2]! })
    expect(next.map(({ id }) => id)).toEqual([made[0]])
    const [newest] = await listProducts(db, { limit: 1 })
    expect([newest?.id, newest?.status]).toEqual([made[3], 'active'])
    expect((await listProducts(db, { status: 'archived', limit: 50 })).map(({ id }) => id)).toContain(made[1])
  })

  test('asks the database once, and shows holds as soon as they are made', async () => {
    const { id, skus } = await onSale(db, [4, 6])
    await hold(core.reservations, [{ sku: skus[1]!, quantity: 2 }])
    const asked: string[] = []
    const note = ({ sql }: { sql: string }) => void asked.push(sql)
    db.on('query', note)
    const products = await listProducts(db, { limit: 200 })
    db.off('query', note)
    expect(asked).toHaveLength(1)
    expect(products.length).toBeGreaterThan(5)
    expect(products.find((product) => product.id === id)?.skus.map(({ available }) => available)).toEqual([4, 4])
  })

  test('a SKU whose counter is gone has nothing available', async () => {
    const { id, skus } = await onSale(db, 5)
    await rows(db, 'DELETE FROM stock WHERE sku = ?', [skus[0]])
    expect((await readProduct(db, id))?.skus).toMatchObject([{ available: 0 }])
    await rows(db, 'INSERT INTO stock (sku, stock, seq) VALUES (?, 5, 1)', [skus[0]])
  })

  test('prices are asked for by SKU, and what is unknown is absent', async () => {
    const { id, skus } = await onSale(db, [1, 2], { name: 'Mug', price: 700, status: 'archived' })
    const priced = await priceSkusIn(db, [skus[1]!, 'nobody'])
    expect([...priced]).toEqual([
      [
        skus[1],
        {
          sku: skus[1],
          product_id: id,
          name: 'Mug',
          options: { size: '1' },
          price: 700,
          status: 'archived',
          available: 2,
        },
      ],
    ])
    expect(await priceSkusIn(db, [])).toEqual(new Map())
  })
})

test('after all this the counters, holds and ledgers agree', async () => {
  expect(await findAllBroken(db)).toEqual([])
})
