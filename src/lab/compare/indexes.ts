import type { Knex } from 'knex'
import { rows, transaction } from '../../database/transaction.ts'
import { interleave, type Arm } from '../bench/goal.ts'
import { IMPATIENT } from '../bench/patience.ts'
import type { Series } from '../bench/series.ts'
import { undisturbedWith } from '../bench/stolen.ts'
import type { Bench } from './measure.ts'
import type { Options } from './options.ts'
import { count, ms, type Section } from './report.ts'

/**
 * What the sources' indexes give to reads and take from writes, each set of them on a copy of the same holds: one line to a
 * hold and a column for its SKU, as the sources have them.
 */

type IndexSet = { name: string; create: readonly string[] }

const SETS: readonly IndexSet[] = [
  { name: 'primary key only', create: [] },
  { name: 'partial: (expires_at) WHERE pending', create: [`(expires_at) WHERE status = 'pending'`] },
  { name: 'composite: (status, expires_at)', create: ['(status, expires_at)'] },
  { name: 'partial: (sku) WHERE pending', create: [`(sku) WHERE status = 'pending'`] },
  { name: 'composite: (sku, status)', create: ['(sku, status)'] },
  { name: 'both composites', create: ['(status, expires_at)', '(sku, status)'] },
  { name: 'both partial', create: [`(expires_at) WHERE status = 'pending'`, `(sku) WHERE status = 'pending'`] },
]

const HOLDS = { full: 400_000, quick: 40_000 }
const SKUS = 1000
const REPEATS = { full: 7, quick: 3 }
/** Rows of one write, and reads that are averaged. */
const WRITES = 1000
const READS = 20

export async function indexesSection({ databases, progress }: Bench, { quick }: Options): Promise<Section> {
  const size = quick ? 'quick' : 'full'
  const database = await databases.create()
  try {
    progress('filling')
    await fillHolds(database.db, HOLDS[size])
    for (const [i, set] of SETS.entries()) {
      progress(`copying: ${set.name}`)
      await copyHolds(database.db, tableOf(i), set)
    }
    const arms = SETS.flatMap((_, i) => OPERATIONS.map(({ run }) => armOf(database.db, i, run)))
    const series = await interleave(arms, REPEATS[size], { progress, undisturbed: undisturbedWith(IMPATIENT) })
    const sizes = await Promise.all(SETS.map((_, i) => indexMegabytes(database.db, tableOf(i))))
    return sectionOf(series, sizes, HOLDS[size])
  } finally {
    await databases.drop(database)
  }
}

function sectionOf(series: readonly Series[], sizes: readonly number[], holds: number): Section {
  const medians = SETS.map((_, i) => OPERATIONS.map((_operation, k) => series[i * OPERATIONS.length + k]!.median))
  const head = ['indexes besides the key', ...OPERATIONS.map(({ title }) => `${title}, ms`), 'indexes, MB']
  return {
    title: `Reads and writes with and without the sources' indexes: ${count(holds)} holds, one in ten pending, ${count(SKUS)} SKUs`,
    tables: [{ title: '', head, rows: SETS.map(({ name }, i) => [name, ...medians[i]!.map(ms), ms(sizes[i]!)]) }],
    notes: [
      `Medians of ${series[0]!.values.length}. Writes are ${count(WRITES)} rows in one statement, without COMMIT.`,
      'The service has the partial index on expires_at. It needs none on the SKU: its counters say what is held.',
    ],
    faults: [],
    data: { sets: SETS, operations: OPERATIONS.map(({ title }) => title), series, index_megabytes: sizes },
  }
}

type Operation = { title: string; run: (db: Knex, table: string) => Promise<number> }

const OPERATIONS: readonly Operation[] = [
  {
    title: 'read: the 500 oldest overdue',
    run: (db, table) =>
      timed(READS, () =>
        rows(
          db,
          `SELECT id FROM ${table} WHERE status = 'pending' AND expires_at <= now() ORDER BY expires_at LIMIT 500`,
        ),
      ),
  },
  {
    title: 'read: units held of a SKU',
    run: (db, table) =>
      timed(READS, (i) =>
        rows(db, `SELECT sum(quantity) FROM ${table} WHERE sku = ? AND status = 'pending'`, [`SKU-${(i * 37) % SKUS}`]),
      ),
  },
  {
    title: 'write: hold',
    run: (db, table) => undone(db, (tx) => rows(tx, `INSERT INTO ${table} ${holdsFrom('pending')}`, [0, WRITES])),
  },
  {
    title: 'write: confirm',
    run: (db, table) =>
      undone(db, (tx) =>
        rows(
          tx,
          `UPDATE ${table} SET status = 'confirmed', closed_at = now() WHERE id IN (SELECT id FROM sample LIMIT ?)`,
          [WRITES],
        ),
      ),
  },
]

function armOf(db: Knex, set: number, run: Operation['run']): Arm {
  const name = SETS[set]!.name
  return { name, unit: 'ms', measure: async () => ({ value: await run(db, tableOf(set)), faults: [] }) }
}

/** The mean of several, in milliseconds. */
async function timed(times: number, work: (i: number) => Promise<unknown>): Promise<number> {
  const started = performance.now()
  for (let i = 0; i < times; i++) await work(i)
  return (performance.now() - started) / times
}

/** A write, in milliseconds, that leaves the table as it was. */
function undone(db: Knex, work: (tx: Knex.Transaction) => Promise<unknown>): Promise<number> {
  return transaction<number>(db, async (tx, rollback) => {
    const duration_ms = await timed(1, () => work(tx))
    return rollback(duration_ms)
  })
}

function tableOf(set: number): string {
  return `holds_${set}`
}

/** Rows from one number up to, not with, another. Of ten one is pending, and of these one in ten overdue. */
function holdsFrom(status: 'pending' | 'mixed'): string {
  const mixed = `CASE WHEN i % 10 = 0 THEN 'pending' WHEN i % 10 = 1 THEN 'released' ELSE 'confirmed' END`
  return `(id, sku, quantity, status, customer_id, created_at, expires_at, closed_at)
    SELECT gen_random_uuid(), 'SKU-' || (i * 7919) % ${SKUS}, 1, s.status, 'customer ' || i / 5, now() - interval '1 hour',
           now() + CASE WHEN i % 100 = 0 THEN interval '-1 minute' ELSE interval '30 minutes' END + i * interval '1 microsecond',
           CASE WHEN s.status <> 'pending' THEN now() END
    FROM generate_series(?::integer, ?::integer - 1) AS i, LATERAL (SELECT ${status === 'mixed' ? mixed : `'pending'::text`} AS status) s`
}

async function fillHolds(db: Knex, holds: number): Promise<void> {
  await rows(
    db,
    `CREATE TABLE holds (id uuid NOT NULL, sku text NOT NULL, quantity integer NOT NULL, status text NOT NULL,
       customer_id text, created_at timestamptz NOT NULL, expires_at timestamptz NOT NULL, closed_at timestamptz)
     WITH (fillfactor = 90)`,
  )
  await rows(db, `INSERT INTO holds ${holdsFrom('mixed')}`, [0, holds])
  await rows(
    db,
    `CREATE TABLE sample AS SELECT id FROM holds WHERE status = 'pending' AND expires_at > now() LIMIT ${WRITES}`,
  )
}

async function copyHolds(db: Knex, table: string, { create }: IndexSet): Promise<void> {
  await rows(db, `CREATE TABLE ${table} (LIKE holds) WITH (fillfactor = 90)`)
  await rows(db, `INSERT INTO ${table} SELECT * FROM holds`)
  await rows(db, `ALTER TABLE ${table} ADD PRIMARY KEY (id)`)
  for (const columns of create) await rows(db, `CREATE INDEX ON ${table} ${columns}`)
  await rows(db, `VACUUM (FREEZE, ANALYZE) ${table}`)
  await rows(db, 'CHECKPOINT')
}

async function indexMegabytes(db: Knex, table: string): Promise<number> {
  const [size] = await rows<{ bytes: number }>(db, `SELECT pg_indexes_size(?::regclass) AS bytes`, [table])
  return size!.bytes / 1e6
}
