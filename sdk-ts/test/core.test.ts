import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { call } from '../src/call.js'
import { BasewrightError, connect } from '../src/index.js'
import { type Server, serve } from './server.js'

let server: Server
before(async () => {
  server = await serve('examples/blog')
})
after(() => server.stop())

test('a read gives what the server answers', async () => {
  const core = connect(server.url, server.publishable)
  const posts = await core.json<{ title: string }[]>({
    path: '/rest/v1/posts',
    query: new URLSearchParams({ select: 'title' }),
  })
  assert.ok(posts.length > 0 && posts.every(({ title }) => typeof title === 'string'))
})

test('a refusal is a BasewrightError with the code of the server', async () => {
  const core = connect(server.url, server.publishable)
  const asked = call(core.json({ path: '/rest/v1/nothing' }))
  const { data, error } = await asked.safe()
  assert.equal(data, null)
  assert.ok(error instanceof BasewrightError)
  assert.deepEqual([error.code, error.status], ['PGRST205', 404])
  assert.ok(error.requestId)
})

test('no answer is a BasewrightError too', async () => {
  const core = connect('http://127.0.0.1:9', server.publishable)
  await assert.rejects(core.json({ method: 'POST', path: '/rest/v1/posts', json: {} }), {
    name: 'BasewrightError',
    code: 'network',
  })
})

test('errors are the same in each of the dialects of the server', async () => {
  const core = connect(server.url, server.publishable)
  const asked = [
    core.json({ path: '/rest/v1/posts', query: new URLSearchParams({ nothing: 'eq.1' }) }),
    core.json({
      method: 'POST',
      path: '/auth/v1/token?grant_type=password',
      json: { email: 'nobody@example.test', password: 'wrong' },
    }),
    core.json({ path: '/auth/v1/user' }),
    core.json({ path: '/storage/v1/object/nothing/at/all' }),
    core.json({ path: '/nowhere' }),
    core.json({ method: 'POST', path: '/rest/v1/posts', body: '{', headers: { 'content-type': 'application/json' } }),
  ]
  const told = await Promise.all(
    asked.map(async (ask) => {
      const { error } = await call(ask).safe()
      assert.ok(error instanceof BasewrightError)
      assert.ok(error.message !== '' && error.requestId, error.code)
      return `${error.status} ${error.code}`
    }),
  )
  assert.deepEqual(told, [
    '400 42703',
    '400 invalid_credentials',
    '401 no_authorization',
    '404 NoSuchBucket',
    '404 PGRST125',
    '401 42501',
  ])
})
