import type { Page } from 'playwright-core'
import { makeOverdue } from '../factories.ts'
import { eventually, isSame, mark, numbersOf } from './browsing.ts'
import { usePages } from './pages.ts'

/** Both pages side by side, as a new user has them: what is done in the shop is seen in the console, and nothing is loaded again. */

const pages = usePages()

const holdsIn = (page: Page) => page.getByRole('region', { name: 'Pending holds' }).first()
const tileOf = (page: Page, name: string) => page.locator('.tile').filter({ hasText: name })
const showing = (page: Page, sku: string, numbers: number[]) =>
  eventually(async () => (await numbersOf(page, sku)).join() === numbers.join())

/** The address alone opens the shop; the console is in the next tab. */
async function open(): Promise<{ shop: Page; board: Page }> {
  const shop = await pages.browsing.visit(pages.service.base)
  const board = await pages.browsing.beside(shop, `${pages.service.base}/console`)
  await Promise.all([mark(shop), mark(board)])
  return { shop, board }
}

/** From the first look to an order that is held. */
async function order(shop: Page, product: string, name: string): Promise<void> {
  await shop.getByRole('article', { name: product }).getByRole('button', { name: 'Add to cart' }).click()
  await shop.getByLabel('Name').fill(name)
  await shop.getByRole('button', { name: 'Start shopping' }).click()
  await shop.getByRole('link', { name: 'Go to cart' }).click()
  await shop.getByRole('button', { name: 'Hold for me and pay' }).click()
  await shop.getByRole('timer').waitFor()
}

test('somebody new opens the shop and buys, and the console shows the stock fall as it happens', async () => {
  const { shop, board } = await open()
  await showing(board, 'TOTE-NATURAL', [120, 0, 120])
  await order(shop, 'Canvas tote bag', 'Hana')
  await showing(board, 'TOTE-NATURAL', [119, 1, 120])
  await holdsIn(board)
    .getByRole('row', { name: '1 × TOTE-NATURAL' })
    .getByText(/^(30:00|29:[45]\d)$/)
    .waitFor()

  await shop.getByRole('button', { name: 'Add ₩100,000' }).click()
  await shop.getByText('You have ₩100,000.').waitFor()
  await shop.getByRole('button', { name: 'Pay from balance' }).click()
  await shop.getByText('Thank you. It is yours').waitFor()
  await showing(board, 'TOTE-NATURAL', [119, 0, 119])
  await holdsIn(board).getByText('Nobody holds anything at the moment.').waitFor()
  await tileOf(board, 'Confirms').getByText('1').waitFor()
  expect([await isSame(shop), await isSame(board)]).toEqual([true, true])
})

test('a hold that nobody pays runs out, and its units are back in the shop and in the console by themselves', async () => {
  const { shop, board } = await open()
  const other = await pages.browsing.visit(`${pages.service.base}/shop`)
  await mark(other)
  const tote = other.getByRole('article', { name: 'Canvas tote bag' })
  await tote.getByText('119 available').waitFor()
  await order(shop, 'Canvas tote bag', 'Duri')
  await tote.getByText('118 available').waitFor()
  await showing(board, 'TOTE-NATURAL', [118, 1, 119])

  const { data } = await pages.service.client.GET('/v1/orders/{id}', {
    params: { path: { id: new URL(shop.url()).pathname.split('/').at(-1)! } },
  })
  await makeOverdue(pages.service.db, data!.reservation_id)
  await shop.getByText('The hold ended before it was paid.').waitFor()
  await tote.getByText('119 available').waitFor()
  await showing(board, 'TOTE-NATURAL', [119, 0, 119])
  await holdsIn(board).getByText('Nobody holds anything at the moment.').waitFor()
  await tileOf(board, 'Expiries').getByText('1').waitFor()
  await shop.getByRole('link', { name: 'Orders' }).click()
  await shop.getByText('Time ran out').waitFor()
  expect(await Promise.all([shop, board, other].map(isSame))).toEqual([true, true, true])
})

test('who shops is kept in a cookie that no script sees and no other site sends', async () => {
  const { shop } = await open()
  await order(shop, 'Pour-over coffee set', 'Sebin')
  const cookies = await shop.context().cookies()
  expect(cookies).toMatchObject([{ name: 'shop_session', path: '/shop', httpOnly: true, sameSite: 'Strict' }])
  expect(await shop.evaluate(() => document.cookie)).toBe('')
})
