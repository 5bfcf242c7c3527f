import type { Knex } from 'knex'

/**
 * A product's idempotency key is kept as long as the product, so that a retried POST makes it once. The demo shop has
 * none. The index serves the list: products of one status, newest first.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE products
      ADD COLUMN client text NOT NULL DEFAULT '',
      ADD COLUMN idempotency_key text,
      ADD COLUMN request_hash bytea,
      ADD CONSTRAINT products_key_hashed CHECK ((idempotency_key IS NULL) = (request_hash IS NULL))
  `)
  await knex.raw(`
    CREATE UNIQUE INDEX products_once ON products (client, idempotency_key) WHERE idempotency_key IS NOT NULL
  `)
  await knex.raw('CREATE INDEX products_by_status ON products (status, id)')
}

/** Forgets the keys; the products stay. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP INDEX products_by_status')
  await knex.raw(`
    ALTER TABLE products DROP CONSTRAINT products_key_hashed,
      DROP COLUMN client, DROP COLUMN idempotency_key, DROP COLUMN request_hash
  `)
}
