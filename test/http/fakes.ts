import pino from 'pino'
import type { AppDeps } from '../../src/http/app.ts'
import { createSessions } from '../../src/http/sessions.ts'
import type { Authenticator, Caller } from '../../src/keys/authenticate.ts'
import { createMetrics } from '../../src/metrics.ts'
import type { Reservation, ReserveRequest } from '../../src/reservations/reservation.ts'
import { sumLines } from '../../src/reservations/reservation.ts'
import type { Level } from '../../src/stock/levels.ts'
import { ok, refused } from '../../src/errors.ts'
import type { Cart } from '../../src/carts/carts.ts'
import type { Product } from '../../src/catalog/product.ts'
import type { Coupon, Issue } from '../../src/coupons/queries.ts'
import type { AccountEntry, Customer } from '../../src/customers/queries.ts'
import type { Order } from '../../src/orders/order.ts'
import type { Payment } from '../../src/payments/payment.ts'
import type { Refund } from '../../src/payments/queries.ts'

/**
 * Rooms that answer at once and remember nothing, for what can be shown about the HTTP side without a database. A test
 * names only what it wants otherwise.
 */

const AT = new Date('2026-01-02T03:04:05.678Z')

export function reservationOf(request: Partial<ReserveRequest> = {}): Reservation {
  return {
    id: '01941f29-7c00-7000-8000-000000000000',
    status: 'pending',
    lines: sumLines(request.lines ?? [{ sku: 'A', quantity: 1 }]),
    customer_id: request.customer_id ?? null,
    reference: request.reference ?? null,
    metadata: request.metadata ?? null,
    created_at: AT,
    expires_at: new Date(AT.getTime() + 1_800_000),
    closed_at: null,
    release_reason: null,
    strategy: 'batched',
    ttl_variant: null,
  }
}

export function levelOf(level: Partial<Level> = {}): Level {
  return { sku: 'A', stock: 10, temp_reserved_stock: 2, available: 8, seq: 5, updated_at: AT, ...level }
}

/** Answers who shows a secret; its id is the secret itself. */
export function authenticatorOf(whoShows: (secret: string | undefined) => Caller): Authenticator {
  const authenticate = (secret: string | undefined) => Promise.resolve(whoShows(secret))
  return {
    recall: () => undefined,
    authenticate,
    identify: async (secret) => ({ caller: await authenticate(secret), secret_id: secret }),
    recallId: () => undefined,
    authenticateId: authenticate,
  }
}

const ID = '01941f29-7c00-7000-8000-000000000000'

export function productOf(product: Partial<Product> = {}): Product {
  const skus = [{ sku: 'A', options: null, price: 100, available: 8 }]
  const texts = { name: 'Thing', description: null, image: null }
  return { id: ID, ...texts, status: 'active', skus, created_at: AT, updated_at: AT, ...product }
}

export function customerOf(customer: Partial<Customer> = {}): Customer {
  return { id: ID, name: 'Kim', balance: 500, created_at: AT, ...customer }
}

export function entryOf(entry: Partial<AccountEntry> = {}): AccountEntry {
  const causes = { charge_id: ID, payment_id: null, refund_id: null }
  return {
    customer_id: ID,
    seq: 1,
    kind: 'charge',
    amount: 500,
    balance_after: 500,
    ...causes,
    created_at: AT,
    ...entry,
  }
}

export function cartOf(cart: Partial<Cart> = {}): Cart {
  return { customer_id: ID, lines: [], subtotal: 0, orderable: false, ...cart }
}

export function couponOf(coupon: Partial<Coupon> = {}): Coupon {
  const discount = { discount_percent: 10, discount_amount: null }
  return { code: 'C', ...discount, quantity: 30, issued: 1, created_at: AT, ...coupon }
}

export function issueOf(issue: Partial<Issue> = {}): Issue {
  return { code: 'C', number: 1, customer_id: ID, state: 'issued', order_id: null, issued_at: AT, ...issue }
}

/** What has an id that ends in f does not exist, nor does the coupon `missing`. */
function storefront(): Pick<AppDeps, 'catalog' | 'customers' | 'carts' | 'coupons' | 'orders' | 'payments' | 'sales'> {
  return {
    catalog: {
      createProduct: () => Promise.resolve(ok({ product: productOf(), replayed: false })),
      changeProduct: (id) => Promise.resolve(ok(productOf({ id }))),
      listProducts: ({ status = 'active' }) => Promise.resolve([productOf({ status })]),
      readProduct: (id) => Promise.resolve(id.endsWith('f') ? undefined : productOf({ id })),
    },
    customers: {
      createCustomer: ({ name }) => Promise.resolve(ok({ customer: customerOf({ name }), replayed: false })),
      readCustomer: (id) => Promise.resolve(id.endsWith('f') ? undefined : customerOf({ id })),
      chargeBalance: ({ amount }) => Promise.resolve(ok({ entry: entryOf({ amount }), replayed: false })),
      readEntries: () => Promise.resolve([]),
      hasRoom: () => true,
    },
    carts: {
      addToCart: () => Promise.resolve(ok({ cart: cartOf(), replayed: false })),
      setInCart: () => Promise.resolve(ok(cartOf())),
      removeFromCart: () => Promise.resolve(ok(cartOf())),
      readCart: (id) => Promise.resolve(id.endsWith('f') ? refused({ code: 'customer_not_found', id }) : ok(cartOf())),
      hasRoom: () => true,
    },
    coupons: {
      createCoupon: ({ code }) => Promise.resolve(ok({ coupon: couponOf({ code }), replayed: false })),
      readCoupon: (code) => Promise.resolve(code === 'missing' ? undefined : couponOf({ code })),
      listCoupons: () => Promise.resolve([]),
      issuer: {
        issue: ({ code }) => Promise.resolve(ok({ issue: issueOf({ code }), replayed: false })),
        hasRoom: () => true,
      },
    },
    orders: {
      createOrder: ({ customer_id }) => Promise.resolve(ok({ order: orderOf({ customer_id }), replayed: false })),
      cancelOrder: (id) => Promise.resolve(ok(orderOf({ id, status: 'cancelled' }))),
      readOrder: (id) => Promise.resolve(id.endsWith('f') ? undefined : orderOf({ id })),
      listOrders: () => Promise.resolve([orderOf()]),
      hasRoom: () => true,
    },
    payments: {
      payOrder: ({ order_id, method }) =>
        Promise.resolve(ok({ payment: paymentOf({ order_id, method }), replayed: false })),
      refundOrder: ({ order_id, restock }) =>
        Promise.resolve(ok({ refund: refundOf({ order_id, restock }), replayed: false })),
      readPayment: (id) => Promise.resolve(id.endsWith('f') ? undefined : paymentOf({ id })),
      receiveWebhook: (gateway) =>
        Promise.resolve(gateway === 'development' ? ok({ outcome: 'ignored' }) : refused({ code: 'not_found' })),
      hasRoom: () => true,
    },
    sales: {
      readPopular: ({ from = '2026-01-01', to = '2026-01-07' }) => Promise.resolve({ from, to, products: [] }),
    },
  }
}

export function orderOf(order: Partial<Order> = {}): Order {
  return {
    id: ID,
    status: 'awaiting_payment',
    customer_id: ID,
    lines: [
      {
        sku: 'A',
        product_id: ID,
        name: 'A thing',
        options: null,
        quantity: 1,
        unit_price: 500,
        total: 500,
        discount: 0,
        refunded_quantity: 0,
      },
    ],
    currency: 'KRW',
    subtotal: 500,
    discount: 0,
    total: 500,
    coupon_code: null,
    reservation_id: ID,
    expires_at: new Date(AT.getTime() + 1_800_000),
    created_at: AT,
    paid_at: null,
    closed_at: null,
    payments: [],
    refunds: [],
    ...order,
  }
}

export function paymentOf(payment: Partial<Payment> = {}): Payment {
  return {
    id: ID,
    order_id: ID,
    method: 'balance',
    gateway: null,
    status: 'captured',
    amount: 500,
    currency: 'KRW',
    captured_amount: 500,
    captured_currency: 'KRW',
    refunded_amount: 0,
    owed_amount: 0,
    owed_reason: null,
    failure_code: null,
    gateway_payment_id: null,
    next_action: null,
    return_url: null,
    next_try_at: null,
    tries: 0,
    created_at: AT,
    ...payment,
  }
}

function refundOf(refund: Partial<Refund> = {}): Refund {
  return {
    id: ID,
    order_id: ID,
    payment_id: ID,
    status: 'succeeded',
    amount: 500,
    currency: 'KRW',
    skus: ['A'],
    quantities: [1],
    restock: true,
    failure_code: null,
    tries: 0,
    created_at: AT,
    ...refund,
  }
}

export function fakeDeps(overrides: Partial<AppDeps> = {}): AppDeps {
  return {
    log: pino({ level: 'silent' }),
    metrics: createMetrics({ process_metrics: false }),
    authenticator: authenticatorOf(() => ({
      ok: true,
      client: '',
      scopes: new Set(['read', 'reserve', 'admin'] as const),
      open: true,
    })),
    stock: {
      readLevel: (sku) => Promise.resolve(sku === 'missing' ? undefined : levelOf({ sku })),
      readLevels: (skus) => Promise.resolve(skus.map((sku) => levelOf({ sku }))),
      listLevels: () => Promise.resolve([levelOf()]),
      setStock: (items) =>
        Promise.resolve(ok({ levels: items.map(({ sku, stock }) => levelOf({ sku, stock })), created: [] })),
      adjustStock: ({ items }) =>
        Promise.resolve(ok({ levels: items.map(({ sku }) => levelOf({ sku })), replayed: false })),
      readLedger: () => Promise.resolve([]),
      // A stream that is over as soon as it has begun.
      watch: (watcher) => {
        watcher.end('stopping')
        return Promise.resolve(() => undefined)
      },
    },
    reservations: {
      ttl_max_seconds: 86_400,
      reservations: {
        reserve: (request) => Promise.resolve(ok({ reservation: reservationOf(request), replayed: false })),
        confirm: () => Promise.resolve(ok(reservationOf())),
        release: () => Promise.resolve(ok(reservationOf())),
        extend: () => Promise.resolve(ok(reservationOf())),
        read: () => Promise.resolve(undefined),
        list: () => Promise.resolve(ok({ reservations: [], next_cursor: null })),
        hasRoom: () => true,
        hasRoomToReserve: () => true,
      },
    },
    ...storefront(),
    development_gateway: undefined,
    events: { readEvents: ({ after }) => Promise.resolve({ events: [], next_after: after }) },
    pages: {
      sessions: createSessions({ secret: 'a secret of this test, not of any other' }),
      demo_login: false,
      currency: 'KRW',
      latestCustomers: () => Promise.resolve([customerOf()]),
      readClock: () => Promise.resolve(AT),
      customerOfOrder: () => Promise.resolve(undefined),
      customerOfPayment: () => Promise.resolve(undefined),
    },
    readStats: () =>
      Promise.resolve({ pending: 0, overdue: 0, oldest_overdue_seconds: 0, set_aside: 0, sweeper: [], stalled: false }),
    readiness: () => Promise.resolve({ unready: [], degraded: [] }),
    isDraining: () => false,
    ...overrides,
  }
}
