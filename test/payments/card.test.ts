import { GatewayUnavailable } from '../../src/payments/gateway.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import { counters, must, refusal, stopCores, stored } from '../factories.ts'
import {
  balanceOf,
  couponFor,
  couponState,
  customer,
  eventsOf,
  onSale,
  openShop,
  ordered,
  paymentsOf,
  read,
  runOut,
  soldOf,
  wrongs,
  type TestShop,
} from '../shop.ts'
import { createFakeGateway, type FakeGateway } from './fake_gateway.ts'

/** Paying by card: authorised, then the hold confirmed, then captured; and all that may come between. */

let database: TestDatabase
let shop: TestShop
let gateway: FakeGateway

beforeAll(async () => {
  database = await createTestDatabase()
  gateway = createFakeGateway()
  shop = openShop(database, { gateway })
})

afterAll(async () => {
  expect(await wrongs(database.db)).toEqual([])
  await shop.stop()
  await stopCores()
  await database.drop()
})

const MONEY = { amount: 1000, currency: 'KRW' }
const AUTHORISED = { kind: 'authorised', ...MONEY } as const
const CAPTURED = { kind: 'captured', ...MONEY } as const

/** An order of one unit whose buyer has begun to pay by card. */
async function begun(
  stock = 10,
): Promise<{ sku: string; id: string; payment_id: string; reservation_id: string; customer_id: string }> {
  const sku = await onSale(shop.db, { stock })
  const customer_id = await customer(shop.db)
  const order = await ordered(shop, sku, { customer_id })
  const { payment } = must(await shop.pay(order.id, { method: 'card' }))
  return { sku, id: order.id, payment_id: payment.id, reservation_id: order.reservation_id, customer_id }
}

const statusOf = async (id: string) => (await read(shop.db, id)).status
const at = (payment_id: string) => gateway.book.get(payment_id)?.status

test('the browser is told what to do, the hold is confirmed on authorisation, and then the money is taken', async () => {
  const sku = await onSale(shop.db)
  const order = await ordered(shop, sku)
  const { payment } = must(await shop.pay(order.id, { method: 'card' }))
  expect(payment).toMatchObject({
    method: 'card',
    status: 'pending',
    next_action: { type: 'redirect', url: `/pay/${payment.id}` },
  })
  expect(await stored(shop.db, order.reservation_id)).toBe('pending')
  gateway.set(payment.id, 'authorised')
  must(await shop.tell(payment.id, AUTHORISED))
  expect([await stored(shop.db, order.reservation_id), at(payment.id)]).toEqual(['confirmed', 'authorised'])
  expect(await statusOf(order.id)).toBe('awaiting_payment')
  await shop.finish()
  expect(at(payment.id)).toBe('captured')
  expect(await statusOf(order.id)).toBe('paid')
  expect(await soldOf(shop.db, order.id)).toEqual(['1 1000'])
  expect(await eventsOf(shop.db, order.id)).toEqual(['created', 'paid'])
  expect(await counters(shop.db, sku)).toBe('9/0')
})

test('an order has one open payment: another is refused until it ends', async () => {
  const { id, payment_id } = await begun()
  expect(refusal(await shop.pay(id))).toEqual({ code: 'payment_in_progress', payment_id })
  expect(refusal(await shop.pay(id, { method: 'card' }))).toEqual({ code: 'payment_in_progress', payment_id })
})

test('ten identical card payments at once begin one', async () => {
  const order = await ordered(shop, await onSale(shop.db))
  const answers = (
    await Promise.all(Array.from({ length: 10 }, () => shop.pay(order.id, { method: 'card', key: 'same' })))
  ).map(must)
  expect(new Set(answers.map(({ payment }) => payment.id)).size).toBe(1)
  expect(answers.every(({ payment }) => payment.next_action !== null)).toBe(true)
  expect(await paymentsOf(shop.db, order.id)).toEqual(['card pending'])
})

test('a gateway that does not answer is a 503 under whose key the payment goes on', async () => {
  const order = await ordered(shop, await onSale(shop.db))
  gateway.lose.add('authorise')
  const again = { method: 'card', key: 'goes on' } as const
  expect(refusal(await shop.pay(order.id, again))).toEqual({ code: 'gateway_unavailable', outcome: 'unknown' })
  const { payment, replayed } = must(await shop.pay(order.id, again))
  expect(replayed).toBe(true)
  expect(payment.next_action).not.toBeNull()
  expect(must(await shop.pay(order.id, again)).payment).toEqual(payment)
  expect(gateway.calls.filter((call) => call === `authorise ${payment.id}`)).toHaveLength(2)
})

describe('declines', () => {
  test('one that may be retried is a failed attempt: the hold stays, and the same payment may succeed', async () => {
    const { id, payment_id, reservation_id } = await begun()
    must(await shop.tell(payment_id, { kind: 'declined', code: 'card_declined', retryable: true }))
    expect(await read(shop.db, id)).toMatchObject({
      status: 'awaiting_payment',
      payments: [{ status: 'failed', failure_code: 'card_declined' }],
    })
    expect(await stored(shop.db, reservation_id)).toBe('pending')
    must(await shop.tell(payment_id, AUTHORISED))
    must(await shop.tell(payment_id, CAPTURED))
    expect(await statusOf(id)).toBe('paid')
  })

  test('after it the buyer may pay in another way; what was declined is voided', async () => {
    const { id, payment_id, customer_id } = await begun()
    must(await shop.tell(payment_id, { kind: 'declined', code: 'card_declined', retryable: true }))
    const second = must(await shop.pay(id, { method: 'card' }))
    expect(second.payment.id).not.toBe(payment_id)
    await shop.finish()
    expect([at(payment_id), at(second.payment.id)]).toEqual(['cancelled', 'requires_action'])
    expect(await paymentsOf(shop.db, id)).toEqual(['card cancelled attempt_replaced', 'card pending'])
    expect(await balanceOf(shop.db, customer_id)).toBe(0)
  })

  test('one for good ends the order and gives the units back at once', async () => {
    const { sku, id, payment_id } = await begun()
    must(await shop.tell(payment_id, { kind: 'declined', code: 'stolen_card', retryable: false }))
    expect(await statusOf(id)).toBe('payment_failed')
    expect(await counters(shop.db, sku)).toBe('10/0')
    expect(await eventsOf(shop.db, id)).toEqual(['created', 'payment_failed'])
  })

  test('the buyer cancels at the gateway: the order is cancelled and the units are back at once', async () => {
    const { sku, id, payment_id } = await begun()
    must(await shop.tell(payment_id, { kind: 'cancelled', by_buyer: true }))
    expect(await statusOf(id)).toBe('cancelled')
    expect(await counters(shop.db, sku)).toBe('10/0')
  })
})

describe('late authorisations', () => {
  test('of an expired hold, swept or not, are voided: nobody pays for what is gone', async () => {
    for (const sweep of [false, true]) {
      const { id, payment_id, reservation_id } = await begun()
      await runOut(shop.db, { reservation_id })
      if (sweep) await shop.core.sweeper.run()
      gateway.set(payment_id, 'authorised')
      must(await shop.tell(payment_id, AUTHORISED))
      await shop.finish()
      expect(at(payment_id)).toBe('cancelled')
      expect(await statusOf(id)).toBe('expired')
      await shop.core.sweeper.run()
      expect(await eventsOf(shop.db, id)).toEqual(['created', 'expired'])
    }
  })

  test('of a cancelled order are voided', async () => {
    const { id, payment_id } = await begun()
    must(await shop.cancel(id))
    gateway.set(payment_id, 'authorised')
    must(await shop.tell(payment_id, AUTHORISED))
    await shop.finish()
    expect([at(payment_id), await statusOf(id)]).toEqual(['cancelled', 'cancelled'])
  })

  test('of another amount are voided, and the order waits on', async () => {
    const { id, payment_id } = await begun()
    gateway.set(payment_id, 'authorised', { amount: 999 })
    must(await shop.tell(payment_id, { ...AUTHORISED, amount: 999 }))
    await shop.finish()
    expect(at(payment_id)).toBe('cancelled')
    expect(await paymentsOf(shop.db, id)).toEqual(['card failed amount_mismatch'])
    expect(await statusOf(id)).toBe('awaiting_payment')
    must(await shop.pay(id, { method: 'card' }))
  })
})

describe('money on an order that no longer awaits it', () => {
  test('an expired order takes a new hold and is paid if stock remains, swept or not', async () => {
    for (const sweep of [false, true]) {
      const { sku, id, payment_id, reservation_id } = await begun()
      await runOut(shop.db, { reservation_id })
      if (sweep) await shop.core.sweeper.run()
      must(await shop.tell(payment_id, CAPTURED))
      const order = await read(shop.db, id)
      expect(order).toMatchObject({ status: 'paid', payments: [{ status: 'paid' }] })
      expect(order.reservation_id).not.toBe(reservation_id)
      expect([await stored(shop.db, reservation_id), await stored(shop.db, order.reservation_id)]).toEqual([
        'expired',
        'confirmed',
      ])
      expect(await counters(shop.db, sku)).toBe('9/0')
      expect(await eventsOf(shop.db, id)).toEqual(['created', 'expired', 'paid'])
    }
  })

  test('without stock it is owed: the order says how much and why', async () => {
    const { sku, id, payment_id, reservation_id } = await begun(1)
    await runOut(shop.db, { reservation_id })
    await ordered(shop, sku)
    must(await shop.tell(payment_id, CAPTURED))
    expect(await statusOf(id)).toBe('refund_required')
    expect(await paymentsOf(shop.db, id)).toEqual(['card captured sold_out 1000'])
    expect(await eventsOf(shop.db, id)).toEqual(['created', 'expired', 'refund_required sold_out 1000'])
    expect(await counters(shop.db, sku)).toBe('1/1')
  })

  test('a failed order takes a new hold, a cancelled one never', async () => {
    const failed = await begun()
    must(await shop.tell(failed.payment_id, { kind: 'declined', code: 'stolen_card', retryable: false }))
    must(await shop.tell(failed.payment_id, CAPTURED))
    expect(await statusOf(failed.id)).toBe('paid')
    const cancelled = await begun()
    must(await shop.cancel(cancelled.id))
    must(await shop.tell(cancelled.payment_id, CAPTURED))
    expect(await eventsOf(shop.db, cancelled.id)).toEqual([
      'created',
      'cancelled',
      'refund_required order_cancelled 1000',
    ])
    expect(await counters(shop.db, cancelled.sku)).toBe('10/0')
  })

  test('a second success is owed, and the order goes on as paid when it was given back', async () => {
    const { id, payment_id } = await begun()
    must(await shop.tell(payment_id, { kind: 'declined', code: 'card_declined', retryable: true }))
    const second = must(await shop.pay(id, { method: 'card' }))
    must(await shop.tell(second.payment.id, CAPTURED))
    expect(await statusOf(id)).toBe('paid')
    must(await shop.tell(payment_id, CAPTURED))
    expect(await statusOf(id)).toBe('refund_required')
    expect(await eventsOf(shop.db, id)).toEqual(['created', 'paid', 'refund_required paid_twice 1000'])
    expect(await soldOf(shop.db, id)).toEqual(['1 1000'])
    expect(refusal(await shop.refund({ order_id: id, lines: [{ sku: 'any', quantity: 1 }] }))).toMatchObject({
      code: 'order_not_refundable',
    })
    const { refund } = must(await shop.refund({ order_id: id }))
    expect(refund).toMatchObject({ payment_id, amount: 1000, skus: [] })
    expect(await statusOf(id)).toBe('paid')
    // Told as what it is, and not as a second time that the order was paid.
    expect((await eventsOf(shop.db, id)).at(-1)).toBe('partially_refunded')
    await shop.finish()
    expect([...gateway.refunds.values()].filter((one) => one.payment_id === payment_id)).toEqual([
      { payment_id, amount: 1000 },
    ])
  })

  test('money of another amount or currency sells nothing: it is owed, and the units are back', async () => {
    for (const [money, owed] of [
      [{ amount: 999, currency: 'KRW' }, 999],
      [{ amount: 1000, currency: 'USD' }, 1000],
    ] as const) {
      const { sku, id, payment_id } = await begun()
      must(await shop.tell(payment_id, { kind: 'captured', ...money }))
      expect(await eventsOf(shop.db, id)).toEqual(['created', `refund_required amount_mismatch ${owed}`])
      expect(await counters(shop.db, sku)).toBe('10/0')
    }
  })

  test('a gateway that takes less than it authorised: the units go back on the shelf and the money is owed', async () => {
    const { sku, id, payment_id } = await begun()
    must(await shop.tell(payment_id, AUTHORISED))
    must(await shop.tell(payment_id, { ...CAPTURED, amount: 1 }))
    expect(await eventsOf(shop.db, id)).toEqual(['created', 'refund_required amount_mismatch 1'])
    expect(await counters(shop.db, sku)).toBe('10/0')
  })

  test('the coupon of an order that was expired and then paid late has come back', async () => {
    const sku = await onSale(shop.db)
    const customer_id = await customer(shop.db)
    const coupon_code = await couponFor(shop.db, customer_id, { amount: 100 })
    const order = await ordered(shop, sku, { customer_id, coupon_code })
    const { payment } = must(await shop.pay(order.id, { method: 'card' }))
    await runOut(shop.db, order)
    await shop.core.sweeper.run()
    must(await shop.tell(payment.id, { kind: 'captured', amount: 900, currency: 'KRW' }))
    expect(await statusOf(order.id)).toBe('paid')
    expect(await couponState(shop.db, coupon_code)).toBe('issued')
  })
})

describe('captures', () => {
  test('money that is told of before its authorisation pays the order; the authorisation is then nothing new', async () => {
    const { id, payment_id, sku } = await begun()
    must(await shop.tell(payment_id, CAPTURED))
    must(await shop.tell(payment_id, AUTHORISED))
    must(await shop.tell(payment_id, { kind: 'declined', code: 'earlier', retryable: true }))
    expect(await paymentsOf(shop.db, id)).toEqual(['card captured'])
    expect(await counters(shop.db, sku)).toBe('9/0')
    expect(await eventsOf(shop.db, id)).toEqual(['created', 'paid'])
  })

  test('one whose answer was lost is asked for again, and is done once', async () => {
    const { id, payment_id } = await begun()
    gateway.set(payment_id, 'authorised')
    must(await shop.tell(payment_id, AUTHORISED))
    gateway.lose.add('capture')
    await shop.finish()
    expect([at(payment_id), await statusOf(id)]).toEqual(['captured', 'awaiting_payment'])
    await shop.finish()
    expect(await statusOf(id)).toBe('paid')
    expect(gateway.calls.filter((call) => call === `capture ${payment_id}`)).toHaveLength(2)
  })

  test('one that is refused for good puts the units back on the shelf, and the order has failed', async () => {
    const sku = await onSale(shop.db)
    const customer_id = await customer(shop.db)
    const coupon_code = await couponFor(shop.db, customer_id, { amount: 100 })
    const order = await ordered(shop, [{ sku, quantity: 3 }], { customer_id, coupon_code })
    const { payment } = must(await shop.pay(order.id, { method: 'card' }))
    must(await shop.tell(payment.id, { kind: 'authorised', amount: 2900, currency: 'KRW' }))
    expect(await counters(shop.db, sku)).toBe('7/0')
    gateway.set(payment.id, 'cancelled')
    await shop.finish()
    expect(await statusOf(order.id)).toBe('payment_failed')
    expect(await counters(shop.db, sku)).toBe('10/0')
    expect(await soldOf(shop.db, order.id)).toEqual([])
    expect(await couponState(shop.db, coupon_code)).toBe('issued')
  })

  test('a void that money was faster than is money on an order that no longer awaits it', async () => {
    const { id, payment_id } = await begun()
    must(await shop.cancel(id))
    gateway.before.void = () => gateway.set(payment_id, 'captured')
    await shop.finish()
    expect(await eventsOf(shop.db, id)).toEqual(['created', 'cancelled', 'refund_required order_cancelled 1000'])
  })

  test('a payment whose webhooks are all lost is looked at, and found paid', async () => {
    const { id, payment_id } = await begun()
    gateway.set(payment_id, 'authorised')
    await shop.finish()
    expect([at(payment_id), await statusOf(id)]).toEqual(['captured', 'paid'])
  })
})

test('a gateway that is away is tried again later and later, and nothing is given up', async () => {
  const { id, payment_id } = await begun()
  gateway.set(payment_id, 'authorised')
  must(await shop.tell(payment_id, AUTHORISED))
  for (let i = 0; i < 8; i++) {
    gateway.before.capture = () => {
      throw new GatewayUnavailable(new Error('away'))
    }
    await shop.finish()
  }
  expect(await statusOf(id)).toBe('awaiting_payment')
  await shop.finish()
  expect(await statusOf(id)).toBe('paid')
})

test('the same authorisation told ten times at once confirms the hold once', async () => {
  const { sku, id, payment_id } = await begun()
  const told = await Promise.all(Array.from({ length: 10 }, () => shop.tell(payment_id, AUTHORISED)))
  expect(told.map((one) => must(one).outcome).toSorted()).toEqual([
    'hold',
    ...Array.from({ length: 9 }, () => 'nothing'),
  ])
  expect(await counters(shop.db, sku)).toBe('9/0')
  must(await shop.tell(payment_id, CAPTURED))
  expect(await statusOf(id)).toBe('paid')
})

test('authorised and swept at once: confirmed or voided, never both', async () => {
  for (let round = 0; round < 10; round++) {
    const { id, payment_id, reservation_id } = await begun()
    gateway.set(payment_id, 'authorised')
    await runOut(shop.db, { reservation_id })
    await Promise.all([shop.tell(payment_id, AUTHORISED), shop.core.sweeper.run()])
    await shop.core.sweeper.run()
    await shop.finish()
    expect([await statusOf(id), at(payment_id)]).toEqual(['expired', 'cancelled'])
  }
})
