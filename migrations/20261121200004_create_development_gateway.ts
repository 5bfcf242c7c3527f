import type { Knex } from 'knex'

/**
 * The development gateway's own books: a stand-in for another company's database, so that it remembers payments when the
 * service is killed, as a real one does. Nothing else reads these tables, and its transactions are never the service's.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE development_gateway_payments (
      payment_id uuid NOT NULL,
      order_id uuid NOT NULL,
      amount bigint NOT NULL,
      currency text NOT NULL,
      status text NOT NULL,
      captured_amount bigint NOT NULL DEFAULT 0,
      refunds jsonb NOT NULL DEFAULT '{}',
      failure_code text,
      by_buyer boolean NOT NULL DEFAULT false,
      behaviour jsonb NOT NULL DEFAULT '{}',
      return_url text,
      created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      CONSTRAINT development_gateway_payments_pkey PRIMARY KEY (payment_id),
      CONSTRAINT development_gateway_payments_status_known
        CHECK (status IN ('requires_action', 'authorised', 'captured', 'declined', 'failed', 'cancelled')),
      CONSTRAINT development_gateway_payments_captured_within CHECK (0 <= captured_amount AND captured_amount <= amount)
    )
  `)
  await knex.raw(`
    CREATE TABLE development_gateway_webhooks (
      id uuid NOT NULL,
      payment_id uuid NOT NULL,
      event_id text NOT NULL,
      body text NOT NULL,
      due_at timestamptz NOT NULL,
      tries integer NOT NULL DEFAULT 0,
      delivered_at timestamptz,
      CONSTRAINT development_gateway_webhooks_pkey PRIMARY KEY (id),
      CONSTRAINT development_gateway_webhooks_of_payment
        FOREIGN KEY (payment_id) REFERENCES development_gateway_payments (payment_id)
    )
  `)
  await knex.raw(`
    CREATE INDEX development_gateway_webhooks_due ON development_gateway_webhooks (due_at) WHERE delivered_at IS NULL
  `)
}

/** Drops the development gateway's books. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE development_gateway_webhooks')
  await knex.raw('DROP TABLE development_gateway_payments')
}
