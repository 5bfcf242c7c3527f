import {
  chromium,
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  type Locator,
  type Page,
} from 'playwright-core'

/** A browser, and what is asked of every page whatever a test does with it. */

/** Debian's; another one by CHROMIUM. */
const EXECUTABLE = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
/** As long as anything on a page may take. */
const PATIENCE_MS = 10_000
const LOOK_MS = 50

export type Browsing = {
  /** A page of somebody who has not been here before. */
  visit(url: string, options?: BrowserContextOptions): Promise<Page>
  /** Another page of the same one, in another tab. */
  beside(page: Page, url: string): Promise<Page>
  /** Everything that a page complained of: errors, refused scripts and styles; and what it asked of any other server. */
  complaints: string[]
  /** Closes all pages: what stays open goes on asking. */
  leave(): Promise<void>
  close(): Promise<void>
}

export async function openBrowser(): Promise<Browsing> {
  // Chromium refuses its sandbox to root.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : []
  const browser: Browser = await chromium.launch({ executablePath: EXECUTABLE, args })
  const complaints: string[] = []
  async function open(context: BrowserContext, url: string): Promise<Page> {
    const page = await context.newPage()
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('console', (message) => {
      // What a test has the service refuse is said by the browser too.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
        complaints.push(message.text())
    })
    page.on('request', (request) => {
      const { protocol, origin } = new URL(request.url())
      if (protocol.startsWith('http') && origin !== new URL(url).origin) complaints.push(`asked ${request.url()}`)
    })
    await page.goto(url)
    return page
  }
  return {
    complaints,
    async visit(url, options = {}) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, locale: 'en-US', ...options })
      context.setDefaultTimeout(PATIENCE_MS)
      return open(context, url)
    },
    beside: (page, url) => open(page.context(), url),
    async leave() {
      await Promise.all(browser.contexts().map((context) => context.close()))
    },
    close: () => browser.close(),
  }
}

/** Resolves when the condition holds, which is looked at again and again. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('what was waited for did not come')
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

/** Marks the page as it is, so that {@link isSame} tells whether it was loaded again since. */
export async function mark(page: Page): Promise<void> {
  await page.evaluate(() => Object.assign(globalThis, { is_marked: true }))
}

export function isSame(page: Page): Promise<boolean> {
  return page.evaluate(() => 'is_marked' in globalThis)
}

/** A SKU's row in the console. */
export function rowOf(page: Page, sku: string): Locator {
  return page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: sku, exact: true }) })
}

/** What the console shows of a SKU: available, held, on hand. */
export async function numbersOf(page: Page, sku: string): Promise<number[]> {
  return (await rowOf(page, sku).getByRole('cell').allTextContents()).slice(1, 4).map(Number)
}

/** How much of what was shown moved about without anybody having done anything, as browsers reckon it; 0 is nothing. */
export function layoutShift(page: Page): Promise<number> {
  return page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        let sum = 0
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries() as (PerformanceEntry & { value: number; hadRecentInput: boolean })[]) {
            if (!entry.hadRecentInput) sum += entry.value
          }
        }).observe({ type: 'layout-shift', buffered: true })
        // What is buffered is told in a task of its own, after two frames at the latest.
        requestAnimationFrame(() => requestAnimationFrame(() => resolve(sum)))
      }),
  )
}

/** What on the page somebody could not find, reach or read who does not see it, uses no mouse, or has a small screen. */
export function findBarriers(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const found: string[] = []
    const isShown = (element: Element) => element.checkVisibility({ visibilityProperty: true })
    const nameOf = (element: Element) => {
      const labelled = element.getAttribute('aria-labelledby')
      const by = labelled === null ? '' : (document.getElementById(labelled)?.textContent ?? '')
      const labels = 'labels' in element ? Array.from((element as HTMLInputElement).labels ?? []) : []
      return [element.getAttribute('aria-label'), by, ...labels.map((label) => label.textContent), element.textContent]
        .filter(Boolean)
        .join(' ')
        .trim()
    }
    for (const element of document.querySelectorAll('button, a[href], input, select, textarea, dialog[open], nav')) {
      if (isShown(element) && nameOf(element) === '') found.push(`no name: ${element.outerHTML.slice(0, 120)}`)
    }
    for (const image of document.querySelectorAll('img:not([alt])'))
      found.push(`no alt: ${image.outerHTML.slice(0, 120)}`)
    for (const id of new Set(Array.from(document.querySelectorAll('[id]'), (element) => element.id))) {
      if (document.querySelectorAll(`[id="${id}"]`).length > 1) found.push(`two elements have the id ${id}`)
    }
    if (document.querySelectorAll('main').length !== 1) found.push('not one main')
    if (document.querySelectorAll('h1').length !== 1) found.push('not one h1')
    if (!['en', 'ko'].includes(document.documentElement.lang)) found.push('no language')
    const { scrollWidth, clientWidth } = document.documentElement
    if (scrollWidth > clientWidth) found.push(`wider than the screen: ${scrollWidth} > ${clientWidth}`)
    for (const element of document.querySelectorAll('button, .button, input:not([type=radio])')) {
      const { width, height } = element.getBoundingClientRect()
      // WCAG 2.2 asks for 24 by 24.
      if (isShown(element) && (width < 24 || height < 24)) found.push(`too small: ${element.outerHTML.slice(0, 120)}`)
    }
    return found
  })
}

/** Texts that stand out too little from what is behind them (WCAG AA: 4.5, or 3 for large ones). */
export function findFaint(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    type Colour = [number, number, number, number]
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })!
    const read = (text: string): Colour => {
      canvas.clearRect(0, 0, 1, 1)
      canvas.fillStyle = text
      canvas.fillRect(0, 0, 1, 1)
      const [r = 0, g = 0, b = 0, a = 0] = canvas.getImageData(0, 0, 1, 1).data
      return [r, g, b, a / 255]
    }
    const behind = (element: Element | null): Colour => {
      for (let at = element; at !== null; at = at.parentElement) {
        const colour = read(getComputedStyle(at).backgroundColor)
        if (colour[3] === 1) return colour
      }
      return [255, 255, 255, 1]
    }
    const luminance = ([r, g, b]: Colour) => {
      const linear = (c: number) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4)
      return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
    }
    const faint: string[] = []
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
      const element = node.parentElement!
      if (node.textContent!.trim() === '' || !element.checkVisibility({ visibilityProperty: true })) continue
      // What is off need not be read, and is read aloud as such.
      if (element.closest('[aria-disabled=true], .unseen, script, noscript')) continue
      const style = getComputedStyle(element)
      const [a, b] = [luminance(read(style.color)), luminance(behind(element))]
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
      const is_large = Number.parseFloat(style.fontSize) >= 24
      if (contrast < (is_large ? 3 : 4.5)) faint.push(`${contrast.toFixed(2)}: ${node.textContent!.trim()}`)
    }
    return faint
  })
}
