import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import { GatewayUnavailable, type GatewayPayment } from '../../src/payments/gateway.ts'
import { guardGateway } from '../../src/payments/guard.ts'
import { gate } from '../factories.ts'
import { createFakeGateway, type FakeGateway } from './fake_gateway.ts'

/** A gateway that hangs or is down costs its callers little, and is back as soon as it answers. */

let gateway: FakeGateway
let guarded: ReturnType<typeof guardGateway>

beforeEach(() => {
  jest.useFakeTimers()
  gateway = createFakeGateway()
  guarded = guardGateway(gateway)
})

afterEach(() => {
  jest.useRealTimers()
})

function payment(id: number): GatewayPayment {
  const names = { order_id: 'order', customer_id: 'customer', gateway_payment_id: null, return_url: null }
  return { id: String(id), amount: 1000, currency: 'KRW', ...names }
}

/** Looks at a payment: what came of it, in a word. */
function look(id: number): Promise<string> {
  return guarded.look(payment(id)).then(
    ({ status }) => status,
    (error: unknown) => (error instanceof GatewayUnavailable ? 'unavailable' : 'thrown on'),
  )
}

function failNext(): void {
  gateway.before.look = () => {
    throw new TypeError('the network is away')
  }
}

test('what a gateway throws is a gateway that does not answer, whatever it was', async () => {
  failNext()
  expect([await look(1), await look(1)]).toEqual(['unavailable', 'requires_action'])
})

test('after ten failures in a row it is left alone for five seconds, then asked by one', async () => {
  for (let i = 0; i < 10; i++) {
    failNext()
    await look(i)
  }
  expect(await look(10)).toBe('unavailable')
  expect(gateway.calls).toHaveLength(10)
  await jest.advanceTimersByTimeAsync(5001)
  expect(await look(11)).toBe('requires_action')
  expect(await look(12)).toBe('requires_action')
})

test('an answer in between begins the count anew', async () => {
  for (let i = 0; i < 25; i++) {
    if (i % 10 !== 9) failNext()
    await look(i)
  }
  expect(gateway.calls).toHaveLength(25)
})

test('who hears nothing for twelve seconds is told so', async () => {
  gateway.before.look = () => new Promise(() => undefined)
  const hanging = look(1)
  await jest.advanceTimersByTimeAsync(12_001)
  expect(await hanging).toBe('unavailable')
})

test('twenty are asked at once and two hundred wait; one more is told at once that it can not be asked', async () => {
  const { opened, open } = gate()
  let asked = 0
  gateway.look = async (one) => {
    asked += 1
    await opened
    return gateway.authorise(one)
  }
  const taken = Array.from({ length: 220 }, (_, i) => look(i))
  expect(await look(220)).toBe('unavailable')
  expect(asked).toBe(20)
  open()
  expect(new Set(await Promise.all(taken))).toEqual(new Set(['requires_action']))
})
