import { register } from 'tsx/esm/api'

// jest loads a global setup without its transforms, so TypeScript needs a loader here.
register()

/** Starts the one PostgreSQL of this run and tells the workers where it is. */
export default async function setup() {
  const { SERVER_VARIABLE, startTestServer } = await import('./database.ts')
  const server = await startTestServer()
  process.env[SERVER_VARIABLE] = JSON.stringify({ url: server.url, template: server.template })
  globalThis.stopTestServer = server.stop
}
