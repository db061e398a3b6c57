// What the pages show of the client compiles against the client.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { transform } from 'esbuild'
import { BasewrightError, createClient } from '../src/index.js'
import type { Schema } from './schema.js'
import { REPOSITORY, eventually, serve } from './server.js'

const HOME = join(REPOSITORY, 'sdk-ts')

/** What examples take for granted, unless they begin at the beginning. */
const GIVEN = `
import type { Client } from '@basewright/client'
import type { Schema } from './schema.js'
declare const app: Client<Schema>
declare const [id, post, room]: [string, string, string]
declare const file: File
declare function show(...given: unknown[]): void
`

/** The examples of the page, or of one part of it. */
function examples(heading?: string): string[] {
  const text = readFileSync(join(REPOSITORY, 'docs/sdk.md'), 'utf8')
  const part = heading === undefined ? text : text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`))
  return [...(part ?? '').matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code as string)
}

/** What examples find when they run. */
const NAMES = {
  app: null as unknown,
  id: '',
  post: '',
  room: 'kitchen',
  file: null as unknown,
  show: null as unknown,
  BasewrightError,
}
const PICTURE = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
)

test('every example of the reference compiles against the types of a project', (context) => {
  const all = examples()
  assert.ok(all.length > 8)
  mkdirSync(join(HOME, 'build'), { recursive: true })
  const folder = mkdtempSync(join(HOME, 'build/docs-'))
  try {
    all.forEach((code, at) => {
      const own = [/const app\b/.test(code) && 'const app', /import type { Schema }/.test(code) && './schema.js']
      const given = GIVEN.split('\n').filter((line) => !own.some((name) => name && line.includes(name)))
      writeFileSync(join(folder, `example${at}.ts`), `${given.join('\n')}\n${code}`)
    })
    writeFileSync(join(folder, 'schema.ts'), readFileSync(join(HOME, 'test/schema.ts')))
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({
        extends: '../../tsconfig.json',
        compilerOptions: {
          noEmit: true,
          rootDir: '/',
          noUnusedLocals: false,
          paths: { '@basewright/client': [join(HOME, 'src/index.ts')] },
        },
        include: ['*.ts'],
      }),
    )
    const { stdout } = spawnSync(join(HOME, 'node_modules/.bin/tsc'), ['-p', folder], { encoding: 'utf8' })
    assert.equal(stdout, '')
    context.diagnostic(`${all.length} examples`)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('the examples of records, queries, live queries, channels, files and errors run', async () => {
  const server = await serve('sdk-ts/test/project')
  const app = createClient<Schema>(server.url, server.secret)
  try {
    const visitor = createClient<Schema>(server.url, server.publishable)
    await visitor.auth.signUp({ email: 'ada@example.com', password: 'analytical engine' })
    const id = (await visitor.auth.session())?.user.id ?? ''
    await app.records('profiles').create({ id, handle: 'ada', name: 'Ada' })
    await app
      .records('posts')
      .create({ id, title: 'Soup', author: id, status: 'published', views: 11, tags: ['food'] })
    await app.storage.from('exports').upload(`${id}/2026.csv`, new Blob(['a,b']))
    const file = new File([PICTURE], 'face.png', { type: 'image/png' })
    let run = 0
    for (const heading of ['Records', 'Queries', 'Live', 'Channels', 'Files', 'Errors']) {
      for (const code of examples(heading)) {
        const shown: unknown[] = []
        const { code: plain } = await transform(code.replace(/^import (type )?\{.*$/gm, ''), {
          loader: 'ts',
          target: 'es2022',
        })
        const begin = new Function(...Object.keys(NAMES), `return (async () => {${plain}})()`) as (
          ...given: unknown[]
        ) => Promise<void>
        const given = { ...NAMES, app, id, post: id, file, show: (...what: unknown[]) => shown.push(what) }
        await begin(...Object.values(given))
        if (code.includes('show(')) await eventually(`something of ${heading}`, () => shown[0])
        run++
      }
    }
    assert.ok(run >= 8)
  } finally {
    await server.stop()
  }
})
