import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Command } from 'commander'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createProgram } from '../../src/cli/program.ts'
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

/** The commands that the table names, those that follow another with its first words and without. */
function commandsNamed(): string[] {
  const section = /## Commands\n([\s\S]*?)\n## /.exec(readme)?.[1] ?? ''
  return [...section.matchAll(/^\| (.+?) \| /gm)].flatMap(([, cell = '']) => {
    const words = [...cell.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code.replace(/^npm (run )?(cli -- )?/, ''))
    const [group = ''] = words[0]?.split(' ') ?? []
    return [...words, ...words.map((word) => `${group} ${word}`)]
  })
}

/** The full names of the commands that do something, such as `keys create`. */
function namesOf(command: Command, before: readonly string[] = []): string[] {
  return command.commands.flatMap((one) =>
    one.commands.length > 0 ? namesOf(one, [...before, one.name()]) : [[...before, one.name()].join(' ')],
  )
}

test('the commands table names every command of package.json and of the command line', () => {
  const { scripts } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { scripts: object }
  const named = commandsNamed().map((command) => `${command} `)
  const missing = [...Object.keys(scripts), ...namesOf(createProgram())]
    // What npm runs by itself before another one, and the door to the command line.
    .filter((name) => !name.startsWith('pre') && name !== 'cli')
    .filter((name) => !named.some((command) => command.startsWith(`${name} `)))
  expect(missing).toEqual([])
})

test('every page, picture and section that a page links to is there', () => {
  const pages = ['README.md', ...readdirSync(new URL('docs', root)).map((file) => `docs/${file}`)]
  for (const page of pages.filter((file) => file.endsWith('.md'))) {
    const base = new URL(page, root)
    const text = readFileSync(base, 'utf8')
    for (const [, link = ''] of text.matchAll(/\]\((?!\w+:)([^)\s]+)\)/g)) {
      const target = new URL(link, base)
      const exists = existsSync(target) && hasSection(target)
      expect({ page, link, exists }).toEqual({ page, link, exists: true })
    }
  }
})

/** Whether a page has the heading that a link's `#` names, as GitHub writes it. */
function hasSection(target: URL): boolean {
  if (target.hash === '') return true
  const headings = readFileSync(target, 'utf8').matchAll(/^#+ (.+)$/gm)
  const anchors = Array.from(headings, ([, text = '']) =>
    text
      .toLowerCase()
      .replaceAll(/[^\w\s-]/g, '')
      .replaceAll(' ', '-'),
  )
  return anchors.includes(target.hash.slice(1))
}

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
