import type { Knex } from 'knex'

/**
 * Holds, each with its lines inside.
 *
 * Lines are two parallel arrays, not a table: they are born and die with their hold, never change and are never read
 * without it, and a table of their own costs one more row and one more index entry for each hold. The ledger answers
 * "which holds touched this SKU".
 *
 * `reservations_overdue` is what expiry reads; it holds pending rows only, so it stays small whatever the history.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE reservations (
      id uuid NOT NULL,
      status text NOT NULL,
      skus text[] COLLATE "C" NOT NULL,
      quantities integer[] NOT NULL,
      customer_id text,
      reference text,
      metadata jsonb,
      created_at timestamptz NOT NULL,
      expires_at timestamptz NOT NULL,
      closed_at timestamptz,
      release_reason text,
      strategy text NOT NULL,
      ttl_variant text,
      client text NOT NULL,
      idempotency_key text,
      request_hash bytea,
      CONSTRAINT reservations_pkey PRIMARY KEY (id),
      CONSTRAINT reservations_status_known CHECK (status IN ('pending', 'confirmed', 'released', 'expired')),
      CONSTRAINT reservations_lines_paired
        CHECK (cardinality(skus) = cardinality(quantities) AND cardinality(skus) BETWEEN 1 AND 100),
      CONSTRAINT reservations_closed_when_final CHECK ((status = 'pending') = (closed_at IS NULL)),
      CONSTRAINT reservations_key_hashed CHECK ((idempotency_key IS NULL) = (request_hash IS NULL))
    ) WITH (fillfactor = 90)
  `)
  await knex.raw(`
    CREATE UNIQUE INDEX reservations_once ON reservations (client, idempotency_key) WHERE idempotency_key IS NOT NULL
  `)
  await knex.raw(`CREATE INDEX reservations_overdue ON reservations (expires_at) WHERE status = 'pending'`)
  await knex.raw(`
    CREATE INDEX reservations_by_customer ON reservations (customer_id, id) WHERE customer_id IS NOT NULL
  `)
  await knex.raw(`CREATE INDEX reservations_by_reference ON reservations (reference, id) WHERE reference IS NOT NULL`)

  // A hold that fails every sweep would stay at the head of the queue for ever and starve the rest: it waits here until
  // retry_at and is named by 'cli status'. Apart from reservations, so that a failing row need not be written to.
  await knex.raw(`
    CREATE TABLE sweep_set_aside (
      reservation_id uuid NOT NULL,
      failures integer NOT NULL,
      retry_at timestamptz NOT NULL,
      error text NOT NULL,
      set_aside_at timestamptz NOT NULL,
      CONSTRAINT sweep_set_aside_pkey PRIMARY KEY (reservation_id)
    )
  `)
  // What each instance's sweeper last did, so that any instance and the command line can tell a stalled one.
  await knex.raw(`
    CREATE TABLE sweeper_runs (
      instance text NOT NULL,
      started_at timestamptz NOT NULL,
      finished_at timestamptz,
      succeeded_at timestamptz,
      expired integer NOT NULL DEFAULT 0,
      set_aside integer NOT NULL DEFAULT 0,
      error text,
      error_at timestamptz,
      CONSTRAINT sweeper_runs_pkey PRIMARY KEY (instance)
    )
  `)
}

/** Drops all holds. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE sweeper_runs')
  await knex.raw('DROP TABLE sweep_set_aside')
  await knex.raw('DROP TABLE reservations')
}
