import { openBrowser, type Browsing } from './browsing.ts'
import { startService, type Service } from './service.ts'

/**
 * A service and a browser for the tests of a file, there from its first test to its last. After each test the pages are
 * closed, and none of them may have complained.
 */
export function usePages(): { readonly service: Service; readonly browsing: Browsing } {
  const pages = {} as { service: Service; browsing: Browsing }
  beforeAll(async () => {
    pages.service = await startService()
    pages.browsing = await openBrowser()
  })
  afterEach(async () => {
    await pages.browsing.leave()
    expect(pages.browsing.complaints.splice(0)).toEqual([])
  })
  // Either is missing where the other could not be started.
  afterAll(async () => {
    await (pages as Partial<typeof pages>).browsing?.close()
    await (pages as Partial<typeof pages>).service?.stop()
  })
  return pages
}
