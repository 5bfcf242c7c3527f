import { render } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { words } from '../language.ts'
import { Brand } from '../parts/brand.tsx'
import { LanguageSwitch } from '../parts/language_switch.tsx'
import { ProblemNotice } from '../parts/notice.tsx'
import { Offline } from '../parts/offline.tsx'
import { Toasts } from '../parts/toasts.tsx'
import { Account } from './account.tsx'
import { Cart } from './cart.tsx'
import { cart_size } from './carts.ts'
import { readProducts } from './catalogue.ts'
import { History } from './history.tsx'
import { Login } from './login.tsx'
import { Order } from './order.tsx'
import { moves, place, type Place } from './place.ts'
import { Products } from './products.tsx'
import { readSession, session_problem } from './session.ts'

/** The shop. */
function Shop() {
  const { shop, skip } = words.value
  const main = useRef<HTMLElement>(null)
  const here = place.value
  const moved = moves.value
  useEffect(() => void (document.title = `${titleOf(here)} · ${shop.title}`), [here, shop])
  // Whoever goes somewhere by keyboard or hears the page begins at its heading.
  useEffect(() => {
    if (moved > 0) (main.current?.querySelector('h1') ?? main.current)?.focus()
  }, [moved])
  return (
    <>
      <a class="skip" href="#main">
        {skip}
      </a>
      <Bar here={here} />
      <main class="main" id="main" tabIndex={-1} ref={main}>
        <ProblemNotice problem={session_problem.value} onRetry={() => void readSession()} />
        <Offline />
        <Here place={here} />
      </main>
      <Login />
      <Toasts />
    </>
  )
}

function titleOf({ page }: Place): string {
  const { shop, order } = words.value
  return { products: shop.products, cart: shop.cart, orders: shop.orders, order: order.title }[page]
}

function Here({ place: here }: { place: Place }) {
  switch (here.page) {
    case 'products':
      return <Products />
    case 'cart':
      return <Cart />
    case 'orders':
      return <History />
    case 'order':
      return <Order key={here.id} id={here.id} />
  }
}

function Bar({ here }: { here: Place }) {
  const { shop } = words.value
  const current = (page: Place['page']) => (here.page === page ? 'page' : undefined)
  return (
    <header class="bar">
      <div class="bar-inner">
        <Brand name={shop.title} href="/shop" />
        <nav class="nav" aria-label={shop.title}>
          <a href="/shop" aria-current={current('products')}>
            {shop.products}
          </a>
          <a href="/shop/orders" aria-current={current('orders') ?? current('order')}>
            {shop.orders}
          </a>
          <a href="/shop/cart" aria-current={current('cart')} aria-label={shop.cartWith(cart_size.value)}>
            {shop.cart} <span class={`bubble number ${cart_size.value > 0 ? 'full' : ''}`}>{cart_size.value}</span>
          </a>
        </nav>
        <div class="bar-end">
          <Account />
          <LanguageSwitch />
        </div>
      </div>
    </header>
  )
}

void readSession()
void readProducts()
render(<Shop />, document.getElementById('page')!)
