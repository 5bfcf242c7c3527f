import { inspectServer, judge } from '../../src/database/server.ts'
import { createTestDatabase } from '../database.ts'

const durable = {
  version: '16.4',
  version_number: 160_004,
  encoding: 'UTF8',
  read_only: false,
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
}

test('a server as it should be gives no warning', () => {
  expect(judge(durable)).toEqual({ version: '16.4', warnings: [] })
  expect(judge({ ...durable, synchronous_commit: 'remote_write' }).warnings).toEqual([])
})

test('each setting that loses acknowledged reservations in a crash is named', () => {
  const careless = { ...durable, fsync: 'off', full_page_writes: 'off', synchronous_commit: 'off' }
  const { warnings } = judge(careless)
  expect(warnings.map((warning) => warning.split(' ')[0])).toEqual(['fsync', 'full_page_writes', 'synchronous_commit'])
})

test.each([
  ['too old', { version: '13.9', version_number: 130_009 }, 'from 14 to 18'],
  ['untried', { version: '19.0', version_number: 190_000 }, 'from 14 to 18'],
  ['not in UTF-8', { encoding: 'SQL_ASCII' }, `ENCODING 'UTF8'`],
  ['read-only', { read_only: true }, 'primary'],
])('a server that is %s is refused with what to do', (_, fault, advice) => {
  expect(() => judge({ ...durable, ...fault })).toThrow(advice)
})

test('the server of the tests is recognised', async () => {
  const database = await createTestDatabase()
  const [{ server_version }] = (await database.db.raw('SHOW server_version')).rows
  expect((await inspectServer(database.db)).version).toBe(server_version.split(' ')[0])
  await database.drop()
})
