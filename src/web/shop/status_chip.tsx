import { words } from '../language.ts'
import type { OrderStatus } from '../shapes.ts'

const TONES: Record<OrderStatus, string> = {
  awaiting_payment: 'warn',
  paid: 'good',
  payment_failed: 'bad',
  cancelled: '',
  expired: '',
  refund_required: 'bad',
  refunded: '',
  partially_refunded: '',
}

export function StatusChip({ status }: { status: OrderStatus }) {
  return <span class={`chip ${TONES[status]}`}>{words.value.order.status[status]}</span>
}
