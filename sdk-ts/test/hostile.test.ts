// What a server, a proxy or a network may do: whatever comes, it is a value or a BasewrightError.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { BasewrightError, type Options, connect, records } from '../src/index.js'

let answer: (request: IncomingMessage, response: ServerResponse) => void
let asked = 0
const server = createServer((request, response) => {
  asked++
  answer(request, response)
})
let url = ''
before(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
after(() => {
  server.closeAllConnections()
  server.close()
})

const posts = (options: Options = {}) => records(connect(url, 'key', options), 'posts')
const says =
  (status: number, body: string | Buffer, headers: Record<string, string> = {}) =>
  (_: IncomingMessage, response: ServerResponse): void =>
    void response.writeHead(status, headers).end(body)

/** What an object has that was made of nothing. */
const bare = (): string =>
  JSON.stringify([
    Object.getOwnPropertyNames(Object.prototype).sort(),
    Object.getOwnPropertyNames(Array.prototype).sort(),
  ])
const untouched = bare()

const ODD = [
  '',
  'null',
  '1',
  '"text"',
  'true',
  '{}',
  '[]',
  '[1]',
  '[null]',
  '[[]]',
  '["a"]',
  '{"a":',
  '<!doctype html><title>502</title>',
  '\u0000',
  '{"__proto__":{"polluted":1}}',
  '[{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}]',
  '{"code":{"a":1},"message":["x"],"fields":{"0":1},"details":{"__proto__":{"polluted":1}},"hint":7}',
  '{"fields":[null,1,{"pointer":3},{"pointer":"/a"},{"pointer":"/__proto__","code":{},"message":[]}]}',
  '{"code":"PGRST103","statusCode":"__proto__","error_code":"","msg":1}',
  '{"error":{"toString":1},"retry_after":"x"}',
  '{"statusCode":{"toString":1,"valueOf":1}}',
  '{"statusCode":["404"],"code":{"toString":null},"fields":{"length":1e9}}',
  '['.repeat(200_000),
  `"${'x'.repeat(5_000_000)}"`,
]
const STATUSES = [200, 201, 204, 400, 403, 416, 500]

test('whatever is answered, with whatever status, it is a value of the right shape or a BasewrightError', async () => {
  const all = posts()
  const raw = all as unknown as Record<
    string,
    (...given: unknown[]) => { safe(): Promise<{ data: unknown; error: unknown }> }
  >
  const ways: [string, unknown[], (data: unknown) => boolean][] = [
    ['list', [], Array.isArray],
    ['first', [], (data) => data === null || (typeof data === 'object' && !Array.isArray(data))],
    ['page', [], (data) => Number.isSafeInteger((data as { total: number }).total)],
    ['count', [], Number.isSafeInteger],
    ['get', ['x'], (data) => typeof data === 'object' && data !== null && !Array.isArray(data)],
    ['create', [{}], (data) => typeof data === 'object' && !Array.isArray(data)],
    ['create', [[{}]], Array.isArray],
    ['upsert', [{}, { ignore: true }], (data) => typeof data === 'object' && !Array.isArray(data)],
    ['update', ['x', {}], (data) => typeof data === 'object' && !Array.isArray(data)],
    ['remove', ['x', { returning: false }], (data) => data === null],
    ['removeAll', [{ a: 1 }], Array.isArray],
  ]
  for (const body of ODD) {
    // What is long has been read before its status is looked at.
    for (const status of body.length > 1000 ? [200, 500] : STATUSES) {
      answer = says(status, status === 204 ? '' : body, { 'content-range': body.slice(0, 9).replace(/[^ -~]/g, '') })
      for (const [name, given, right] of ways) {
        const call = raw[name]?.(...given)
        const { data, error } = (await call?.safe()) ?? {}
        const where = `${name} ${status} ${body.slice(0, 40)}`
        if (status >= 300) assert.ok(error, where)
        if (error === null) assert.ok(right(data), where)
        else assert.ok(error instanceof BasewrightError && error.code !== '' && error.message !== '', where)
      }
    }
  }
  assert.equal(bare(), untouched)
  assert.equal(({} as { polluted?: unknown }).polluted, undefined)
})

test('walks end at answers that are none', async () => {
  for (const body of ODD.filter((body) => body !== '[]')) {
    answer = says(200, body)
    const walk = (async (): Promise<void> => {
      let pages = 0
      for await (const page of posts().pages({ limit: 2 })) {
        assert.ok(Array.isArray(page))
        if (++pages === 3) return
      }
    })()
    await walk.catch((error: unknown) => assert.ok(error instanceof BasewrightError, String(error)))
  }
  assert.equal(bare(), untouched)
})

test('members that only look like those of every object are data', async () => {
  answer = says(200, '[{"id":"1","__proto__":{"admin":true},"constructor":"c","hasOwnProperty":1}]')
  const [row] = await posts().list()
  assert.ok(row)
  assert.equal(Object.getPrototypeOf(row), Object.prototype)
  assert.equal(row['admin'], undefined)
  assert.deepEqual({ ...row }['constructor'], 'c')
})

test('a connection that breaks is tried again for reads and never for writes', async () => {
  answer = (request) => void request.socket.destroy()
  asked = 0
  await assert.rejects(posts().list(), { code: 'network', status: 0 })
  assert.equal(asked, 3)
  asked = 0
  await assert.rejects(posts().create({ a: 1 }), { code: 'network' })
  assert.equal(asked, 1)
  // Broken in the middle of the body.
  answer = (_, response) => {
    response.writeHead(200, { 'content-length': '100' })
    response.write('[{"id":')
    setImmediate(() => response.destroy())
  }
  await assert.rejects(posts().list(), { code: 'network' })
})

test('a read is tried again when it is told to come back, as late as it is told', async () => {
  asked = 0
  answer = (request, response) => says(asked < 3 ? 503 : 200, '[]', { 'retry-after': '0' })(request, response)
  assert.deepEqual(await posts().list(), [])
  assert.equal(asked, 3)
  asked = 0
  answer = says(503, '{"code":"PGRST001","message":"no database"}', { 'retry-after': '60' })
  const { error } = await posts().list().safe()
  assert.deepEqual([error?.code, error?.status, error?.retryAfter, asked], ['PGRST001', 503, 60, 1])
  const date = new Date(Date.now() + 90_000).toUTCString()
  answer = says(429, '', { 'retry-after': date })
  const later = (await posts().list().safe()).error?.retryAfter ?? 0
  assert.ok(later > 80 && later <= 90, String(later))
  answer = says(429, '', { 'retry-after': 'soon' })
  assert.equal((await posts().create({}).safe()).error?.retryAfter, null)
})

test('the time limit covers the body, and so does giving up', async () => {
  answer = (_, response) => {
    response.writeHead(200)
    response.write('[')
  }
  await assert.rejects(posts({ timeout: 50 }).list(), { code: 'timeout' })
  await assert.rejects(posts({ timeout: 50 }).create({}), { code: 'timeout' })
  const ending = new AbortController()
  const listed = posts({ timeout: 0 }).list({}, { signal: ending.signal })
  server.once('request', () => setImmediate(() => ending.abort()))
  await assert.rejects(listed, { code: 'aborted' })
  // Also where an answer says that it is an error.
  answer = (_, response) => {
    response.writeHead(500)
    response.write('{')
  }
  await assert.rejects(posts({ timeout: 50 }).list(), { code: 'timeout' })
  // Whoever reads the body himself can give it up, too.
  answer = (_, response) => {
    response.writeHead(200)
    response.write('begun')
  }
  const reading = new AbortController()
  const response = await connect(url, 'key').send({ path: '/x', signal: reading.signal })
  const text = response.text()
  reading.abort()
  await assert.rejects(text, { code: 'aborted' })
})

test('an answer that leads elsewhere is an error, and nothing is sent there', async () => {
  const seen: (string | undefined)[] = []
  for (const status of [301, 302, 303, 307, 308]) {
    answer = (request, response) => {
      seen.push(request.url)
      says(status, '', { location: `${url}/elsewhere` })(request, response)
    }
    await assert.rejects(posts().create({ secret: 1 }), { code: 'network' })
  }
  assert.deepEqual(seen, Array(5).fill('/rest/v1/posts'))
})

test('what cannot be sent is told as such, and nothing is sent', async () => {
  answer = says(200, '[]')
  asked = 0
  await assert.rejects(posts({ headers: { 'x\ny': '1' } }).list(), { code: 'invalid_request' })
  await assert.rejects(records(connect(url, 'a\nb'), 'posts').list(), { code: 'invalid_request' })
  await assert.rejects(posts().create({ big: 1n }), { code: 'invalid_request' })
  assert.equal(asked, 0)
})

test('no path leads to another server', async () => {
  answer = says(200, '[]')
  asked = 0
  const urls: string[] = []
  const core = connect(url, 'key', {
    fetch: (input, init) => {
      urls.push(String(input))
      return fetch(input, init)
    },
  })
  for (const path of ['@evil.test/x', '.evil.test/x', '0/x', 'x', '//evil.test/x', '/\\evil.test/x', '', '?a=b']) {
    await assert.rejects(core.ask({ path }), { name: 'BasewrightError', code: 'invalid_request' }, path)
  }
  assert.deepEqual(urls, [])
  await core.ask({ path: '/' })
  assert.deepEqual(urls, [`${url}/`])
})

test('the name of a collection stays one part of the address', async () => {
  const seen: (string | undefined)[] = []
  answer = (request, response) => {
    seen.push(request.url)
    says(200, '[]')(request, response)
  }
  for (const name of ['', '.', '..']) {
    assert.throws(() => records(connect(url, 'key'), name), { code: 'invalid_query' })
  }
  for (const name of ['a/../b', 'a?b=c#d', '...', '%2e%2e', 'ü"']) await records(connect(url, 'key'), name).list()
  assert.deepEqual(
    seen,
    ['a%2F..%2Fb', 'a%3Fb%3Dc%23d', '...', '%252e%252e', '%C3%BC%22'].map((name) => `/rest/v1/${name}`),
  )
})

test('the key goes to the server, and a token only with the session', async () => {
  const seen: unknown[] = []
  answer = (request, response) => {
    seen.push([request.headers['apikey'], request.headers.authorization, request.headers['x-mine']])
    says(200, '[]')(request, response)
  }
  await posts({ headers: { 'x-mine': 'yes', APIKey: 'other' } }).list()
  assert.deepEqual(seen, [['key', undefined, 'yes']])
})
