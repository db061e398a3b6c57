// The socket against servers that do not what they should.
import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { channel } from '../src/channel.js'
import { connect } from '../src/core.js'
import { live } from '../src/live.js'

/** A socket whose server is the test. */
class Fake {
  static all: Fake[] = []
  readyState = 0
  sent: [string | null, string, string, string, any][] = []
  onopen: (() => void) | null = null
  onclose: ((event: { code: number }) => void) | null = null
  onerror: (() => void) | null = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  url: string
  protocols: string[]
  constructor(url: string, protocols: string[]) {
    this.url = url
    this.protocols = protocols
    Fake.all.push(this)
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text))
  }
  close(): void {
    this.readyState = 3
  }
  open(): void {
    this.readyState = 1
    this.onopen?.()
  }
  end(code = 1006): void {
    this.readyState = 3
    this.onclose?.({ code })
  }
  hear(...message: unknown[]): void {
    this.onmessage?.({ data: JSON.stringify(message) })
  }
  raw(data: unknown): void {
    this.onmessage?.({ data })
  }
  /** The newest join. */
  get join() {
    return this.sent.filter(([, , , event]) => event === 'phx_join').at(-1)!
  }
  /** Accepts it. */
  accept(): void {
    const [join, ref, topic] = this.join
    this.hear(join, ref, topic, 'phx_reply', { status: 'ok', response: { postgres_changes: [], cursor: 'C1' } })
  }
}

const turn = async (): Promise<void> => {
  for (let at = 0; at < 20; at++) await Promise.resolve()
}

async function opened() {
  Fake.all = []
  const core = connect('http://example.test/', 'pk+key', { WebSocket: Fake as never })
  const list = live(core, 'notes', { order: 'n', limit: 3 })
  list.subscribe(() => {})
  await turn()
  const socket = Fake.all[0]!
  socket.open()
  await turn()
  return { core, list, socket }
}

test('an address is made of the server, and the key stands beside it', async () => {
  const { socket, list } = await opened()
  assert.equal(socket.url, 'ws://example.test/realtime/v1/websocket?vsn=2.0.0')
  assert.deepEqual(socket.protocols, ['phoenix', 'apikey.pk+key'])
  list.close()
})

test('hostile messages change nothing and throw nothing', async () => {
  const { list, socket } = await opened()
  socket.accept()
  const [ref, , topic] = socket.join
  // Turned into text it throws.
  const odd = { toString: 1, valueOf: 1 }
  const shapes: unknown[] = [
    null,
    0,
    '',
    'x',
    [],
    {},
    [null],
    { __proto__: null },
    JSON.parse('{"__proto__": {"polluted": 1}, "constructor": 1}'),
    [[]],
    { records: 1 },
    { data: 1 },
    { data: {} },
    { metas: {} },
    odd,
    {
      data: odd,
      records: [odd],
      key: [odd],
      cursor: odd,
      status: odd,
      extension: odd,
      reason: odd,
      response: odd,
      joins: odd,
    },
  ]
  const events = [
    'phx_reply',
    'phx_error?',
    'snapshot',
    'postgres_changes',
    'system',
    'presence_state',
    'presence_diff',
    'broadcast',
    '__proto__',
    'constructor',
    7,
    null,
  ]
  for (const event of events) {
    for (const payload of [
      ...shapes,
      ...shapes.map((data) => ({ data })),
      ...shapes.map((records) => ({ records, key: ['id'], cursor: records })),
    ]) {
      for (const of of [topic, 'phoenix', '__proto__', null]) {
        if (event === 'snapshot' && of === topic) continue
        socket.hear(ref, '1', of, event, payload)
        socket.hear(null, null, of, event, payload)
      }
    }
  }
  for (const data of [
    '',
    '{',
    'null',
    '[]',
    '{}',
    '7',
    new ArrayBuffer(3),
    undefined,
    {},
    '['.repeat(10_000),
    `["${ref}","1","${topic}","snapshot"]`,
  ])
    socket.raw(data)
  assert.equal(({} as any).polluted, undefined)
  assert.equal(list.status, 'closed', 'a snapshot without a key is none')
  assert.equal(list.error?.code, 'bad_answer')
  list.close()
})

test('records and keys of any name are only data', async () => {
  const { list, socket } = await opened()
  socket.accept()
  const [, , topic] = socket.join
  const record = JSON.parse('{"id": "__proto__", "n": 1, "__proto__": {"polluted": 1}, "constructor": "c"}')
  socket.hear(null, null, topic, 'snapshot', { ids: [1], key: ['id'], records: [record, null, 7], cursor: 'C1' })
  const change = (cursor: string, type: string, more: object) =>
    socket.hear(null, null, topic, 'postgres_changes', {
      ids: [1],
      data: { type, cursor, columns: [null, 7, { name: 'n', type: { toString: 1 } }], ...more },
    })
  change('C2', 'INSERT', { record: { id: 'constructor', n: 2 } })
  change('C2', 'INSERT', { record: { id: 'twice', n: 2 } })
  change('C1', 'DELETE', { old_record: { id: '__proto__' } })
  change('C3', 'UPDATE', {
    record: JSON.parse('{"id": "__proto__", "n": {"toString": 1}, "__proto__": 7}'),
    old_record: 7,
  })
  await new Promise((turn) => setTimeout(turn, 30))
  assert.deepEqual(list.records.map(({ id }) => id).sort(), ['__proto__', 'constructor'])
  assert.equal(({} as any).polluted, undefined)
  list.close()
})

test('where there is no WebSocket, that is what is said', async () => {
  const own = globalThis.WebSocket
  Object.assign(globalThis, { WebSocket: undefined })
  try {
    const list = live(connect('http://example.test', 'key'), 'notes')
    await assert.rejects(list.ready, { name: 'BasewrightError', code: 'no_websocket' })
  } finally {
    Object.assign(globalThis, { WebSocket: own })
  }
})

test('a WebSocket that cannot be made is tried again', async () => {
  let made = 0
  class Broken {
    constructor() {
      made++
      throw new SyntaxError('not allowed here')
    }
  }
  const list = live(connect('http://example.test', 'key', { WebSocket: Broken as never }), 'notes')
  list.subscribe(() => {})
  await new Promise((turn) => setTimeout(turn, 600))
  assert.ok(made >= 2 && made < 5, `${made}`)
  list.close()
})

test('a server that does not answer a sign of life is left', async () => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] })
  try {
    const { list, socket } = await opened()
    socket.accept()
    mock.timers.tick(25_000)
    const [, beat] = socket.sent.at(-1)!
    assert.deepEqual(socket.sent.at(-1)!.slice(2, 4), ['phoenix', 'heartbeat'])
    socket.hear(null, beat, 'phoenix', 'phx_reply', { status: 'ok', response: {} })
    mock.timers.tick(20_000)
    assert.equal(Fake.all.length, 1)
    mock.timers.tick(5_000)
    mock.timers.tick(10_000)
    assert.equal(list.status, 'offline')
    mock.timers.tick(250)
    assert.equal(Fake.all.length, 2, 'and another one is made')
    list.close()
  } finally {
    mock.timers.reset()
  }
})

test('a socket that is closed for its policy is not opened in a busy loop', async () => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] })
  try {
    const { list, socket } = await opened()
    socket.accept()
    socket.end(1008)
    mock.timers.tick(900)
    assert.equal(Fake.all.length, 1)
    mock.timers.tick(1200)
    assert.equal(Fake.all.length, 2)
    // One that is refused again and again is asked less and less often.
    for (let second = 0; second < 60; second++) {
      Fake.all.at(-1)!.end()
      mock.timers.tick(1000)
    }
    assert.ok(Fake.all.length < 16, `${Fake.all.length}`)
    list.close()
  } finally {
    mock.timers.reset()
  }
})

test('what an application throws in a listener is its own, and the others hear', async (context) => {
  const thrown: unknown[] = []
  const before = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', (error) => thrown.push(error))
  context.after(() => {
    process.removeAllListeners('unhandledRejection')
    for (const listener of before) process.on('unhandledRejection', listener)
  })
  Fake.all = []
  const said = channel(connect('http://example.test', 'key', { WebSocket: Fake as never }), 'lobby')
  await turn()
  Fake.all[0]!.open()
  await turn()
  Fake.all[0]!.accept()
  const heard: unknown[] = []
  said.on('say', () => {
    throw new Error('mine')
  })
  said.on('say', (payload) => heard.push(payload))
  Fake.all[0]!.hear(null, null, 'realtime:lobby', 'broadcast', { event: 'say', payload: 1 })
  await new Promise((turn) => setTimeout(turn, 5))
  assert.deepEqual([heard, thrown.map(String)], [[1], ['Error: mine']])
  said.close()
})

test('a loop that is slow has the newest thousand messages and not all that were ever said', async () => {
  Fake.all = []
  const said = channel(connect('http://example.test', 'pk', { WebSocket: Fake as never }), 'busy')
  const loop = said[Symbol.asyncIterator]()
  await turn()
  const socket = Fake.all[0]!
  socket.open()
  await turn()
  socket.accept()
  const [join, , topic] = socket.join
  for (let at = 0; at < 3000; at++)
    socket.hear(join, null, topic, 'broadcast', { type: 'broadcast', event: 'say', payload: { at } })
  await turn()
  const heard: number[] = []
  while (heard.length < 1000) heard.push((await loop.next()).value.payload.at)
  assert.deepEqual([heard[0], heard.at(-1)], [2000, 2999])
  said.close()
  assert.equal((await loop.next()).done, true)
})
