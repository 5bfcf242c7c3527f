import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { rows } from '../../src/database/transaction.ts'
import { makeOverdue } from '../factories.ts'
import { eventually, findBarriers, findFaint, isSame, layoutShift, mark, type Browsing } from './browsing.ts'
import { usePages } from './pages.ts'

/** The shop in a browser, from the first look to a paid order, and when something goes wrong on the way. */

const SCREENSHOTS = fileURLToPath(new URL('../../docs/screenshots/', import.meta.url))

const pages = usePages()

const shop = (path = '', options: Parameters<Browsing['visit']>[1] = {}) =>
  pages.browsing.visit(`${pages.service.base}/shop${path}`, options)

const product = (page: Page, name: string) => page.getByRole('article', { name })
const addButton = (page: Page, name: string) =>
  product(page, name).getByRole('button', { name: /^(Add to cart|Sold out)/ })

let customers = 0

/** Somebody new in the shop. */
async function shopper(path = '', options: Parameters<Browsing['visit']>[1] = {}): Promise<Page> {
  const page = await shop(path, options)
  const name = `Shopper ${(customers += 1)}`
  await page.getByRole('banner').getByRole('button', { name: 'Log in' }).click()
  await page.getByLabel('Name').fill(name)
  await page.getByRole('button', { name: 'Start shopping' }).click()
  await page.getByRole('button', { name }).waitFor()
  return page
}

/** Somebody new with one thing in an order that awaits payment. */
async function orderOf(name: string): Promise<Page> {
  const page = await shopper()
  await addButton(page, name).click()
  await page.getByText('is in your cart').waitFor()
  await page.getByRole('link', { name: /^Cart, 1/ }).click()
  await page.getByRole('button', { name: 'Hold for me and pay' }).click()
  await page.getByRole('timer').waitFor()
  return page
}

const orderIdOf = (page: Page) => new URL(page.url()).pathname.split('/').at(-1)!

/** A SKU's counters, as another client reads them. */
async function levelOf(sku: string) {
  const { data } = await pages.service.client.GET('/v1/stock/{sku}', { params: { path: { sku } } })
  return data!
}

/** Sets what can be had of a SKU, as another client does: what others hold comes on top. */
async function setAvailable(sku: string, units: number): Promise<void> {
  const stock = units + (await levelOf(sku)).temp_reserved_stock
  const { response } = await pages.service.client.PUT('/v1/stock/{sku}', { params: { path: { sku } }, body: { stock } })
  expect(response.status).toBe(200)
}

test('somebody new chooses, pays from the balance, and finds the order again', async () => {
  const before = await levelOf('TEE-WHT-M')
  const page = await shop()
  const shirt = product(page, 'Everyday T-shirt')
  await shirt.getByRole('radio', { name: 'M', exact: true }).check()
  await shirt.getByRole('radio', { name: 'white' }).check()
  await shirt.getByRole('button', { name: 'One more' }).click()
  await addButton(page, 'Everyday T-shirt').click()
  // Who is asked who they are goes on where they were.
  await page.getByLabel('Name').fill('Mina')
  await page.getByRole('button', { name: 'Start shopping' }).click()
  await page.getByText('2 × Everyday T-shirt, M, white is in your cart.').waitFor()
  await page.getByRole('link', { name: 'Go to cart' }).click()

  await page.getByLabel('Coupon code').fill('WELCOME10')
  await page.getByRole('button', { name: 'Get it' }).click()
  await page.getByRole('radio', { name: 'WELCOME10: 10 % off' }).waitFor()
  await page.getByText('−₩5,800').waitFor()
  await page.getByRole('button', { name: 'Hold for me and pay' }).click()

  await page.getByText(/^(30:00|29:5\d)$/).waitFor()
  expect(await levelOf('TEE-WHT-M')).toMatchObject({ stock: before.stock, available: before.available - 2 })
  await page.getByText('₩52,200 is missing').waitFor()
  await page.getByRole('button', { name: 'Add ₩100,000' }).click()
  await page.getByText('You have ₩100,000.').waitFor()
  await page.getByRole('button', { name: 'Pay from balance' }).click()
  await page.getByText('Thank you. It is yours').waitFor()
  await page.getByRole('button', { name: 'Mina ₩47,800' }).waitFor()
  expect(await levelOf('TEE-WHT-M')).toMatchObject({ stock: before.stock - 2, temp_reserved_stock: 0 })

  const id = orderIdOf(page)
  await page.getByRole('link', { name: 'Orders' }).click()
  const listed = page.getByRole('link', { name: `2 × Everyday T-shirt, M, white Paid Order ${id.slice(-8)}` })
  await listed.waitFor()
  await page.reload()
  await listed.click()
  await page.getByRole('heading', { name: `Order ${id.slice(-8)}` }).waitFor()
})

test('a card that is declined leaves the hold, and the next try is paid', async () => {
  const page = await orderOf('Canvas tote bag')
  const order = page.url()
  await page.getByRole('button', { name: 'Pay by card' }).click()
  await page.waitForURL(/\/gateway\/development\//)
  await page.getByRole('button', { name: /Decline the card/ }).click()
  await page.getByText('The card was declined. Try again.').waitFor()
  await page.goto(order)
  await page.getByText('The card was declined. Try again, or use another one').waitFor()
  await page.getByRole('timer').waitFor()
  await page.getByRole('button', { name: 'Pay by card' }).click()
  await page.waitForURL(/\/gateway\/development\//)
  await page.getByRole('button', { name: /^Approve/ }).click()
  await page.waitForURL(order)
  await page.getByText('Thank you. It is yours').waitFor()
})

test('somebody who leaves the gateway goes on there, and a payment that fails for good gives the stock back', async () => {
  const before = await levelOf('COFFEE-POUROVER')
  const page = await orderOf('Pour-over coffee set')
  const order = page.url()
  await page.getByRole('button', { name: 'Pay by card' }).click()
  await page.waitForURL(/\/gateway\/development\//)
  await page.goto(order)
  await page.getByText('The gateway waits for you').waitFor()
  await page.getByRole('button', { name: 'Go on at the gateway' }).click()
  await page.waitForURL(/\/gateway\/development\//)
  await page.getByRole('button', { name: /^Fail for good/ }).click()
  await page.waitForURL(order)
  await page.getByText('Nothing was charged, and everything is back on the shelf. Order again').waitFor()
  expect(await levelOf('COFFEE-POUROVER')).toMatchObject({ stock: before.stock, available: before.available })
})

test('an order that is cancelled gives the stock back at once', async () => {
  const before = await levelOf('LAMP-BRASS')
  const page = await orderOf('Desk lamp, last season')
  await page.getByRole('button', { name: 'Cancel the order' }).click()
  await page.getByText('Cancelled', { exact: true }).waitFor()
  expect(await levelOf('LAMP-BRASS')).toMatchObject({ available: before.available })
})

test('when a hold expires its order says so, and the stock is back in front of others without a reload', async () => {
  await setAvailable('LAMP-BRASS', 1)
  const buyer = await orderOf('Desk lamp, last season')
  const other = await shop()
  await product(other, 'Desk lamp, last season').getByText('Sold out').first().waitFor()
  await Promise.all([mark(buyer), mark(other)])
  const { data: order } = await pages.service.client.GET('/v1/orders/{id}', {
    params: { path: { id: orderIdOf(buyer) } },
  })
  await makeOverdue(pages.service.db, order!.reservation_id)
  await buyer.getByText('The hold ended before it was paid.').waitFor()
  await product(other, 'Desk lamp, last season').getByText('Only 1 left').waitFor()
  expect(await addButton(other, 'Desk lamp, last season').textContent()).toBe('Add to cart')
  expect([await isSame(buyer), await isSame(other)]).toEqual([true, true])
})

test('what another client buys shows without a reload, down to the last one and back', async () => {
  await setAvailable('POSTER-SIGNED', 7)
  const page = await shop()
  const poster = product(page, 'Signed poster, numbered edition')
  await poster.getByText('7 available').waitFor()
  await mark(page)
  const lines = [{ sku: 'POSTER-SIGNED', quantity: 4 }]
  await pages.service.client.POST('/v1/reservations', { body: { lines } })
  await poster.getByText('Only 3 left').waitFor()
  const last = [{ sku: 'POSTER-SIGNED', quantity: 3 }]
  const { data: hold } = await pages.service.client.POST('/v1/reservations', { body: { lines: last } })
  await poster.getByText('Sold out').first().waitFor()
  expect(await addButton(page, 'Signed poster, numbered edition').getAttribute('aria-disabled')).toBe('true')
  await page.getByText('Signed poster, numbered edition has just sold out.').waitFor({ state: 'attached' })
  await pages.service.client.POST('/v1/reservations/{id}/release', { params: { path: { id: hold!.id } } })
  await poster.getByText('Only 3 left').waitFor()
  await page.getByText('Signed poster, numbered edition is back in stock.').waitFor({ state: 'attached' })
  expect([await isSame(page), await layoutShift(page)]).toEqual([true, 0])
})

test('a balance that is too low fails the order, which says so beforehand and afterwards', async () => {
  const before = await levelOf('TOTE-NATURAL')
  const page = await orderOf('Canvas tote bag')
  await page.getByText('Paying now would fail and let go of the hold.').waitFor()
  await page.getByRole('button', { name: 'Pay from balance' }).click()
  await page.getByText('The balance was too low. Nothing was charged').waitFor()
  expect(await levelOf('TOTE-NATURAL')).toMatchObject({ available: before.available })
})

test('what was sold to others while it lay in the cart is said there, with what to do', async () => {
  await setAvailable('BEANIE-RUST', 3)
  const page = await shopper()
  await product(page, 'Wool beanie').getByRole('radio', { name: 'rust' }).check()
  await product(page, 'Wool beanie').getByRole('button', { name: 'One more' }).click()
  await addButton(page, 'Wool beanie').click()
  await page.getByRole('link', { name: 'Go to cart' }).click()
  await page.getByText('₩70,000').first().waitFor()
  await setAvailable('BEANIE-RUST', 1)
  await page.getByText('Only 1 left. Lower the quantity to go on.').waitFor()
  expect(await page.getByRole('button', { name: 'Hold for me and pay' }).getAttribute('aria-disabled')).toBe('true')
  await page.getByRole('button', { name: 'One fewer' }).click()
  await eventually(
    async () =>
      (await page.getByRole('button', { name: 'Hold for me and pay' }).getAttribute('aria-disabled')) === null,
  )
  await page.getByRole('button', { name: 'Take out Wool beanie, rust' }).click()
  await page.getByText('Your cart is empty.').waitFor()
})

test('an order is its customer’s alone', async () => {
  const owner = await orderOf('Canvas tote bag')
  const other = await shopper(new URL(owner.url()).pathname.slice('/shop'.length))
  await other.getByText('There is nothing here, or it is not yours.').waitFor()
})

test('a session that has ended is noticed, and whoever goes on is asked who they are', async () => {
  const page = await shopper()
  await page.context().clearCookies()
  await addButton(page, 'Canvas tote bag').click()
  await page.getByText('You are not logged in, or the login has ended.').waitFor()
  await page.getByRole('banner').getByRole('button', { name: 'Log in' }).waitFor()
})

test('the list of orders notices by itself when the time of one has run out', async () => {
  const page = await orderOf('Pour-over coffee set')
  const id = orderIdOf(page)
  const { data: order } = await pages.service.client.GET('/v1/orders/{id}', { params: { path: { id } } })
  // So soon that one sees it come, and so late that the list is there before.
  await makeOverdue(pages.service.db, order!.reservation_id, -3)
  await page.getByRole('link', { name: 'Orders' }).click()
  await page.getByText(/^0:0[0-3] · ₩54,000$/).waitFor()
  await page.getByText('Time ran out').waitFor()
})

test('a coupon that one has already is chosen when its code is entered again', async () => {
  const page = await shopper()
  await addButton(page, 'Canvas tote bag').click()
  await page.getByRole('link', { name: 'Go to cart' }).click()
  for (const _ of ['once', 'and again']) {
    await page.getByLabel('Coupon code').fill('WELCOME10')
    await page.getByRole('button', { name: 'Get it' }).click()
    await page.getByText('−₩2,400').waitFor()
    await page.getByRole('radio', { name: 'No coupon' }).check()
    await page.getByText('−₩2,400').waitFor({ state: 'detached' })
  }
})

test('the language is switched at once, for both pages, and remembered', async () => {
  const page = await shop()
  await page.getByRole('heading', { name: 'Products' }).waitFor()
  await page.getByRole('button', { name: '한국어' }).click()
  await page.getByRole('heading', { name: '상품' }).waitFor()
  expect(await page.evaluate(() => document.documentElement.lang)).toBe('ko')
  await page.reload()
  await page.getByRole('heading', { name: '상품' }).waitFor()
  expect(await page.title()).toBe('상품 · 데모 상점')
  await page.goto(`${pages.service.base}/console`)
  await page.getByRole('heading', { name: '현황' }).waitFor()
  await page.getByRole('button', { name: 'English' }).click()
  await page.getByRole('heading', { name: 'Overview' }).waitFor()
})

test('a browser that prefers Korean gets Korean', async () => {
  const page = await shop('', { locale: 'ko-KR' })
  await page.getByRole('heading', { name: '상품' }).waitFor()
})

/** Presses a key until what has the focus is called this. */
async function tabTo(page: Page, name: RegExp, key = 'Tab'): Promise<void> {
  const named = () =>
    page.evaluate(() => {
      const { activeElement: at } = document
      return (
        at?.getAttribute('aria-label') ?? (at as HTMLInputElement)?.labels?.[0]?.textContent ?? at?.textContent ?? ''
      )
    })
  for (let presses = 0; presses < 120; presses++) {
    await page.keyboard.press(key)
    if (name.test(await named())) return expect(await hasVisibleFocus(page)).toBe(true)
  }
  throw new Error(`the keyboard does not get to ${name}`)
}

/** Whether the one who uses the keyboard sees where they are; of a choice it is its label that shows it. */
function hasVisibleFocus(page: Page): Promise<boolean> {
  return page.evaluate(() => {
    const at = document.activeElement!
    const shown = at.matches('.choice input') ? at.nextElementSibling! : at
    const { outlineStyle, outlineWidth } = getComputedStyle(shown)
    return outlineStyle !== 'none' && Number.parseFloat(outlineWidth) >= 2
  })
}

test('everything from the first look to a paid order is done by keyboard alone', async () => {
  const page = await shop()
  await product(page, 'Trail running shoes').waitFor()
  await tabTo(page, /^Skip to content$/)
  await page.keyboard.press('Enter')
  await tabTo(page, /^39/)
  await page.keyboard.press('ArrowRight')
  await tabTo(page, /^Add to cart: Trail running shoes, 40$/)
  await page.keyboard.press('Enter')
  await tabTo(page, /^Name$/)
  await page.keyboard.type('Keyboard only')
  await page.keyboard.press('Enter')
  await page.getByText('Trail running shoes, 40 is in your cart.').waitFor()
  await tabTo(page, /^Cart, 1 item$/, 'Shift+Tab')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Your cart' }).waitFor()
  await tabTo(page, /^Hold for me and pay$/)
  await page.keyboard.press('Space')
  await page.getByRole('timer').waitFor()
  for (const _ of ['once', 'and again']) {
    await tabTo(page, /^Add ₩100,000$/)
    await page.keyboard.press('Enter')
    await page.getByText('₩100,000 added to your balance.').waitFor()
  }
  await page.getByText('You have ₩200,000.').waitFor()
  await page.getByRole('heading', { name: /^Order/ }).focus()
  await tabTo(page, /^Pay from balance$/)
  await page.keyboard.press('Enter')
  await page.getByText('Thank you. It is yours').waitFor()
})

describe.each([
  ['a phone', { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }],
  ['a phone in Korean', { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, locale: 'ko-KR' }],
  ['a dark screen', { colorScheme: 'dark' as const }],
  ['a light screen', { colorScheme: 'light' as const }],
])('on %s', (_, options) => {
  test('every page can be read and used, and nothing moves by itself', async () => {
    const page = await shop('', options)
    await page.getByRole('article').first().waitFor()
    const look = async () => {
      expect(await findBarriers(page)).toEqual([])
      expect(await findFaint(page)).toEqual([])
      expect(await layoutShift(page)).toBeLessThan(0.02)
    }
    await look()
    await page.locator('.bar-end .button').click()
    await page.locator('dialog[open] input').fill('Jiwoo')
    await look()
    await page.locator('dialog[open] .button.first').click()
    await page.locator('.account-name').waitFor()
    // The tote bag, whatever it is called in the language of the page.
    await page.getByRole('article').last().locator('.button.first').click()
    await page.locator('.toast').waitFor()
    await look()
    for (const path of ['/shop/cart', '/shop/orders']) {
      await page.goto(`${pages.service.base}${path}`)
      await page.locator('.panel').first().waitFor()
      await look()
    }
    await page.goto(`${pages.service.base}/shop/cart`)
    await page.locator('.side .button.first').click()
    await page.getByRole('timer').waitFor()
    await look()
  })
})

test('the page goes with the system from light to dark', async () => {
  const page = await shop()
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor)
  const light = await ground()
  await page.emulateMedia({ colorScheme: 'dark' })
  expect(await ground()).not.toBe(light)
})

test('while the products cannot be read the page says so, and shows them when it is tried again', async () => {
  const page = await shop('/orders')
  await page.route('**/shop/v1/products?*', (route) => route.abort())
  await page.goto(`${pages.service.base}/shop`)
  await page.getByText('The service cannot be reached.').waitFor()
  await page.unroute('**/shop/v1/products?*')
  await page.getByRole('button', { name: 'Try again' }).click()
  await product(page, 'Canvas tote bag').waitFor()
})

test('while the numbers are not live the page says so, until they are again', async () => {
  const page = await shop('/orders')
  await page.route('**/streams/stock?*', (route) => route.abort())
  await page.goto(`${pages.service.base}/shop`)
  await page.getByText('No live updates at the moment.').waitFor()
  await page.unroute('**/streams/stock?*')
  await eventually(async () => !(await page.getByText('No live updates at the moment.').isVisible()))
  await setAvailable('TOTE-NATURAL', 77)
  await product(page, 'Canvas tote bag').getByText('77 available').waitFor()
})

test('without products the shop says how to get some', async () => {
  await rows(pages.service.db, `UPDATE products SET status = 'archived'`)
  const page = await shop()
  await page.getByText('There is nothing on sale yet.').waitFor()
  await rows(pages.service.db, `UPDATE products SET status = 'active'`)
})

test('the README shows the shop as it is', async () => {
  for (const [sku, units] of Object.entries({ 'LAMP-BRASS': 2, 'POSTER-SIGNED': 100, 'BEANIE-RUST': 3 })) {
    await setAvailable(sku, units)
  }
  // Whoever came last is among those whom one may choose to be.
  await pages.service.client.POST('/v1/customers', { body: { name: 'Sora' } })
  const page = await shop('', { deviceScaleFactor: 1.5 })
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('button', { name: 'Sora', exact: true }).click()
  await addButton(page, 'Canvas tote bag').click()
  await page.getByRole('link', { name: /^Cart, 1/ }).waitFor()
  await page.getByRole('article').first().scrollIntoViewIfNeeded()
  await eventually(() =>
    page.evaluate(() =>
      Array.from(document.images)
        .slice(0, 6)
        .every((image) => image.complete),
    ),
  )
  await page.evaluate(() => scrollTo(0, 0))
  mkdirSync(SCREENSHOTS, { recursive: true })
  await page.screenshot({ path: `${SCREENSHOTS}shop.png`, animations: 'disabled' })
})
