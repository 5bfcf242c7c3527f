import { computed, signal } from '@preact/signals'
import { dismiss } from '../parts/toasts.tsx'

/** Where in the shop one is: the path of the address, so that back, forward and reload work as anywhere. */

export type Place = { page: 'products' } | { page: 'cart' } | { page: 'orders' } | { page: 'order'; id: string }

const path = signal(location.pathname)

export const place = computed<Place>(() => {
  const [, , page, id] = path.value.split('/')
  if (page === 'cart') return { page: 'cart' }
  if (page === 'orders') return id === undefined ? { page: 'orders' } : { page: 'order', id }
  return { page: 'products' }
})

/** How often one has gone somewhere, so that a page knows that it was gone to and not begun with. */
export const moves = signal(0)

export function go(to: string): void {
  if (to !== location.pathname) history.pushState(null, '', to)
  arrive()
}

function arrive(): void {
  path.value = location.pathname
  moves.value += 1
  dismiss()
  scrollTo({ top: 0 })
}

addEventListener('popstate', arrive)

/** Links within the shop change what is shown, not the page. Anything but a plain click is left to the browser. */
document.addEventListener('click', (event) => {
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
  const link = (event.target as Element | null)?.closest('a')
  if (!link || link.origin !== location.origin || link.hash !== '' || !/^\/shop(\/|$)/.test(link.pathname)) return
  event.preventDefault()
  go(link.pathname)
})
