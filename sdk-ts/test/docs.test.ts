// What the pages show of the client compiles against the client.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { REPOSITORY } from './server.js'

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

test('every example of the reference compiles against the types of a project', (context) => {
  const text = readFileSync(join(REPOSITORY, 'docs/sdk.md'), 'utf8')
  const examples = [...text.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code as string)
  assert.ok(examples.length > 8)
  mkdirSync(join(HOME, 'build'), { recursive: true })
  const folder = mkdtempSync(join(HOME, 'build/docs-'))
  try {
    examples.forEach((code, at) => {
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
    context.diagnostic(`${examples.length} examples`)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
