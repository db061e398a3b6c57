import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { after, before, test } from 'node:test'
import { type Core, connect } from '../src/core.js'
import { type Live, live } from '../src/live.js'
import { records } from '../src/records.js'
import type { Status } from '../src/socket.js'
import { line } from './proxy.js'
import type { Schema } from './schema.js'
import { eventually, type Server, serve } from './server.js'

const PROJECT = {
  'basewright.yaml': `
limits: { rows: 2000, bulk_rows: 2000 }
auth: { signup: { confirm_email: false } }
collections:
  rooms: { fields: { name: text } }
  members:
    primary_key: [room, user]
    fields:
      room: { type: relation, to: rooms, on_delete: cascade }
      user: { type: uuid, references: auth.users, on_delete: cascade }
      note: text
  people: { fields: { name: text } }
  notes:
    timestamps: false
    fields:
      id: bigint
      n: integer
      body: text
      at: timestamp
      by: { type: relation, to: people }
      tags: text[]
      amount: decimal
  messages: { fields: { room: { type: relation, to: rooms, on_delete: cascade }, text: text } }
policies:
  rooms: { read: [{ role: authenticated }] }
  people: { read: [{ role: anon }] }
  members: { read: [{ role: authenticated, when: user == auth.id }] }
  notes: { read: [{ role: anon }] }
  messages: { read: [{ role: authenticated, when: 'room.members.exists(m, m.user == auth.id)' }] }
`,
}

let server: Server
before(async () => {
  server = await serve(PROJECT)
})
after(() => server.stop())

const anyone = () => connect(server.url, server.publishable)
const admin = () => connect(server.url, server.secret)

/** Writes as whoever may do everything. */
const write = (method: string, path: string, json?: unknown): Promise<unknown> =>
  admin().json({ method, path: `/rest/v1/${path}`, json, headers: { prefer: 'return=representation' } })
const add = (collection: string, ...records: object[]) => write('POST', collection, records)

/** A list is what is expected, now or soon. */
const becomes = (
  list: Live<any>,
  expected: unknown,
  show: (record: any) => unknown = ({ id }) => id,
): Promise<true> => {
  let last: unknown
  return eventually(`a list becomes ${JSON.stringify(expected)}`, () => {
    last = list.records.map(show)
    return JSON.stringify(last) === JSON.stringify(expected) ? (true as const) : undefined
  }).catch((error: Error) => {
    throw new Error(`${error.message}, and is ${JSON.stringify(last)}, ${list.status}, ${list.error}`)
  })
}
const turns = (list: { status: Status }, status: Status) =>
  eventually(`it is ${status}`, () => list.status === status || undefined)

/** A list that is followed until the test ends. */
function follow<T>(context: { after(end: () => void): void }, list: Live<T>): Live<T> {
  context.after(() => list.close())
  list.subscribe(() => {})
  return list
}

/** Options under which sockets, and what they send, can be looked at. */
function wired() {
  const sockets: WebSocket[] = []
  const frames: string[] = []
  class Wired extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols)
      sockets.push(this)
    }
    override send(data: string): void {
      frames.push(data)
      super.send(data)
    }
  }
  return { sockets, frames, options: { WebSocket: Wired } }
}

/** Somebody new who is signed in. */
async function somebody() {
  const core = anyone()
  const session = await core.json<any>({
    method: 'POST',
    path: '/auth/v1/signup',
    json: { email: `${randomUUID()}@example.test`, password: 'correct horse battery' },
  })
  await core.session.set(session, 'signed_in')
  return core
}

test('a list begins with what there is and follows what happens', async (context) => {
  await add('notes', { id: 1, n: 1 }, { id: 2, n: 2 })
  const list = follow(context, live(anyone(), 'notes', { where: { n: { lt: 100 } }, order: 'n', fields: ['n'] }))
  assert.deepEqual(await list.ready, [
    { id: 1, n: 1 },
    { id: 2, n: 2 },
  ])
  assert.equal(list.status, 'live')
  await add('notes', { id: 3, n: 0 }, { id: 4, n: 100 })
  await becomes(list, [3, 1, 2])
  await write('PATCH', 'notes?id=eq.1', { n: 9 })
  await becomes(list, [3, 2, 1])
  const [first] = list.records
  await write('PATCH', 'notes?id=eq.4', { n: 4 })
  await becomes(list, [3, 2, 4, 1])
  assert.equal(list.records[0], first, 'what has not changed is the same object')
  await write('PATCH', 'notes?id=eq.2', { n: 200 })
  await write('DELETE', 'notes?id=eq.3')
  await becomes(list, [4, 1])
})

test('a loop gets the newest state and ends with it', async () => {
  await write('DELETE', 'notes?id=gt.0')
  const list = live(anyone(), 'notes')
  const states: number[] = []
  for await (const notes of list) {
    states.push(notes.length)
    if (notes.length === 0) await add('notes', ...Array.from({ length: 30 }, (_, id) => ({ id: id + 1 })))
    if (notes.length === 30) break
  }
  assert.ok(states.length < 10, `${states}`)
  assert.equal(list.status, 'closed')
  // And begins again with the next.
  for await (const notes of list) {
    assert.equal(notes.length, 30)
    break
  }
})

test('a list with a limit is always exactly the first so many', async (context) => {
  await write('DELETE', 'notes?id=gt.0')
  const list = follow(context, live(anyone(), 'notes', { order: ['-n', { field: 'body', nulls: 'first' }], limit: 3 }))
  await list.ready
  const same = async () => {
    const first = (await write('GET', 'notes?order=n.desc,body.nullsfirst,id&limit=3')) as { id: number }[]
    await becomes(
      list,
      first.map(({ id }) => id),
    )
  }
  await add('notes', { id: 1, n: 1 }, { id: 2, n: 2 })
  await same()
  await add('notes', { id: 3, n: 3 }, { id: 4, n: 4 }, { id: 5, n: 5 })
  await same()
  for (const step of [
    ['DELETE', 'notes?id=eq.5', undefined],
    ['PATCH', 'notes?id=eq.4', { n: 0 }],
    ['PATCH', 'notes?id=eq.1', { n: 10 }],
    ['PATCH', 'notes?id=eq.2', { n: 3, body: 'b' }],
    ['PATCH', 'notes?id=eq.3', { body: 'a' }],
    ['PATCH', 'notes?id=eq.3', { n: null }],
    ['DELETE', 'notes?id=in.(1,2,3)', undefined],
  ] as const) {
    await write(step[0], step[1], step[2])
    await same()
  }
})

test('a list with a limit beyond that of the server is exactly the first so many that it gives', async (context) => {
  await write('DELETE', 'notes?id=gt.0')
  await add('notes', ...Array.from({ length: 2000 }, (_, id) => ({ id: id + 1 })))
  await add('notes', { id: 2001 }, { id: 2002 })
  const list = follow(context, live(anyone(), 'notes', { fields: ['id'], limit: 9000 }))
  assert.equal((await list.ready).length, 2000)
  const ends = (): unknown[] => [list.records.length, list.records[0]?.['id'], list.records.at(-1)?.['id']]
  await write('DELETE', 'notes?id=eq.1')
  await eventually('the next takes its place', () => String(ends()) === '2000,2,2001' || undefined)
  await add('notes', { id: 0 }, { id: 2003 })
  await eventually('the last makes room', () => String(ends()) === '2000,0,2000' || undefined)
  // Who asks for no limit is told to.
  const all = live(anyone(), 'notes')
  await assert.rejects(all.ready, { code: 'answer_too_large', message: /`limit`/ })
  await write('DELETE', 'notes?id=gte.0')
})

test('records are ordered as the server orders them', async (context) => {
  await write('DELETE', 'notes?id=gt.0')
  const bodies = ['a', 'B', 'é', 'aa', '', '\u{1f600}', '\uffee', 'z', null, 'a\u{1f600}', 'a\uffee']
  const times = [
    '2026-01-01T00:00:00Z',
    '2026-01-01T00:00:00.5Z',
    '2026-01-01T00:00:00.49Z',
    '2025-12-31T23:59:59.999999Z',
    null,
  ]
  const amounts = ['1.5', '10', '9', '-3', 'NaN', null, '0.1']
  const rows = bodies.map((body, at) => ({
    id: at + 1,
    body,
    at: times[at % times.length],
    amount: amounts[at % amounts.length],
  }))
  const lists = (['body', '-body', 'at', '-at', 'amount', '-amount'] as const).map((order) => ({
    order,
    list: follow(context, live(anyone(), 'notes', { order })),
  }))
  await Promise.all(lists.map(({ list }) => list.ready))
  // Each by a change of its own: none of it was ordered by the server.
  for (const row of rows) await add('notes', row)
  for (const { order, list } of lists) {
    const parameter = order.startsWith('-') ? `${order.slice(1)}.desc` : order
    const expected = (await write('GET', `notes?order=${parameter},id`)) as { id: number }[]
    await becomes(
      list,
      expected.map(({ id }) => id),
    )
  }
  // What has no order here is read again.
  const nested = follow(context, live(anyone(), 'notes', { order: 'tags' }))
  await nested.ready
  await write('PATCH', 'notes?id=eq.5', { tags: ['b'] })
  await write('PATCH', 'notes?id=eq.3', { tags: ['a', 'c'] })
  await eventually(
    'those with tags are first',
    () => String(nested.records.slice(0, 2).map(({ id }) => id)) === '3,5' || undefined,
  )
})

test('related records come along and are read again with their record', async (context) => {
  await write('DELETE', 'notes?id=gt.0')
  const [ada, bob] = (await add('people', { name: 'Ada' }, { name: 'Bob' })) as { id: string }[]
  await add('notes', { id: 1, n: 1, by: ada!.id })
  const list = follow(
    context,
    live(anyone(), 'notes', { fields: ['n', 'body'], with: { by: { fields: ['name'] } }, order: 'n' }),
  )
  const show = ({ n, by }: any) => [n, by?.name ?? null]
  await becomes(list, [[1, 'Ada']], show)
  await add('notes', { id: 2, n: 2, by: bob!.id }, { id: 3, n: 0, by: null })
  await becomes(
    list,
    [
      [0, null],
      [1, 'Ada'],
      [2, 'Bob'],
    ],
    show,
  )
  await write('PATCH', 'notes?id=eq.3', { by: ada!.id, n: 5 })
  await becomes(
    list,
    [
      [1, 'Ada'],
      [2, 'Bob'],
      [5, 'Ada'],
    ],
    show,
  )
  await write('DELETE', 'notes?id=eq.1')
  await becomes(
    list,
    [
      [2, 'Bob'],
      [5, 'Ada'],
    ],
    show,
  )
  // What is too long for a change is read as well.
  const body = 'x'.repeat(900_000)
  await write('PATCH', 'notes?id=eq.2', { body })
  await eventually('the long text is there', () => list.records[0]?.['body'] === body || undefined)
})

test('what stands in the place of a field of the key does not hide it', async (context) => {
  const core = await somebody()
  const user = (await core.session.get())!.user.id
  const [room, other] = (await add('rooms', { name: 'one' }, { name: 'two' })) as { id: string }[]
  await add('members', { room: room!.id, user })
  const list = follow(context, live(core, 'members', { with: { room: { fields: ['name'] } }, order: '-note' }))
  const show = ({ room, note }: any) => [room.name, note]
  await becomes(list, [['one', null]], show)
  await add('members', { room: other!.id, user, note: 'n' })
  await becomes(
    list,
    [
      ['one', null],
      ['two', 'n'],
    ],
    show,
  )
  await write('PATCH', `members?room=eq.${room!.id}`, { note: 'a' })
  await becomes(
    list,
    [
      ['two', 'n'],
      ['one', 'a'],
    ],
    show,
  )
  await write('DELETE', `members?room=eq.${other!.id}`)
  await becomes(list, [['one', 'a']], show)
})

test('a membership that comes or goes changes what is there', async (context) => {
  const core = await somebody()
  const user = (await core.session.get())!.user.id
  const [room] = (await add('rooms', { name: 'r' })) as { id: string }[]
  await add('messages', { room: room!.id, text: 'before' })
  const list = follow(context, live(core, 'messages', { where: { room: room!.id } }))
  assert.deepEqual(await list.ready, [])
  await add('members', { room: room!.id, user })
  await becomes(list, ['before'], ({ text }) => text)
  await add('messages', { room: room!.id, text: 'after' })
  await eventually('both are there', () => list.records.length === 2 || undefined)
  await write('DELETE', `members?user=eq.${user}`)
  await becomes(list, [])
  await turns(list, 'live')
  await add('messages', { room: room!.id, text: 'unseen' })
  await add('members', { room: room!.id, user })
  await eventually('all are there', () => list.records.length === 3 || undefined)
})

test('who signs out sees nothing of it any more, and who signs in again does', async (context) => {
  const core = await somebody()
  const session = (await core.session.get())!
  const list = follow(context, live(core, 'rooms', { limit: 1 }))
  assert.equal((await list.ready).length, 1)
  const states: number[] = []
  list.subscribe((rooms) => states.push(rooms.length))
  await core.session.set(null, 'signed_out')
  assert.deepEqual(list.records, [], 'at once')
  await turns(list, 'closed')
  assert.equal(list.error?.code, 'PGRST205')
  await core.session.set(session, 'signed_in')
  await eventually('it is back', () => list.records.length === 1 || undefined)
  assert.deepEqual([list.status, list.error], ['live', null])
})

test('what somebody was shown is not shown to whoever begins it again', async (context) => {
  const [room] = (await add('rooms', { name: 'private' })) as { id: string }[]
  await add('messages', { room: room!.id, text: 'secret' })
  const core = await somebody()
  const ada = (await core.session.get())!
  await add('members', { room: room!.id, user: ada.user.id })
  const mae = (await (await somebody()).session.get())!
  const query = { where: { room: room!.id }, fields: ['text'] } as const
  const list = live(core, 'messages', query)
  const closed = live(core, 'messages', query)
  for (const one of [list, closed]) {
    const end = one.subscribe(() => {})
    assert.equal((await one.ready).length, 1)
    end()
    // It is the same one's: it is there at once.
    one.subscribe((messages) => assert.equal(messages.length, 1))()
  }
  closed.close()
  for (const next of [null, mae]) {
    await core.session.set(next)
    closed.subscribe((messages) => assert.deepEqual(messages, []))()
    assert.deepEqual(closed.records, [])
    await assert.rejects(closed.ready, { code: 'closed' })
  }
  const seen: string[] = []
  context.after(list.subscribe((messages) => seen.push(...messages.map(({ text }) => String(text)))))
  assert.deepEqual(list.records, [])
  assert.deepEqual(await list.ready, [])
  await turns(list, 'live')
  assert.deepEqual(seen, [])
  // Nor while it goes on.
  await add('members', { room: room!.id, user: mae.user.id })
  await eventually('mae sees it', () => seen.length > 0 || undefined)
  await core.session.set(null)
  assert.deepEqual([list.records, await list.ready.catch(() => [])], [[], []])
})

test('a session that ends on the server ends what it showed', async (context) => {
  const core = await somebody()
  const list = follow(context, live(core, 'rooms', { limit: 1 }))
  await list.ready
  const token = await core.session.token()
  await anyone().json({ method: 'POST', path: '/auth/v1/logout?scope=global', token })
  await turns(list, 'closed')
  assert.deepEqual([list.records, list.error?.code, await core.session.get()], [[], 'PGRST205', null])
})

test('a new token is told to the server, and nothing is joined again', async (context) => {
  const { frames, options } = wired()
  const own = await somebody()
  const core = connect(server.url, server.publishable, options)
  await core.session.set((await own.session.get())!, 'signed_in')
  const list = follow(context, live(core, 'rooms'))
  await list.ready
  const before = await core.session.token()
  await core.session.renew(before!)
  assert.notEqual(await core.session.token(), before)
  const count = list.records.length
  await add('rooms', { name: 'later' })
  await eventually('the next is there', () => list.records.length === count + 1 || undefined)
  assert.equal(frames.filter((frame) => frame.includes('"phx_join"')).length, 1)
  assert.equal(frames.filter((frame) => frame.includes('"access_token",{')).length, 1)
})

test('all lists share one socket, which is closed when nobody needs it', async () => {
  const { sockets, options } = wired()
  const core = connect(server.url, server.publishable, options)
  const lists = [live(core, 'notes'), live(core, 'people'), live(core, 'notes', { limit: 1 })]
  await Promise.all(lists.map((list) => list.ready))
  assert.equal(sockets.length, 1)
  for (const list of lists) list.close()
  await eventually('the socket is closed', () => sockets[0]!.readyState === 3 || undefined)
  assert.equal(lists[0]!.status, 'closed')
  const again = live(core, 'people')
  await again.ready
  again.close()
  assert.equal(sockets.length, 2)
})

test('who waits for the first state alone keeps nothing going', async () => {
  const { sockets, options } = wired()
  const list = live(connect(server.url, server.publishable, options), 'people', { limit: 1 })
  const { ready } = list
  assert.equal(list.ready, ready)
  const people = await ready
  assert.deepEqual([list.status, list.records], ['closed', people])
  await eventually('the socket is closed', () => sockets[0]!.readyState === 3 || undefined)
  const statuses: Status[] = []
  const end = list.subscribe((_, status) => statuses.push(status))
  await list.ready
  await turns(list, 'live')
  end()
  assert.equal(list.status, 'closed')
})

test('what cannot be followed says why, and a loop throws it', async () => {
  const core = anyone()
  const unknown = live(core, 'nothing')
  await assert.rejects(unknown.ready, { name: 'BasewrightError', code: 'PGRST205' })
  assert.deepEqual([unknown.status, unknown.error?.code], ['closed', 'PGRST205'])
  // Who asks again is told again.
  const statuses: Status[] = []
  const stop = unknown.subscribe((_, status) => statuses.push(status))
  await eventually('it is tried again', () => statuses.includes('closed') || undefined)
  stop()
  const wrong = live(core, 'notes', { where: { nothing: 1 } })
  await assert.rejects(
    async () => {
      for await (const _ of wrong) assert.fail('there is no state')
    },
    { code: '42703' },
  )
  assert.throws(() => live(core, 'notes', { where: { tags: { contains: ['a'] } } }), { code: 'invalid_query' })
  const nested = live(core, 'notes', { with: { nobody: true } })
  await assert.rejects(nested.ready, { code: 'PGRST200' })
})

test('a signal ends it, and so does the last who looked', async () => {
  const controller = new AbortController()
  const list = live(anyone(), 'people', {}, { signal: controller.signal })
  const loop = (async () => {
    for await (const _ of list) controller.abort()
    return 'over'
  })()
  assert.equal(await loop, 'over')
  assert.equal(list.status, 'closed')
  await assert.rejects(live(anyone(), 'people', {}, { signal: controller.signal }).ready, { code: 'closed' })
  const other = live(anyone(), 'people')
  const stops = [other.subscribe(() => {}), other.subscribe(() => {})]
  await turns(other, 'live')
  stops[0]!()
  stops[0]!()
  assert.equal(other.status, 'live')
  stops[1]!()
  assert.equal(other.status, 'closed')
})

test('numbers beyond what JavaScript has are whole as text, and rounded as numbers', async () => {
  const [id, amount] = ['9007199254740993', '12345678901234567890.123456789']
  await write('DELETE', 'notes?id=gt.0')
  await records(admin(), 'notes').create({ id, amount })
  const path = '/rest/v1/notes'
  const query = new URLSearchParams({ select: 'id::text,amount::text', id: `eq.${id}` })
  assert.deepEqual(await anyone().json({ path, query }), [{ id, amount }])
  const [rounded] = await records(anyone(), 'notes').list({ where: { id }, fields: ['id', 'amount'] })
  assert.deepEqual(rounded, { id: 9007199254740992, amount: 12345678901234567000 })
  await records(admin(), 'notes').remove(id)
})

test('who takes no changes does not have them kept for ever, and is told so', async (context) => {
  await write('DELETE', 'notes?id=gt.0')
  await add('notes', ...Array.from({ length: 1000 }, (_, id) => ({ id: id + 1, n: 0 })))
  const list = follow(context, live(anyone(), 'notes', { order: 'id' }))
  await list.ready
  const behind = list.changes()[Symbol.asyncIterator]()
  const first = behind.next()
  const change = (n: number) => write('PATCH', 'notes?id=gt.0', { n })
  const shows = (n: number) =>
    eventually(`all show ${n}`, () => list.records.every((record) => record['n'] === n) || undefined)
  await change(1)
  assert.equal((await first).value.type, 'update')
  for (let n = 2; n <= 11; n++) await change(n)
  await shows(11)
  await assert.rejects(behind.next(), { name: 'BasewrightError', code: 'closed' })
  assert.deepEqual(await behind.next(), { done: true, value: undefined })
  // The others go on, and whoever begins anew.
  assert.equal(list.status, 'live')
  const again = list.changes()[Symbol.asyncIterator]().next()
  await change(12)
  assert.equal((await again).value.record['n'], 12)
})

test('nothing is missed and nothing told twice, whatever befalls the connection and the server', async (context) => {
  await write('DELETE', 'notes?id=gt.0')
  const wire = await line(server.url)
  context.after(() => wire.close())
  const core = connect(wire.url, server.publishable)
  const list = follow(context, live(core, 'notes', { order: 'id' }))
  const seen: string[] = []
  const states: Status[] = []
  list.onStatus((status) => states.push(status))
  const changes = list.changes()[Symbol.asyncIterator]()
  await list.ready
  const told = (async () => {
    for (;;) {
      const { value, done } = await changes.next()
      if (done) return
      seen.push(`${value.type} ${value.record['id']} ${value.record['n']}`)
    }
  })()
  let id = 0
  const step = async () => {
    id += 1
    await add('notes', { id, n: 0 })
    await write('PATCH', `notes?id=eq.${id}`, { n: 1 })
    if (id % 2 === 0) await write('DELETE', `notes?id=eq.${id}`)
  }
  const caught = () => {
    const last = id % 2 === 1 ? id : id - 1
    return eventually(
      'it has all',
      () =>
        (list.status === 'live' && list.records.at(-1)?.['id'] === last && list.records.at(-1)?.['n'] === 1) ||
        undefined,
    )
  }
  await step()
  await caught()
  // The wire is cut, and nobody gets through for a while.
  wire.down()
  await turns(list, 'offline')
  assert.equal(list.records.length, 1, 'what was there stays')
  for (let more = 0; more < 5; more++) await step()
  wire.up()
  await caught()
  // It is silent for a while.
  wire.stall()
  for (let more = 0; more < 5; more++) await step()
  wire.flow()
  await caught()
  // The server is restarted, and killed.
  for (const end of [server.stop, server.kill]) {
    await step()
    await end()
    await turns(list, 'offline')
    await server.start()
    for (let more = 0; more < 3; more++) await step()
    await caught()
  }
  const odd = Array.from({ length: id }, (_, at) => at + 1).filter((id) => id % 2 === 1)
  await becomes(list, odd)
  // What happened while nobody could hear may be told in one; but nothing twice, and nothing of what is not there.
  const there = await eventually('all of it is told', () => {
    const there = new Map<string, string>()
    for (const text of seen) {
      const [type, id, n] = text.split(' ') as [string, string, string]
      assert.equal(there.has(id), type !== 'insert', text)
      if (type === 'delete') there.delete(id)
      else there.set(id, n)
    }
    return there.size === odd.length ? there : undefined
  })
  assert.deepEqual(
    [...there].sort(([a], [b]) => Number(a) - Number(b)),
    odd.map((id) => [String(id), '1']),
  )
  const came = seen.filter((text) => text.startsWith('insert'))
  assert.equal(new Set(came.map((text) => text.split(' ')[1])).size, came.length)
  assert.ok(states.includes('catching_up'), `${states}`)
  list.close()
  await told
})

test('a thousand records come and go', async (context) => {
  await write('DELETE', 'notes?id=gt.0')
  const list = follow(context, live(anyone(), 'notes', { order: '-n' }))
  await list.ready
  let states = 0
  list.subscribe(() => states++)
  await add('notes', ...Array.from({ length: 1000 }, (_, id) => ({ id, n: (id * 7919) % 1000 })))
  await becomes(
    list,
    Array.from({ length: 1000 }, (_, at) => 999 - at),
    ({ n }) => n,
  )
  await write('PATCH', 'notes?n=lt.500', { body: 'b' })
  await eventually('all are changed', () => list.records.filter(({ body }) => body === 'b').length === 500 || undefined)
  await write('DELETE', 'notes?id=gte.0')
  await becomes(list, [])
  assert.ok(states < 500, `${states} states of 2500 changes`)
})

test('nothing keeps a process alive that has closed what it followed', () => {
  const script = `
    import { connect } from ${JSON.stringify(new URL('../src/core.js', import.meta.url).href)}
    import { live } from ${JSON.stringify(new URL('../src/live.js', import.meta.url).href)}
    const core = connect(${JSON.stringify(server.url)}, ${JSON.stringify(server.publishable)})
    for await (const people of live(core, 'people')) { console.log(people.length); break }`
  const said = execFileSync(
    process.execPath,
    ['--experimental-websocket', '--no-warnings', '--input-type=module', '-e', script],
    { timeout: 20_000, encoding: 'utf8' },
  )
  assert.match(said, /^\d+\n$/)
})

test('what was taken away while the wire was cut is not there afterwards', async (context) => {
  const wire = await line(server.url)
  context.after(() => wire.close())
  const own = await somebody()
  const session = (await own.session.get())!
  const core = connect(wire.url, server.publishable)
  await core.session.set(session, 'signed_in')
  const [room] = (await add('rooms', { name: 'r' })) as { id: string }[]
  await add('members', { room: room!.id, user: session.user.id })
  await add('messages', { room: room!.id, text: 'secret' })
  const list = follow(context, live(core, 'messages', { where: { room: room!.id } }))
  assert.equal((await list.ready).length, 1)
  wire.down()
  await turns(list, 'offline')
  await write('DELETE', `members?user=eq.${session.user.id}`)
  wire.up()
  await turns(list, 'live')
  assert.deepEqual(list.records, [])
})

test('a list that comes back is read again only where what its user may see has changed', async (context) => {
  const wire = await line(server.url)
  context.after(() => wire.close())
  const own = await somebody()
  const session = (await own.session.get())!
  const { frames, options } = wired()
  const core = connect(wire.url, server.publishable, options)
  await core.session.set(session, 'signed_in')
  const [room, other] = (await add('rooms', { name: 'r' }, { name: 's' })) as { id: string }[]
  await add('members', { room: room!.id, user: session.user.id })
  await add('messages', { room: other!.id, text: 'a' })
  const list = follow(context, live(core, 'messages', { order: 'text' }))
  const shows = (...texts: string[]) => becomes(list, texts, ({ text }) => text)
  await list.ready
  const joins = () => {
    const joins = frames.filter((frame) => frame.includes('"phx_join"'))
    return joins.map((frame) => (frame.includes('"snapshot":true') ? 'reads' : 'resumes'))
  }
  const away = async (deed: () => Promise<unknown>) => {
    frames.length = 0
    wire.down()
    await turns(list, 'offline')
    await deed()
    wire.up()
    await turns(list, 'live')
  }
  await away(() => add('messages', { room: room!.id, text: 'b' }))
  await shows('b')
  assert.deepEqual(joins(), ['resumes'])
  await away(() => add('members', { room: other!.id, user: session.user.id }))
  await shows('a', 'b')
  assert.deepEqual(joins(), ['resumes', 'reads'])
  // What another token says of him, nobody tells.
  const renewed = (await own.session.renew(session.access_token))!
  await away(() => core.session.set(renewed, 'refreshed'))
  assert.deepEqual(joins(), ['reads'])
  await away(() => add('messages', { room: room!.id, text: 'c' }))
  await shows('a', 'b', 'c')
  assert.deepEqual(joins(), ['resumes'])
})

/** Compiled, and never run. */
export function typed(core: Core<Schema>): void {
  const posts = live(core, 'posts', { fields: ['title'], with: { author: { fields: ['handle'] } }, order: '-created_at' })
  for (const { title, author } of posts.records) {
    const texts: (string | undefined)[] = [title, author?.handle]
    void texts
  }
  // @ts-expect-error what is not asked for is not there
  posts.records[0]?.status
  // @ts-expect-error there is no such collection
  live(core, 'nothing')
  // @ts-expect-error nor such a field
  live(core, 'posts', { where: { nothing: 1 } })
  // @ts-expect-error nor such a value
  live(core, 'posts', { where: { status: 'nothing' } })
  // @ts-expect-error a change cannot be judged by this
  live(core, 'posts', { where: { or: [{ title: 'a' }, { title: 'b' }] } })
  // @ts-expect-error and has no page
  live(core, 'posts', { offset: 7 })
  // @ts-expect-error there is no such relation
  live(core, 'posts', { with: { nothing: true } })
}
