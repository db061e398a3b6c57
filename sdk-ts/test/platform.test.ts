// Where there is no page and no Node.js: workers at the edge, Deno, Bun.
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createContext, runInContext } from 'node:vm'
import { buildSync } from 'esbuild'
import { auth, connect } from '../src/index.js'
import { REPOSITORY, type Server, serve } from './server.js'

const SOURCE = join(REPOSITORY, 'sdk-ts/src')
const PROJECT = `
auth:
  signup: { confirm_email: false }
collections:
  notes:
    fields:
      title: { type: text }
      owner: { type: uuid, references: auth.users, default: auth.id, on_delete: cascade }
policies:
  notes:
    read: [{ role: authenticated, when: owner == auth.id }]
    create: [{ role: authenticated, fields: [title], set: { owner: auth.id } }]
`

let server: Server
before(async () => {
  server = await serve({ 'basewright.yaml': PROJECT })
})
after(() => server.stop())

test('what every platform has is enough to sign in and to read', async () => {
  const person = { email: 'ada@example.test', password: 'correct horse battery' }
  const core = connect(server.url, server.publishable)
  await auth(core).signUp(person)
  await core.send({ method: 'POST', path: '/rest/v1/notes', json: { title: 'mine' } })

  const options = { bundle: true, format: 'iife', globalName: 'sdk', target: 'es2022', write: false } as const
  const [script] = buildSync({ ...options, entryPoints: [join(SOURCE, 'index.ts')] }).outputFiles
  const context = createContext({
    fetch,
    URL,
    URLSearchParams,
    Headers,
    AbortController,
    TextEncoder,
    crypto,
    setTimeout,
    clearTimeout,
    given: { url: server.url, key: server.publishable, person },
  })
  runInContext(script?.text ?? '', context)
  const told = (await runInContext(
    `(async () => {
      const core = sdk.connect(given.url, given.key)
      const it = sdk.auth(core)
      const events = []
      const end = it.onChange((event) => events.push(event))
      const { user } = await it.signIn(given.person)
      const notes = await core.json({ path: '/rest/v1/notes' })
      const { error } = await it.signIn({ ...given.person, password: 'another' }).safe()
      await it.signOut()
      end()
      return JSON.stringify([user.email, notes.map((note) => note.title), error.code, events])
    })()`,
    context,
  )) as string
  assert.deepEqual(JSON.parse(told), [
    person.email,
    ['mine'],
    'invalid_credentials',
    ['initial', 'signed_in', 'signed_out'],
  ])
})

test('nothing that only some platforms have is taken for granted', () => {
  for (const file of readdirSync(SOURCE)) {
    const text = readFileSync(join(SOURCE, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
    for (const name of ['process', 'Buffer', 'require', 'window', 'document', 'localStorage', 'navigator', 'location']) {
      // As a member of the global object each may be asked for, and is undefined where there is none.
      const free = new RegExp(`(?<![.\\w'-])${name}(?=[.(\\[])`)
      assert.doesNotMatch(text, free, `${file} uses ${name}`)
    }
  }
})
