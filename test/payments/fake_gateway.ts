import { GatewayUnavailable, type Gateway, type GatewayPayment, type GatewayState } from '../../src/payments/gateway.ts'

/** A gateway in memory, with a book that a test looks into and a way to make each call go wrong. */
export type FakeGateway = Gateway & {
  /** How each payment stands, as the gateway sees it. */
  book: Map<string, GatewayState>
  refunds: Map<string, { payment_id: string; amount: number }>
  /** Every call, such as `capture <payment id>`. */
  calls: string[]
  /** The next call of a verb does this first (and may throw); `lose` does the work and throws then. */
  before: Partial<Record<Verb, (payment: GatewayPayment) => Promise<void> | void>>
  lose: Set<Verb>
  /** The buyer's or the gateway's own doing. */
  set(payment_id: string, status: GatewayState['status'], more?: Partial<GatewayState>): void
}

type Verb = 'authorise' | 'look' | 'capture' | 'void' | 'refund'

export function createFakeGateway(): FakeGateway {
  const book = new Map<string, GatewayState>()
  const fake: FakeGateway = {
    name: 'fake',
    book,
    refunds: new Map(),
    calls: [],
    before: {},
    lose: new Set(),
    set(payment_id, status, more = {}) {
      book.set(payment_id, { ...book.get(payment_id)!, status, ...more })
    },
    authorise: (payment) => run('authorise', payment, () => undefined),
    look: (payment) => run('look', payment, () => undefined),
    capture: (payment) =>
      run('capture', payment, (state) => {
        if (state.status === 'authorised') state.status = 'captured'
      }),
    void: (payment) =>
      run('void', payment, (state) => {
        if (state.status !== 'captured') state.status = 'cancelled'
      }),
    async refund(payment, { id, amount }) {
      await run('refund', payment, () => void fake.refunds.set(id, { payment_id: payment.id, amount }))
      return { gateway_refund_id: `re_${id}`, status: 'succeeded', failure_code: null }
    },
    readWebhook: () => ({ ok: false, detail: 'the fake gateway sends none' }),
  }

  async function run(verb: Verb, payment: GatewayPayment, work: (state: GatewayState) => void): Promise<GatewayState> {
    fake.calls.push(`${verb} ${payment.id}`)
    const before = fake.before[verb]
    delete fake.before[verb]
    await before?.(payment)
    const state = book.get(payment.id) ?? begun(payment)
    book.set(payment.id, state)
    work(state)
    if (fake.lose.delete(verb)) throw new GatewayUnavailable(new Error('the answer was lost'))
    return { ...state }
  }
  return fake
}

function begun({ id, amount, currency }: GatewayPayment): GatewayState {
  return {
    gateway_payment_id: `pay_${id}`,
    status: 'requires_action',
    amount,
    currency,
    next_action: { type: 'redirect', url: `/pay/${id}` },
    failure: null,
    by_buyer: false,
  }
}
