import type { Knex } from 'knex'

/**
 * Carts hold no stock and no prices: what stands in one is looked up whenever it is read. The cart's own row is what two
 * requests for one cart queue at, so that its lines can be counted and numbered.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE carts (
      customer_id uuid NOT NULL,
      updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      CONSTRAINT carts_pkey PRIMARY KEY (customer_id),
      CONSTRAINT carts_of_customer FOREIGN KEY (customer_id) REFERENCES customers (id)
    )
  `)
  await knex.raw(`
    CREATE TABLE cart_lines (
      customer_id uuid NOT NULL,
      sku text COLLATE "C" NOT NULL,
      quantity integer NOT NULL,
      place bigint NOT NULL,
      CONSTRAINT cart_lines_pkey PRIMARY KEY (customer_id, sku),
      CONSTRAINT cart_lines_of_cart FOREIGN KEY (customer_id) REFERENCES carts (customer_id),
      CONSTRAINT cart_lines_quantity_within_bounds CHECK (quantity BETWEEN 1 AND 1000000)
    )
  `)
  // Adding twice is adding more, so a retried addition must be known. The row stays when the line has gone: a retry that
  // comes late must not fill a cart that was ordered meanwhile.
  await knex.raw(`
    CREATE TABLE cart_additions (
      client text NOT NULL,
      idempotency_key text NOT NULL,
      request_hash bytea NOT NULL,
      customer_id uuid NOT NULL,
      created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      CONSTRAINT cart_additions_pkey PRIMARY KEY (client, idempotency_key)
    )
  `)
}

/** Drops all carts. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE cart_additions')
  await knex.raw('DROP TABLE cart_lines')
  await knex.raw('DROP TABLE carts')
}
