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
