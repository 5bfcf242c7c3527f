import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { makeOverdue } from '../factories.ts'
import {
  eventually,
  findBarriers,
  findFaint,
  isSame,
  layoutShift,
  mark,
  numbersOf,
  rowOf,
  type Browsing,
} from './browsing.ts'
import { usePages } from './pages.ts'
import { startService, type Service } from './service.ts'

/** The console in a browser: what it shows of what others do, and what can be done from it. */

const SCREENSHOTS = fileURLToPath(new URL('../../docs/screenshots/', import.meta.url))

const pages = usePages()

const visit = (options: Parameters<Browsing['visit']>[1] = {}) =>
  pages.browsing.visit(`${pages.service.base}/console`, options)

/** Holds units as another client does. */
async function hold(sku: string, quantity: number, more: { reference?: string; ttl_seconds?: number } = {}) {
  const { data } = await pages.service.client.POST('/v1/reservations', {
    body: { lines: [{ sku, quantity }], ...more },
  })
  return data!
}

const dialogOf = (page: Page) => page.getByRole('dialog')

async function searchFor(page: Page, text: string): Promise<void> {
  await page.getByRole('searchbox', { name: 'Order, reservation or SKU' }).fill(text)
  await page.keyboard.press('Enter')
}

test('counters and their trend move as others reserve and sell, without a reload', async () => {
  const page = await visit()
  await rowOf(page, 'BLEND-250-BEAN').waitFor()
  await eventually(async () => (await numbersOf(page, 'BLEND-250-BEAN')).join() === '200,0,200')
  await mark(page)
  const one = await hold('BLEND-250-BEAN', 12)
  await eventually(async () => (await numbersOf(page, 'BLEND-250-BEAN')).join() === '188,12,200')
  await pages.service.client.POST('/v1/reservations/{id}/confirm', { params: { path: { id: one.id } } })
  await eventually(async () => (await numbersOf(page, 'BLEND-250-BEAN')).join() === '188,0,188')
  await page.getByRole('img', { name: 'BLEND-250-BEAN: available went from 200 to 188' }).waitFor()
  const tile = (name: string) => page.locator('.tile').filter({ hasText: name })
  await tile('Reservations').getByText('1').waitFor()
  await tile('Confirms').getByText('1').waitFor()
  expect(await isSame(page)).toBe(true)
  expect(await layoutShift(page)).toBeLessThan(0.02)
})

test('a pending hold shows what is left of it, and is released after one has said it twice', async () => {
  const { id } = await hold('TEE-BLK-M', 3, { ttl_seconds: 600 })
  const page = await visit()
  const row = page.getByRole('row').filter({ hasText: id.slice(-8) })
  await row.getByText(/^(10:00|9:5\d)$/).waitFor()
  await row.getByText('3 × TEE-BLK-M').waitFor()
  await row.getByRole('button', { name: 'Release' }).click()
  await row.getByText('Whoever is paying now will be refused.').waitFor()
  await row.getByRole('button', { name: 'Keep' }).click()
  await row.getByRole('button', { name: 'Release' }).click()
  await row.getByRole('button', { name: 'Release', exact: true }).click()
  await page.getByText(`Reservation ${id.slice(-8)} was released`).waitFor()
  await row.waitFor({ state: 'detached' })
  const { data } = await pages.service.client.GET('/v1/reservations/{id}', { params: { path: { id } } })
  expect(data).toMatchObject({ status: 'released', release_reason: 'released in the console' })
})

test('a refusal is counted, and the rates are drawn and told in words', async () => {
  const page = await visit()
  const lines = [{ sku: 'TEE-BLK-XL', quantity: 1 }]
  const { response } = await pages.service.client.POST('/v1/reservations', { body: { lines } })
  expect(response.status).toBe(409)
  await page.locator('.tile').filter({ hasText: 'Refusals' }).getByText('1').waitFor()
  const rates = page.getByRole('region', { name: 'Rates' })
  await rates.getByText('Counts of the sixty seconds before each moment').waitFor()
  await eventually(async () => (await drawnIn(page, '--series-1')) > 0)
  await rates.getByText('The last values as numbers').click()
  expect(
    await rates.locator('.facts > div').filter({ hasText: 'Refusals' }).getByRole('definition').textContent(),
  ).toBe('1')
})

/** How much of the chart has a colour of the style sheet. */
function drawnIn(page: Page, name: string): Promise<number> {
  return page.evaluate((variable) => {
    const pixel = document.createElement('canvas').getContext('2d')!
    pixel.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(variable)
    pixel.fillRect(0, 0, 1, 1)
    const [r, g, b] = pixel.getImageData(0, 0, 1, 1).data
    const chart = document.querySelector<HTMLCanvasElement>('.chart canvas')!
    const { data } = chart.getContext('2d')!.getImageData(0, 0, chart.width, chart.height)
    let pixels = 0
    for (let at = 0; at < data.length; at += 4) {
      if (data[at] === r && data[at + 1] === g && data[at + 2] === b && data[at + 3] === 255) pixels += 1
    }
    return pixels
  }, name)
}

test('a hold is found and released by keyboard alone, and the keyboard stays where it was', async () => {
  const { id } = await hold('BLEND-250-FILTER', 2)
  const page = await visit()
  await page
    .getByRole('row')
    .filter({ hasText: id.slice(-8) })
    .waitFor()
  const press = async (key: string, name: string) => {
    for (let presses = 0; presses < 120; presses++) {
      await page.keyboard.press(key)
      if ((await focused(page)) === name) return
    }
    throw new Error(`the keyboard does not get to ${name}`)
  }
  await press('Tab', 'Skip to content')
  await page.keyboard.press('Enter')
  await press('Tab', 'Order, reservation or SKU')
  await page.keyboard.type(id)
  await page.keyboard.press('Enter')
  await dialogOf(page).getByText('2 × BLEND-250-FILTER').waitFor()
  await page.keyboard.press('Escape')
  await dialogOf(page).waitFor({ state: 'hidden' })
  expect(await focused(page)).toBe('Order, reservation or SKU')
  await press('Tab', `Release reservation ${id.slice(-8)}`)
  await page.keyboard.press('Enter')
  await eventually(async () => (await focused(page)) === 'Release')
  await press('Tab', 'Keep')
  await page.keyboard.press('Enter')
  await eventually(async () => (await focused(page)) === `Release reservation ${id.slice(-8)}`)
  await page.keyboard.press('Enter')
  // The question has the focus.
  await eventually(async () => (await focused(page)) === 'Release')
  await page.keyboard.press('Enter')
  await page
    .getByRole('row')
    .filter({ hasText: id.slice(-8) })
    .waitFor({ state: 'detached' })
  await eventually(() => page.evaluate(() => document.activeElement?.getAttribute('aria-labelledby') === 'holds'))
})

/** What has the focus, by its name. */
function focused(page: Page): Promise<string> {
  return page.evaluate(() => {
    const { activeElement: at } = document
    const label = (at as HTMLInputElement | null)?.labels?.[0]?.textContent
    return (at?.getAttribute('aria-label') ?? label ?? at?.textContent ?? '').trim()
  })
}

test('a hold that runs out is seen to go, and its units to come back', async () => {
  const page = await visit()
  await rowOf(page, 'TRAIL-43').waitFor()
  const { id } = await hold('TRAIL-43', 2)
  await eventually(async () => (await numbersOf(page, 'TRAIL-43')).join() === '0,2,2')
  await page
    .getByRole('row')
    .filter({ hasText: id.slice(-8) })
    .waitFor()
  await makeOverdue(pages.service.db, id)
  await eventually(async () => (await numbersOf(page, 'TRAIL-43')).join() === '2,0,2')
  await page
    .getByRole('row')
    .filter({ hasText: id.slice(-8) })
    .waitFor({ state: 'detached' })
  await page.locator('.tile').filter({ hasText: 'Expiries' }).getByText('1').waitFor()
})

test('the sweeper is said to run', async () => {
  const page = await visit()
  const sweeper = page.getByRole('region', { name: 'Sweeper' }).first()
  await sweeper.getByText('Running').waitFor()
  await sweeper
    .getByText(/just now|s ago/)
    .first()
    .waitFor()
})

test('a SKU, a reservation, an order and a reference are found by what they are called', async () => {
  const { data: customer } = await pages.service.client.POST('/v1/customers', { body: { name: 'Found' } })
  const lines = [{ sku: 'TOTE-NATURAL', quantity: 1 }]
  const { data: order } = await pages.service.client.POST('/v1/orders', { body: { customer_id: customer!.id, lines } })
  const { id } = await hold('BEANIE-RUST', 1, { reference: 'shop-17' })
  const page = await visit()

  await searchFor(page, 'BEANIE-RUST')
  await dialogOf(page).getByRole('heading', { name: 'BEANIE-RUST' }).waitFor()
  await dialogOf(page).getByRole('row').filter({ hasText: 'held' }).filter({ hasText: '+1' }).first().waitFor()
  // From the ledger to the reservation that moved it.
  await dialogOf(page).getByRole('button', { name: id }).click()
  await dialogOf(page)
    .getByRole('heading', { name: `Reservation ${id}` })
    .waitFor()
  await dialogOf(page).getByText('shop-17').waitFor()
  await page.keyboard.press('Escape')
  await dialogOf(page).waitFor({ state: 'hidden' })

  await searchFor(page, order!.id)
  await dialogOf(page)
    .getByRole('heading', { name: `Order ${order!.id}` })
    .waitFor()
  await dialogOf(page).getByText('Awaiting payment').waitFor()
  await dialogOf(page).getByText('not chosen yet').waitFor()
  await dialogOf(page).getByRole('button', { name: 'Reservation', exact: true }).click()
  await dialogOf(page)
    .getByRole('heading', { name: `Reservation ${order!.reservation_id}` })
    .waitFor()
  await dialogOf(page).getByRole('button', { name: 'Close' }).click()

  await searchFor(page, 'shop-17')
  await dialogOf(page)
    .getByRole('heading', { name: `Reservation ${id}` })
    .waitFor()
  await page.keyboard.press('Escape')
  await searchFor(page, 'nowhere')
  await dialogOf(page).getByText('Nothing is called “nowhere”.').waitFor()
})

test('stock is adjusted, and what cannot be is said in words', async () => {
  await hold('COFFEE-POUROVER', 5)
  const page = await visit()
  await page.getByRole('button', { name: 'Details of COFFEE-POUROVER' }).click()
  const dialog = dialogOf(page)
  const units = dialog.getByLabel('Units, up or down')
  await units.fill('some')
  await dialog.getByRole('button', { name: 'Adjust' }).click()
  await dialog.getByText('Enter a whole number other than zero').waitFor()
  await units.fill('-14')
  await dialog.getByRole('button', { name: 'Adjust' }).click()
  await dialog.getByText('Customers hold 5 of it, so no fewer can be on hand.').waitFor()
  await units.fill('-3')
  await dialog.getByLabel('Reason (optional)').fill('broken in the window')
  await dialog.getByRole('button', { name: 'Adjust' }).click()
  await dialog.getByText('COFFEE-POUROVER now has 15 on hand.').waitFor()
  await dialog.getByRole('row').filter({ hasText: 'console: broken in the window' }).getByText('−3').waitFor()
  await page.keyboard.press('Escape')
  await eventually(async () => (await numbersOf(page, 'COFFEE-POUROVER')).join() === '10,5,15')
})

test('rows are filtered by name', async () => {
  const page = await visit()
  await rowOf(page, 'TRAIL-39').waitFor()
  await page.getByRole('searchbox', { name: 'Filter by SKU' }).fill('beanie')
  await rowOf(page, 'TRAIL-39').waitFor({ state: 'detached' })
  await rowOf(page, 'BEANIE-CREAM').waitFor()
  await page.getByRole('searchbox', { name: 'Filter by SKU' }).fill('nowhere')
  await page.getByText('No SKU that is shown has this in its name.').waitFor()
})

test('while the service does not answer the page says so, and goes on when it does', async () => {
  const page = await visit()
  await rowOf(page, 'TRAIL-39').waitFor()
  await page.route('**/console/v1/reservations?*', (route) => route.abort())
  await page.getByText('The service cannot be reached.').first().waitFor()
  await page.unroute('**/console/v1/reservations?*')
  await eventually(async () => !(await page.getByText('The service cannot be reached.').first().isVisible()))
})

const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }

describe.each([
  ['a phone', PHONE],
  ['a phone in Korean and in the dark', { ...PHONE, locale: 'ko-KR', colorScheme: 'dark' as const }],
  ['a screen in Korean', { locale: 'ko-KR' }],
  ['a dark screen', { colorScheme: 'dark' as const }],
])('on %s', (_, options) => {
  test('it can be read and used, and nothing moves by itself', async () => {
    await hold('TEE-WHT-M', 1)
    const page = await visit(options)
    await rowOf(page, 'TRAIL-39').waitFor()
    await page.locator('#holds').waitFor()
    const look = async () => {
      expect(await findBarriers(page)).toEqual([])
      expect(await findFaint(page)).toEqual([])
    }
    await look()
    expect(await layoutShift(page)).toBeLessThan(0.02)
    // The last in its row: with it all that stands before it is in sight.
    const last = await rowOf(page, 'TRAIL-39').getByRole('button').boundingBox()
    expect(last!.x + last!.width).toBeLessThanOrEqual(page.viewportSize()!.width)
    await rowOf(page, 'TEE-WHT-M').getByRole('button').click()
    await dialogOf(page).locator('table').waitFor()
    await look()
  })
})

test('the README shows the console as it is', async () => {
  const page = await visit({ deviceScaleFactor: 1.5, viewport: { width: 1280, height: 980 } })
  await rowOf(page, 'TRAIL-39').waitFor()
  // So many looks at the statistics as make a line of it.
  const skus = [
    'TEE-BLK-L',
    'TEE-BLK-M',
    'TOTE-NATURAL',
    'BLEND-250-BEAN',
    'BEANIE-CHARCOAL',
    'TRAIL-41',
    'COFFEE-POUROVER',
  ]
  for (let looks = 0; looks < 10; looks++) {
    const answered = page.waitForResponse('**/console/v1/stats')
    for (let i = 0; i < 6; i++) {
      const sku = skus[(looks * 3 + i * 5) % skus.length]!
      const made = await pages.service.client.POST('/v1/reservations', {
        body: { lines: [{ sku, quantity: 1 + ((looks + i) % 2) }], ttl_seconds: 90 + ((looks * 37 + i * 211) % 900) },
      })
      const path = { id: made.data?.id ?? '' }
      if (made.data !== undefined && i % 3 === 0)
        await pages.service.client.POST('/v1/reservations/{id}/confirm', { params: { path } })
      if (made.data !== undefined && i % 5 === 1)
        await pages.service.client.POST('/v1/reservations/{id}/release', { params: { path } })
      if (made.data !== undefined && i === 5 && looks % 3 === 0) await makeOverdue(pages.service.db, path.id)
    }
    await answered
  }
  await pages.service.client.POST('/v1/reservations', { body: { lines: [{ sku: 'LAMP-BRASS', quantity: 2 }] } })
  await eventually(async () => (await numbersOf(page, 'LAMP-BRASS')).join() === '0,2,2')
  mkdirSync(SCREENSHOTS, { recursive: true })
  await page.screenshot({ path: `${SCREENSHOTS}console.png`, animations: 'disabled' })
})

test('what is open in front goes on with what others do, and its history goes back to the beginning', async () => {
  const one = { lines: [{ sku: 'BLEND-250-ESPRESSO', quantity: 1 }] }
  const { data: made } = await pages.service.client.POST('/v1/reservations/batch', {
    body: { reservations: Array.from({ length: 60 }, () => one) },
  })
  const ids = made!.results.map((result) => ('reservation' in result ? result.reservation.id : ''))
  const page = await visit()
  await searchFor(page, 'BLEND-250-ESPRESSO')
  const entries = dialogOf(page).locator('tbody tr')
  await eventually(async () => (await entries.count()) === 50)
  await dialogOf(page).getByRole('button', { name: 'Show older ones' }).click()
  await eventually(async () => (await entries.count()) === 61)
  expect(await entries.last().textContent()).toMatch(/^1set/)
  expect(await dialogOf(page).getByRole('button', { name: 'Show older ones' }).isVisible()).toBe(false)
  await pages.service.client.POST('/v1/reservations/{id}/confirm', { params: { path: { id: ids[0]! } } })
  await entries.first().getByText('sold').waitFor()
  expect(await entries.count()).toBe(62)
  await pages.service.client.POST('/v1/reservations/release', { body: { ids: ids.slice(1) } })
})

describe('with API keys', () => {
  const KEY = 'srk_this_is_the_key_of_a_browser_test_alone'
  let closed: Service
  beforeAll(async () => {
    closed = await startService({ BOOTSTRAP_API_KEY: KEY })
  })
  afterAll(() => closed?.stop())

  test('the console asks for one, takes no other, keeps it out of scripts’ sight, and lets go of it', async () => {
    const page = await pages.browsing.visit(`${closed.base}/console`)
    await page.getByLabel('API key').fill('srk_this_is_the_key_of_somebody_else_altogether')
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByText('You are not logged in, or the login has ended.').waitFor()
    await page.getByLabel('API key').fill(KEY)
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByText('Key “bootstrap”').waitFor()
    await rowOf(page, 'TRAIL-39').waitFor()
    expect(
      await page.evaluate(() => [document.cookie, ...Object.values({ ...localStorage, ...sessionStorage })].join()),
    ).not.toMatch(/srk_|session/)
    await page.reload()
    await rowOf(page, 'TRAIL-39').waitFor()
    await closed.client.POST('/v1/reservations', { body: { lines: [{ sku: 'TRAIL-39', quantity: 4 }] } })
    await eventually(async () => (await numbersOf(page, 'TRAIL-39')).join() === '0,4,4')
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByRole('heading', { name: 'Log in to the console' }).waitFor()
  })

  test('the shop can be looked at, and nobody is let in by name', async () => {
    const page = await pages.browsing.visit(`${closed.base}/shop`)
    await page.getByRole('article', { name: 'Canvas tote bag' }).waitFor()
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByText('Logging in by name is switched off here.').waitFor()
  })
})
