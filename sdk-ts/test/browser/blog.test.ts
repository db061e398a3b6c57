// The page of the blog example, in a browser.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Browser, Route } from 'playwright-core'
import { eventually, type Server, serve } from '../server.js'
import { launch } from './browser.js'
import { nameless, type Visitor, visit } from './visitor.js'

let server: Server
let browser: Browser
let reader: Visitor
let eve: Visitor

before(async () => {
  server = await serve('examples/blog')
  browser = await launch()
  reader = await visit(browser, server.url)
  eve = await visit(browser, server.url)
})
after(() => server?.stop())

test('a post that comes late is not shown over the one that is open, and one list of comments is live', async () => {
  const late = await visit(browser, 'about:blank')
  const { page } = late
  let live = 0
  page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => {
    if (String(payload).includes('phx_join')) live++
    if (String(payload).includes('phx_leave')) live--
  }))
  await page.goto(server.url)
  await page.locator('#list li:nth-child(2)').waitFor()
  const [first, second] = await page.locator('#list li a').evaluateAll((links) =>
    links.map((link) => ({ hash: (link as HTMLAnchorElement).hash, title: link.textContent ?? '' })))
  assert.ok(first && second)
  const held: Route[] = []
  await page.route(({ href }) => href.includes(`id=eq.${first.hash.slice(1)}`), (route) => void held.push(route))
  const go = (hash: string): Promise<void> => page.evaluate((to) => void (location.hash = to), hash)
  const title = page.locator('#post h2')
  /** Lets go of what is held, and waits until the page has heard of it. */
  const release = async (): Promise<void> => {
    for (const route of held.splice(0)) {
      const heard = page.waitForEvent('requestfinished', (request) => request === route.request())
      await route.continue()
      await heard
    }
    await page.evaluate(() => fetch('/').then((answer) => answer.text()))
  }
  await go(first.hash)
  await eventually('the first is asked for', () => held.length === 1 || undefined)
  await go(second.hash)
  await title.filter({ hasText: second.title }).waitFor()
  await release()
  assert.equal(await title.textContent(), second.title)
  // There and back, and the answers all at once: the post is opened twice.
  await go(first.hash)
  await go('')
  await go(first.hash)
  await eventually('the first is asked for twice more', () => held.length === 2 || undefined)
  await release()
  await title.filter({ hasText: first.title }).waitFor()
  await eventually(`one list is live, and not ${live}`, () => live === 1 || undefined)
  await late.unharmed()
  await late.close()
})

test('a reader pages and searches, and sees a comment as it is written', async () => {
  const { page } = reader
  const titles = page.locator('#list li a')
  await page.locator('#list li:nth-child(20)').waitFor()
  await page.getByRole('button', { name: 'More' }).click()
  await page.locator('#list li:nth-child(40)').waitFor()
  assert.equal(new Set(await titles.evaluateAll((links) => links.map((link) => link.getAttribute('href')))).size, 40)
  for (const who of [reader, eve]) {
    await who.page.fill('[type=search]', 'weave pattern')
    await who.page.press('[type=search]', 'Enter')
    await who.page.locator('#list li:only-child a', { hasText: 'Notes on the engine' }).click()
    await who.page.locator('#post h2', { hasText: 'Notes on the engine' }).waitFor()
    await who.page.locator('#comments li:nth-child(7)').waitFor()
  }
  await eve.page.fill('[name=email]', 'eve@example.test')
  await eve.page.fill('[name=password]', 'not her password')
  await eve.page.press('[name=password]', 'Enter')
  await eve.page.locator('#sign-in .fault').filter({ hasText: /\w/ }).waitFor()
  await eve.page.fill('[name=password]', 'analytical engine')
  await eve.page.press('[name=password]', 'Enter')
  await eve.page.fill('#words', 'x'.repeat(2001))
  await eve.page.getByRole('button', { name: 'Send' }).click()
  await eve.page.locator('#fault', { hasText: 'body must have at most 2000 characters' }).waitFor()
  await eve.page.fill('#words', '<b>Well</b> woven.')
  await eve.page.getByRole('button', { name: 'Send' }).click()
  await page.locator('#comments li', { hasText: '<b>Well</b> woven.' }).getByText('Eve').waitFor()
  for (const who of [reader, eve]) {
    assert.deepEqual(await nameless(who.page), [])
    await who.unharmed()
  }
})
