import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import type { Answer } from '../api.ts'
import { now } from '../clock.ts'
import { clockTime, secondsLeft, shortId, when } from '../format.ts'
import { language, words } from '../language.ts'
import { Button } from '../parts/button.tsx'
import { ProblemNotice } from '../parts/notice.tsx'
import type { Order, OrderPage } from '../shapes.ts'
import { nameOf } from './catalogue.ts'
import { NeedLogin } from './need_login.tsx'
import { listOrders } from './orders.ts'
import { cash, customer, session } from './session.ts'
import { StatusChip } from './status_chip.tsx'

/** All that a customer has ordered, the newest first. */
export function History() {
  const { order: say } = words.value
  const { orders, read, readMore } = useOrders()
  return (
    <>
      <h1 tabIndex={-1}>{say.history}</h1>
      {session.value !== undefined && customer.value === undefined ? (
        <NeedLogin />
      ) : orders.value === undefined ? (
        <div class="bone" style={{ height: '12rem' }} role="img" aria-label={words.value.loading} />
      ) : !orders.value.ok ? (
        <ProblemNotice problem={orders.value.problem} onRetry={() => void read()} />
      ) : (
        <>
          <List orders={orders.value.value.data} />
          {orders.value.value.next_cursor === null ? null : (
            <div class="row">
              <Button onPress={() => void readMore()}>{say.older}</Button>
            </div>
          )}
        </>
      )}
    </>
  )
}

/** So long after its end an order reads as expired, however well the clocks agree. */
const SURE_MS = 500

/** The customer's orders, read again when the time of one has run out. */
function useOrders() {
  const orders = useSignal<Answer<OrderPage> | undefined>(undefined)
  const id = customer.value?.id
  const read = async () => {
    orders.value = id === undefined ? undefined : await listOrders()
  }
  const readMore = async () => {
    const before = orders.value
    if (!before?.ok || before.value.next_cursor === null) return
    const more = await listOrders(before.value.next_cursor)
    // Pressed twice, it is read twice and shown once.
    if (orders.value !== before) return
    orders.value = more.ok
      ? { ok: true, value: { ...more.value, data: [...before.value.data, ...more.value.data] } }
      : more
  }
  useEffect(() => void read(), [id])
  const shown = orders.value?.ok ? orders.value.value.data : []
  const has_ended = shown.some(
    ({ status, expires_at }) => status === 'awaiting_payment' && secondsLeft(expires_at, now.value - SURE_MS) === 0,
  )
  useEffect(() => {
    if (has_ended) void read()
  }, [has_ended])
  return { orders, read, readMore }
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
          <a class="order-card" href={`/shop/orders/${order.id}`}>
            <strong>{summaryOf(order)}</strong>
            <StatusChip status={order.status} />
            <span class="soft small">
              {say.title} <span class="code">{shortId(order.id)}</span> ·{' '}
              {say.placed(when(order.created_at, language.value, now.value))}
            </span>
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
  return lines
    .map((line) => (line.quantity === 1 ? nameOf(line, line) : `${line.quantity} × ${nameOf(line, line)}`))
    .join(' · ')
}
