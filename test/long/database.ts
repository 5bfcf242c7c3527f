import { createTestDatabase, startTestServer, type TestDatabase, type TestServer } from '../database.ts'
import type { Suite } from './suite.ts'

/** A server of the suite's own, thrown away at its end. @param options `durable` where it is going to be killed */
export async function openServer(suite: Suite, options: { durable?: boolean } = {}): Promise<TestServer> {
  const server = await startTestServer(options)
  suite.onEnd(() => server.stop())
  return server
}

/** How long a suite itself waits for a connection: the machine may stall. */
export const ACQUIRE_TIMEOUT_MS = 60_000

/** A migrated database on it. Statements of the suite itself may take their time. */
export async function openDatabase(suite: Suite, server: TestServer): Promise<TestDatabase> {
  const database = await createTestDatabase({
    server,
    max: 20,
    acquire_timeout_ms: ACQUIRE_TIMEOUT_MS,
    lock_timeout_ms: 0,
    statement_timeout_ms: 0,
  })
  suite.onEnd(() => database.drop())
  return database
}
