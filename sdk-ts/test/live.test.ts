import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, test } from 'node:test'
import { connect } from '../src/core.js'
import { type Live, live } from '../src/live.js'
import type { Status } from '../src/socket.js'
import { eventually, type Server, serve } from './server.js'

const PROJECT = {
  'basewright.yaml': `
limits: { rows: 2000, bulk_rows: 2000 }
auth: { signup: { confirm_email: false } }
collections:
  rooms: { fields: { name: text } }
  members:
    primary_key: [room, user]
    fields: { room: { type: relation, to: rooms, on_delete: cascade }, user: { type: uuid, references: auth.users, on_delete: cascade }, note: text }
  people: { fields: { name: text } }
  notes:
    timestamps: false
    fields: { id: bigint, n: integer, body: text, at: timestamp, by: { type: relation, to: people }, tags: 'text[]', amount: decimal }
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
const becomes = (list: Live<any>, expected: unknown, show: (record: any) => unknown = ({ id }) => id): Promise<true> => {
  let last: unknown
  return eventually(`a list becomes ${JSON.stringify(expected)}`, () => {
    last = list.records.map(show)
    return JSON.stringify(last) === JSON.stringify(expected) ? (true as const) : undefined
  }).catch((error: Error) => {
    throw new Error(`${error.message}, and is ${JSON.stringify(last)}, ${list.status}, ${list.error}`)
  })
}
const turns = (list: { status: Status }, status: Status) => eventually(`it is ${status}`, () => list.status === status || undefined)

/** A list that is followed until the test ends. */
function follow<T>(context: { after(end: () => void): void }, list: Live<T>): Live<T> {
  context.after(() => list.close())
  list.subscribe(() => {})
  return list
}

/** Somebody new who is signed in. */
async function somebody() {
  const core = anyone()
  const session = await core.json<any>({ method: 'POST', path: '/auth/v1/signup', json: { email: `${randomUUID()}@example.test`, password: 'correct horse battery' } })
  await core.session.set(session, 'signed_in')
  return core
}

test('a list begins with what there is and follows what happens', async (context) => {
  await add('notes', { id: 1, n: 1 }, { id: 2, n: 2 })
  const list = follow(context, live(anyone(), 'notes', { where: { n: { lt: 100 } }, order: 'n', fields: ['n'] }))
  assert.deepEqual(await list.ready, [{ id: 1, n: 1 }, { id: 2, n: 2 }])
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
