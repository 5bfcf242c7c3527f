import type { Knex } from 'knex'

/**
 * Events, written by the transaction whose change they tell of: one row for all events of a transaction, because a batch
 * of 300 holds would otherwise pay for 300 rows and, when they are given positions, for 300 updates more.
 *
 * `ordered_at` is taken while the transaction holds its counters, so two rows that share a SKU are in ledger order by it.
 * Positions are given afterwards, under the one row of outbox_position, to rows that are already committed: a reader that
 * remembers its last position never misses a late commit.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE outbox (
      id uuid NOT NULL,
      ordered_at timestamptz NOT NULL,
      events json NOT NULL,
      event_count integer NOT NULL,
      last_position bigint,
      CONSTRAINT outbox_pkey PRIMARY KEY (id),
      CONSTRAINT outbox_not_empty CHECK (event_count > 0)
    )
  `)
  await knex.raw(`CREATE INDEX outbox_unpositioned ON outbox (ordered_at, id) WHERE last_position IS NULL`)
  await knex.raw(`
    CREATE UNIQUE INDEX outbox_positioned ON outbox (last_position) WHERE last_position IS NOT NULL
  `)
  await knex.raw(`
    CREATE TABLE outbox_position (
      singleton boolean NOT NULL DEFAULT true,
      last_position bigint NOT NULL,
      CONSTRAINT outbox_position_pkey PRIMARY KEY (singleton),
      CONSTRAINT outbox_position_single CHECK (singleton)
    )
  `)
  await knex.raw(`INSERT INTO outbox_position (last_position) VALUES (0)`)
}

/** Drops all events. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE outbox_position')
  await knex.raw('DROP TABLE outbox')
}
