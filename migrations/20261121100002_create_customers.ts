import type { Knex } from 'knex'

/**
 * Customers with their balances, and one row for every change of a balance. Money is in the currency's minor unit; a
 * balance ends where JavaScript's integers do.
 *
 * `customers` is narrow and half-empty like `stock`, for the same reason: paying by balance updates the row, and no index
 * names what changes. An entry's amount is signed, so the entries of an account add up to its balance; `seq` has no gaps.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE customers (
      id uuid NOT NULL,
      name text NOT NULL,
      balance bigint NOT NULL DEFAULT 0,
      seq bigint NOT NULL DEFAULT 0,
      created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      client text NOT NULL,
      idempotency_key text,
      request_hash bytea,
      CONSTRAINT customers_pkey PRIMARY KEY (id),
      CONSTRAINT customers_balance_not_negative CHECK (balance >= 0),
      CONSTRAINT customers_balance_within_limit CHECK (balance <= 9007199254740991),
      CONSTRAINT customers_key_hashed CHECK ((idempotency_key IS NULL) = (request_hash IS NULL))
    ) WITH (fillfactor = 50)
  `)
  await knex.raw(`
    CREATE UNIQUE INDEX customers_once ON customers (client, idempotency_key) WHERE idempotency_key IS NOT NULL
  `)
  // A table of its own, because a key is claimed before the account is locked, and only then is the entry's seq known.
  await knex.raw(`
    CREATE TABLE charges (
      id uuid NOT NULL,
      customer_id uuid NOT NULL,
      amount bigint NOT NULL,
      client text NOT NULL,
      idempotency_key text NOT NULL,
      request_hash bytea NOT NULL,
      created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      CONSTRAINT charges_pkey PRIMARY KEY (id),
      CONSTRAINT charges_of_customer FOREIGN KEY (customer_id) REFERENCES customers (id),
      CONSTRAINT charges_positive CHECK (amount > 0),
      CONSTRAINT charges_once UNIQUE (client, idempotency_key)
    )
  `)
  await knex.raw(`
    CREATE TABLE account_entries (
      customer_id uuid NOT NULL,
      seq bigint NOT NULL,
      kind text NOT NULL,
      amount bigint NOT NULL,
      balance_after bigint NOT NULL,
      charge_id uuid,
      payment_id uuid,
      refund_id uuid,
      created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      CONSTRAINT account_entries_pkey PRIMARY KEY (customer_id, seq),
      CONSTRAINT account_entries_of_customer FOREIGN KEY (customer_id) REFERENCES customers (id),
      CONSTRAINT account_entries_of_charge FOREIGN KEY (charge_id) REFERENCES charges (id),
      CONSTRAINT account_entries_kind_known CHECK (
        CASE kind
          WHEN 'charge' THEN amount > 0 AND charge_id IS NOT NULL AND payment_id IS NULL AND refund_id IS NULL
          WHEN 'payment' THEN amount <= 0 AND charge_id IS NULL AND payment_id IS NOT NULL AND refund_id IS NULL
          WHEN 'refund' THEN amount >= 0 AND charge_id IS NULL AND payment_id IS NOT NULL AND refund_id IS NOT NULL
          ELSE false
        END)
    )
  `)
  // What makes "never twice" true whatever the code does.
  await knex.raw(
    'CREATE UNIQUE INDEX account_entries_charged_once ON account_entries (charge_id) WHERE charge_id IS NOT NULL',
  )
  await knex.raw(`CREATE UNIQUE INDEX account_entries_paid_once ON account_entries (payment_id) WHERE kind = 'payment'`)
  await knex.raw(
    'CREATE UNIQUE INDEX account_entries_refunded_once ON account_entries (refund_id) WHERE refund_id IS NOT NULL',
  )
}

/** Drops all customers and their money. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE account_entries')
  await knex.raw('DROP TABLE charges')
  await knex.raw('DROP TABLE customers')
}
