import fc from 'fast-check'
import type { Knex } from 'knex'
import { applyIn, discountOf, giveBackIn } from '../../src/coupons/apply.ts'
import { createCoupon, listCoupons, readCoupon, type Discount } from '../../src/coupons/coupons.ts'
import { createCouponIssuer, type CouponIssuer } from '../../src/coupons/issue.ts'
import { transaction } from '../../src/database/transaction.ts'
import { newId } from '../../src/ids.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  customerWith,
  deadlocksOf,
  findAllBroken,
  inTransaction,
  must,
  refusal,
  stopCores,
  untilWaiting,
} from '../factories.ts'

/** Coupons on orders: what they take off, once, and back again. */

let database: TestDatabase
let db: Knex
let issuer: CouponIssuer

beforeAll(async () => {
  database = await createTestDatabase({ max: 12 })
  db = database.db
  issuer = createCouponIssuer({ db })
})

afterAll(async () => {
  await stopCores()
  await issuer.stop()
  await database.drop()
})

let count = 0

/** A coupon that a customer of its own has. */
async function issued(discount: Discount = { percent: 10 }): Promise<{ code: string; customer_id: string }> {
  const code = `COUPON-${++count}`
  must(await createCoupon(db, { code, discount, quantity: 2, client: '' }))
  const customer_id = await customerWith(db)
  must(await issuer.issue({ code, customer_id, client: '' }))
  return { code, customer_id }
}

function apply(own: { code: string; customer_id: string }, order_id = newId(), subtotal = 1000) {
  return inTransaction(db, (tx) => applyIn(tx, { ...own, order_id, subtotal }))
}

function giveBack(...order_ids: string[]): Promise<number> {
  return transaction(db, (tx) => giveBackIn(tx, order_ids))
}

async function stateOf({ code, customer_id }: { code: string; customer_id: string }): Promise<string | undefined> {
  return (await listCoupons(db, customer_id, { limit: 200 }))?.find((own) => own.code === code)?.state
}

describe('a discount', () => {
  const percent = (discount_percent: number) => ({ discount_percent, discount_amount: null })
  const amount = (discount_amount: number) => ({ discount_percent: null, discount_amount })

  test.each([
    ['10 percent of 1,000', percent(10), 1000, 100],
    ['10 percent of 995 are rounded down', percent(10), 995, 99],
    ['33 percent of 1 are nothing', percent(33), 1, 0],
    ['99 percent of 1 are nothing', percent(99), 1, 0],
    ['100 percent are all of it', percent(100), 12_345, 12_345],
    ['anything of nothing is nothing', percent(100), 0, 0],
    ['an amount below the subtotal', amount(500), 1000, 500],
    ['an amount above the subtotal ends there', amount(5000), 1000, 1000],
    ['an amount on nothing is nothing', amount(500), 0, 0],
  ])('%s', (_, coupon, subtotal, expected) => {
    expect(discountOf(coupon, subtotal)).toBe(expected)
  })

  test('of any subtotal a percentage is exact, rounded down, and never more than the subtotal', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.maxSafeNat(), (off, subtotal) => {
        const discount = discountOf(percent(off), subtotal)
        expect(BigInt(discount)).toBe((BigInt(subtotal) * BigInt(off)) / 100n)
        expect(discount).toBeLessThanOrEqual(subtotal)
      }),
    )
  })

  test('of any subtotal an amount leaves nothing below zero', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e12 }), fc.maxSafeNat(), (off, subtotal) => {
        expect(subtotal - discountOf(amount(off), subtotal)).toBe(Math.max(0, subtotal - off))
      }),
    )
  })
})

test('a coupon is used by one order; the same order again gets the same discount', async () => {
  const own = await issued()
  const order_id = newId()
  expect(must(await apply(own, order_id, 995))).toEqual({ discount: 99 })
  expect(must(await apply(own, order_id, 995))).toEqual({ discount: 99 })
  expect(refusal(await apply(own))).toEqual({ code: 'coupon_already_used', order_id })
  expect(await stateOf(own)).toBe('used')
})

test('ten orders at once want one coupon: one has it', async () => {
  const own = await issued({ amount: 300 })
  const answers = await Promise.all(Array.from({ length: 10 }, () => apply(own)))
  expect(answers.filter(({ ok }) => ok).map(must)).toEqual([{ discount: 300 }])
  expect(new Set(answers.flatMap((answer) => (answer.ok ? [] : [answer.refusal.code])))).toEqual(
    new Set(['coupon_already_used']),
  )
})

test('who was not issued a coupon has none, whether it exists or not', async () => {
  const own = await issued()
  const other = await customerWith(db)
  expect(refusal(await apply({ ...own, customer_id: other }))).toEqual({ code: 'unknown_coupon', coupon: own.code })
  expect(refusal(await apply({ ...own, code: 'NO-SUCH' }))).toEqual({ code: 'unknown_coupon', coupon: 'NO-SUCH' })
})

test('an order that does not get paid gives its coupon back, and another order may use it', async () => {
  const own = await issued()
  const order_id = newId()
  must(await apply(own, order_id))
  expect(await giveBack(order_id)).toBe(1)
  expect([await stateOf(own), await giveBack(order_id)]).toEqual(['issued', 0])
  must(await apply(own))
  expect(await readCoupon(db, own.code)).toMatchObject({ issued: 1, quantity: 2 })
})

test('many orders give back at once; those without a coupon are passed over', async () => {
  const owned = await Promise.all(Array.from({ length: 5 }, () => issued()))
  const order_ids = owned.map(() => newId())
  for (const [i, own] of owned.entries()) must(await apply(own, order_ids[i]))
  expect(await giveBack(newId(), ...order_ids.slice(0, 3), newId())).toBe(3)
  expect(await Promise.all(owned.map(stateOf))).toEqual(['issued', 'issued', 'issued', 'used', 'used'])
  expect(await giveBack()).toBe(0)
})

test('a refused order leaves its coupon unused', async () => {
  const own = await issued()
  await transaction(db, async (tx, rollback) => {
    must(await applyIn(tx, { ...own, order_id: newId(), subtotal: 1 }))
    return rollback(undefined as never)
  })
  expect(await stateOf(own)).toBe('issued')
})

test('an order that waits for another one with the coupon sees what became of it', async () => {
  for (const end of ['commit', 'rollback'] as const) {
    const own = await issued()
    const first = await begin(db)
    must(await applyIn(first, { ...own, order_id: newId(), subtotal: 1 }))
    const second = apply(own)
    await untilWaiting(db)
    await first[end]()
    expect([end, (await second).ok]).toEqual([end, end === 'rollback'])
  }
})

test('sweeps that give back the same coupons in another order do not deadlock', async () => {
  const owned = await Promise.all(Array.from({ length: 20 }, () => issued()))
  const order_ids = owned.map(() => newId())
  const deadlocks = await deadlocksOf(database, async (own_sessions) => {
    const give = (ids: string[]) => transaction(own_sessions, (tx) => giveBackIn(tx, ids))
    for (let round = 0; round < 10; round++) {
      for (const [i, own] of owned.entries()) must(await apply(own, order_ids[i]))
      const given = await Promise.all([give(order_ids), give(order_ids.toReversed())])
      expect(given[0] + given[1]).toBe(20)
    }
  })
  expect(deadlocks).toBe(0)
})

test('after all this as many are issued as customers have', async () => {
  expect(await findAllBroken(db)).toEqual([])
})
