import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Browser } from 'playwright-core'
import { type Server, serve } from '../server.js'
import { bundle, launch, pages } from './browser.js'

let server: Server
let browser: Browser
let origin: string
before(async () => {
  server = await serve('examples/blog')
  browser = await launch()
  origin = await pages({ '/index.html': '<!doctype html><title>A page</title>', '/sdk.js': bundle() })
})
after(() => server.stop())

test('a page reads through the bundled library, from another origin', async () => {
  const page = await browser.newPage()
  await page.goto(origin)
  const titles = await page.evaluate(
    async ({ url, key }) => {
      const sdk = (await import('/sdk.js' as string)) as typeof import('../../src/index.js')
      const posts = await sdk.connect(url, key).json<{ title: string }[]>({ path: '/rest/v1/posts?select=title' })
      return posts.map(({ title }) => title)
    },
    { url: server.url, key: server.publishable },
  )
  assert.ok(titles.length > 0)
  await page.close()
})
