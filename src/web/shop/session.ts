import { computed, signal } from '@preact/signals'
import { ask, askPage, createApi, newKey, whenSessionEnds, type Answer } from '../api.ts'
import { synchronise } from '../clock.ts'
import { money } from '../format.ts'
import { language } from '../language.ts'
import type { Customer, ShopSession } from '../shapes.ts'
import type { ProblemFacts } from '../words.ts'

/** Who shops. */

export const api = createApi('shop')

/** Undefined before it is known. */
export const session = signal<ShopSession | undefined>(undefined)
export const session_problem = signal<ProblemFacts | undefined>(undefined)
export const customer = computed<Customer | undefined>(() => session.value?.customer ?? undefined)

/** What is done once it is known who shops; undefined while nobody is asked. */
export const asking = signal<{ next: () => void } | undefined>(undefined)

export async function readSession(): Promise<void> {
  const asked = performance.now()
  const answer = await askPage<ShopSession>('GET', '/shop/session')
  if (answer.ok) {
    synchronise(answer.value.now, asked, performance.now())
    session.value = answer.value
  }
  session_problem.value = answer.ok ? undefined : answer.problem
}

whenSessionEnds(() => void readSession())

/** Does something as the customer, after asking who that is if need be. */
export function asCustomer(next: () => void): void {
  if (customer.value === undefined) asking.value = { next }
  else next()
}

export async function enter(who: { customer_id: string } | { name: string }): Promise<Answer<Customer>> {
  const answer = await askPage<Customer>('POST', '/shop/session', { body: who })
  if (!answer.ok) return answer
  await readSession()
  const next = asking.value?.next
  asking.value = undefined
  next?.()
  return answer
}

export async function leave(): Promise<void> {
  await askPage('DELETE', '/shop/session')
  await readSession()
}

/** Money out of nothing, as in any demonstration; in the currency's minor unit. */
export const TOP_UP = 100_000

export async function topUp(): Promise<Answer<unknown>> {
  const id = customer.value?.id ?? ''
  const params = { path: { id }, header: newKey() }
  const answer = await ask(() => api.POST('/v1/customers/{id}/charges', { params, body: { amount: TOP_UP } }))
  if (answer.ok) await readSession()
  return answer
}

/** An amount of the shop's currency. */
export function cash(amount: number): string {
  return money(amount, session.value?.currency ?? 'KRW', language.value)
}
