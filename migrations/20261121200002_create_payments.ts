import type { Knex } from 'knex'

/**
 * Payments, refunds and the webhooks that told of them.
 *
 * A payment is open while it is `pending` (waiting for the buyer or the gateway) or `authorised` (the hold is confirmed and
 * the capture is owed); an order has at most one open payment, by a unique index. `declined` is a failed attempt that may
 * still succeed; `failed` and `cancelled` are over. `captured` money is what came in: what was given back of it and
 * what is owed of it can never be more, by a CHECK.
 *
 * `next_try_at` says that something is owed to the gateway (a capture, a void, a refund, a look) and when it is tried next.
 * It is written with the state that makes it necessary, so a process that dies at any point leaves it to another one.
 */
export async function up(knex: Knex): Promise<void> {
  await createPayments(knex)
  await createRefunds(knex)
  // Each event is handled once: its row is written by the transaction that handles it.
  await knex.raw(`
    CREATE TABLE webhook_events (
      gateway text NOT NULL,
      event_id text COLLATE "C" NOT NULL,
      type text NOT NULL,
      payment_id uuid,
      outcome text NOT NULL,
      received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      CONSTRAINT webhook_events_pkey PRIMARY KEY (gateway, event_id)
    )
  `)
}

async function createPayments(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE payments (
      id uuid NOT NULL,
      order_id uuid NOT NULL,
      method text,
      gateway text,
      status text NOT NULL,
      amount bigint NOT NULL,
      currency text NOT NULL,
      captured_amount bigint NOT NULL DEFAULT 0,
      captured_currency text,
      refunded_amount bigint NOT NULL DEFAULT 0,
      owed_amount bigint NOT NULL DEFAULT 0,
      owed_reason text,
      failure_code text,
      gateway_payment_id text COLLATE "C",
      next_action jsonb,
      return_url text,
      next_try_at timestamptz,
      tries integer NOT NULL DEFAULT 0,
      last_error text,
      created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      closed_at timestamptz,
      CONSTRAINT payments_pkey PRIMARY KEY (id),
      CONSTRAINT payments_of_order FOREIGN KEY (order_id) REFERENCES orders (id),
      CONSTRAINT payments_method_known CHECK (method IN ('balance', 'card', 'external')),
      CONSTRAINT payments_status_known
        CHECK (status IN ('pending', 'declined', 'authorised', 'captured', 'failed', 'cancelled')),
      CONSTRAINT payments_gateway_of_card CHECK ((method = 'card') = (gateway IS NOT NULL)),
      CONSTRAINT payments_closed_when_over
        CHECK ((status IN ('captured', 'failed', 'cancelled')) = (closed_at IS NOT NULL)),
      CONSTRAINT payments_amount_not_negative CHECK (amount >= 0),
      CONSTRAINT payments_money_when_captured
        CHECK (captured_amount >= 0 AND (status = 'captured' OR captured_amount = 0)
               AND (status = 'captured') = (captured_currency IS NOT NULL)),
      CONSTRAINT payments_refunds_within_captured
        CHECK (0 <= refunded_amount AND 0 <= owed_amount AND refunded_amount + owed_amount <= captured_amount),
      CONSTRAINT payments_owed_for_a_reason CHECK (owed_amount = 0 OR owed_reason IS NOT NULL),
      CONSTRAINT payments_tried_at_gateways CHECK (next_try_at IS NULL OR method = 'card')
    ) WITH (fillfactor = 90)
  `)
  await knex.raw(`
    CREATE UNIQUE INDEX payments_one_open ON payments (order_id) WHERE status IN ('pending', 'authorised')
  `)
  await knex.raw('CREATE INDEX payments_by_order ON payments (order_id, id)')
  await knex.raw(`
    CREATE UNIQUE INDEX payments_one_per_gateway_payment ON payments (gateway, gateway_payment_id)
      WHERE gateway_payment_id IS NOT NULL
  `)
  // What the job reads; it holds only what is owed to a gateway.
  await knex.raw('CREATE INDEX payments_to_pursue ON payments (next_try_at) WHERE next_try_at IS NOT NULL')
  // What `cli status` reads, for whoever gives money back.
  await knex.raw('CREATE INDEX payments_owed ON payments (order_id, id) WHERE owed_amount > 0')
}

async function createRefunds(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE refunds (
      id uuid NOT NULL,
      order_id uuid NOT NULL,
      payment_id uuid NOT NULL,
      status text NOT NULL,
      amount bigint NOT NULL,
      currency text NOT NULL,
      skus text[] COLLATE "C" NOT NULL,
      quantities integer[] NOT NULL,
      restock boolean NOT NULL,
      failure_code text,
      gateway_refund_id text,
      next_try_at timestamptz,
      tries integer NOT NULL DEFAULT 0,
      last_error text,
      created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      closed_at timestamptz,
      CONSTRAINT refunds_pkey PRIMARY KEY (id),
      CONSTRAINT refunds_of_order FOREIGN KEY (order_id) REFERENCES orders (id),
      CONSTRAINT refunds_of_payment FOREIGN KEY (payment_id) REFERENCES payments (id),
      CONSTRAINT refunds_status_known CHECK (status IN ('pending', 'succeeded', 'failed')),
      CONSTRAINT refunds_closed_when_over CHECK ((status = 'pending') = (closed_at IS NULL)),
      CONSTRAINT refunds_amount_not_negative CHECK (amount >= 0),
      CONSTRAINT refunds_lines_paired CHECK (cardinality(skus) = cardinality(quantities))
    ) WITH (fillfactor = 90)
  `)
  await knex.raw('CREATE INDEX refunds_by_order ON refunds (order_id, id)')
  await knex.raw('CREATE INDEX refunds_to_pursue ON refunds (next_try_at) WHERE next_try_at IS NOT NULL')
}

/** Drops all payments and what is known of their money. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE webhook_events')
  await knex.raw('DROP TABLE refunds')
  await knex.raw('DROP TABLE payments')
}
