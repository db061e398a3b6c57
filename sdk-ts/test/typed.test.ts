import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type Client, type ErrorCode, createClient } from '../src/index.js'
import type { Schema as Member } from './schema.member.js'
import type { Schema } from './schema.js'
import { type Server, REPOSITORY, serve } from './server.js'

// By whose types the rest of the tests are written: what they let compile, the server of the same project does.
const PROJECT = 'sdk-ts/test/project'
let server: Server
let secret: Client<Schema>
let member: Client<Member>
let id = ''
before(async () => {
  server = await serve(PROJECT)
  secret = createClient<Schema>(server.url, server.secret)
  member = createClient<Member>(server.url, server.publishable)
  id = (await member.auth.signInAnonymously()).user.id
  server.command('user', 'role', 'add', join(REPOSITORY, PROJECT), id, 'member')
})
after(() => server.stop())

test('a member makes, reads, changes and follows what the types of his role let him', async () => {
  await member.records('profiles').create({ handle: 'ada', name: 'Ada', email: 'ada@example.test' })
  await secret.records('labels').create([{ name: 'news', color: 'red' }, { name: 'late' }])
  const posts = member.records('posts')
  const post = (await posts.create({ title: 'Of figs', tags: ['fruit'], meta: { words: 3 } }))!
  await member.records('post_labels').create({ post: post.id, label: 'news' })
  assert.equal((await posts.update(post.id, { status: 'review' }))?.status, 'review')
  await secret.records('posts').update(post.id, { status: 'published', reviewer: id })
  await member.records('comments').create({ post: post.id, body: 'So it is' })

  const [read] = await posts.list({
    fields: ['title', 'status', 'meta'],
    with: {
      author: { fields: ['name'], inner: true, with: { passports: { fields: ['number'] } } },
      reviewer: { fields: ['handle'] },
      labels: { fields: ['name', 'color'] },
      comments: { fields: ['body'], with: { replies: { fields: ['body'] } } },
    },
    where: { status: { in: ['published'] }, tags: { contains: ['fruit'] }, search: { wfts: 'fig' }, 'meta->>words': '3' },
  })
  assert.deepEqual(read, {
    title: 'Of figs',
    status: 'published',
    meta: { words: 3 },
    author: { name: 'Ada', passports: null },
    reviewer: { handle: 'ada' },
    labels: [{ name: 'news', color: 'red' }],
    comments: [{ body: 'So it is', replies: [] }],
  })
  assert.deepEqual(await member.records('post_labels').get({ post: post.id, label: 'news' }), {
    post: post.id,
    label: 'news',
  })
  for await (const list of member.live('posts', { where: { status: 'published' }, order: '-created_at' })) {
    assert.deepEqual(list.map(({ title }) => title), ['Of figs'])
    break
  }
})

test('every odd value of an enum comes back as it is typed', async () => {
  const odd = ['plain', "it's", 'say "hi"', '`${tick}`', '*/ end', 'two\nlines', 'back\\slash', 'ünï'] as const
  const samples = secret.records('samples')
  await samples.create(odd.map((odd, id) => ({ id, odd, must: 'yes_please' as const })))
  for (const value of odd) {
    assert.deepEqual(await samples.list({ fields: ['odd'], where: { odd: value } }), [{ odd: value }])
  }
})

test('what the types of a role leave out, the server refuses with a code that is known', async () => {
  const whole = member as unknown as Client<Schema>
  const refused = await Promise.all([
    whole.records('posts').create({ title: 'One', status: 'published' }).safe(),
    whole.records('posts').list({ fields: ['notes'] }).safe(),
    whole.records('ledger').list().safe(),
    whole.records('labels').create({ name: 'mine' }).safe(),
    whole.records('passports').create({ holder: id, number: '1' }).safe(),
    whole.records('feedback').list().safe(),
    whole.storage.from('vault').list().safe(),
    whole.records('posts').list({ with: { nothing: true } } as object).safe(),
  ])
  const codes = refused.map(({ error }) => error?.code)
  const expected: ErrorCode[] = ['42501', '42703', 'PGRST205', '42501', '42501', '42501', 'NoSuchBucket', 'PGRST200']
  assert.deepEqual(codes, expected)
})
