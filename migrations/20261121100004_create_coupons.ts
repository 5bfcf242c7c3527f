import type { Knex } from 'knex'

/**
 * Coupons, and who has one. `issued` is a counter like those of `stock`: a hot row, narrow, half-empty and not indexed. An
 * issue's number is its place in the order of arrival. An issue is used by one order; given back, the customer has it again.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE coupons (
      code text COLLATE "C" NOT NULL,
      discount_percent integer,
      discount_amount bigint,
      quantity integer NOT NULL,
      issued integer NOT NULL DEFAULT 0,
      created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      client text NOT NULL,
      idempotency_key text,
      request_hash bytea,
      CONSTRAINT coupons_pkey PRIMARY KEY (code),
      CONSTRAINT coupons_one_discount CHECK ((discount_percent IS NULL) <> (discount_amount IS NULL)),
      CONSTRAINT coupons_percent_within_bounds CHECK (discount_percent BETWEEN 1 AND 100),
      CONSTRAINT coupons_amount_positive CHECK (discount_amount > 0),
      CONSTRAINT coupons_issued_within_quantity CHECK (0 <= issued AND issued <= quantity),
      CONSTRAINT coupons_key_hashed CHECK ((idempotency_key IS NULL) = (request_hash IS NULL))
    ) WITH (fillfactor = 50)
  `)
  await knex.raw(`
    CREATE UNIQUE INDEX coupons_once ON coupons (client, idempotency_key) WHERE idempotency_key IS NOT NULL
  `)
  await knex.raw(`
    CREATE TABLE coupon_issues (
      code text COLLATE "C" NOT NULL,
      number integer NOT NULL,
      customer_id uuid NOT NULL,
      state text NOT NULL DEFAULT 'issued',
      order_id uuid,
      issued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      client text NOT NULL,
      idempotency_key text,
      request_hash bytea,
      CONSTRAINT coupon_issues_pkey PRIMARY KEY (code, number),
      CONSTRAINT coupon_issues_one_per_customer UNIQUE (customer_id, code),
      CONSTRAINT coupon_issues_of_coupon FOREIGN KEY (code) REFERENCES coupons (code),
      CONSTRAINT coupon_issues_of_customer FOREIGN KEY (customer_id) REFERENCES customers (id),
      CONSTRAINT coupon_issues_numbered CHECK (number >= 1),
      CONSTRAINT coupon_issues_state_known CHECK (state IN ('issued', 'used')),
      CONSTRAINT coupon_issues_used_by_order CHECK ((state = 'used') = (order_id IS NOT NULL)),
      CONSTRAINT coupon_issues_key_hashed CHECK ((idempotency_key IS NULL) = (request_hash IS NULL))
    )
  `)
  await knex.raw(`
    CREATE UNIQUE INDEX coupon_issues_once ON coupon_issues (client, idempotency_key) WHERE idempotency_key IS NOT NULL
  `)
  // Also what an order that ends looks its coupon up by; it holds used ones only.
  await knex.raw(`
    CREATE UNIQUE INDEX coupon_issues_one_per_order ON coupon_issues (order_id) WHERE order_id IS NOT NULL
  `)
}

/** Drops all coupons. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE coupon_issues')
  await knex.raw('DROP TABLE coupons')
}
