// The first five minutes of the README, followed to the letter.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { REPOSITORY, type Server, serve } from '../server.js'
import { launch } from './browser.js'
import { visit, type Visitor } from './visitor.js'

const page = readFileSync(join(REPOSITORY, 'README.md'), 'utf8')

/** The files of the page's project: a name in backticks, a colon, the content. */
const files = Object.fromEntries(
  [...page.matchAll(/`list\/(\S+)`:\n\n```\w+\n(.*?)^```$/gms)].map(([, name = '', content = '']) => [name, content]),
)

let server: Server
let one: Visitor
let other: Visitor
before(async () => {
  server = await serve(files)
  const browser = await launch()
  one = await visit(browser, server.url)
  other = await visit(browser, server.url)
})
after(() => server?.stop())

test('what the first five minutes of the README show is live and guarded', async () => {
  assert.deepEqual(Object.keys(files), ['basewright.yaml', 'public/index.html'])
  assert.match(server.command('policy', 'test', server.project), /^4 cases passed/m)
  await one.page.fill('[name=what]', 'Bread')
  await one.page.press('[name=what]', 'Enter')
  const [mine, theirs] = [one, other].map(({ page }) => page.locator('li', { hasText: 'Bread' }))
  assert.ok(mine && theirs)
  await theirs.waitFor()
  assert.deepEqual([await mine.locator('button').isVisible(), await theirs.locator('button').isVisible()], [true, false])
  await theirs.locator('input').check()
  await one.page.locator('li :checked').waitFor()
  await server.stop()
  await server.start()
  await one.page.fill('[name=what]', 'Onions')
  await one.page.press('[name=what]', 'Enter')
  await other.page.locator('li', { hasText: 'Onions' }).waitFor()
  const cheat = /^```js\n(.*?)^```$/ms.exec(page)?.[1] ?? ''
  const refused = await other.page.evaluate(async (lines) => {
    const codes: string[] = []
    // Each line that the page says is refused, by itself, as in the developer tools.
    const body = lines.replace(/^await (items\..*?\))\s+\/\/ refused.*$/gm, 'codes.push((await $1.safe()).error?.code)')
    const run = new Function('codes', `return (async () => { ${body} })()`) as (codes: string[]) => Promise<void>
    await run(codes)
    return codes
  }, cheat)
  assert.deepEqual(refused, ['PGRST116', '42501'])
  assert.equal(await theirs.count(), 1)
  for (const who of [one, other]) await who.unharmed()
})
