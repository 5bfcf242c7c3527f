import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import type { Answer } from '../api.ts'
import { now } from '../clock.ts'
import { clockTime, secondsLeft, shortId, when } from '../format.ts'
import { language, words } from '../language.ts'
import { ProblemNotice } from '../parts/notice.tsx'
import type { Order } from '../shapes.ts'
import { NeedLogin } from './need_login.tsx'
import { listOrders } from './orders.ts'
import { cash, customer, session } from './session.ts'
import { StatusChip } from './status_chip.tsx'

/** All that a customer has ordered, the newest first. */
export function History() {
  const { order: say } = words.value
  const orders = useSignal<Answer<Order[]> | undefined>(undefined)
  const id = customer.value?.id
  const read = async () => {
    orders.value = id === undefined ? undefined : await listOrders()
  }
  useEffect(() => void read(), [id])
  return (
    <>
      <h1 tabIndex={-1}>{say.history}</h1>
      {session.value !== undefined && id === undefined ? (
        <NeedLogin />
      ) : orders.value === undefined ? (
        <div class="bone" style={{ height: '12rem' }} role="img" aria-label={words.value.loading} />
      ) : !orders.value.ok ? (
        <ProblemNotice problem={orders.value.problem} onRetry={() => void read()} />
      ) : (
        <List orders={orders.value.value} />
      )}
    </>
  )
}

function List({ orders }: { orders: readonly Order[] }) {
  const { order: say, cart } = words.value
  if (orders.length === 0) {
    return (
      <div class="panel">
        <p>{say.none}</p>
        <div class="row">
          <a class="button first" href="/shop">
            {cart.back}
          </a>
        </div>
      </div>
    )
  }
  return (
    <ul class="orders">
      {orders.map((order) => (
        <li key={order.id}>
          <a class="order-card" href={`/shop/orders/${order.id}`} aria-label={say.open(shortId(order.id))}>
            <strong>{summaryOf(order)}</strong>
            <StatusChip status={order.status} />
            <span class="soft small">{say.placed(when(order.created_at, language.value, now.value))}</span>
            <span class="number small">
              {order.status === 'awaiting_payment' ? `${clockTime(secondsLeft(order.expires_at, now.value))} · ` : ''}
              {cash(order.total)}
            </span>
          </a>
        </li>
      ))}
    </ul>
  )
}

function summaryOf({ lines }: Order): string {
  return lines.map(({ name, quantity }) => (quantity === 1 ? name : `${quantity} × ${name}`)).join(', ')
}
