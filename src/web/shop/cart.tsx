import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import type { Answer } from '../api.ts'
import { words } from '../language.ts'
import { Button } from '../parts/button.tsx'
import { Notice, ProblemNotice } from '../parts/notice.tsx'
import type { Cart as CartShape, CartLine } from '../shapes.ts'
import type { ProblemFacts } from '../words.ts'
import { cart, cart_problem, coupons, readCart, readCoupons, removeFromCart, setInCart } from './carts.ts'
import { nameOf } from './catalogue.ts'
import { Coupons, discountOf } from './coupons.tsx'
import { NeedLogin } from './need_login.tsx'
import { orderCart } from './orders.ts'
import { go } from './place.ts'
import { cash, customer, session } from './session.ts'
import { Stepper } from './stepper.tsx'

/** The cart: what is in it, what it comes to, and the way to hold all of it. */
export function Cart() {
  const { cart: say } = words.value
  const id = customer.value?.id
  useEffect(() => {
    void readCart()
    void readCoupons()
  }, [id])
  return (
    <>
      <h1 tabIndex={-1}>{say.title}</h1>
      <ProblemNotice problem={cart_problem.value} onRetry={() => void readCart()} />
      <Content />
    </>
  )
}

function Content() {
  const all = cart.value
  if (session.value !== undefined && customer.value === undefined) return <NeedLogin />
  if (all === undefined)
    return cart_problem.value === undefined ? <div class="bone" style={{ height: '16rem' }} /> : null
  return all.lines.length === 0 ? <Empty /> : <Full all={all} />
}

function Empty() {
  const { cart: say } = words.value
  return (
    <div class="panel">
      <p>{say.empty}</p>
      <p class="soft">{say.emptyNext}</p>
      <div class="row">
        <a class="button first" href="/shop">
          {say.back}
        </a>
      </div>
    </div>
  )
}

function Full({ all }: { all: CartShape }) {
  const { cart: say } = words.value
  const code = useSignal<string | undefined>(undefined)
  const busy = useSignal(false)
  const problem = useSignal<ProblemFacts | undefined>(undefined)
  const coupon = coupons.value.find((one) => one.code === code.value && one.state === 'issued')
  const discount = coupon === undefined ? 0 : discountOf(coupon, all.subtotal)
  const checkout = async () => {
    busy.value = true
    const answer = await orderCart(coupon?.code)
    busy.value = false
    problem.value = answer.ok ? undefined : answer.problem
    if (answer.ok) go(`/shop/orders/${answer.value.id}`)
  }
  return (
    <div class="two">
      <ul class="panel lines">
        {all.lines.map((line) => (
          <Line key={line.sku} line={line} />
        ))}
      </ul>
      <div class="side stack">
        <section class="panel" aria-label={say.total}>
          <Coupons chosen={coupon?.code} onChoose={(chosen) => (code.value = chosen)} />
          <dl class="sums number">
            <div>
              <dt>{say.subtotal}</dt>
              <dd>{cash(all.subtotal)}</dd>
            </div>
            <div>
              <dt>{say.discount}</dt>
              <dd>{discount === 0 ? cash(0) : `−${cash(discount)}`}</dd>
            </div>
            <div class="whole">
              <dt>{say.total}</dt>
              <dd>{cash(all.subtotal - discount)}</dd>
            </div>
          </dl>
          <Button look="first" off={busy.value || !all.orderable} onPress={() => void checkout()} describedBy="note">
            {busy.value ? say.checkingOut : say.checkout}
          </Button>
          <ProblemNotice problem={problem.value} />
          <p id="note" class="soft small">
            {say.note}
          </p>
        </section>
      </div>
    </div>
  )
}

function Line({ line }: { line: CartLine }) {
  const { cart: say } = words.value
  const problem = useSignal<ProblemFacts | undefined>(undefined)
  const name = line.name === null ? line.sku : nameOf(line, line)
  const change = async (answer: Promise<Answer<CartShape>>) => {
    const changed = await answer
    problem.value = changed.ok ? undefined : changed.problem
    return changed.ok
  }
  const remove = async () => {
    // The button goes with its line; who uses the keyboard goes on from the top.
    if (await change(removeFromCart(line.sku))) document.querySelector<HTMLElement>('main h1')?.focus()
  }
  return (
    <li>
      <div>
        <h2>{name}</h2>
        <p class="soft small number">{line.unit_price === null ? '' : say.each(cash(line.unit_price))}</p>
      </div>
      <p class="price number">{line.total === null ? words.value.console.none : cash(line.total)}</p>
      <Stepper
        value={line.quantity}
        max={Math.max(line.quantity, line.available)}
        of={name}
        onChange={(quantity) => void change(setInCart(line.sku, quantity))}
      />
      <Button look="little plain" label={say.remove(name)} onPress={() => void remove()}>
        {say.removeShort}
      </Button>
      {line.problem === null ? null : <Notice tone="warn">{problemOf(line)}</Notice>}
      <ProblemNotice problem={problem.value} />
    </li>
  )
}

function problemOf({ problem, available }: CartLine): string {
  const { problem: say } = words.value.cart
  if (problem === 'insufficient_stock') return say.insufficient_stock(available)
  return problem === 'sold_out' ? say.sold_out : say.not_on_sale
}
