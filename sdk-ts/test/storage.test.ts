import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import {
  type AnySchema,
  BasewrightError,
  type Bucket,
  type Core,
  type Options,
  type Session,
  type Store,
  connect,
  storage,
} from '../src/index.js'
import { type Line, line } from './proxy.js'
import { type Server, eventually, serve } from './server.js'

const PROJECT = `
auth: { signup: { anonymous: true }, rate_limits: { anonymous: false } }
limits: { upload: 64MB }
buckets:
  files:
    policies:
      read: [{ role: authenticated, when: owner == auth.id }]
      create: [{ role: authenticated, check: owner == auth.id }]
      update: [{ role: authenticated, when: owner == auth.id, check: owner == auth.id }]
      delete: [{ role: authenticated, when: owner == auth.id }]
  pictures:
    public: true
    max_size: 1MB
    accept: [image/*]
    policies:
      read: [{ role: authenticated, when: owner == auth.id }]
      create: [{ role: authenticated, check: owner == auth.id }]
  cupboard:
    quota: 1MB
    policies:
      create: [{ role: authenticated }]
`
const [KIB, MIB] = [1 << 10, 1 << 20]
const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
)

let server: Server
let through: Line
let ada: Core
let bob: Core
before(async () => {
  server = await serve({ 'basewright.yaml': PROJECT })
  through = await line(server.url)
  ;[ada, bob] = await Promise.all([somebody(), somebody()])
})
after(async () => {
  through.close()
  await server.stop()
})

const kept = (): Store & { names(): string[] } => {
  const texts = new Map<string, string>()
  return {
    getItem: (key) => texts.get(key) ?? null,
    setItem: (key, value) => void texts.set(key, value),
    removeItem: (key) => void texts.delete(key),
    names: () => [...texts.keys()].filter((key) => key.startsWith('basewright:upload:')),
  }
}

/** Somebody who is signed in, and whose requests go by the line. */
async function somebody(options: Options = {}): Promise<Core> {
  const core = connect(through.url, server.publishable, { store: kept(), ...options })
  await core.session.set(await core.json<Session>({ method: 'POST', path: '/auth/v1/signup', json: {} }), 'signed_in')
  return core
}

/** The same person, on a page that was loaded again. */
async function reloaded(core: Core, options: Options = {}): Promise<Core> {
  const again = connect(core.url, core.key, { store: core.options.store!, ...options })
  await again.session.set(await core.session.get(), 'signed_in')
  return again
}

const files = (core: Core): Bucket => storage(core).from('files')
const bytes = async (blob: Promise<Blob>): Promise<Buffer> => Buffer.from(await (await blob).arrayBuffer())
const refused = async (work: Promise<unknown>): Promise<string> => {
  const error: unknown = await work.then(
    () => assert.fail('it was not refused'),
    (error: unknown) => error,
  )
  assert.ok(error instanceof BasewrightError, String(error))
  return error.code
}
let count = 0
const fresh = (): string => `tests/${++count}.bin`

/** Requests that went out, with how many bytes each was about to send. */
function watched(): { fetch: typeof fetch; asked: { method: string; path: string; size: number; status?: number }[] } {
  const asked: { method: string; path: string; size: number; status?: number }[] = []
  return {
    asked,
    fetch: async (input, init) => {
      const entry: (typeof asked)[number] = {
        method: init?.method ?? 'GET',
        path: new URL(String(input)).pathname,
        size: init?.body instanceof Blob ? init.body.size : 0,
      }
      asked.push(entry)
      const response = await fetch(input, init)
      entry.status = response.status
      return response
    },
  }
}

/** Progress, which must never go back. */
function climbing(): { onProgress: (at: { sent: number; total: number }) => void; steps: number[] } {
  const steps: number[] = []
  return {
    steps,
    onProgress: ({ sent }) => {
      assert.ok(sent >= (steps.at(-1) ?? 0), `progress went from ${steps.at(-1)} back to ${sent}`)
      steps.push(sent)
    },
  }
}

test('every kind of content comes back as it went, in one request or in pieces', async () => {
  const content = randomBytes(300_000)
  const contents = {
    buffer: content,
    array: content.buffer.slice(content.byteOffset, content.byteOffset + content.byteLength) as ArrayBuffer,
    view: new Uint8Array(content),
    blob: new Blob([content]),
    file: new File([content], 'another name.bin'),
  }
  for (const [name, body] of Object.entries(contents)) {
    for (const resumable of [false, true]) {
      const key = `kinds/${name}/${resumable}`
      assert.deepEqual(await files(ada).upload(key, body, { resumable }), { key })
      assert.ok(content.equals(await bytes(files(ada).download(key))), key)
    }
  }
  await files(ada).upload('kinds/stream', new Blob([content]).stream())
  assert.ok(content.equals(await bytes(files(ada).download('kinds/stream'))))
  for (const resumable of [false, true]) {
    await files(ada).upload(`kinds/text/${resumable}`, 'Grüße, ☃', { resumable })
    const text = await files(ada).download(`kinds/text/${resumable}`)
    assert.equal(await text.text(), 'Grüße, ☃')
    assert.match(text.type, /^text\/plain/)
    await files(ada).upload(`kinds/nothing/${resumable}`, new Uint8Array(), { resumable })
    assert.equal((await files(ada).download(`kinds/nothing/${resumable}`)).size, 0)
  }
  await files(ada).upload('kinds/no stream', new Blob([]).stream())
  assert.equal((await files(ada).info('kinds/no stream')).size, 0)
})

test('what is said of a file is told again', async () => {
  for (const resumable of [false, true]) {
    const key = `said/${resumable} ☃.png`
    const metadata = { title: 'ein Bild ☃', tags: [1, null] }
    await files(ada).upload(key, PNG, { type: 'image/png', metadata, maxAge: 60, resumable })
    const info = await files(ada).info(key)
    assert.equal(info.key, key)
    assert.deepEqual(info.metadata, metadata)
    assert.deepEqual([info.size, info.type, info.cache_control], [PNG.length, 'image/png', 'max-age=60'])
    assert.ok(Date.parse(info.updated_at) >= Date.parse(info.created_at))
    const {
      files: [listed],
    } = await files(ada).list(key)
    assert.deepEqual(
      [listed?.key, listed?.id, listed?.size, listed?.type, listed?.etag, listed?.created_at, listed?.updated_at],
      [info.key, info.id, info.size, info.type, info.etag, info.created_at, info.updated_at],
    )
  }
  assert.equal(await files(ada).exists('said/true ☃.png'), true)
  assert.equal(await files(ada).exists('said/none'), false)
  assert.equal(await refused(files(ada).info('said/none')), 'NoSuchKey')
})

test('a part of a file, its progress, and its content as a stream', async () => {
  const [key, content] = [fresh(), randomBytes(2 * MIB)]
  await files(ada).upload(key, content)
  assert.ok(content.subarray(10, 21).equals(await bytes(files(ada).download(key, { range: [10, 20] }))))
  assert.ok(content.subarray(2_000_000).equals(await bytes(files(ada).download(key, { range: [2_000_000] }))))
  assert.equal(await refused(files(ada).download(key, { range: [9_000_000] })), 'InvalidRange')
  const seen: number[] = []
  await files(ada).download(key, {
    onProgress: ({ received, total }) => {
      assert.equal(total, content.length)
      seen.push(received)
    },
  })
  assert.ok(seen.length > 1 && seen.at(-1) === content.length)
  const stop = new AbortController()
  const stopped = files(ada).download(key, { signal: stop.signal, onProgress: () => stop.abort() })
  assert.equal(await refused(stopped), 'aborted')
  assert.equal(await refused(files(ada).download(key, { signal: AbortSignal.abort() })), 'aborted')
  const response = await files(ada).stream(key)
  assert.equal(response.bodyUsed, false)
  assert.ok(content.equals(Buffer.from(await response.arrayBuffer())))
})

test('a download whose line breaks is an error, and not a shorter file', async () => {
  const key = fresh()
  await files(ada).upload(key, randomBytes(4 * MIB))
  let broken = false
  const download = files(ada).download(key, {
    onProgress: () => {
      if (!broken) through.down()
      broken = true
    },
  })
  assert.equal(await refused(download), 'network')
  through.up()
})

test('a file is replaced where that is wished', async () => {
  for (const resumable of [false, true]) {
    const key = fresh()
    await files(ada).upload(key, 'one', { resumable })
    assert.equal(await refused(files(ada).upload(key, 'two', { resumable })), 'KeyAlreadyExists')
    await files(ada).upload(key, 'three', { resumable, upsert: true })
    assert.equal(await (await files(ada).download(key)).text(), 'three')
  }
})

test('lists are of a folder or of all below it, page by page', async () => {
  const names = ['b', 'a', 'docs/x', 'docs/y', 'docs/old/z', 'music/1']
  for (const name of names) await files(bob).upload(`shelf/${name}`, name)
  const page = await files(bob).list('shelf/')
  assert.deepEqual(
    page.files.map(({ key }) => key),
    ['shelf/a', 'shelf/b'],
  )
  assert.deepEqual([page.folders, page.cursor], [['shelf/docs/', 'shelf/music/'], null])
  const found = await files(bob).list('shelf/docs/x')
  assert.deepEqual(
    found.files.map(({ key, size }) => [key, size]),
    [['shelf/docs/x', 6]],
  )
  const first = await files(bob).list('shelf/', { deep: true, limit: 4, order: '-name' })
  const second = await files(bob).list('shelf/', { deep: true, limit: 4, order: '-name', cursor: first.cursor })
  const sorted = names.map((name) => `shelf/${name}`).sort()
  assert.deepEqual(
    [...first.files, ...second.files].map(({ key }) => key),
    sorted.toReversed(),
  )
  assert.equal(second.cursor, null)
  const all: string[] = []
  for await (const { key } of files(bob).each('shelf/', { limit: 2, order: 'created_at' })) all.push(key)
  assert.deepEqual(
    all,
    names.map((name) => `shelf/${name}`),
  )
  assert.deepEqual((await files(ada).list('shelf/')).files, [])
  assert.equal(await refused(files(bob).list('', { limit: 0 })), 'InvalidParameter')
})

test('files move, are copied and go', async () => {
  await files(ada).upload('here/a', 'content', { metadata: { a: 1 } })
  assert.deepEqual(await files(ada).move('here/a', 'there/b'), { key: 'there/b' })
  assert.equal(await files(ada).exists('here/a'), false)
  assert.deepEqual(await files(ada).copy('there/b', 'there/c'), { key: 'there/c' })
  assert.deepEqual((await files(ada).info('there/c')).metadata, { a: 1 })
  assert.equal(await refused(files(ada).copy('there/b', 'there/c')), 'KeyAlreadyExists')
  await files(ada).copy('there/b', 'there/c', { upsert: true })
  assert.equal(await refused(files(bob).move('there/b', 'mine')), 'NoSuchKey')
  await files(ada).upload('picture', PNG, { type: 'image/png' })
  await files(ada).move('picture', 'moved', { bucket: 'pictures' })
  assert.equal((await fetch(storage(ada).from('pictures').publicUrl('moved'))).status, 200)
  assert.deepEqual(await files(bob).remove('there/b'), [])
  assert.deepEqual((await files(ada).remove(['there/b', 'there/c', 'there/none'])).sort(), ['there/b', 'there/c'])
  assert.deepEqual(await files(ada).remove('there/b'), [])
})

test('a stranger reads nothing, neither a file nor that it is there', async () => {
  const key = fresh()
  await files(ada).upload(key, 'hers alone')
  const nobody = connect(through.url, server.publishable, { store: kept() })
  for (const [who, code] of [
    [bob, 'NoSuchKey'],
    [nobody, 'NoSuchBucket'],
  ] as const) {
    assert.equal(await refused(files(who).download(key)), code)
    assert.equal(await refused(files(who).info(key)), code)
    assert.equal(await refused(files(who).signedUrl(key, 60)), code)
    assert.equal(await files(who).exists(key), false)
    assert.deepEqual(
      await files(who)
        .signedUrls([key], 60)
        .safe()
        .then(({ data }) => data),
      [{ key, url: null }],
    )
  }
  assert.equal(await refused(files(bob).upload(key, 'his', { upsert: true })), 'AccessDenied')
  assert.notEqual((await fetch(files(ada).publicUrl(key))).status, 200)
})

test('a public address is for everybody, and says whether to save', async () => {
  const pictures = storage(ada).from('pictures')
  await pictures.upload('ein Bild?.png', PNG)
  const shown = await fetch(pictures.publicUrl('ein Bild?.png'))
  assert.deepEqual([shown.status, shown.headers.get('content-disposition')], [200, null])
  const saved = await fetch(pictures.publicUrl('ein Bild?.png', { download: 'a&b=☃.png' }))
  assert.match(saved.headers.get('content-disposition') ?? '', /^attachment; .*a%26b%3D%E2%98%83\.png/)
  const plain = await fetch(pictures.publicUrl('ein Bild?.png', { download: true }))
  assert.match(plain.headers.get('content-disposition') ?? '', /^attachment/)
})

test('a signed link opens one file for a while', async () => {
  const key = 'signed/größe 100% #1?.txt'
  await files(ada).upload(key, 'signed')
  const link = await files(ada).signedUrl(key, 60, { download: 'it.txt' })
  const response = await fetch(link)
  assert.equal(await response.text(), 'signed')
  assert.match(response.headers.get('content-disposition') ?? '', /attachment.*it\.txt/)
  assert.equal((await fetch(link.replace('/signed/', '/other/'))).status, 400)
  const both = await files(ada).signedUrls([key, 'none', '../x'], 60)
  assert.deepEqual(
    both.map(({ key, url }) => [key, url === null]),
    [
      [key, false],
      ['none', true],
      ['../x', true],
    ],
  )
  assert.equal(await (await fetch(both[0]!.url!)).text(), 'signed')
  const short = await files(ada).signedUrl(key, 1)
  const ended = await eventually('the link ends', async () => {
    const answer = await fetch(short)
    const text = await answer.text()
    return answer.ok ? undefined : (JSON.parse(text) as { code: string })
  })
  assert.equal(ended.code, 'ExpiredToken')
  assert.equal(await refused(files(ada).signedUrl(key, 0)), 'InvalidParameter')
})

test('somebody else uploads with the token of a signed upload, which is in no address', async () => {
  const { fetch: watchedFetch, asked } = watched()
  const nobody = connect(through.url, server.publishable, { store: kept(), fetch: watchedFetch })
  const content = randomBytes(2 * MIB)
  const { key, token } = await files(ada).signedUpload('for/you ☃')
  through.cutAfter(MIB)
  assert.deepEqual(await files(nobody).uploadSigned(key, token, content, { type: 'image/x-odd' }), { key })
  assert.ok(content.equals(await bytes(files(ada).download(key))))
  assert.equal((await files(ada).info(key)).type, 'image/x-odd')
  assert.ok(asked.length > 2 && asked.every(({ path }) => !path.includes(token)))
  assert.equal(await refused(files(nobody).uploadSigned(key, token, content)), 'NoSuchUpload')
  assert.equal(await refused(files(ada).signedUpload(key)), 'KeyAlreadyExists')
  const again = await files(ada).signedUpload(key, { upsert: true })
  assert.equal(await refused(files(nobody).uploadSigned('another', again.token, 'x')), 'InvalidUploadSignature')
  await files(nobody).uploadSigned(key, again.token, 'short')
  assert.equal(await (await files(ada).download(key)).text(), 'short')
  const plain = await files(ada).signedUpload('by/plain put')
  assert.equal((await fetch(plain.url, { method: 'PUT', body: 'put' })).status, 200)
  assert.equal(await (await files(ada).download(plain.key)).text(), 'put')
})

test('what a bucket does not take is refused, by its code', async () => {
  for (const resumable of [false, true]) {
    const [pictures, cupboard] = [storage(ada).from('pictures'), storage(ada).from('cupboard')]
    assert.equal(
      await refused(pictures.upload(fresh(), randomBytes(2 * MIB), { type: 'image/png', resumable })),
      'EntityTooLarge',
    )
    assert.equal(await refused(pictures.upload(fresh(), 'text', { resumable })), 'InvalidMimeType')
    const full = cupboard.upload(fresh(), randomBytes(MIB + 1), { resumable })
    assert.match(await refused(full), /^(QuotaExceeded|EntityTooLarge)$/)
    assert.equal(await refused(storage(ada).from('nowhere').upload('a', 'a', { resumable })), 'NoSuchBucket')
    const metadata = { long: 'x'.repeat(20_000) }
    assert.match(await refused(files(ada).upload(fresh(), 'x', { metadata, resumable })), /./)
  }
})

test('a line that breaks five times in the middle costs little, and progress never goes back', async () => {
  const [key, content] = [fresh(), randomBytes(20 * MIB)]
  const { fetch: watchedFetch, asked } = watched()
  const core = await reloaded(ada, { fetch: watchedFetch })
  const { steps, onProgress } = climbing()
  const [before, cuts] = [through.sent(), through.cuts()]
  through.cutAfter(1_500_000, 3 * MIB, 100_000, 5 * MIB, 4 * MIB)
  await files(core).upload(key, content, { onProgress })
  assert.equal(through.cuts() - cuts, 5)
  assert.ok(content.equals(await bytes(files(ada).download(key))))
  assert.equal(steps.at(-1), content.length)
  assert.ok(steps.length >= 20, `${steps}`)
  const twice = through.sent() - before - content.length
  assert.ok(twice < 5 * MIB + 200 * KIB, `${twice} bytes more than the file has`)
  console.log(
    `# 20 MiB over a line that broke 5 times: ${asked.length} requests, ${Math.round(twice / KIB)} KiB more than the file`,
  )
})

test('a stream is stored whole or not at all', async () => {
  const [key, content] = [fresh(), randomBytes(7 * MIB + 11)]
  const { steps, onProgress } = climbing()
  through.cutAfter(2_500_000, 2 * MIB)
  const cuts = through.cuts()
  let at = 0
  const stream = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      if (at >= content.length) return controller.close()
      controller.enqueue(new Uint8Array(content.subarray(at, (at += 100_000))))
    },
  })
  await files(ada).upload(key, stream, { onProgress })
  assert.equal(through.cuts() - cuts, 2)
  assert.equal(steps.at(-1), content.length)
  assert.ok(content.equals(await bytes(files(ada).download(key))))
  const broken = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.error(new Error('the disk is gone')),
  })
  assert.equal(await refused(files(ada).upload(fresh(), broken)), 'invalid_request')
})

test('a server that is killed in the middle is waited for', async () => {
  const [key, content] = [fresh(), randomBytes(16 * MIB)]
  const { steps, onProgress } = climbing()
  let restarted: Promise<void> | undefined
  await files(ada).upload(key, content, {
    onProgress: (at) => {
      onProgress(at)
      if (at.sent >= 6 * MIB) restarted ??= server.kill().then(() => server.start())
    },
  })
  assert.ok(restarted)
  await restarted
  assert.equal(steps.at(-1), content.length)
  assert.ok(content.equals(await bytes(files(ada).download(key))))
})

test('a file goes on where it stood after its page was loaded again, and another one of that name does not', async () => {
  const [key, content] = [fresh(), randomBytes(8 * MIB)]
  const chosen = (content: Buffer, lastModified = 1): File =>
    new File([new Uint8Array(content)], 'holiday.jpg', { lastModified })
  const half = async (): Promise<void> => {
    const leave = new AbortController()
    const onProgress = ({ sent }: { sent: number }): void => void (sent >= 4 * MIB && leave.abort())
    assert.equal(
      await refused(files(ada).upload(key, chosen(content), { onProgress, signal: leave.signal })),
      'aborted',
    )
  }
  const store = ada.options.store as ReturnType<typeof kept>
  const sent = async (file: File): Promise<number> => {
    const { fetch: watchedFetch, asked } = watched()
    const { onProgress } = climbing()
    await files(await reloaded(ada, { fetch: watchedFetch })).upload(key, file, { onProgress })
    return asked.filter(({ method }) => method === 'PATCH').reduce((sum, { size }) => sum + size, 0)
  }
  await half()
  assert.equal(store.names().length, 1)
  const rest = await sent(chosen(content))
  assert.ok(rest <= 4 * MIB, `${rest} bytes were sent after the page was loaded again`)
  assert.deepEqual(store.names(), [])
  assert.ok(content.equals(await bytes(files(ada).download(key))))
  console.log(`# of 8 MiB, ${rest} bytes were sent after the reload`)
  await files(ada).remove(key)

  await half()
  const other = randomBytes(8 * MIB)
  assert.equal(await sent(chosen(other, 2)), other.length)
  assert.ok(other.equals(await bytes(files(ada).download(key))))
})

test('an upload that is not there any more begins anew', async () => {
  const [key, content] = [fresh(), randomBytes(2 * MIB)]
  const file = new File([content], 'x', { lastModified: 1 })
  const leave = new AbortController()
  await refused(
    files(ada).upload(key, file, { signal: leave.signal, onProgress: ({ sent }) => void (sent > 0 && leave.abort()) }),
  )
  const store = ada.options.store as ReturnType<typeof kept>
  const [name] = store.names().filter((name) => name.includes(key))
  await ada.send({
    method: 'DELETE',
    path: `/storage/v1/upload/resumable/${String(store.getItem(name!))}`,
    headers: { 'tus-resumable': '1.0.0' },
  })
  await files(ada).upload(key, file, { resumable: true })
  assert.ok(content.equals(await bytes(files(ada).download(key))))
})

test('an upload that one has begun is not gone on with as another, and not begun anew', async () => {
  const store = kept()
  const [core, key] = [await somebody({ store }), fresh()]
  const file = new File([new Uint8Array(randomBytes(2 * MIB))], 'x', { lastModified: 1 })
  const [mine, other] = [(await core.session.get())!, (await bob.session.get())!]
  let switched = false
  const onProgress = ({ sent }: { sent: number }): void => {
    if (switched || sent === 0) return
    switched = true
    void core.session.set(other)
  }
  const error = await files(core).upload(key, file, { onProgress, resumable: true }).catch((error) => error)
  assert.ok(switched && error instanceof BasewrightError, String(error))
  assert.equal(await files(bob).exists(key), false)
  // Nor after a reload, from where it was kept.
  await core.session.set(mine)
  const leave = new AbortController()
  const half = ({ sent }: { sent: number }): void => void (sent > 0 && leave.abort())
  assert.equal(await refused(files(core).upload(key, file, { onProgress: half, signal: leave.signal })), 'aborted')
  assert.equal(store.names().length, 1)
  await core.session.set(other)
  const { fetch: watchedFetch, asked } = watched()
  await files(await reloaded(core, { fetch: watchedFetch })).upload(key, file, { resumable: true })
  assert.deepEqual([asked[0]!.method, store.names().length], ['POST', 1])
  assert.equal(await files(bob).exists(key), true)
})

test('an upload that is stopped leaves nothing, unless it may be gone on with', async () => {
  const { fetch: watchedFetch, asked } = watched()
  const core = await reloaded(ada, { fetch: watchedFetch })
  const stop = async (body: Blob, discard?: boolean): Promise<void> => {
    asked.length = 0
    const leave = new AbortController()
    const onProgress = ({ sent }: { sent: number }): void => void (sent > 0 && leave.abort())
    const options = { onProgress, signal: leave.signal, ...(discard === undefined ? {} : { discard }) }
    assert.equal(await refused(files(core).upload(fresh(), body, options)), 'aborted')
  }
  const content = new Uint8Array(randomBytes(3 * MIB))
  const ended = (): boolean => asked.some(({ method, status }) => method === 'DELETE' && status === 204)
  await stop(new Blob([content]))
  assert.ok(ended())
  await stop(new File([content], 'a'))
  assert.ok(!ended())
  await stop(new File([content], 'a'), true)
  assert.ok(ended())
  // In the middle of a piece, which the server may still be writing.
  asked.length = 0
  const leave = new AbortController()
  const inTheMiddle = connect(core.url, core.key, {
    store: ada.options.store!,
    fetch: (input, init) => {
      const answer = watchedFetch(input, init)
      if (asked.length === 3) {
        const before = through.sent()
        void eventually('a part of the piece is sent', () => {
          if (through.sent() < before + 300_000) return undefined
          leave.abort()
          return true
        })
      }
      return answer
    },
  })
  const large = new Blob([content, content, content, content, content, content])
  assert.equal(await refused(files(inTheMiddle).upload(fresh(), large, { signal: leave.signal })), 'aborted')
  assert.ok(ended())
  asked.length = 0
  assert.equal(await refused(files(core).upload(fresh(), content, { signal: AbortSignal.abort() })), 'aborted')
  assert.equal(
    await refused(files(core).upload(fresh(), content, { signal: AbortSignal.abort(), resumable: true })),
    'aborted',
  )
})

test('two uploads of one key: one wins, the other is told', async () => {
  const key = fresh()
  const [one, two] = [randomBytes(4 * MIB), randomBytes(4 * MIB)] as const
  const outcomes = await Promise.all([one, two].map((body) => files(ada).upload(key, body, { resumable: true }).safe()))
  const [lost] = outcomes.filter(({ error }) => error !== null)
  assert.equal(outcomes.filter(({ error }) => error !== null).length, 1)
  assert.equal(lost?.error?.code, 'KeyAlreadyExists')
  const won = outcomes[0]?.error ? two : one
  assert.ok(won.equals(await bytes(files(ada).download(key))))
})

test('the same file in two tabs becomes one file', async () => {
  const [key, content] = [fresh(), randomBytes(4 * MIB)]
  const file = (): File => new File([content], 'x', { lastModified: 1 })
  const tabs = await Promise.all([reloaded(ada), reloaded(ada)])
  const outcomes = await Promise.all(tabs.map((tab) => files(tab).upload(key, file(), { resumable: true }).safe()))
  assert.ok(outcomes.some(({ error }) => error === null))
  for (const { error } of outcomes) assert.match(error?.code ?? 'KeyAlreadyExists', /^KeyAlreadyExists$/)
  assert.ok(content.equals(await bytes(files(ada).download(key))))
})

test('a token that ran out, or is refused, is renewed on the way', async () => {
  for (const resumable of [false, true]) {
    for (const stale of ['expires_at', 'access_token'] as const) {
      const core = await somebody()
      const session = (await core.session.get())!
      await core.session.set(
        { ...session, ...(stale === 'expires_at' ? { expires_at: 1 } : { access_token: `${session.access_token}x` }) },
        'updated',
      )
      const key = fresh()
      await files(core).upload(key, 'content', { resumable })
      assert.equal((await files(core).info(key)).size, 7)
      const renewed = (await core.session.get())!
      assert.ok(renewed.expires_at > 1 && renewed.refresh_token !== session.refresh_token)
    }
  }
})

test('a file that is gone on with by a token that is refused is stored all the same', async () => {
  const [core, key, content] = [await somebody(), fresh(), randomBytes(2 * MIB)]
  const file = new File([new Uint8Array(content)], 'x', { lastModified: 1 })
  const leave = new AbortController()
  const onProgress = ({ sent }: { sent: number }): void => void (sent > 0 && leave.abort())
  assert.equal(await refused(files(core).upload(key, file, { onProgress, signal: leave.signal })), 'aborted')
  const session = (await core.session.get())!
  await core.session.set({ ...session, access_token: `${session.access_token}x` }, 'updated')
  await files(core).upload(key, file, { resumable: true })
  assert.ok(content.equals(await bytes(files(core).download(key))))
})

test('odd names are names, and never another path', async () => {
  const odd = [
    'a b',
    'a+b',
    'a%20b',
    '%',
    '%2e%2e',
    '100%',
    'a?b',
    '?',
    'a#b',
    '#',
    'a&b=c',
    'a;b',
    'a:b',
    'a,b',
    "a'b",
    'a"b',
    'a*b',
    'a|b',
    'a<b>',
    '(a)',
    '[a]',
    '{a}',
    '$a',
    '@a',
    '!a',
    '~a',
    '^a',
    '`a`',
    'größe',
    '☃',
    '日本語',
    '👩‍👩‍👧',
    'עברית',
    '...',
    '..a',
    'a..',
    '.hidden',
    'CON',
    '-rf',
    '__proto__',
    'constructor',
    ' a ',
    'a%2Fb',
    'a%00b',
    'x/a b/y',
    'list',
    'sign/a',
    'public/files/a',
    'a=',
    'é',
  ]
  assert.ok(odd.length >= 40)
  const round = async (name: string, at: number): Promise<void> => {
    const key = `odd/${name}`
    assert.deepEqual(await files(ada).upload(key, text(at), { resumable: true }), { key: key.normalize() })
    assert.equal(await (await files(ada).download(key)).text(), text(at), key)
    assert.equal((await files(ada).info(key)).key, key.normalize())
    const { files: listed } = await files(ada).list(key)
    assert.ok(
      listed.some((file) => file.key === key.normalize()),
      key,
    )
    assert.equal(await (await fetch(await files(ada).signedUrl(key, 60))).text(), text(at), key)
    const [both] = await files(ada).signedUrls([key], 60)
    assert.equal(await (await fetch(both!.url!)).text(), text(at), key)
    assert.deepEqual(await files(ada).remove(key), [key.normalize()])
    // At the top, where nothing stands before it.
    await files(ada).upload(name, text(at))
    assert.equal(await (await files(ada).download(name)).text(), text(at), name)
    await files(ada).move(name, `moved/${name}`)
    assert.deepEqual(await files(ada).remove(`moved/${name}`), [`moved/${name}`.normalize()])
  }
  await Promise.all(odd.map(round))
  const none = [
    '',
    '.',
    '..',
    '/',
    '/a',
    'a/',
    'a//b',
    'a/./b',
    'a/../b',
    '../files/a',
    '../../rest',
    'a\\b',
    'a\0b',
    'a\nb',
    'a\ud800b',
  ]
  const { fetch: watchedFetch, asked } = watched()
  const core = await reloaded(ada, { fetch: watchedFetch })
  await files(ada).upload('a', 'kept')
  for (const key of none) {
    for (const work of [
      () => files(core).upload(key, 'x'),
      () => files(core).upload(key, 'x', { resumable: true }),
      () => files(core).download(key),
      () => files(core).info(key),
      () => files(core).exists(key),
      () => files(core).signedUrl(key, 60),
      () => files(core).signedUpload(key),
    ]) {
      assert.match(
        await refused(work()),
        key.includes('\ud800') ? /^invalid_request$/ : /^InvalidKey$/,
        `${JSON.stringify(key)} ${work}`,
      )
    }
    assert.match(await refused(files(core).move('a', key)), /^Invalid(Key|Request)$/, JSON.stringify(key))
  }
  for (const bucket of ['..', '.', '', 'files/..', 'a/b', '../../rest/v1']) {
    assert.match(await refused(storage(core).from(bucket).download('a')), /^(InvalidBucketName|NoSuchBucket)$/, bucket)
  }
  assert.ok(asked.every(({ path }) => path.startsWith('/storage/v1/')))
  assert.equal(await (await files(ada).download('a')).text(), 'kept')
})

const text = (at: number): string => `content ${at}`

test('only the buckets of the project are there to the compiler', () => {
  const typed = storage(connect<AnySchema & { buckets: 'files' | 'pictures' }>(server.url, server.publishable))
  assert.ok(typed.from('files').publicUrl('a').endsWith('/storage/v1/object/public/files/a'))
  // @ts-expect-error: there is no such bucket
  typed.from('flies')
  // @ts-expect-error: a number is no content
  const wrong = (): unknown => typed.from('files').upload('a', 1)
  assert.equal(typeof wrong, 'function')
})

test('an answer that is not the server’s is an error, and leads nowhere', async () => {
  const answering = (answer: (path: string) => Response): Bucket =>
    files(connect('https://basewright.test', 'key', { fetch: async (input) => answer(String(input)), store: kept() }))
  for (const body of [
    '',
    'null',
    '[]',
    '{}',
    '{"objects":1}',
    '<html>',
    '"x"',
    '{"signedURL":1}',
    '[null]',
    '[{"path":"a"}]',
  ]) {
    const odd = answering(() => new Response(body))
    const all = [
      odd.list(),
      odd.info('a'),
      odd.signedUrl('a', 1),
      odd.signedUrls(['a'], 1),
      odd.signedUpload('a'),
      odd.remove('a'),
    ]
    for (const { error } of await Promise.all(all.map((work) => work.safe())))
      assert.ok(error === null || /^(bad_answer|invalid_request)$/.test(error.code))
  }
  const elsewhere = answering(() => Response.json({ signedURL: 'https://evil.test/?token=t&x=1' }))
  assert.equal(await elsewhere.signedUrl('a', 1), 'https://basewright.test/storage/v1/object/sign/files/a?token=t')
  const asked: string[] = []
  for (const [location, offset] of [
    ['https://evil.test/u', '0'],
    ['https://evil.test/u', '99'],
    ['..', '0'],
    ['https://evil.test/', '0'],
    ['u', '-1'],
    ['u', 'x'],
    ['u', '1e3'],
  ] as const) {
    const hostile = answering((path) => {
      asked.push(path)
      return new Response(null, { status: 201, headers: { location, 'upload-offset': offset } })
    })
    assert.equal(await refused(hostile.upload('a', new Uint8Array(600_000), { resumable: true })), 'bad_answer')
  }
  assert.ok(
    asked.every((url) => url.startsWith('https://basewright.test/storage/v1/upload/resumable')),
    String(asked),
  )
})
