import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { BasewrightError, call, connect } from '../src/index.js'
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
