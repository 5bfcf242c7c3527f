import type { Knex } from 'knex'
import { rows } from '../../src/database/transaction.ts'

/**
 * Remembers tables as they are, and drops their checks and foreign keys: whoever writes past the service may also have
 * written past the schema.
 *
 * @returns puts the rows back
 */
export async function keepClean(db: Knex, tables: readonly string[]): Promise<() => Promise<void>> {
  for (const table of tables) await rows(db, `CREATE TABLE clean_${table} AS SELECT * FROM ${table}`)
  const constraints = await rows<{ table: string; name: string }>(
    db,
    `SELECT conrelid::regclass::text AS table, conname AS name FROM pg_constraint
     WHERE (conrelid = ANY (?::regclass[]) OR confrelid = ANY (?::regclass[])) AND contype IN ('c', 'f')`,
    [tables, tables],
  )
  for (const { table, name } of constraints) await rows(db, `ALTER TABLE ${table} DROP CONSTRAINT ${name}`)
  return async () => {
    await rows(db, `TRUNCATE ${tables.join(', ')} CASCADE`)
    for (const table of tables) await rows(db, `INSERT INTO ${table} SELECT * FROM clean_${table}`)
  }
}
