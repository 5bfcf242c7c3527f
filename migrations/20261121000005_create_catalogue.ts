import type { Knex } from 'knex'

/**
 * What is sold: a product without options has one SKU, a product with options one per combination. Prices are integers
 * in the currency's minor unit. Stock stays apart, keyed by SKU: a shop with a catalogue of its own never uses these.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE products (
      id uuid NOT NULL,
      name text NOT NULL,
      description text,
      image text,
      status text NOT NULL DEFAULT 'active',
      created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      CONSTRAINT products_pkey PRIMARY KEY (id),
      CONSTRAINT products_status_known CHECK (status IN ('draft', 'active', 'archived'))
    )
  `)
  await knex.raw(`
    CREATE TABLE product_skus (
      sku text COLLATE "C" NOT NULL,
      product_id uuid NOT NULL,
      options jsonb,
      price integer NOT NULL,
      place integer NOT NULL,
      CONSTRAINT product_skus_pkey PRIMARY KEY (sku),
      CONSTRAINT product_skus_of_product FOREIGN KEY (product_id) REFERENCES products (id),
      CONSTRAINT product_skus_price_not_negative CHECK (price >= 0)
    )
  `)
  // One SKU per combination, and a single one without options (PostgreSQL 14 lacks NULLS NOT DISTINCT).
  await knex.raw(`
    CREATE UNIQUE INDEX product_skus_one_per_combination
      ON product_skus (product_id, (coalesce(options, '{}'::jsonb)))
  `)
}

/** Drops the catalogue; stock stays. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE product_skus')
  await knex.raw('DROP TABLE products')
}
