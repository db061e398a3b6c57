// The session in a browser: tabs, reloads, links that come back.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { type Server, eventually, serve } from '../server.js'
import { bundle, launch, pages } from './browser.js'

const PROJECT = (origin: string): string => `
auth:
  site_url: ${origin}
  signup: { confirm_email: true, anonymous: true }
  rate_limits: { sign_up: false, sign_in: false, anonymous: false, refresh: false, mail: false, mail_to: false }
collections:
  notes:
    fields:
      title: { type: text }
      owner: { type: uuid, references: auth.users, default: auth.id, on_delete: cascade }
policies:
  notes:
    read: [{ role: authenticated, when: owner == auth.id }]
`

/** What every page of the test has: the library as bundlers leave it, and what it heard. */
const SCRIPT = `
import { auth, connect } from '/sdk.js'
const { url, key } = await (await fetch('/here.json')).json()
const core = connect(url, key)
const heard = []
Object.assign(window, { core, auth: auth(core), heard, read: () => core.json({ path: '/rest/v1/notes' }) })
if (!location.search.includes('deaf')) window.auth.onChange((event, session) => heard.push(event + ' ' + (session?.user.id ?? 'nobody')))
document.title = 'ready'
`

/** The names that the page's script has given to things. */
declare global {
  interface Window {
    core: import('../../src/index.js').Core
    auth: import('../../src/index.js').Auth
    heard: string[]
    read(): Promise<unknown[]>
  }
}

let server: Server
let browser: Browser
let origin: string
before(async () => {
  const files: Record<string, string> = { '/sdk.js': bundle(), '/page.js': SCRIPT }
  files['/index.html'] = '<!doctype html><title>A page</title><script type="module" src="/page.js"></script>'
  origin = await pages(files)
  server = await serve({ 'basewright.yaml': PROJECT(origin) })
  files['/here.json'] = JSON.stringify({ url: server.url, key: server.publishable })
  browser = await launch()
})
after(() => server.stop())

async function open(context: BrowserContext, path = '/'): Promise<Page> {
  const page = await context.newPage()
  await page.goto(origin + path)
  await page.waitForFunction(() => document.title === 'ready')
  return page
}

/** Refreshes that have left a browser. */
function refreshes(context: BrowserContext): () => number {
  let count = 0
  context.on('request', (request) => {
    if (request.method() === 'POST' && request.url().includes('grant_type=refresh_token')) count++
  })
  return () => count
}

/** Lets the session of all tabs run out. */
const expire = (page: Page): Promise<void> =>
  page.evaluate(async () => {
    const session = await window.core.session.peek()
    if (session) await window.core.session.set({ ...session, expires_at: Math.floor(Date.now() / 1000) - 10 }, 'refreshed')
  })

const heard = (page: Page): Promise<string[]> => page.evaluate(() => window.heard)

test('two tabs whose token ran out refresh it once, time and again', async () => {
  const context = await browser.newContext()
  // Those that listen refresh ahead by themselves; these only ask.
  const [one, two] = [await open(context, '/?deaf'), await open(context, '/?deaf')]
  const id = await one.evaluate(async () => (await window.auth.signInAnonymously()).user.id)
  await eventually('the second tab to know', () => two.evaluate(async () => (await window.core.session.peek())?.user.id))
  const count = refreshes(context)
  for (let round = 1; round <= 10; round++) {
    await expire(one)
    await eventually('the second tab to know', () =>
      two.evaluate(async () => ((await window.core.session.peek())?.expires_at ?? 0) * 1000 < Date.now() || undefined),
    )
    const asked = [one, two].map((page) =>
      page.evaluate(() => Promise.all(Array.from({ length: 10 }, () => window.read())).then((all) => all.length)),
    )
    assert.deepEqual(await Promise.all(asked), [10, 10])
    assert.equal(count(), round)
  }
  for (const page of [one, two]) {
    assert.equal(await page.evaluate(async () => (await window.auth.user())?.id), id)
  }
  await context.close()
})

test('tabs that listen are refreshed ahead of the end, once', async () => {
  const context = await browser.newContext()
  const [one, two] = [await open(context), await open(context)]
  await one.evaluate(() => window.auth.signInAnonymously())
  await eventually('the sign-in to be heard', async () => (await heard(two)).find((it) => it.startsWith('signed_in')))
  const count = refreshes(context)
  await one.evaluate(async () => {
    const session = await window.core.session.peek()
    if (session) await window.core.session.set({ ...session, expires_at: Math.floor(Date.now() / 1000) + 50 }, 'updated')
  })
  const token = await one.evaluate(async () => (await window.core.session.peek())?.access_token)
  for (const page of [one, two]) {
    await eventually('the refresh', () =>
      page.evaluate(async (old) => (await window.core.session.peek())?.access_token !== old || undefined, token),
    )
  }
  assert.equal(count(), 1)
  await context.close()
})

test('who signs out in one tab is signed out in the other', async () => {
  const context = await browser.newContext()
  const [one, two] = [await open(context), await open(context)]
  const id = await one.evaluate(async () => (await window.auth.signInAnonymously()).user.id)
  await eventually('the sign-in', async () => (await heard(two))[1])
  await two.evaluate(() => window.auth.signOut())
  await eventually('the sign-out', async () => (await heard(one))[2])
  for (const page of [one, two]) {
    assert.deepEqual(await heard(page), ['initial nobody', `signed_in ${id}`, 'signed_out nobody'])
    assert.equal(await page.evaluate(() => window.core.session.token()), null)
    assert.deepEqual(await page.evaluate(() => Object.keys(localStorage)), [])
  }
  await context.close()
})

test('a page that is loaded anew knows who is signed in', async () => {
  const context = await browser.newContext()
  const page = await open(context)
  const id = await page.evaluate(async () => (await window.auth.signInAnonymously()).user.id)
  await page.reload()
  await page.waitForFunction(() => document.title === 'ready')
  await eventually('the state', async () => (await heard(page))[0])
  assert.deepEqual(await heard(page), [`initial ${id}`])
  assert.deepEqual(await page.evaluate(() => window.read()), [])
  await context.close()
})

test('a link comes back to the page that asked, which clears its address', async () => {
  const context = await browser.newContext()
  const asking = await open(context, '/?page=2')
  await asking.evaluate(() => window.auth.sendCode({ email: 'ada@example.test' }))
  const { text } = await server.letter('ada@example.test')
  const link = /http:\S+\/verify\S+/.exec(text)?.[0] ?? ''
  const page = await context.newPage()
  await page.goto(link)
  await page.waitForFunction(() => document.title === 'ready')
  const back = new URL(page.url())
  assert.equal(back.origin + back.pathname, `${origin}/`)
  assert.ok(back.searchParams.get('code'))
  const email = await page.evaluate(async () => {
    // At once: nobody has to wait for the answer to hide the code.
    const arriving = window.auth.completeRedirect()
    const address = location.href
    return [address, (await arriving)?.user.email, await window.auth.completeRedirect()]
  })
  assert.deepEqual(email, [`${origin}/`, 'ada@example.test', null])
  await eventually('the tab that asked', async () => (await heard(asking)).find((it) => it.startsWith('signed_in')))
  await page.goto(link)
  await page.waitForFunction(() => document.title === 'ready')
  const refused = await page.evaluate(async () => {
    const { error } = await window.auth.completeRedirect().safe()
    return [error?.code, location.href]
  })
  assert.deepEqual(refused, ['otp_expired', `${origin}/`])
  await context.close()
})

test('what an app has in its address stays there', async () => {
  const context = await browser.newContext()
  const page = await open(context)
  const refused = 'error=access_denied&error_code=otp_expired&error_description=late'
  for (const [address, rest, code] of [
    ['?error=404&code=SAVE20#/inbox/7', '?error=404&code=SAVE20#/inbox/7', null],
    ['?code=SAVE20&message=hi&error=mine#access_token=a.b.c&sb=', '?code=SAVE20&message=hi&error=mine', 'unasked_session'],
    [`?code=SAVE20&${refused}&message=hi#${refused}&sb=`, '?code=SAVE20&message=hi', 'otp_expired'],
    [`?message=hi&code=${'c'.repeat(43)}#/inbox/7`, '?message=hi#/inbox/7', 'bad_code_verifier'],
  ] as const) {
    const told = await page.evaluate(async (address) => {
      history.replaceState(null, '', `/${address}`)
      const { error } = await window.auth.completeRedirect().safe()
      return [location.href, error?.code ?? null]
    }, address)
    assert.deepEqual(told, [`${origin}/${rest}`, code])
  }
  await context.close()
})

test('a session in an address is cleared from it and signs nobody in', async () => {
  const context = await browser.newContext()
  const page = await open(context, '/#access_token=a.b.c&refresh_token=r&expires_in=900&token_type=bearer&sb=')
  const told = await page.evaluate(async () => {
    const { error } = await window.auth.completeRedirect().safe()
    return [error?.code, location.href, await window.core.session.peek()]
  })
  assert.deepEqual(told, ['unasked_session', `${origin}/`, null])
  await context.close()
})

test('a page without storage, or with a full one, signs in all the same', async () => {
  const context = await browser.newContext()
  const forbid = 'Object.defineProperty(window, "localStorage", { get() { throw new DOMException("no", "SecurityError") } })'
  const full = 'Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError") }'
  for (const content of [forbid, full]) {
    const page = await context.newPage()
    await page.addInitScript({ content })
    await page.goto(origin)
    await page.waitForFunction(() => document.title === 'ready')
    const id = await page.evaluate(async () => (await window.auth.signInAnonymously()).user.id)
    assert.equal(await page.evaluate(async () => (await window.auth.user())?.id), id)
  }
  await context.close()
})
