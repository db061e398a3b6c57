// The published clients store files in pieces and by signed addresses, over connections that break and a server that is
// killed.
import test, { after } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import net from 'node:net'
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import * as tus from 'tus-js-client'
import { createClient } from '@supabase/supabase-js'

const need = (name) => process.env[name] ?? assert.fail(`${name} is not set`)
const [ADA, BOB, KEY] = [need('BW_TOKEN_ADA'), need('BW_TOKEN_BOB'), need('BW_PUBLISHABLE')]
const MIB = 1 << 20

// The server is at another port after its restart, and its clients keep their address. `cut` is how many bytes more may
// pass to the server before the connection breaks.
let cut = Infinity
const sockets = new Set()
const through = net.createServer(async (near) => {
  near.on('error', () => {})
  while (fs.existsSync(need('BW_RESTART'))) await new Promise((resolve) => setTimeout(resolve, 20))
  const { hostname, port } = new URL(fs.readFileSync(need('BW_ADDRESS'), 'utf8').trim())
  const far = net.connect(Number(port), hostname)
  for (const [one, other] of [[near, far], [far, near]]) {
    sockets.add(one)
    one.on('error', () => other.destroy())
    one.on('close', () => {
      sockets.delete(one)
      other.destroy()
    })
  }
  near.on('data', (bytes) => {
    cut -= bytes.length
    if (cut < 0) {
      cut = Infinity
      near.resetAndDestroy()
      return
    }
    if (!far.write(bytes)) near.pause()
  })
  far.on('drain', () => near.resume())
  near.on('end', () => far.end())
  far.pipe(near)
})
await new Promise((resolve) => through.listen(0, '127.0.0.1', resolve))
const HERE = `127.0.0.1:${through.address().port}`
const URL_ = `http://${HERE}`

let requests = 0
after(() => {
  through.close()
  for (const socket of sockets) socket.destroy()
  console.log(`tus requests: ${requests}`)
})

const as = (token) =>
  createClient(URL_, KEY, {
    global: { headers: { Authorization: `Bearer ${token}` } },
    auth: { persistSession: false, autoRefreshToken: false },
  }).storage
const [ada, bob, nobody] = [as(ADA), as(BOB), as(KEY)]

/** The value of an answer that is no error. */
function ok({ data, error }) {
  assert.ifError(error)
  return data
}

let files = 0
const fresh = () => `tests/${++files}-${randomBytes(4).toString('hex')}.bin`

/** Options of an upload, and the requests that it makes. */
function options(key, more = {}) {
  const { headers, metadata, ...rest } = more
  return {
    endpoint: `${URL_}/storage/v1/upload/resumable`,
    // What a proxy in front of the server would say.
    headers: { authorization: `Bearer ${ADA}`, apikey: KEY, 'x-forwarded-host': HERE, 'x-forwarded-proto': 'http', ...headers },
    metadata: { bucketName: 'files', objectName: key, contentType: 'application/octet-stream', cacheControl: '3600', ...metadata },
    chunkSize: 6 * MIB,
    retryDelays: [0, 100, 300, 1000, 2000, 3000, 5000],
    removeFingerprintOnSuccess: true,
    storeFingerprintForResuming: false,
    onAfterResponse: () => {
      requests += 1
    },
    ...rest,
  }
}

/** Uploads, and waits until it is done. `during` is called with every piece that has been taken. */
const upload = (content, more, during) =>
  new Promise((resolve, reject) => {
    const it = new tus.Upload(content, {
      ...more,
      onSuccess: () => resolve(it),
      onError: reject,
      onChunkComplete: (size, taken) => during?.(taken, it),
    })
    it.start()
  })

/** The content of an object, as its owner reads it. */
async function content(key, who = ada, bucket = 'files') {
  return Buffer.from(await ok(await who.from(bucket).download(key)).arrayBuffer())
}

/** Has the server killed and started again. */
async function restarted() {
  fs.writeFileSync(need('BW_RESTART'), 'please')
  const deadline = Date.now() + 90_000
  while (fs.existsSync(need('BW_RESTART'))) {
    assert.ok(Date.now() < deadline, 'the server was not restarted')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

test('pieces of 6 MiB become the file', async () => {
  const [key, bytes] = [fresh(), randomBytes(20 * MIB + 7)]
  const pieces = []
  await upload(bytes, options(key), (taken) => pieces.push(taken))
  assert.deepEqual(pieces, [6 * MIB, 12 * MIB, 18 * MIB, 20 * MIB + 7])
  assert.ok(bytes.equals(await content(key)))
  const info = ok(await ada.from('files').info(key))
  assert.equal(info.size, bytes.length)
  assert.equal(info.cacheControl ?? info.cache_control, 'max-age=3600')
})

test('a file comes in one request, with its creation, and has no byte', async () => {
  const [one, two, three] = [fresh(), fresh(), fresh()]
  const bytes = randomBytes(9 * MIB)
  await upload(bytes, options(one, { chunkSize: Infinity }))
  assert.ok(bytes.equals(await content(one)))
  await upload(bytes, options(two, { uploadDataDuringCreation: true, chunkSize: 4 * MIB }))
  assert.ok(bytes.equals(await content(two)))
  await upload(Buffer.alloc(0), options(three))
  assert.equal((await content(three)).length, 0)
})

test('a stream whose length is not known before its end', async () => {
  const [key, bytes] = [fresh(), randomBytes(13 * MIB + 1)]
  const stream = Readable.from((function* () {
    for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000)
  })())
  await upload(stream, options(key, { uploadLengthDeferred: true, chunkSize: 5 * MIB }))
  assert.ok(bytes.equals(await content(key)))
})

test('several files at once', async () => {
  const all = Array.from({ length: 4 }, () => [fresh(), randomBytes(7 * MIB)])
  await Promise.all(all.map(([key, bytes]) => upload(bytes, options(key, { chunkSize: 2 * MIB }))))
  for (const [key, bytes] of all) assert.ok(bytes.equals(await content(key)))
})

test('a connection that breaks twice in the middle of a piece', async () => {
  const [key, bytes] = [fresh(), randomBytes(16 * MIB)]
  cut = 3 * MIB
  let broken = 0
  await upload(bytes, options(key, { chunkSize: 8 * MIB, onShouldRetry: () => ++broken > 0 }), () => {
    if (broken === 1) cut = 5 * MIB
  })
  assert.equal(broken, 2)
  assert.ok(bytes.equals(await content(key)))
})

test('an upload that is left and gone on with by its address', async () => {
  const [key, bytes] = [fresh(), randomBytes(10 * MIB)]
  const address = await new Promise((resolve, reject) => {
    const it = new tus.Upload(bytes, {
      ...options(key, { chunkSize: 3 * MIB }),
      onError: reject,
      onChunkComplete: (size, taken) => {
        if (taken === 6 * MIB) it.abort().then(() => resolve(it.url), reject)
      },
    })
    it.start()
  })
  assert.ok(address.startsWith(`${URL_}/storage/v1/upload/resumable/`), address)
  assert.ok((await ada.from('files').download(key)).error)
  let first
  await upload(bytes, options(key, { uploadUrl: address, endpoint: null }), (taken) => (first ??= taken))
  assert.ok(first > 6 * MIB, `${first}`)
  assert.ok(bytes.equals(await content(key)))
})

test('a server that is killed in the middle', async () => {
  const [key, bytes] = [fresh(), randomBytes(24 * MIB)]
  let restart
  await upload(bytes, options(key), (taken) => {
    if (taken === 12 * MIB) restart = restarted()
  })
  await restart
  assert.ok(restart)
  assert.ok(bytes.equals(await content(key)))
})

test("an upload that is given up, and one of somebody else's", async () => {
  const [key, bytes] = [fresh(), randomBytes(4 * MIB)]
  const it = await new Promise((resolve, reject) => {
    const it = new tus.Upload(bytes, {
      ...options(key, { chunkSize: MIB }),
      onError: reject,
      onChunkComplete: (size, taken) => {
        if (taken === 2 * MIB) it.abort().then(() => resolve(it), reject)
      },
    })
    it.start()
  })
  const stranger = options(key, { uploadUrl: it.url, endpoint: null, headers: { authorization: `Bearer ${BOB}` } })
  await assert.rejects(upload(bytes, stranger), /404|invalid or missing offset|unexpected response/)
  await it.abort(true)
  await assert.rejects(upload(bytes, options(key, { uploadUrl: it.url, endpoint: null, retryDelays: [] })))
  assert.ok((await ada.from('files').download(key)).error)
})

test('what is refused is not tried again', async () => {
  const status = async (content, more) => {
    const error = await upload(content, more).then(() => assert.fail('stored'), (error) => error)
    return error.originalResponse?.getStatus()
  }
  const png = { bucketName: 'images', contentType: 'image/png' }
  assert.equal(await status(randomBytes(2 * MIB), options(fresh(), { metadata: png })), 413)
  const text = { bucketName: 'images', contentType: 'text/plain' }
  assert.equal(await status(Buffer.from('text'), options(fresh(), { metadata: text })), 415)
  assert.equal(await status(Buffer.from('x'), options('../x')), 400)
  assert.equal(await status(Buffer.from('x'), options(fresh(), { metadata: { bucketName: 'nowhere' } })), 404)
  const bad = { authorization: 'Bearer x' }
  assert.equal(await status(Buffer.from('x'), options(fresh(), { headers: bad })), 403)
})

test('an object that is there is replaced where that is asked for', async () => {
  const key = fresh()
  await upload(Buffer.from('one'), options(key))
  const again = { retryDelays: [] }
  await assert.rejects(upload(Buffer.from('two'), options(key, again)), /409/)
  await upload(Buffer.from('three'), options(key, { headers: { 'x-upsert': 'true' } }))
  assert.equal((await content(key)).toString(), 'three')
})

test('signed addresses', async () => {
  const key = `${fresh()} größe ☃`
  ok(await ada.from('files').upload(key, Buffer.from('signed'), { contentType: 'text/plain' }))
  const { signedUrl } = ok(await ada.from('files').createSignedUrl(key, 60))
  assert.equal(await (await fetch(signedUrl)).text(), 'signed')
  const named = ok(await ada.from('files').createSignedUrl(key, 60, { download: 'name it.txt' }))
  assert.match((await fetch(named.signedUrl)).headers.get('content-disposition'), /attachment.*name/)
  assert.ok((await bob.from('files').createSignedUrl(key, 60)).error)
  assert.ok((await ada.from('files').createSignedUrl(key, 0)).error)
  const all = ok(await ada.from('files').createSignedUrls([key, 'nothing'], 60))
  assert.equal(await (await fetch(all[0].signedUrl)).text(), 'signed')
  assert.deepEqual([all[0].error, all[1].signedUrl], [null, null])
  assert.ok(all[1].error)
})

test('signed uploads', async () => {
  for (const body of [Buffer.from('signed'), new Blob(['signed'], { type: 'text/plain' })]) {
    const key = `${fresh()} für alle`
    const { token, path, signedUrl } = ok(await ada.from('files').createSignedUploadUrl(key))
    assert.equal(path, key)
    assert.ok(signedUrl.includes(token))
    ok(await nobody.from('files').uploadToSignedUrl(path, token, body, { contentType: 'text/plain' }))
    assert.equal((await content(key)).toString(), 'signed')
    assert.ok((await nobody.from('files').uploadToSignedUrl(path, token, body)).error)
    assert.ok((await nobody.from('files').uploadToSignedUrl(`${path}x`, token, body)).error)
    assert.ok((await ada.from('files').createSignedUploadUrl(key)).error)
    const again = ok(await ada.from('files').createSignedUploadUrl(key, { upsert: true }))
    ok(await nobody.from('files').uploadToSignedUrl(path, again.token, Buffer.from('again'), { upsert: true }))
    assert.equal((await content(key)).toString(), 'again')
  }
})

test('a signed upload in pieces', async () => {
  const [key, bytes] = [fresh(), randomBytes(8 * MIB)]
  const { token } = ok(await ada.from('files').createSignedUploadUrl(key))
  const more = options(key, { endpoint: `${URL_}/storage/v1/upload/resumable/sign`, chunkSize: 3 * MIB })
  more.headers = { 'x-signature': token, 'x-forwarded-host': HERE, 'x-forwarded-proto': 'http' }
  await upload(bytes, more)
  assert.ok(bytes.equals(await content(key)))
  await assert.rejects(upload(bytes, { ...more, retryDelays: [] }), /404/)
})
