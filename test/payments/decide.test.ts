import type { HoldState, OrderStatus } from '../../src/orders/order.ts'
import type { Fact } from '../../src/payments/gateway.ts'
import { decide, statusByMoney, type Action, type PaymentStatus, type Standing } from '../../src/payments/payment.ts'

/** The state table: every fact in every state, so that no order of webhooks can come to a place nobody thought of. */

const PAYMENTS: PaymentStatus[] = ['pending', 'declined', 'authorised', 'captured', 'failed', 'cancelled']
const FACTS = {
  authorised: { kind: 'authorised', amount: 1, currency: 'KRW' },
  captured: { kind: 'captured', amount: 1, currency: 'KRW' },
  'declined, may try again': { kind: 'declined', code: 'c', retryable: true },
  'declined for good': { kind: 'declined', code: 'c', retryable: false },
  'cancelled by the buyer': { kind: 'cancelled', by_buyer: true },
  'cancelled by the gateway': { kind: 'cancelled', by_buyer: false },
  'capture refused': { kind: 'capture_refused', code: 'c' },
} satisfies Record<string, Fact>

/** How an order can stand, as the table names it: its status, whether its goods are paid, and its hold. */
const ORDERS: Record<string, { order: OrderStatus; sold: boolean; hold: HoldState }> = {
  awaits: { order: 'awaiting_payment', sold: false, hold: 'live' },
  'awaits a capture': { order: 'awaiting_payment', sold: false, hold: 'confirmed' },
  'expired, unswept': { order: 'expired', sold: false, hold: 'overdue' },
  expired: { order: 'expired', sold: false, hold: 'gone' },
  failed: { order: 'payment_failed', sold: false, hold: 'gone' },
  cancelled: { order: 'cancelled', sold: false, hold: 'gone' },
  paid: { order: 'paid', sold: true, hold: 'confirmed' },
  'partly refunded': { order: 'partially_refunded', sold: true, hold: 'confirmed' },
  'sold, refunded': { order: 'refunded', sold: true, hold: 'confirmed' },
  'sold, owed': { order: 'refund_required', sold: true, hold: 'confirmed' },
  'unsold, owed': { order: 'refund_required', sold: false, hold: 'gone' },
  'unsold, refunded': { order: 'refunded', sold: false, hold: 'gone' },
}

function shortly(action: Action): string {
  const { do: what, ...rest } = action
  const more = Object.values(rest)
    .filter((value) => value !== 'c')
    .map(String)
  return [what, ...more].join(' ')
}

function row(fact: keyof typeof FACTS, payment: PaymentStatus, matches = true): Record<string, string> {
  return Object.fromEntries(
    Object.entries(ORDERS).map(([name, standing]) => [
      name,
      shortly(decide(FACTS[fact], { payment, matches, ...standing } satisfies Standing)),
    ]),
  )
}

/** The same action for every order but those named. */
function all(action: string, but: Record<string, string> = {}): Record<string, string> {
  return { ...Object.fromEntries(Object.keys(ORDERS).map((name) => [name, action])), ...but }
}

describe('an authorisation', () => {
  test.each(['pending', 'declined'] as const)(
    'of a payment that is %s confirms a live hold, and is voided otherwise',
    (payment) => {
      expect(row('authorised', payment)).toEqual({
        awaits: 'hold',
        'awaits a capture': 'void order_awaiting_payment',
        'expired, unswept': 'void order_expired',
        expired: 'void order_expired',
        failed: 'void order_payment_failed',
        cancelled: 'void order_cancelled',
        paid: 'void order_paid',
        'partly refunded': 'void order_partially_refunded',
        'sold, refunded': 'void order_refunded',
        'sold, owed': 'void order_refund_required',
        'unsold, owed': 'void order_refund_required',
        'unsold, refunded': 'void order_refunded',
      })
    },
  )

  test('of another amount or currency is voided wherever the order stands', () => {
    expect(row('authorised', 'pending', false)).toEqual(all('void amount_mismatch'))
  })

  test('told again, or after the capture, changes nothing', () => {
    expect(row('authorised', 'authorised')).toEqual(all('nothing'))
    expect(row('authorised', 'captured')).toEqual(all('nothing'))
  })

  test('of a payment that is over is voided', () => {
    expect(row('authorised', 'failed')).toEqual(all('void payment_closed'))
    expect(row('authorised', 'cancelled')).toEqual(all('void payment_closed'))
  })
})

describe('a capture', () => {
  test.each(['pending', 'declined', 'authorised', 'failed', 'cancelled'] as const)(
    'of a payment that is %s sells, takes a new hold, or is owed; it is never passed over',
    (payment) => {
      expect(row('captured', payment)).toEqual({
        awaits: 'sell true',
        'awaits a capture': 'sell false',
        'expired, unswept': 'sell_again',
        expired: 'sell_again',
        failed: 'sell_again',
        cancelled: 'owe order_cancelled',
        paid: 'owe paid_twice',
        'partly refunded': 'owe paid_twice',
        'sold, refunded': 'owe paid_twice',
        'sold, owed': 'owe paid_twice',
        'unsold, owed': 'owe order_cancelled',
        'unsold, refunded': 'owe order_cancelled',
      })
      expect(row('captured', payment, false)).toEqual(all('owe amount_mismatch'))
    },
  )

  test('told again changes nothing', () => {
    expect(row('captured', 'captured')).toEqual(all('nothing'))
    expect(row('captured', 'captured', false)).toEqual(all('nothing'))
  })
})

describe('a decline', () => {
  test.each(['pending', 'declined'] as const)(
    'of a payment that is %s is a failed attempt if another may do',
    (payment) => {
      expect(row('declined, may try again', payment)).toEqual(all('fail_attempt'))
    },
  )

  test.each(['pending', 'declined'] as const)(
    'for good of a payment that is %s ends the order that awaits it',
    (payment) => {
      expect(row('declined for good', payment)).toEqual(all('close', { awaits: 'fail_order' }))
    },
  )

  test('after an authorisation, a capture or the end tells of an earlier attempt: nothing', () => {
    for (const payment of ['authorised', 'captured', 'failed', 'cancelled'] as const) {
      expect(row('declined, may try again', payment)).toEqual(all('nothing'))
      expect(row('declined for good', payment)).toEqual(all('nothing'))
    }
  })
})

describe('a cancellation at the gateway', () => {
  test.each(['pending', 'declined'] as const)(
    'of a payment that is %s ends the order that awaits it, by whose hand it was',
    (payment) => {
      expect(row('cancelled by the buyer', payment)).toEqual(
        all('close cancelled_by_buyer', { awaits: 'cancel_order' }),
      )
      expect(row('cancelled by the gateway', payment)).toEqual(
        all('close cancelled_by_gateway', { awaits: 'fail_order cancelled_by_gateway' }),
      )
    },
  )

  test('of an authorised payment puts its units back on the shelf', () => {
    expect(row('cancelled by the gateway', 'authorised')).toEqual(all('return_stock cancelled_by_gateway'))
  })

  test('of a payment that is over is what was asked for', () => {
    expect(row('cancelled by the gateway', 'failed')).toEqual(all('voided'))
    expect(row('cancelled by the gateway', 'cancelled')).toEqual(all('voided'))
  })

  test('of captured money is not believed', () => {
    expect(row('cancelled by the gateway', 'captured')).toEqual(all('nothing'))
  })
})

test('a capture that is refused puts the units back, and is nothing to any other payment', () => {
  for (const payment of PAYMENTS) {
    expect(row('capture refused', payment)).toEqual(all(payment === 'authorised' ? 'return_stock' : 'nothing'))
  }
})

test('no fact moves money that was captured, or takes goods back from an order that was paid', () => {
  for (const fact of Object.keys(FACTS) as (keyof typeof FACTS)[]) expect(row(fact, 'captured')).toEqual(all('nothing'))
})

test("an order's status by its money: what is owed first, then the units that came back", () => {
  const nothing_owed = [{ owed_amount: 0 }]
  expect(statusByMoney({ payment_id: 'p' }, nothing_owed, 'none')).toBe('paid')
  expect(statusByMoney({ payment_id: 'p' }, nothing_owed, 'some')).toBe('partially_refunded')
  expect(statusByMoney({ payment_id: 'p' }, nothing_owed, 'all')).toBe('refunded')
  expect(statusByMoney({ payment_id: 'p' }, [{ owed_amount: 1 }], 'all')).toBe('refund_required')
  expect(statusByMoney({ payment_id: null }, [{ owed_amount: 1 }], 'none')).toBe('refund_required')
  expect(statusByMoney({ payment_id: null }, nothing_owed, 'none')).toBe('refunded')
})
