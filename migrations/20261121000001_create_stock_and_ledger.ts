import type { Knex } from 'knex'

/**
 * The counters and the row-by-row history of every change to them.
 *
 * `stock` is the hottest table of the service: narrow, no index on a column that changes and half-empty pages, so that
 * every move is a heap-only update. COLLATE "C" makes "in SKU order" mean the same on every server, which the lock
 * order rests on. No foreign key points here from the ledger or from reservations: each one costs a key-share lock on the
 * hot row for every insert, and no code path deletes a SKU.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE stock (
      sku text COLLATE "C" NOT NULL,
      stock integer NOT NULL,
      temp_reserved_stock integer NOT NULL DEFAULT 0,
      seq bigint NOT NULL DEFAULT 0,
      updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      CONSTRAINT stock_pkey PRIMARY KEY (sku),
      CONSTRAINT stock_covers_reserved CHECK (0 <= temp_reserved_stock AND temp_reserved_stock <= stock),
      CONSTRAINT stock_within_limit CHECK (stock <= 2000000000)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02)
  `)
  await knex.raw(`
    CREATE TABLE stock_ledger (
      sku text COLLATE "C" NOT NULL,
      seq bigint NOT NULL,
      kind text NOT NULL,
      stock_delta integer NOT NULL,
      reserved_delta integer NOT NULL,
      stock_after integer NOT NULL,
      reserved_after integer NOT NULL,
      reservation_id uuid,
      reference text,
      reason text,
      created_at timestamptz NOT NULL,
      CONSTRAINT stock_ledger_pkey PRIMARY KEY (sku, seq),
      CONSTRAINT stock_ledger_kind_known
        CHECK (kind IN ('set', 'adjust', 'reserve', 'confirm', 'release', 'expire'))
    )
  `)
  // A retried adjustment must not be applied twice: its key is kept as long as this row. NULLs never conflict in a
  // unique constraint, so client is '' where no API key was used and unkeyed adjustments leave no row here at all.
  await knex.raw(`
    CREATE TABLE stock_adjustments (
      id uuid NOT NULL,
      client text NOT NULL,
      idempotency_key text NOT NULL,
      request_hash bytea NOT NULL,
      skus text[] NOT NULL,
      created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      CONSTRAINT stock_adjustments_pkey PRIMARY KEY (id),
      CONSTRAINT stock_adjustments_once UNIQUE (client, idempotency_key)
    )
  `)
}

/** Drops the counters and their history. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE stock_adjustments')
  await knex.raw('DROP TABLE stock_ledger')
  await knex.raw('DROP TABLE stock')
}
