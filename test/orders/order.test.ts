import fc from 'fast-check'
import { divideDiscount, refundOfLine, statusNow } from '../../src/orders/order.ts'

/** Money is whole units, and none of it may get lost by dividing it. */

const total = fc.integer({ min: 0, max: 2_000_000_000_000_000 })

test('a discount is divided so that the parts add up to it, and no line gets more than it costs', () => {
  fc.assert(
    fc.property(
      fc.array(total, { minLength: 1, maxLength: 100 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (totals, share) => {
        const sum = totals.reduce((a, b) => a + b, 0)
        fc.pre(Number.isSafeInteger(sum))
        const discount = Math.min(sum, Math.floor(sum * share))
        const parts = divideDiscount(totals, discount)
        expect(parts.reduce((a, b) => a + b, 0)).toBe(discount)
        for (const [i, part] of parts.entries()) {
          expect(part).toBeGreaterThanOrEqual(0)
          expect(part).toBeLessThanOrEqual(totals[i]!)
        }
      },
    ),
  )
})

test('what rounding leaves goes to the lines that lost most by it', () => {
  expect(divideDiscount([100, 100, 100], 100)).toEqual([34, 33, 33])
  expect(divideDiscount([1, 1, 998], 10)).toEqual([0, 0, 10])
  expect(divideDiscount([0, 5], 5)).toEqual([0, 5])
  expect(divideDiscount([0, 0], 0)).toEqual([0, 0])
})

test('a line that is refunded in any number of steps gives back what was paid for it, to the unit', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 0, max: 2_000_000_000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.array(fc.integer({ min: 1, max: 200 })),
      (quantity, price, share, steps) => {
        const cost = quantity * price
        const line = { quantity, total: cost, discount: Math.floor(cost * share), refunded_quantity: 0 }
        let back = 0
        for (const step of [...steps, quantity]) {
          const units = Math.min(step, quantity - line.refunded_quantity)
          if (units === 0) continue
          back += refundOfLine(line, units)
          line.refunded_quantity += units
          expect(back).toBeLessThanOrEqual(cost - line.discount)
        }
        expect(back).toBe(cost - line.discount)
      },
    ),
  )
})

test("an order that awaits payment is expired from its hold's end on", () => {
  expect(statusNow({ status: 'awaiting_payment', hold: 'live' })).toBe('awaiting_payment')
  expect(statusNow({ status: 'awaiting_payment', hold: 'overdue' })).toBe('expired')
  expect(statusNow({ status: 'paid', hold: 'confirmed' })).toBe('paid')
})
