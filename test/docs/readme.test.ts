import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { rows } from '../../src/database/transaction.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'

const root = new URL('../../', import.meta.url)
const readme = readFileSync(new URL('README.md', root), 'utf8')
const er = readFileSync(new URL('docs/er.md', root), 'utf8')

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

type Column = { table: string; column: string; type: string; primary: boolean; foreign: boolean }

async function columnsOfSchema(): Promise<Column[]> {
  return rows<Column>(
    database.db,
    `SELECT c.table_name AS table, c.column_name AS column,
            replace(format_type(a.atttypid, NULL), 'timestamp with time zone', 'timestamptz') AS type,
            EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'p'
                    AND a.attnum = ANY (k.conkey)) AS primary,
            EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'f'
                    AND a.attnum = ANY (k.conkey)) AS foreign
     FROM information_schema.columns c
     JOIN pg_attribute a ON a.attrelid = c.table_name::regclass AND a.attname = c.column_name
     WHERE c.table_schema = 'public' AND c.table_name NOT LIKE 'knex_%'
     ORDER BY c.table_name, c.ordinal_position`,
  )
}

function columnsOfDiagram(text: string): Column[] {
  const diagram = /```mermaid\nerDiagram\n([\s\S]*?)```/.exec(text)?.[1] ?? ''
  const columns: Column[] = []
  for (const [, table = '', body = ''] of diagram.matchAll(/^ {2}(\w+) \{\n([\s\S]*?)^ {2}\}/gm)) {
    for (const line of body.trim().split('\n')) {
      const [type = '', column = '', ...keys] = line.trim().split(/[\s,]+/)
      columns.push({ table, column, type, primary: keys.includes('PK'), foreign: keys.includes('FK') })
    }
  }
  return columns
}

const byName = (a: Column, b: Column) => a.table.localeCompare(b.table)

test('the ER diagram shows every table and column of the schema as it is', async () => {
  expect(columnsOfDiagram(er).toSorted(byName)).toEqual((await columnsOfSchema()).toSorted(byName))
})

test("the README's diagram shows the core's tables as they are", async () => {
  const shown = columnsOfDiagram(readme)
  const tables = new Set(shown.map(({ table }) => table))
  expect([...tables]).toEqual(expect.arrayContaining(['stock', 'stock_ledger', 'reservations', 'outbox']))
  const schema = (await columnsOfSchema()).filter(({ table }) => tables.has(table))
  expect(shown.toSorted(byName)).toEqual(schema.toSorted(byName))
})

test('a column that the diagram lacks is noticed', async () => {
  const poorer = er.replace('    integer temp_reserved_stock\n', '')
  expect(columnsOfDiagram(poorer)).not.toContainEqual(expect.objectContaining({ column: 'temp_reserved_stock' }))
  expect(columnsOfDiagram(poorer)).toHaveLength((await columnsOfSchema()).length - 1)
})

test('every foreign key of the schema is a line of the ER diagram', async () => {
  const keys = await rows<{ child: string; parent: string }>(
    database.db,
    `SELECT conrelid::regclass::text AS child, confrelid::regclass::text AS parent FROM pg_constraint WHERE contype = 'f'`,
  )
  expect(keys.length).toBeGreaterThan(0)
  for (const { child, parent } of keys) expect(er).toMatch(new RegExp(`^  ${parent} \\|\\|--\\S+ ${child} :`, 'm'))
})

test('the settings table names every variable that the service reads, and no other', () => {
  const config = readFileSync(new URL('src/config.ts', root), 'utf8')
  const read = [...config.matchAll(/^ {2}([A-Z][A-Z_]+): Type\./gm)].map((match) => match[1])
  const section = /## Settings\n([\s\S]*?)\n## /.exec(readme)?.[1] ?? ''
  const named = [...section.matchAll(/^\| (.+?) \|/gm)].flatMap((row) =>
    [...(row[1] ?? '').matchAll(/`([A-Z_]+)`/g)].map((match) => match[1]),
  )
  expect(named.toSorted()).toEqual(read.toSorted())
})

test('the folder tree names every room and every file beside them', () => {
  const tree = /## The folders\n\n```\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
  for (const entry of readdirSync(new URL('src', root), { withFileTypes: true })) {
    expect(tree).toMatch(new RegExp(`\\s${entry.name}${entry.isDirectory() ? '/' : '[\\s,]'}`))
  }
})

test('every test file that the promises name exists', () => {
  const section = /## What is promised[\s\S]*?\n## /.exec(readme)?.[0] ?? ''
  const files = [...section.matchAll(/`(test\/[\w/.-]+)`/g)].map((match) => match[1] ?? '')
  expect(files.length).toBeGreaterThan(12)
  for (const file of files) expect({ file, exists: existsSync(new URL(file, root)) }).toEqual({ file, exists: true })
})
