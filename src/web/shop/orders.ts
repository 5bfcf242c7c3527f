import { signal } from '@preact/signals'
import { ask, newKey, type Answer } from '../api.ts'
import { secondsLeft } from '../format.ts'
import { serverNow } from '../clock.ts'
import type { Order, OrderPage, Payment, PaymentFailure } from '../shapes.ts'
import { readCart } from './carts.ts'
import { api, customer, readSession } from './session.ts'

/** Orders: made of the cart, paid, cancelled, and followed until they have ended. */

export async function orderCart(coupon_code: string | undefined): Promise<Answer<Order>> {
  const body = { customer_id: customer.value?.id ?? '', ...(coupon_code === undefined ? {} : { coupon_code }) }
  const header = newKey()
  const answer = await ask(() => api.POST('/v1/orders', { params: { header }, body }))
  await readCart()
  return answer
}

export function readOrder(id: string): Promise<Answer<Order>> {
  return ask(() => api.GET('/v1/orders/{id}', { params: { path: { id } } }))
}

/** The customer's orders, the newest first. @param cursor where the last page ended */
export function listOrders(cursor?: string): Promise<Answer<OrderPage>> {
  const query = { customer_id: customer.value?.id ?? '', ...(cursor === undefined ? {} : { cursor }) }
  return ask(() => api.GET('/v1/orders', { params: { query } }))
}

export async function pay(id: string, method: 'balance' | 'card'): Promise<Answer<Payment>> {
  const params = { path: { id }, header: newKey() }
  const body = method === 'card' ? { method, return_url: `/shop/orders/${id}` } : { method }
  const answer = await ask(() => api.POST('/v1/orders/{id}/payments', { params, body }))
  if (method === 'balance') await readSession()
  return answer
}

/** The payment that is under way at the gateway, with the way there. */
export function readPayment(id: string): Promise<Answer<Payment>> {
  return ask(() => api.GET('/v1/payments/{id}', { params: { path: { id } } }))
}

export function cancel(id: string): Promise<Answer<Order>> {
  return ask(() => api.POST('/v1/orders/{id}/cancel', { params: { path: { id } } }))
}

/** A payment by card that waits for the buyer or the gateway. */
export function openCardOf(order: Order): Order['payments'][number] | undefined {
  return order.payments.find(({ method, status }) => method === 'card' && status === 'pending')
}

/** Why the last payment failed, if it was the last. */
export function lastFailureOf({ payments }: Order): PaymentFailure | undefined {
  const last = payments.findLast(({ method }) => method !== null)
  if (last?.status !== 'failed') return undefined
  const known: PaymentFailure[] = ['insufficient_balance', 'card_declined', 'card_blocked', 'cancelled_by_buyer']
  return known.find((code) => code === last.failure_code) ?? 'other'
}

/** Whether anything may still happen to it by itself. */
export function isMoving(order: Order): boolean {
  return order.status === 'awaiting_payment' || openCardOf(order) !== undefined
}

const FOLLOW_MS = 2000
/** So soon after the hold's end it is read again: by then it reads `expired`. */
const AFTER_END_MS = 50

/** Follows an order while the page is seen and something may happen to it. */
export function followOrder(id: string) {
  const order = signal<Answer<Order> | undefined>(undefined)
  let timer: ReturnType<typeof setTimeout> | undefined
  let ended = false

  async function look(): Promise<void> {
    clearTimeout(timer)
    const answer = document.hidden ? order.value : await readOrder(id)
    if (ended || answer === undefined) return
    // What was there stays while it can't be read.
    if (answer.ok || order.value?.ok !== true) order.value = answer
    const known = order.value
    if (known?.ok && !isMoving(known.value)) return
    const left_ms =
      known?.ok && secondsLeft(known.value.expires_at, serverNow()) > 0
        ? Date.parse(known.value.expires_at) - serverNow() + AFTER_END_MS
        : FOLLOW_MS
    timer = setTimeout(() => void look(), Math.min(FOLLOW_MS, left_ms))
  }

  void look()
  return {
    order,
    look,
    end() {
      ended = true
      clearTimeout(timer)
    },
  }
}
