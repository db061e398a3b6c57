// Writers, lists of several users, cuts, stalls, kills and restarts, at random: in the end each list is what a read
// answers, and what it told on the way is what happened. BASEWRIGHT_LONG=1 goes on for ten minutes, BASEWRIGHT_SEED
// repeats a run as far as the machine lets it.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, test } from 'node:test'
import { type Core, connect } from '../src/core.js'
import { type Live, live } from '../src/live.js'
import { type Line, line } from './proxy.js'
import { eventually, type Server, serve } from './server.js'

const PROJECT = {
  'basewright.yaml': `
limits: { rows: 50000 }
auth: { signup: { confirm_email: false } }
collections:
  rooms: { fields: { name: text } }
  members:
    primary_key: [room, user]
    fields:
      room: { type: relation, to: rooms, on_delete: cascade }
      user: { type: uuid, references: auth.users, on_delete: cascade }
  messages: { fields: { room: { type: relation, to: rooms, on_delete: cascade }, number: integer, text: text } }
  notes: { fields: { number: integer, word: text, hidden: { type: boolean, default: false }, secret: text } }
  tasks: { fields: { owner: { type: uuid, references: auth.users, on_delete: cascade }, title: text, done: boolean } }
  entries: { timestamps: false, fields: { id: bigint, by: integer } }
policies:
  rooms: { read: [{ role: authenticated, when: 'members.exists(m, m.user == auth.id)' }] }
  members: { read: [{ role: authenticated, when: user == auth.id }] }
  messages: { read: [{ role: authenticated, when: 'room.members.exists(m, m.user == auth.id)' }] }
  notes:
    read:
      - { role: anon, when: hidden == false, fields: { except: [secret] } }
      - { role: authenticated, when: number > 60 }
  tasks: { read: [{ role: authenticated, when: owner == auth.id }] }
  entries: { read: [{ role: anon }] }
`,
}
const SECONDS = process.env['BASEWRIGHT_LONG'] === '1' ? 600 : 15
/** Milliseconds between two ends of the server. */
const EVERY = 6000
const SEED = Number(process.env['BASEWRIGHT_SEED'] ?? Date.now() % 1_000_000)

/** Numbers that follow from a seed (mulberry32). */
function dice(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

let server: Server
before(async () => {
  server = await serve(PROJECT)
})
after(() => server.stop())

/** A list, the read that it must equal, and what it said on the way. */
interface Followed {
  name: string
  list: Live<any>
  read: () => Promise<unknown[]>
  wire: Line
  /** The list as its changes tell it. */
  replayed: Map<string, unknown>
  faults: string[]
  changes: number
  inserted: Map<string, number>
  states: number
}

test('in the end each list is what a read answers, and what it told is what happened', {
  timeout: (SECONDS + 120) * 1000,
}, async (context) => {
  const roll = dice(SEED)
  context.diagnostic(`BASEWRIGHT_SEED=${SEED}`)
  const admin = () => connect(server.url, server.secret)
  const write = (method: string, path: string, json?: unknown): Promise<any> =>
    admin().json({
      method,
      path: `/rest/v1/${path}`,
      json,
      headers: { prefer: 'return=representation' },
      timeout: 10_000,
    })
  const person = async () =>
    (await admin().json<any>({
      method: 'POST',
      path: '/auth/v1/signup',
      json: { email: `${randomUUID()}@example.test`, password: 'correct horse battery' },
    })) as any
  const [ada, bob] = [await person(), await person()]
  const rooms: { id: string }[] = await write('POST', 'rooms', [{ name: 'one' }, { name: 'two' }, { name: 'three' }])
  await write(
    'POST',
    'members',
    rooms.flatMap((room, at) =>
      (at === 0 ? [ada, bob] : [at === 1 ? ada : bob]).map(({ user }) => ({ room: room.id, user: user.id })),
    ),
  )

  const followed: Followed[] = []
  const follow = async (name: string, session: any, make: (core: Core) => Live<any>, path: string) => {
    const wire = await line(server.url)
    const core = connect(wire.url, server.publishable)
    if (session) await core.session.set(session, 'signed_in')
    const list = make(core as Core)
    const read = () =>
      connect(server.url, server.publishable).json<unknown[]>({
        path: `/rest/v1/${path}`,
        token: session?.access_token ?? null,
      })
    const one: Followed = {
      name,
      list,
      read,
      wire,
      replayed: new Map(),
      faults: [],
      changes: 0,
      inserted: new Map(),
      states: 0,
    }
    const changes = list.changes()[Symbol.asyncIterator]()
    for (const record of await list.ready) one.replayed.set(record.id, record)
    void (async () => {
      for (;;) {
        const { value, done } = await changes.next()
        if (done) return
        const { id } = value.record
        one.changes++
        if (value.type === 'insert') one.inserted.set(id, (one.inserted.get(id) ?? 0) + 1)
        if (one.replayed.has(id) !== (value.type !== 'insert'))
          one.faults.push(`${value.type} of ${id} at ${value.cursor}`)
        if (value.type === 'update' && JSON.stringify(value.old) !== JSON.stringify(one.replayed.get(id)))
          one.faults.push(`update of ${id} from something else`)
        if (value.type === 'delete') one.replayed.delete(id)
        else one.replayed.set(id, value.record)
      }
    })()
    list.subscribe(() => one.states++)
    followed.push(one)
  }
  await follow('entries', null, (core) => live(core, 'entries'), 'entries?order=id')
  await follow(
    'notes in view',
    null,
    (core) => live(core, 'notes', { where: { word: { in: ['a', 'B', 'c'] } }, order: ['word', '-number'] }),
    'notes?word=in.(a,B,c)&order=word,number.desc,id',
  )
  await follow(
    'five of the notes',
    ada,
    (core) =>
      live(core, 'notes', {
        order: { field: 'number', desc: true, nulls: 'last' },
        limit: 5,
        fields: ['number', 'word'],
      }),
    'notes?select=number,word,id&order=number.desc.nullslast,id&limit=5',
  )
  await follow(
    'messages with rooms',
    ada,
    (core) => live(core, 'messages', { with: { room: { fields: ['name'] } }, order: 'number' }),
    'messages?select=*,room(name)&order=number,id',
  )
  await follow(
    'newest of a room',
    bob,
    (core) => live(core, 'messages', { where: { room: rooms[0]!.id }, order: '-number', limit: 7 }),
    `messages?room=eq.${rooms[0]!.id}&order=number.desc,id&limit=7`,
  )
  await follow(
    'own tasks',
    bob,
    (core) => live(core, 'tasks', { where: { done: null }, order: 'title' }),
    'tasks?done=is.null&order=title,id',
  )

  const end = Date.now() + SECONDS * 1000
  const count = { writes: 0, lost: 0, cuts: 0, stalls: 0, refusals: 0, kills: 0, restarts: 0, moves: 0 }
  const words = ['a', 'B', 'c', 'd', null]
  const writer = async (by: number, roll: (below: number) => number) => {
    for (let at = 0; Date.now() < end; at++) {
      const some = `id=gte.${randomUUID()}&limit=1&order=id`
      const [room, owner] = [rooms[roll(3)]!.id, [ada, bob][roll(2)].user.id]
      const [number, word] = [roll(100), words[roll(5)]]
      try {
        const [first] = roll(3)
          ? []
          : await write('GET', `${['notes', 'messages', 'tasks'][roll(3)]}?select=id&${some}`)
        switch (roll(9)) {
          case 0:
          case 1:
            await write(
              'POST',
              'entries',
              Array.from({ length: 1 + roll(4) }, (_, more) => ({ id: by * 1_000_000 + at * 10 + more, by })),
            )
            break
          case 2:
            await write('POST', 'notes', { number: roll(10) ? number : null, word, hidden: roll(4) === 0 })
            break
          case 3:
            await write('PATCH', `notes?number=eq.${number}`, {
              word,
              hidden: roll(3) === 0,
              number: roll(100),
              secret: String(at),
            })
            break
          case 4:
            await write('POST', 'messages', { room, number, text: `${by} ${at}` })
            break
          case 5:
            await write('PATCH', `messages?number=eq.${number}`, { room, number: roll(100) })
            break
          case 6:
            await write('POST', 'tasks', { owner, title: `${word}${number}` })
            break
          case 7:
            await write('PATCH', `tasks?owner=eq.${owner}&title=like.${word}*`, {
              owner: [ada, bob][roll(2)].user.id,
              done: [null, null, true][roll(3)],
            })
            break
          default:
            if (first) for (const of of ['notes', 'messages', 'tasks']) await write('DELETE', `${of}?id=eq.${first.id}`)
            else await write('DELETE', `${['notes', 'messages'][roll(2)]}?number=eq.${number}`)
        }
        count.writes++
      } catch {
        // The server is away. What became of it, the database knows.
        count.lost++
        await new Promise((turn) => setTimeout(turn, 20))
      }
    }
  }
  const moment = (most: number) => new Promise((turn) => setTimeout(turn, roll(most)))
  let next = Date.now() + EVERY
  const trouble = async () => {
    while (Date.now() < end) {
      await moment(600)
      const { wire } = followed[roll(followed.length)]!
      // It takes seconds until it is back, so this has a time of its own.
      if (Date.now() > next) {
        const kill = (count.kills + count.restarts) % 2 === SEED % 2
        if (kill) count.kills++
        else count.restarts++
        await (kill ? server.kill() : server.stop())
        await moment(500)
        await server.start()
        next = Date.now() + EVERY
      }
      switch (roll(8)) {
        case 0:
        case 1:
          count.stalls++
          wire.stall()
          await moment(1500)
          wire.flow()
          break
        case 2:
          count.refusals++
          wire.down()
          await moment(1500)
          wire.up()
          break
        case 3: {
          count.moves++
          const [room, user] = [rooms[roll(3)]!.id, [ada, bob][roll(2)].user.id]
          const gone = await write('DELETE', `members?room=eq.${room}&user=eq.${user}`).catch(() => [])
          if (gone?.length === 0) await write('POST', 'members', { room, user }).catch(() => {})
          break
        }
        default:
          count.cuts++
          wire.cut()
      }
    }
  }
  await Promise.all([trouble(), ...[1, 2, 3, 4].map((by) => writer(by, dice(SEED + by)))])

  for (const { name, list, read, replayed, faults, inserted } of followed) {
    let [is, expected]: unknown[] = []
    const settled = eventually(`${name} is what a read answers`, async () => {
      expected = JSON.stringify(await read())
      is = JSON.stringify(list.records)
      return list.status === 'live' && sorted(is as string) === sorted(expected as string) ? true : undefined
    })
    await settled.catch((error: Error) => {
      assert.equal(is, expected, `${error.message}; ${list.status} ${list.error}; BASEWRIGHT_SEED=${SEED}`)
      throw error
    })
    assert.deepEqual(faults, [], `${name}; BASEWRIGHT_SEED=${SEED}`)
    await eventually(`all that happened to ${name} is told`, () => replayed.size === list.records.length || undefined)
    for (const record of list.records) assert.deepEqual(replayed.get(record.id), record, name)
    if (name === 'entries') {
      // Nothing is ever taken out here: each entry came exactly once.
      const twice = [...inserted].filter(([, times]) => times !== 1)
      assert.deepEqual([twice, inserted.size], [[], list.records.length], `BASEWRIGHT_SEED=${SEED}`)
    }
  }
  const told = followed.map(
    ({ name, list, changes, states }) =>
      `${name}: ${list.records.length} records, ${changes} changes, ${states} states`,
  )
  context.diagnostic(`${JSON.stringify(count)}; ${told.join('; ')}`)
  assert.ok(count.writes > 20 && count.cuts > 0, JSON.stringify(count))
  for (const { list, wire } of followed) {
    list.close()
    wire.close()
  }
})

/** The members of a record have no order of their own. */
const sorted = (json: string): string =>
  JSON.stringify(JSON.parse(json), (_, value) =>
    value && typeof value === 'object' && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  )
