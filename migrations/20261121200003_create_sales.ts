import type { Knex } from 'knex'

/**
 * What was sold, and what of it came back. Rows are only ever added by those who sell: a counter of sales per SKU would be a
 * second hot row and slow the first. A job adds them up per SKU and day of the shop's time zone, and writes the day into
 * each row that it has counted, so that none is counted twice.
 *
 * `cause_id` is the payment that sold or the refund that took back, so that neither can be recorded twice. A refund has
 * the time of the sale: it takes its units off the day on which they were sold.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE sales (
      cause_id uuid NOT NULL,
      sku text COLLATE "C" NOT NULL,
      order_id uuid NOT NULL,
      quantity integer NOT NULL,
      amount bigint NOT NULL,
      sold_at timestamptz NOT NULL,
      day date,
      CONSTRAINT sales_pkey PRIMARY KEY (cause_id, sku),
      CONSTRAINT sales_of_order FOREIGN KEY (order_id) REFERENCES orders (id),
      CONSTRAINT sales_move_units CHECK (quantity <> 0)
    ) WITH (fillfactor = 90)
  `)
  await knex.raw('CREATE INDEX sales_not_added_up ON sales (sold_at) WHERE day IS NULL')
  await knex.raw(`
    CREATE TABLE sales_daily (
      day date NOT NULL,
      sku text COLLATE "C" NOT NULL,
      units bigint NOT NULL,
      amount bigint NOT NULL,
      CONSTRAINT sales_daily_pkey PRIMARY KEY (day, sku)
    ) WITH (fillfactor = 50)
  `)
}

/** Drops all sales; orders stay. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE sales_daily')
  await knex.raw('DROP TABLE sales')
}
