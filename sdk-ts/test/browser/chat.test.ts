// The chat of the examples, as its users have it: the page in two browsers, the real server behind it.
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { after, before, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { type Line, line } from '../proxy.js'
import { eventually, type Server, serve } from '../server.js'
import { launch } from './browser.js'
import { picture } from './picture.js'
import { nameless, type Visitor, visit } from './visitor.js'

const ENGINES = '00000000-0000-4000-8000-000000000001'
const PASSWORD = 'analytical engine'
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true }
/** What runs if text is taken for markup. */
const HOSTILE = `<img src=x onerror="window.canary=1"><script>window.canary=2</script>"'&lt;`

let server: Server
let browser: Browser
let ada: Visitor
let bob: Visitor
/** The line of Ada's browser, which can be cut. */
let wire: Line

before(async () => {
  server = await serve('examples/chat')
  browser = await launch()
  wire = await line(server.url)
  ada = await visit(browser, wire.url)
  bob = await visit(browser, server.url)
})
after(async () => {
  wire?.close()
  await server?.stop()
})

const tokens = new Map<string, string>()

async function tokenOf(who: string): Promise<string> {
  const known = tokens.get(who)
  if (known !== undefined) return known
  const signedIn = await fetch(`${server.url}/auth/v1/token?grant_type=password`, {
    method: 'POST',
    headers: { apikey: server.publishable, 'content-type': 'application/json' },
    body: JSON.stringify({ email: `${who}@example.test`, password: PASSWORD }),
  })
  const { access_token } = (await signedIn.json()) as { access_token: string }
  tokens.set(who, access_token)
  return access_token
}

/** What the server answers to a user who asks without the client. */
async function answer<T>(who: string, path: string, method = 'GET', json?: unknown): Promise<T> {
  const response = await fetch(`${server.url}/rest/v1/${path}`, {
    method,
    headers: { apikey: server.publishable, authorization: `Bearer ${await tokenOf(who)}`, 'content-type': 'application/json' },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
  })
  const text = await response.text()
  assert.ok(response.ok, text)
  return (text === '' ? null : JSON.parse(text)) as T
}

/** The name of the picture that was uploaded. */
async function pictureName(): Promise<string> {
  const [found] = await answer<{ attachment: string }[]>('ada', 'messages?select=attachment&attachment=like.*plan.png')
  assert.ok(found)
  return found.attachment
}

/** The messages of the Engine room as the server has them, in order. */
async function stored(): Promise<string[]> {
  const rows = await answer<{ body: string }[]>('ada', `messages?select=body&room=eq.${ENGINES}&order=created_at,id`)
  return rows.map(({ body }) => body)
}

/** The messages that a page shows, in order; those that are not sent yet are not among them. */
const shown = (page: Page): Promise<string[]> => page.locator('#messages li:not(.waiting) .body').allTextContents()

/** Waits until both show what the server has. */
async function agree(...pages: Page[]): Promise<string[]> {
  const wanted = await stored()
  for (const page of pages) {
    await eventually(`${JSON.stringify(await shown(page))} is ${JSON.stringify(wanted)}`, async () =>
      JSON.stringify(await shown(page)) === JSON.stringify(wanted) || undefined)
  }
  return wanted
}

async function write(page: Page, text: string): Promise<void> {
  await page.fill('#body', text)
  await page.press('#body', 'Enter')
}

const room = (page: Page, name: string) => page.locator('#rooms a', { hasText: name })
const message = (page: Page, text: string) => page.locator('#messages li', { hasText: text })

test('somebody signs in with the keyboard alone, is refused in words, and sees his rooms', async () => {
  const { page } = ada
  await page.waitForFunction(() => document.activeElement?.getAttribute('name') === 'email')
  await page.keyboard.type('ada@example.test')
  await page.keyboard.press('Tab')
  await page.keyboard.type('not her password')
  await page.keyboard.press('Enter')
  await page.locator('#sign-in .fault').filter({ hasText: /\w/ }).waitFor()
  await page.keyboard.press('ControlOrMeta+a')
  await page.keyboard.type(PASSWORD)
  await page.keyboard.press('Enter')
  await room(page, 'Engine room').waitFor()
  assert.deepEqual(await page.locator('#rooms .name').allTextContents(), ['Engine room', 'Kitchen'])
  assert.deepEqual(await nameless(page), [])
})

test('two people chat, and see that they are there and write', async () => {
  await bob.page.locator('#demo button', { hasText: 'Bob' }).click()
  await Promise.all([ada, bob].map(({ page }) => room(page, 'Engine room').click()))
  await write(ada.page, 'Is the second mill still running?')
  await message(bob.page, 'second mill still').waitFor()
  for (const { page } of [ada, bob]) await page.getByText('2 of 2 here').waitFor()
  await bob.page.locator('#body').pressSequentially('It')
  await ada.page.getByText('Bob is typing').waitFor()
  await write(bob.page, 'It is.')
  await message(ada.page, 'It is.').waitFor()
  await eventually('Ada is not told any more that he types', async () =>
    (await ada.page.locator('#typing').textContent()) === '' || undefined)
  await agree(ada.page, bob.page)
  for (const { page } of [ada, bob]) assert.deepEqual(await nameless(page), [])
})

test('authors change and delete their own messages, for everybody', async () => {
  await write(bob.page, 'Thrusday then.')
  const own = message(bob.page, 'Thrusday then.')
  await own.locator('article').hover()
  await own.getByRole('button', { name: 'Edit' }).click()
  await write(bob.page, 'Thursday then.')
  await message(ada.page, 'Thursday then.').getByText('edited').waitFor()
  await own.waitFor({ state: 'detached' })
  await bob.page.press('#body', 'ArrowUp')
  assert.equal(await bob.page.inputValue('#body'), 'Thursday then.')
  await bob.page.press('#body', 'Escape')
  assert.equal(await bob.page.inputValue('#body'), '')
  const changed = message(bob.page, 'Thursday then.')
  await changed.locator('article').hover()
  await changed.getByRole('button', { name: 'Delete' }).click()
  await message(ada.page, 'Thursday then.').waitFor({ state: 'detached' })
  await agree(ada.page, bob.page)
  // She owns the room: she may delete what others wrote, and not change it.
  const other = message(ada.page, 'And the cards?')
  await other.locator('article').hover()
  assert.deepEqual(await other.getByRole('button').allTextContents(), ['Delete'])
})

test('text of others stays text, wherever it is shown', async () => {
  const name = HOSTILE.slice(0, 45)
  await answer('bob', 'profiles?handle=eq.bob', 'PATCH', { name })
  await answer('ada', `rooms?id=eq.${ENGINES}`, 'PATCH', { name })
  await write(bob.page, HOSTILE)
  await bob.page.setInputFiles('#file', {
    name: '<img src=x onerror=canary=3>.svg',
    mimeType: 'image/svg+xml',
    buffer: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" onload="parent.canary=4"><script>parent.canary=5</script></svg>'),
  })
  await ada.page.getByRole('button', { name: 'onerror=canary=3' }).waitFor()
  await message(ada.page, HOSTILE).waitFor()
  await room(ada.page, '<img src=x').waitFor()
  for (const { page, unharmed } of [ada, bob]) {
    assert.equal(await page.locator('img[src=x], #app script').count(), 0)
    await unharmed()
  }
  await answer('bob', 'profiles?handle=eq.bob', 'PATCH', { name: 'Bob' })
  await answer('ada', `rooms?id=eq.${ENGINES}`, 'PATCH', { name: 'Engine room' })
  await room(ada.page, 'Engine room').waitFor()
})

test('a picture is uploaded with progress over a line that breaks, and shown to members', async () => {
  const image = picture(1000, 750)
  await ada.page.evaluate(() => {
    const steps: number[] = []
    Object.assign(window, { steps })
    const progress = document.getElementById('progress') as HTMLProgressElement
    new MutationObserver(() => steps.push(progress.value)).observe(progress, { attributes: true })
  })
  const before = wire.sent()
  wire.cutAfter(600_000, 700_000)
  await ada.page.fill('#body', 'The plan of the mill')
  await ada.page.setInputFiles('#file', { name: 'plan.png', mimeType: 'image/png', buffer: image })
  const seen = message(bob.page, 'The plan of the mill').locator('img')
  await eventually('Bob sees the picture', async () =>
    (await seen.count()) > 0 && (await seen.evaluate((img: HTMLImageElement) => img.naturalWidth)) === 1000 || undefined)
  const steps = await ada.page.evaluate(() => (window as unknown as { steps: number[] }).steps)
  const between = steps.filter((step) => step > 0 && step < 1)
  assert.equal(wire.cuts(), 2)
  assert.ok(between.length >= 3, `progress was seen: ${steps}`)
  assert.deepEqual(steps.slice(1), [...steps.slice(1)].sort((a, b) => a - b), 'progress never goes back')
  const sent = wire.sent() - before
  assert.ok(sent < image.length * 2, `${sent} bytes went out for a picture of ${image.length}`)
})

/** The messages before Bob's line broke, and when it did. */
let known: string[] = []
let gone = 0

test('who is offline writes all the same, and who is online while the server restarts loses nothing', async () => {
  known = await agree(ada.page, bob.page)
  await bob.offline(true)
  gone = Date.now()
  await bob.page.locator('#app:not([data-status=live])').waitFor()
  await write(bob.page, 'Written by Bob without a line.')
  await message(bob.page, 'Written by Bob without a line.').getByText('waits for the connection').waitFor()
  for (const number of [1, 2, 3]) await write(ada.page, `Before the restart, ${number}`)
  await agree(ada.page)
  await server.stop()
  await write(ada.page, 'Written by Ada without a server.')
  await message(ada.page, 'Written by Ada without a server.').getByText('waits for the connection').waitFor()
  await server.start()
  await ada.page.locator('#app[data-status=live]').waitFor()
  for (const number of [4, 5, 6]) await write(ada.page, `After the restart, ${number}`)
  await eventually('all of hers are stored', async () => (await stored()).length === known.length + 7 || undefined)
})

test('a stranger gets nothing by any door', async () => {
  const stranger = await visit(browser, server.url)
  const { page } = stranger
  await page.fill('[name=email]', 'mae@example.test')
  await page.fill('[name=password]', PASSWORD)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByText('You are in no room yet').waitFor()
  const attachment = await pictureName()
  const got = await page.evaluate(
    async ({ attachment, room }) => {
      const { createClient } = (await import('/sdk/index.js' as string)) as typeof import('../../src/index.js')
      const { url, key } = (await import('/sdk/here.js' as string)) as { url: string; key: string }
      const app = createClient(url, key)
      const files = app.storage.from('attachments')
      const messages = app.live('messages', { where: { room } })
      await messages.ready
      const channel = app.channel(`room:${room}`)
      const said: unknown[] = []
      channel.on('typing', (payload: unknown) => said.push(payload))
      const code = async (work: { safe(): Promise<{ error: { code: string } | null }> }): Promise<string | undefined> =>
        (await work.safe()).error?.code
      const got = {
        messages: await app.records('messages').list(),
        members: await app.records('members').list(),
        live: messages.records,
        download: await code(files.download(attachment)),
        info: await code(files.info(attachment)),
        signed: await code(files.signedUrl(attachment, 60)),
        list: (await files.list(`${room}/`)).files,
        upload: await code(files.upload(`${room}/mine.txt`, 'Hello')),
        write: await code(app.records('messages').create({ room, body: 'Hello' })),
        join: await code(app.records('members').create({ room, user: (await app.auth.session())?.user.id })),
        send: (await code(channel.send('typing', { user: 'mae' }))) !== undefined,
        said,
      }
      messages.close()
      channel.close()
      return got
    },
    { attachment, room: ENGINES },
  )
  const plain = await fetch(`${server.url}/storage/v1/object/public/attachments/${attachment}?apikey=${server.publishable}`)
  assert.deepEqual(
    { ...got, plain: plain.status },
    {
      messages: [], members: [], live: [], list: [], said: [], send: true, plain: 400,
      download: 'NoSuchKey', info: 'NoSuchKey', signed: 'NoSuchKey', upload: 'AccessDenied', write: '42501', join: '42501',
    },
  )
  await stranger.close()
})

test('somebody new signs up, confirms the address, and is told what is wrong with a handle', async () => {
  const guest = await visit(browser, server.url, PHONE)
  const { page } = guest
  await page.fill('#sign-in [name=email]', 'new@example.test')
  await page.fill('#sign-in [name=password]', 'a comet in the north')
  await page.getByRole('button', { name: 'Sign up' }).click()
  const { text } = await server.letter('new@example.test')
  await page.fill('[name=code]', /\b\d{6}\b/.exec(text)?.[0] ?? '')
  await page.getByRole('button', { name: 'Confirm' }).click()
  await page.fill('#profile [name=name]', 'Nova')
  await page.fill('#profile [name=handle]', 'No Va')
  await page.getByRole('button', { name: 'Enter' }).click()
  await page.locator('#profile [data-field=handle]').filter({ hasText: 'form' }).waitFor()
  await page.fill('#profile [name=handle]', 'ada')
  await page.getByRole('button', { name: 'Enter' }).click()
  await page.locator('#profile .fault').filter({ hasText: /taken|already|unique/i }).waitFor()
  await page.fill('#profile [name=handle]', 'nova')
  await page.getByRole('button', { name: 'Enter' }).click()
  await page.locator('#me', { hasText: 'Nova' }).waitFor()
  await page.reload()
  await page.locator('#me', { hasText: 'Nova' }).waitFor()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.locator('#sign-in').waitFor()
  await guest.unharmed()
  await guest.close()
})

/** Signs somebody new up, and gives back the link of the letter. */
async function signUp(page: Page, email: string): Promise<string> {
  await page.fill('#sign-in [name=email]', email)
  await page.fill('#sign-in [name=password]', 'a comet in the north')
  await page.getByRole('button', { name: 'Sign up' }).click()
  const { text } = await server.letter(email)
  return /http\S+\/verify\?\S+/.exec(text)?.[0] ?? ''
}

test('the link of a letter signs in where it was asked for, by whatever name of the machine', async () => {
  const guest = await visit(browser, server.url.replace('127.0.0.1', 'localhost'))
  await guest.page.goto(await signUp(guest.page, 'link@example.test'))
  await guest.page.locator('#profile').waitFor()
  assert.equal(new URL(guest.page.url()).hostname, 'localhost')
  await guest.unharmed()
  await guest.close()
})

test('whoever opens the link elsewhere is told of his password, which signs in both here and there', async () => {
  const [here, there] = [await visit(browser, server.url), await visit(browser, server.url)]
  await there.page.goto(await signUp(here.page, 'far@example.test'))
  await there.page.getByText('Here, your password does.').waitFor()
  await here.page.locator('#code').getByRole('button', { name: 'Sign in' }).click()
  for (const { page } of [here, there]) {
    await page.fill('#sign-in [name=email]', 'far@example.test')
    await page.fill('#sign-in [name=password]', 'a comet in the north')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.locator('#profile').waitFor()
  }
  for (const who of [here, there]) {
    await who.unharmed()
    await who.close()
  }
})

test('who does not sit at the machine of `dev` is shown neither the people of the example nor the mailbox', async () => {
  // As a proxy passes it on: to the outside there is no mailbox, as under `serve`.
  const outside = await visit(browser, server.url, { extraHTTPHeaders: { 'x-forwarded-for': '203.0.113.7' } })
  const { page } = outside
  const asked = page.waitForResponse('**/_/mail')
  await page.reload()
  assert.equal((await asked).status(), 404)
  await page.locator('#sign-in').waitFor()
  assert.equal(await page.locator('#demo').isVisible(), false)
  await signUp(page, 'outside@example.test')
  const said = page.locator('#code > p').first()
  await said.waitFor()
  assert.match(await said.innerText(), /^A code went to your address\. /)
  await outside.unharmed()
  await outside.close()
})

test('who was offline for half a minute misses nothing and sees nothing twice', async () => {
  await eventually('half a minute is over', () => Date.now() - gone >= 30_000 || undefined)
  await bob.offline(false)
  await bob.page.locator('#app[data-status=live]').waitFor()
  await eventually('his is stored', async () => (await stored()).length === known.length + 8 || undefined)
  const now = await agree(ada.page, bob.page)
  assert.deepEqual(now.slice(known.length), [
    ...[1, 2, 3].map((number) => `Before the restart, ${number}`),
    'Written by Ada without a server.',
    ...[4, 5, 6].map((number) => `After the restart, ${number}`),
    'Written by Bob without a line.',
  ])
  for (const { page } of [ada, bob]) assert.equal(await page.locator('#messages li.waiting').count(), 0)
})

test('older messages come on demand, and are live too', async () => {
  for (let number = 0; number < 60; number++) {
    await answer('ada', 'messages', 'POST', { room: ENGINES, body: `One of many, ${number}` })
  }
  await eventually('the newest fifty are shown', async () => {
    const now = await shown(ada.page)
    return (now.length === 50 && now.at(-1) === 'One of many, 59') || undefined
  })
  await ada.page.getByRole('button', { name: 'Load older messages' }).click()
  await agree(ada.page)
  await answer('ada', `messages?room=eq.${ENGINES}&body=like.The second mill is*`, 'PATCH', { body: 'Changed far above.' })
  await message(ada.page, 'Changed far above.').waitFor()
})

test('a room is opened, somebody is invited into it, and loses it at once when he is removed', async () => {
  await ada.page.fill('#room-name', 'Observatory')
  await ada.page.press('#room-name', 'Enter')
  await ada.page.locator('#room-title', { hasText: 'Observatory' }).waitFor()
  await ada.page.fill('#handle', 'nobody_here')
  await ada.page.press('#handle', 'Enter')
  await ada.page.getByText('Nobody has this handle.').waitFor()
  await ada.page.fill('#handle', 'bob')
  await ada.page.press('#handle', 'Enter')
  await write(ada.page, 'A comet!')
  await room(bob.page, 'Observatory').locator('.unread', { hasText: '1' }).waitFor()
  await room(bob.page, 'Observatory').click()
  await message(bob.page, 'A comet!').waitFor()
  await ada.page.getByText('2 of 2 here').waitFor()
  const row = ada.page.locator('#members li', { hasText: '@bob' })
  await row.hover()
  await row.getByRole('button', { name: 'Remove' }).click()
  const asked = Date.now()
  await message(bob.page, 'A comet!').waitFor({ state: 'detached' })
  await room(bob.page, 'Observatory').waitFor({ state: 'detached' })
  const took = Date.now() - asked
  assert.ok(took < 5000, `it took ${took} ms`)
  await ada.page.getByText('1 of 1 here').waitFor()
  await write(ada.page, 'He does not see this.')
  await message(ada.page, 'He does not see this.').waitFor()
  assert.equal(await bob.page.getByText('He does not see this.').count(), 0)
})

test('nothing went wrong in the pages, whatever happened to the line', async () => {
  for (const { unharmed } of [ada, bob]) await unharmed()
})

const SHOTS = process.env['BASEWRIGHT_SHOTS']
test('pictures are taken for those who want to look', { skip: SHOTS === undefined }, async () => {
  mkdirSync(SHOTS as string, { recursive: true })
  for (const [size, options] of Object.entries({ phone: PHONE, desktop: { viewport: { width: 1280, height: 800 } } })) {
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page, close } = await visit(browser, server.url, { ...options, colorScheme })
      const shot = (name: string) => page.screenshot({ path: `${SHOTS}/${size}-${colorScheme}-${name}.png` })
      await page.locator('#sign-in').waitFor()
      await shot('door')
      await page.locator('#demo button', { hasText: 'Ada' }).click()
      await room(page, 'Kitchen').waitFor()
      await shot('rooms')
      await room(page, 'Kitchen').click()
      await message(page, 'Bread is in the oven.').waitFor()
      await shot('room')
      await close()
    }
  }
})
