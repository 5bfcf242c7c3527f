/** Stops what the setup started. jest skips this when it is interrupted; the next run's setup cleans up after it then. */
export default async function teardown() {
  await globalThis.stopTestServer?.()
}
