import { computed, effect, signal } from '@preact/signals'
import { ask, newKey, type Answer } from '../api.ts'
import type { Cart, Coupon } from '../shapes.ts'
import type { ProblemFacts } from '../words.ts'
import { onStockChange } from './catalogue.ts'
import { api, customer } from './session.ts'

/** The customer's cart and coupons. */

export const cart = signal<Cart | undefined>(undefined)
export const cart_problem = signal<ProblemFacts | undefined>(undefined)
export const coupons = signal<readonly Coupon[]>([])
/** Things in the cart, counted one by one. */
export const cart_size = computed(() => (cart.value?.lines ?? []).reduce((sum, { quantity }) => sum + quantity, 0))

const idOf = (): string => customer.value?.id ?? ''

function take(answer: Answer<Cart>): Answer<Cart> {
  if (answer.ok) cart.value = answer.value
  return answer
}

export async function readCart(): Promise<void> {
  if (customer.value === undefined) return
  const answer = take(await ask(() => api.GET('/v1/customers/{id}/cart', { params: { path: { id: idOf() } } })))
  cart_problem.value = answer.ok ? undefined : answer.problem
}

export async function addToCart(sku: string, quantity: number): Promise<Answer<Cart>> {
  const params = { path: { id: idOf() }, header: newKey() }
  return take(await ask(() => api.POST('/v1/customers/{id}/cart', { params, body: { sku, quantity } })))
}

export async function setInCart(sku: string, quantity: number): Promise<Answer<Cart>> {
  const params = { path: { id: idOf(), sku } }
  return take(await ask(() => api.PUT('/v1/customers/{id}/cart/{sku}', { params, body: { quantity } })))
}

export async function removeFromCart(sku: string): Promise<Answer<Cart>> {
  const params = { path: { id: idOf(), sku } }
  return take(await ask(() => api.DELETE('/v1/customers/{id}/cart/{sku}', { params })))
}

export async function readCoupons(): Promise<void> {
  if (customer.value === undefined) return
  const answer = await ask(() => api.GET('/v1/customers/{id}/coupons', { params: { path: { id: idOf() } } }))
  if (answer.ok) coupons.value = answer.value.data
}

/** Gets a coupon, if there is one left. */
export async function getCoupon(code: string): Promise<Answer<{ code: string; number: number }>> {
  const params = { path: { code }, header: newKey() }
  const answer = await ask(() => api.POST('/v1/coupons/{code}/issues', { params, body: { customer_id: idOf() } }))
  if (answer.ok || answer.problem.code === 'coupon_already_issued') await readCoupons()
  return answer
}

// Another customer has another cart, and nobody has none.
effect(() => {
  const id = customer.value?.id
  cart.value = undefined
  coupons.value = []
  if (id !== undefined) queueMicrotask(() => void readCart())
})

const PAUSE_MS = 300
let pending: ReturnType<typeof setTimeout> | undefined

/** What the cart says of a SKU is read again soon after its stock has changed. */
onStockChange((sku) => {
  if (pending !== undefined || !cart.value?.lines.some((line) => line.sku === sku)) return
  pending = setTimeout(() => {
    pending = undefined
    void readCart()
  }, PAUSE_MS)
})
