import { createTestDatabase, type TestDatabase } from '../database.ts'
import { rows } from '../../src/database/transaction.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})

afterAll(() => database.drop())

test('a 64-bit integer is read as a number', async () => {
  expect(await rows(database.db, 'SELECT 42::bigint AS answer')).toEqual([{ answer: 42 }])
})

test('every wait is bounded by the server, so that a statement does not outlive its client', async () => {
  const settings = ['lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout']
  for (const name of [...settings, 'client_connection_check_interval']) {
    const [row] = await rows<{ setting: number }>(
      database.db,
      'SELECT setting::integer AS setting FROM pg_settings WHERE name = ?',
      [name],
    )
    expect([name, row?.setting]).toEqual([name, expect.any(Number)])
    expect(row?.setting).toBeGreaterThan(0)
  }
})
