import pg from 'pg'
import { createTestDatabase } from '../database.ts'

test('a test database comes migrated and apart from the others', async () => {
  const [one, other] = await Promise.all([createTestDatabase(), createTestDatabase()])
  await one.db('stock').insert({ sku: 'A', stock: 1 })
  expect(await other.db('stock').select('sku')).toEqual([])
  await one.drop()
  await other.drop()
})

test('a connection that a test leaves open fails the drop and names its query, and the database is gone all the same', async () => {
  const database = await createTestDatabase()
  const leak = new pg.Client(database.url)
  leak.on('error', () => undefined)
  await leak.connect()
  await leak.query('SELECT 1 AS leaked')
  await expect(database.drop()).rejects.toThrow('SELECT 1 AS leaked')
  const gone = new pg.Client(database.url)
  await expect(gone.connect()).rejects.toMatchObject({ code: '3D000' })
})
