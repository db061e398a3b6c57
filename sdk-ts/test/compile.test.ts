import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { REPOSITORY } from './server.js'

const HOME = join(REPOSITORY, 'sdk-ts')
const COLLECTIONS = 30

/** A project in which everything leads to everything, and a use of each of its collections. */
function project(): string {
  const each = Array.from({ length: COLLECTIONS }, (_, at) => at)
  const collection = (at: number): string => {
    const to = (step: number): string => `{ to: 'c${(at + step) % COLLECTIONS}'; many: ${step % 2 > 0} }`
    return `c${at}: {
      Row: { id: string; title: string; notes: string | null; views: number; tags: string[]; meta: Json | null; up: string }
      New: { title: string }
      Patch: { title?: string }
      Key: 'id'
      Relations: { up: { to: 'c${(at + 1) % COLLECTIONS}'; many: false }; ${[2, 3, 5, 7, 11].map((step) => `r${step}: ${to(step)}`).join('; ')} }
      Search: true
    }`
  }
  const use = (at: number): string => `{
    const [row] = await records(core, 'c${at}').list({
      fields: ['id', 'title', 'up'],
      with: {
        up: { fields: ['title'], with: { r3: true, r2: { inner: true, fields: ['id'], where: { views: { gt: 3 } } } } },
        r5: { limit: 5, order: '-views', with: { up: { with: { up: { with: { up: true } } } } } },
      },
      where: { notes: null, views: { gt: 1 }, tags: { contains: ['a'] }, 'meta->>kind': 'x', search: { wfts: 'soup' } },
      order: ['-views', { field: 'id', nulls: 'first' }],
    })
    const title: string | undefined = row?.up?.title
    const id: string | undefined = row?.up?.r2.id
    const deep: number | undefined = row?.r5[0]?.up?.up?.up?.views
    // @ts-expect-error: not among the fields
    void [title, id, deep, row?.up?.views]
    // @ts-expect-error: no such field behind two relations
    await records(core, 'c${at}').list({ with: { up: { with: { r3: { fields: ['nothing'] } } } } })
  }`
  return `import { type Json, connect, records } from ${JSON.stringify(join(HOME, 'src/index.js'))}
  interface Schema { collections: { ${each.map(collection).join('\n')} }; buckets: never; channels: string }
  const core = connect<Schema>('http://localhost', 'key')
  ${each.map(use).join('\n')}`
}

test(`a project of ${COLLECTIONS} collections that all lead to each other is no great work for the compiler`, (context) => {
  const folder = mkdtempSync(join(HOME, 'build/compile-'))
  try {
    writeFileSync(join(folder, 'project.ts'), project())
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({
        extends: '../../tsconfig.json',
        compilerOptions: { noEmit: true, rootDir: '/' },
        include: ['*.ts'],
      }),
    )
    const { stdout } = spawnSync(join(HOME, 'node_modules/.bin/tsc'), ['-p', folder, '--extendedDiagnostics'], {
      encoding: 'utf8',
    })
    const figure = (name: string): number => Number(new RegExp(`^${name}:\\s+([\\d.]+)`, 'm').exec(stdout)?.[1])
    assert.ok(!stdout.includes('error'), stdout)
    context.diagnostic(`${figure('Instantiations')} instantiations, ${figure('Total time')} s`)
    // Seconds are those of the machine. What explodes shows in this number: it is a second's work at most.
    assert.ok(figure('Instantiations') < 250_000, stdout)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
