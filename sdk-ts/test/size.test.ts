import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { REPOSITORY } from './server.js'

const HOME = join(REPOSITORY, 'sdk-ts')

type Bundle = (contents: string) => Promise<{ code: string }>
const { bundle } = (await import(join(HOME, 'bundle.js'))) as { bundle: Bundle }

/** What a page has to load of a module that does this. */
const size = async (contents: string): Promise<number> => gzipSync((await bundle(contents)).code, { level: 9 }).length

test('the core is at most 6 kB and everything at most 13.75 kB, minified and compressed', async (context) => {
  const core = await size("export { connect } from './core.js'; export { records } from './records.js'")
  const all = await size("export * from './index.js'")
  context.diagnostic(`core ${core} bytes, everything ${all} bytes`)
  assert.ok(core <= 6 * 1024, `core: ${core}`)
  assert.ok(all <= 13.75 * 1024, `everything: ${all}`)
})

test('what is not used is not in the bundle', async () => {
  const alone = await size("export { BasewrightError } from './index.js'")
  const core = await size("export { connect, records } from './index.js'")
  assert.ok(alone < 700, String(alone))
  assert.ok(Math.abs(core - (await size("export { connect } from './core.js'; export { records } from './records.js'"))) < 50)
})
