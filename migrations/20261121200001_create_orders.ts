import type { Knex } from 'knex'

/**
 * Orders, with name, options and price as they were when the order was made. An order has one hold at a time; its end is
 * the hold's, so no time is stored here twice.
 *
 * `payment_id` is the payment that the goods are sold for; money that came beside it is the payments' matter. No foreign
 * key points at it or at the hold: payments name their order, and `verify` checks both.
 *
 * The amounts of a line are whole: a discount is divided among the lines when the order is made, so that refunds of all
 * lines give back what was paid, to the unit.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE orders (
      id uuid NOT NULL,
      status text NOT NULL,
      customer_id uuid NOT NULL,
      currency text NOT NULL,
      subtotal bigint NOT NULL,
      discount bigint NOT NULL,
      total bigint NOT NULL,
      coupon_code text COLLATE "C",
      reservation_id uuid NOT NULL,
      payment_id uuid,
      created_at timestamptz NOT NULL,
      paid_at timestamptz,
      closed_at timestamptz,
      CONSTRAINT orders_pkey PRIMARY KEY (id),
      CONSTRAINT orders_of_customer FOREIGN KEY (customer_id) REFERENCES customers (id),
      CONSTRAINT orders_status_known CHECK (status IN ('awaiting_payment', 'paid', 'payment_failed', 'cancelled',
        'expired', 'refund_required', 'refunded', 'partially_refunded')),
      CONSTRAINT orders_total_right CHECK (0 <= discount AND discount <= subtotal AND total = subtotal - discount),
      CONSTRAINT orders_closed_when_not_awaited CHECK ((status = 'awaiting_payment') = (closed_at IS NULL)),
      CONSTRAINT orders_paid_by_payment CHECK ((payment_id IS NULL) = (paid_at IS NULL)),
      CONSTRAINT orders_sold_when_paid CHECK (CASE
        WHEN status IN ('paid', 'partially_refunded') THEN payment_id IS NOT NULL
        WHEN status IN ('refund_required', 'refunded') THEN true
        ELSE payment_id IS NULL END)
    ) WITH (fillfactor = 90)
  `)
  // What follows a hold finds its order by this; and no hold serves two orders.
  await knex.raw('CREATE UNIQUE INDEX orders_one_per_reservation ON orders (reservation_id)')
  await knex.raw('CREATE INDEX orders_by_customer ON orders (customer_id, id)')
  await knex.raw('CREATE INDEX orders_by_status ON orders (status, id)')
  await knex.raw(`
    CREATE TABLE order_lines (
      order_id uuid NOT NULL,
      place integer NOT NULL,
      sku text COLLATE "C" NOT NULL,
      product_id uuid NOT NULL,
      name text NOT NULL,
      options jsonb,
      quantity integer NOT NULL,
      unit_price bigint NOT NULL,
      total bigint NOT NULL,
      discount bigint NOT NULL,
      refunded_quantity integer NOT NULL DEFAULT 0,
      CONSTRAINT order_lines_pkey PRIMARY KEY (order_id, sku),
      CONSTRAINT order_lines_of_order FOREIGN KEY (order_id) REFERENCES orders (id),
      CONSTRAINT order_lines_total_right CHECK (quantity > 0 AND unit_price >= 0 AND total = quantity * unit_price),
      CONSTRAINT order_lines_discount_within_total CHECK (0 <= discount AND discount <= total),
      CONSTRAINT order_lines_refunds_within_quantity CHECK (0 <= refunded_quantity AND refunded_quantity <= quantity)
    ) WITH (fillfactor = 90)
  `)
  // A key is claimed before anything is locked, and by then it is not known yet what it will stand for: a payment exists
  // before it is asked for, an order's lines may come from a cart. Keys of different kinds are different keys.
  await knex.raw(`
    CREATE TABLE order_keys (
      client text NOT NULL,
      kind text NOT NULL,
      idempotency_key text NOT NULL,
      request_hash bytea NOT NULL,
      made_id uuid NOT NULL,
      created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      CONSTRAINT order_keys_pkey PRIMARY KEY (client, kind, idempotency_key),
      CONSTRAINT order_keys_kind_known CHECK (kind IN ('order', 'payment', 'refund'))
    )
  `)
}

/** Drops all orders. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE order_keys')
  await knex.raw('DROP TABLE order_lines')
  await knex.raw('DROP TABLE orders')
}
