import { useSignal } from '@preact/signals'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import { now } from '../clock.ts'
import { shortId, when } from '../format.ts'
import { language, words } from '../language.ts'
import { Countdown } from '../parts/countdown.tsx'
import { Notice, ProblemNotice } from '../parts/notice.tsx'
import type { Order as OrderShape } from '../shapes.ts'
import { nameOf } from './catalogue.ts'
import { NeedLogin } from './need_login.tsx'
import { followOrder, lastFailureOf } from './orders.ts'
import { Pay } from './pay.tsx'
import { cash, customer, session } from './session.ts'
import { StatusChip } from './status_chip.tsx'

/** One order, from the moment when its goods are held until it has ended. */
export function Order({ id }: { id: string }) {
  const { title } = words.value.order
  const who = customer.value?.id
  if (who !== undefined) return <Followed key={`${id} ${who}`} id={id} />
  return (
    <>
      <h1 tabIndex={-1}>{title}</h1>
      {session.value === undefined ? <Waiting /> : <NeedLogin />}
    </>
  )
}

function Waiting() {
  return <div class="bone" style={{ height: '24rem' }} role="img" aria-label={words.value.loading} />
}

function Followed({ id }: { id: string }) {
  const { title } = words.value.order
  const followed = useMemo(() => followOrder(id), [id])
  useEffect(() => () => followed.end(), [followed])
  const answer = followed.order.value
  if (answer?.ok) return <Shown order={answer.value} onChange={() => followed.look()} />
  return (
    <>
      <h1 tabIndex={-1}>{title}</h1>
      {answer === undefined ? (
        <Waiting />
      ) : (
        <ProblemNotice problem={answer.problem} onRetry={() => void followed.look()} />
      )}
    </>
  )
}

function Shown({ order, onChange }: { order: OrderShape; onChange: () => Promise<void> }) {
  const { order: say } = words.value
  const awaits = order.status === 'awaiting_payment'
  const heading = useRef<HTMLHeadingElement>(null)
  // The button that was pressed last is gone with what it could do.
  useEffect(() => {
    if (document.activeElement === document.body) heading.current?.focus()
  }, [awaits])
  return (
    <>
      <div class="lead">
        <h1 tabIndex={-1} ref={heading}>
          {say.title} <span class="code soft">{shortId(order.id)}</span>
        </h1>
        <StatusChip status={order.status} />
      </div>
      <Announced order={order} />
      <div class="two">
        <section class="side panel" aria-label={say.status[order.status]}>
          {awaits ? (
            <>
              <h2>{say.held}</h2>
              <Countdown from={order.created_at} until={order.expires_at} />
              <Pay order={order} onChange={onChange} />
            </>
          ) : (
            <Ended order={order} />
          )}
        </section>
        <section class="panel" aria-labelledby="lines">
          <h2 id="lines">{say.lines}</h2>
          <Lines order={order} />
        </section>
      </div>
    </>
  )
}

/** Tells who does not see it when an order has become something else. */
function Announced({ order: { status } }: { order: OrderShape }) {
  const { order: say } = words.value
  const first = useSignal(status)
  return (
    <p class="unseen" role="status" aria-live="polite">
      {status === first.value ? '' : say.announced(say.status[status])}
    </p>
  )
}

const TONES: Partial<Record<OrderShape['status'], 'good' | 'warn' | 'bad'>> = {
  paid: 'good',
  expired: 'warn',
  payment_failed: 'bad',
  refund_required: 'warn',
}

function Ended({ order }: { order: OrderShape }) {
  const { order: say } = words.value
  const failure = lastFailureOf(order)
  return (
    <>
      <Notice tone={TONES[order.status] ?? 'plain'}>
        <span>
          {order.status === 'payment_failed' && failure !== undefined ? `${say.failure[failure]} ` : ''}
          {say.explained[order.status]}
        </span>
      </Notice>
      <p class="soft small">{say.placed(when(order.created_at, language.value, now.value))}</p>
      <a class="button" href="/shop">
        {say.again}
      </a>
    </>
  )
}

function Lines({ order }: { order: OrderShape }) {
  const { cart, order: say } = words.value
  return (
    <>
      <ul class="lines">
        {order.lines.map((line) => (
          <li key={line.sku}>
            <div>
              <h3>{nameOf(line, line)}</h3>
              <p class="soft small number">
                {line.quantity} × {cash(line.unit_price)}
              </p>
            </div>
            <p class="price number">{cash(line.total)}</p>
          </li>
        ))}
      </ul>
      <dl class="sums number">
        <div>
          <dt>{cart.subtotal}</dt>
          <dd>{cash(order.subtotal)}</dd>
        </div>
        {order.discount === 0 ? null : (
          <div>
            <dt>{order.coupon_code === null ? cart.discount : say.coupon(order.coupon_code)}</dt>
            <dd>−{cash(order.discount)}</dd>
          </div>
        )}
        <div class="whole">
          <dt>{cart.total}</dt>
          <dd>{cash(order.total)}</dd>
        </div>
      </dl>
    </>
  )
}
