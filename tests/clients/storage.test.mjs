// The published client keeps files in every way it knows, against a real server.
import test from 'node:test'
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { createClient } from '@supabase/supabase-js'

const { BW_URL, BW_PUBLISHABLE, BW_SECRET, BW_TOKEN_ADA, BW_TOKEN_BOB } = process.env

let calls = 0
const counted = (input, init) => {
  calls += 1
  return fetch(input, init)
}
const storage = (key, token) =>
  createClient(BW_URL, key, {
    global: { fetch: counted, headers: token ? { Authorization: `Bearer ${token}` } : {} },
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
  }).storage
const ada = storage(BW_PUBLISHABLE, BW_TOKEN_ADA)
const bob = storage(BW_PUBLISHABLE, BW_TOKEN_BOB)
const anonymous = storage(BW_PUBLISHABLE)
const operator = storage(BW_SECRET)

const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
)

/** The value of an answer that is no error. */
function ok({ data, error }) {
  assert.ifError(error)
  return data
}

/** The status that is meant by an answer that is an error. */
function refused({ data, error }) {
  assert.ok(error, `not refused: ${JSON.stringify(data)}`)
  return Number(error.statusCode)
}

const bytes = async (blob) => Buffer.from(await blob.arrayBuffer())
const names = (list) => list.map((entry) => entry.name + (entry.id ? '' : '/'))

test('files of every kind of body come back as they went', async () => {
  const files = ada.from('files')
  const content = randomBytes(300_000)
  const web = () => new Blob([content]).stream()
  const form = new FormData()
  form.append('file', new Blob([content]), 'x.bin')
  const bodies = {
    buffer: content,
    array: content.buffer.slice(content.byteOffset, content.byteOffset + content.byteLength),
    view: new Uint8Array(content),
    blob: new Blob([content], { type: 'application/octet-stream' }),
    file: new File([content], 'other name.bin'),
    form,
    'web stream': web(),
    'node stream': Readable.from([content.subarray(0, 1000), content.subarray(1000)]),
    'größe ☃/a b+c&d=e.bin': content,
  }
  for (const [name, body] of Object.entries(bodies)) {
    const stored = ok(await files.upload(`kinds/${name}`, body))
    assert.equal(stored.path, `kinds/${name}`)
    assert.equal(stored.fullPath, `files/kinds/${name}`)
    assert.match(stored.id, /^[0-9a-f-]{36}$/)
    assert.deepEqual(await bytes(ok(await files.download(`kinds/${name}`))), content, name)
  }
  const text = 'Grüße, ☃'
  ok(await files.upload('kinds/text', text, { contentType: 'text/plain;charset=UTF-8' }))
  assert.equal(await ok(await files.download('kinds/text')).text(), text)
  const stream = ok(await files.download('kinds/buffer').asStream())
  const pieces = []
  for await (const piece of stream) pieces.push(piece)
  assert.deepEqual(Buffer.concat(pieces), content)
})

test('what is said of a file is told again', async () => {
  const files = ada.from('files')
  const options = { cacheControl: '60', contentType: 'image/png', metadata: { title: 'ein Bild ☃', tags: [1, null] } }
  for (const [name, body] of [
    ['raw.png', PNG],
    ['form.png', new Blob([PNG], { type: 'image/png' })],
  ]) {
    ok(await files.upload(`said/${name}`, body, options))
    const info = ok(await files.info(`said/${name}`))
    assert.equal(info.name, `said/${name}`)
    assert.equal(info.bucketId, 'files')
    assert.equal(info.size, PNG.length)
    assert.equal(info.contentType, 'image/png')
    assert.equal(info.cacheControl, 'max-age=60')
    assert.equal(info.etag, `"${createHash('sha256').update(PNG).digest('hex')}"`)
    assert.deepEqual(info.metadata, options.metadata)
    assert.ok(Date.parse(info.lastModified) >= Date.parse(info.createdAt))
    assert.equal(ok(await files.exists(`said/${name}`)), true)
  }
  assert.equal((await files.exists('said/none')).data, false)
  assert.equal((await bob.from('files').exists('said/raw.png')).data, false)
  assert.equal(refused(await files.info('said/none')), 404)
  assert.equal(refused(await bob.from('files').info('said/raw.png')), 404)
})

test('a file is replaced where that is wished', async () => {
  const files = ada.from('files')
  ok(await files.upload('again', 'one'))
  assert.equal(refused(await files.upload('again', 'two')), 409)
  assert.equal(refused(await bob.from('files').upload('again', 'two', { upsert: true })), 403)
  const first = ok(await files.info('again'))
  ok(await files.upload('again', 'two', { upsert: true }))
  assert.equal(await ok(await files.download('again')).text(), 'two')
  ok(await files.update('again', 'three'))
  assert.equal(await ok(await files.download('again')).text(), 'three')
  assert.equal(ok(await files.info('again')).id, first.id)
  assert.equal(refused(await files.update('never', 'x')), 404)
})

test('a bucket says what it takes', async () => {
  const avatars = ada.from('avatars')
  ok(await avatars.upload('me.png', new Blob([PNG], { type: 'image/png' })))
  assert.equal(refused(await avatars.upload('large.png', Buffer.alloc(2000), { contentType: 'image/png' })), 413)
  assert.equal(refused(await avatars.upload('large.png', new Blob([Buffer.alloc(200_000)], { type: 'image/png' }))), 413)
  assert.equal(refused(await avatars.upload('text', 'text', { contentType: 'text/plain' })), 415)
  assert.equal(refused(await anonymous.from('avatars').upload('a.png', PNG, { contentType: 'image/png' })), 403)
  assert.equal(refused(await ada.from('nowhere').upload('a', 'a')), 404)
  assert.equal(refused(await ada.from('files').upload('a%00b', 'a')), 400)
})

test('a public address is for everybody, and says whether to save', async () => {
  const address = (options) => anonymous.from('avatars').getPublicUrl('me.png', options).data.publicUrl
  const shown = await fetch(address())
  assert.equal(shown.status, 200)
  assert.equal(shown.headers.get('content-type'), 'image/png')
  assert.equal(shown.headers.get('content-disposition'), null)
  assert.deepEqual(Buffer.from(await shown.arrayBuffer()), PNG)
  const saved = await fetch(address({ download: 'mein Bild ☃.png' }))
  assert.equal(
    saved.headers.get('content-disposition'),
    `attachment; filename="mein Bild _.png"; filename*=UTF-8''mein%20Bild%20%E2%98%83.png`,
  )
  await saved.arrayBuffer()
  const part = await fetch(address(), { headers: { range: 'bytes=1-3' } })
  assert.equal(part.status, 206)
  assert.equal(await part.text(), 'PNG')
  const cached = await fetch(address(), { headers: { 'if-none-match': shown.headers.get('etag') } })
  assert.equal(cached.status, 304)
  const hidden = await fetch(address().replace('/avatars/', '/files/'))
  assert.equal(hidden.status, 400)
  assert.equal((await hidden.json()).statusCode, '404')
})

test('lists show a folder at a time', async () => {
  const files = bob.from('files')
  for (const name of ['b.txt', 'a.txt', 'docs/x.txt', 'docs/y.txt', 'docs/old/z.txt', 'music/1.mp3']) {
    ok(await files.upload(`shelf/${name}`, name, { contentType: 'text/plain' }))
  }
  assert.deepEqual(names(ok(await files.list('shelf'))), ['a.txt', 'b.txt', 'docs/', 'music/'])
  assert.deepEqual(names(ok(await files.list('shelf/docs'))), ['old/', 'x.txt', 'y.txt'])
  assert.deepEqual(names(ok(await files.list('shelf', { limit: 2, offset: 1 }))), ['b.txt', 'docs/'])
  assert.deepEqual(names(ok(await files.list('shelf', { search: 'A' }))), ['a.txt'])
  const order = (column, order) => ({ sortBy: { column, order } })
  assert.deepEqual(names(ok(await files.list('shelf', order('name', 'desc')))), ['music/', 'docs/', 'b.txt', 'a.txt'])
  assert.deepEqual(names(ok(await files.list('shelf', order('created_at', 'asc')))), ['docs/', 'music/', 'b.txt', 'a.txt'])
  const [entry] = ok(await files.list('shelf'))
  assert.equal(entry.metadata.size, 5)
  assert.equal(entry.metadata.mimetype, 'text/plain')
  assert.deepEqual(ok(await ada.from('files').list('shelf')), [])
  assert.equal(refused(await anonymous.from('avatars').list()), 403)

  const seen = { folders: [], objects: [] }
  let cursor
  do {
    const page = ok(await files.listV2({ prefix: 'shelf/', with_delimiter: true, limit: 3, cursor }))
    for (const part of ['folders', 'objects']) seen[part].push(...page[part].map((entry) => entry.name))
    cursor = page.hasNext ? page.nextCursor : undefined
  } while (cursor)
  assert.deepEqual(seen, { folders: ['shelf/docs/', 'shelf/music/'], objects: ['shelf/a.txt', 'shelf/b.txt'] })
  const flat = ok(await files.listV2({ prefix: 'shelf/docs/' }))
  assert.deepEqual(flat.objects.map((entry) => entry.name), ['shelf/docs/old/z.txt', 'shelf/docs/x.txt', 'shelf/docs/y.txt'])
})

test('files move, are copied and go', async () => {
  const files = ada.from('files')
  ok(await files.upload('here/a', 'content', { metadata: { a: 1 } }))
  assert.equal(ok(await files.move('here/a', 'there/b')).message, 'Successfully moved')
  assert.equal(refused(await files.download('here/a').then(told)), 404)
  assert.equal(ok(await files.copy('there/b', 'there/c')).path, 'files/there/c')
  assert.deepEqual(ok(await files.info('there/c')).metadata, { a: 1 })
  assert.equal(refused(await files.copy('there/b', 'there/c')), 409)
  assert.equal(refused(await bob.from('files').copy('there/b', 'mine')), 404)
  assert.equal(refused(await bob.from('files').move('there/b', 'mine')), 404)
  ok(await files.upload('picture.png', PNG, { contentType: 'image/png' }))
  ok(await files.move('picture.png', 'moved.png', { destinationBucket: 'avatars' }))
  assert.equal((await fetch(ada.from('avatars').getPublicUrl('moved.png').data.publicUrl)).status, 200)
  assert.deepEqual(ok(await bob.from('files').remove(['there/b'])), [])
  const gone = ok(await files.remove(['there/b', 'there/c', 'there/none']))
  assert.deepEqual(gone.map((row) => row.name).sort(), ['there/b', 'there/c'])
  assert.equal(gone[0].bucket_id, 'files')
  assert.equal(ok(await files.exists('there/b').then(({ data }) => ({ data, error: null }))), false)
})

/** The client wraps what it cannot read as an answer of storage: the answer itself says more. */
async function told({ data, error }) {
  if (error?.originalError) {
    const { statusCode } = await error.originalError.json()
    return { data, error: { statusCode } }
  }
  return { data, error }
}

test('buckets are for the operator', async () => {
  const name = 'made-by-hand'
  assert.deepEqual(ok(await operator.createBucket(name, { public: false, fileSizeLimit: '20KB', allowedMimeTypes: ['text/*'] })), { name })
  assert.equal(refused(await operator.createBucket(name)), 409)
  assert.equal(refused(await ada.createBucket('mine')), 403)
  const bucket = ok(await operator.getBucket(name))
  assert.equal(bucket.file_size_limit, 20_000)
  assert.deepEqual(bucket.allowed_mime_types, ['text/*'])
  assert.equal(refused(await ada.getBucket(name)), 404)
  const all = (list) => list.map((bucket) => bucket.id)
  assert.deepEqual(all(ok(await operator.listBuckets({ sortColumn: 'name' }))), ['avatars', 'files', name])
  assert.deepEqual(all(ok(await ada.listBuckets())), ['avatars', 'files'])
  assert.deepEqual(all(ok(await operator.listBuckets({ search: 'hand', limit: 1, offset: 0 }))), [name])
  ok(await operator.from(name).upload('a.txt', 'a', { contentType: 'text/plain' }))
  assert.equal(refused(await ada.from(name).upload('b.txt', 'b', { contentType: 'text/plain' })), 404)
  ok(await operator.updateBucket(name, { public: true, fileSizeLimit: null, allowedMimeTypes: null }))
  assert.equal((await fetch(anonymous.from(name).getPublicUrl('a.txt').data.publicUrl)).status, 200)
  assert.equal(refused(await operator.updateBucket('files', { public: true })), 409)
  assert.equal(refused(await operator.deleteBucket(name)), 409)
  ok(await operator.emptyBucket(name))
  assert.deepEqual(ok(await operator.from(name).list()), [])
  ok(await operator.deleteBucket(name))
  assert.equal(refused(await operator.getBucket(name)), 404)
})

test.after(() => console.log(`storage calls: ${calls}`))
