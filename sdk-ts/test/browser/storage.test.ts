import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { type Line, line } from '../proxy.js'
import { type Server, eventually, serve } from '../server.js'
import { bundle, launch, pages } from './browser.js'
import { picture } from './picture.js'

const PROJECT = `
auth: { signup: { anonymous: true } }
buckets:
  pictures:
    accept: [image/*]
    policies:
      read: [{ role: authenticated, when: owner == auth.id }]
      create: [{ role: authenticated, check: owner == auth.id }]
`
const PAGE = `<!doctype html><title>Pictures</title>
<input type="file" accept="image/*"> <progress max="1" value="0"></progress> <output></output><br>
<img id="signed" height="300"> <img id="own" height="300">
<script type="module" src="/page.js"></script>`
const SCRIPT = `
import { connect, storage } from '/sdk.js'
import { url, key } from '/here.js'
const core = connect(url, key)
if (await core.session.get() === null) {
  const session = await core.json({ method: 'POST', path: '/auth/v1/signup', json: {} })
  await core.session.set(session, 'signed_in')
}
const $ = (selector) => document.querySelector(selector)
const pictures = storage(core).from('pictures')
window.steps = []
$('input').addEventListener('change', async () => {
  const [file] = $('input').files
  $('output').value = 'on its way'
  const onProgress = ({ sent, total }) => {
    window.steps.push(sent)
    $('progress').value = sent / total
    window.told?.(sent)
  }
  const { error } = await pictures.upload(file.name, file, { onProgress }).safe()
  $('output').value = error ? error.code : 'done'
  if (error) return
  $('#signed').src = await pictures.signedUrl(file.name, 60)
  $('#own').src = URL.createObjectURL(await pictures.download(file.name))
})
$('output').value = 'ready'
`

let server: Server
let through: Line
let browser: Browser
let origin: string
const folder = mkdtempSync(join(tmpdir(), 'basewright-pictures-'))
before(async () => {
  server = await serve({ 'basewright.yaml': PROJECT })
  through = await line(server.url)
  browser = await launch()
  const here = `export const url = ${JSON.stringify(through.url)}, key = ${JSON.stringify(server.publishable)}`
  origin = await pages({ '/index.html': PAGE, '/page.js': SCRIPT, '/here.js': here, '/sdk.js': bundle() })
})
after(async () => {
  through.close()
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** A picture on the disk of whoever sits before the browser. */
function chosen(name: string, width: number, height: number): { path: string; size: number } {
  const bytes = picture(width, height)
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return { path, size: bytes.length }
}

const says = (page: Page, text: string): Promise<unknown> =>
  eventually(`the page says ${text}`, async () =>
    (await page.locator('output').textContent()) === text ? true : undefined,
  )
const steps = (page: Page): Promise<number[]> => page.evaluate('window.steps')
const widths = (page: Page): Promise<number[]> =>
  eventually('both pictures are shown', async () => {
    const widths = await page.evaluate<number[]>(
      '[...document.images].map((image) => image.complete ? image.naturalWidth : 0)',
    )
    return widths.every((width) => width > 0) ? widths : undefined
  })

test('a picture goes on where it stood after its line broke and its page was loaded again, and is shown by a signed link', async () => {
  const { path, size } = chosen('holiday ☃ 100%.png', 1600, 1200)
  const page = await browser.newPage()
  await page.exposeFunction('told', (sent: number) => {
    if (sent > size / 2) through.down()
  })
  await page.goto(origin)
  await says(page, 'ready')
  through.cutAfter(size / 4)
  const cuts = through.cuts()
  await page.setInputFiles('input', path)
  await eventually('half of it is there', async () =>
    (await steps(page)).some((sent) => sent > size / 2) ? true : undefined,
  )
  const before = await steps(page)
  assert.equal(through.cuts() - cuts, 1)
  assert.deepEqual(
    before,
    before.toSorted((a, b) => a - b),
  )
  assert.ok(before.at(-1)! < size, 'it was done before its page was loaded again')

  await page.reload()
  await page.evaluate('window.told = undefined')
  through.up()
  await says(page, 'ready')
  const sent = through.sent()
  await page.setInputFiles('input', path)
  await says(page, 'done')
  const after = await steps(page)
  assert.ok(after[0]! > size / 2 && after.at(-1) === size, `${after}`)
  assert.deepEqual(
    after,
    after.toSorted((a, b) => a - b),
  )
  const rest = through.sent() - sent
  assert.ok(rest < size / 2 + 300_000, `${rest} of ${size} bytes were sent after the page was loaded again`)
  assert.deepEqual(await widths(page), [1600, 1600])
  assert.deepEqual(await page.evaluate("Object.keys(localStorage).filter((key) => key.includes('upload'))"), [])
  console.log(`# a picture of ${size} bytes: ${before.length} steps and 1 cut before the reload, then ${rest} bytes`)
  const place = process.env['BASEWRIGHT_SCREENSHOTS']
  if (place !== undefined) await page.screenshot({ path: join(place, 'picture.png') })
  await page.close()
})

test('a browser that is offline waits, and goes on once it is not', async () => {
  const { path, size } = chosen('offline.png', 900, 700)
  const context = await browser.newContext()
  const page = await context.newPage()
  let off: Promise<void> | undefined
  await page.exposeFunction('told', (sent: number) => {
    if (sent > size / 3) off ??= context.setOffline(true)
  })
  await page.goto(origin)
  await says(page, 'ready')
  await page.setInputFiles('input', path)
  await eventually('it is offline', () => (off ? true : undefined))
  await off
  const stood = (await steps(page)).at(-1)!
  await page.waitForFunction('navigator.onLine === false')
  assert.ok(stood < size, 'it was done before the browser was offline')
  await context.setOffline(false)
  await says(page, 'done')
  assert.deepEqual(await widths(page), [900, 900])
  await context.close()
})

test('what is no picture is refused, and a stranger sees none', async () => {
  const page = await browser.newPage()
  await page.goto(origin)
  await says(page, 'ready')
  await page.setInputFiles('input', {
    name: 'page.html',
    mimeType: 'text/html',
    buffer: Buffer.from('<script>alert(1)</script>'),
  })
  await says(page, 'InvalidMimeType')
  const code = await page.evaluate(async () => {
    const [{ connect, storage }, { url, key }] = await Promise.all([
      import('/sdk.js' as string),
      import('/here.js' as string),
    ])
    const sdk = { connect, storage } as typeof import('../../src/index.js')
    const { error } = await sdk.storage(sdk.connect(url, key)).from('pictures').download('offline.png').safe()
    return error?.code
  })
  assert.equal(code, 'NoSuchKey')
  await page.close()
})
