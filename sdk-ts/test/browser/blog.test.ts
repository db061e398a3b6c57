// The page of the blog example, in a browser.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Server, serve } from '../server.js'
import { launch } from './browser.js'
import { nameless, type Visitor, visit } from './visitor.js'

let server: Server
let reader: Visitor
let eve: Visitor

before(async () => {
  server = await serve('examples/blog')
  const browser = await launch()
  reader = await visit(browser, server.url)
  eve = await visit(browser, server.url)
})
after(() => server?.stop())

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
