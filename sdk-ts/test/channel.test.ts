import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, test } from 'node:test'
import { type Channel, channel } from '../src/channel.js'
import { connect } from '../src/core.js'
import { line } from './proxy.js'
import { eventually, type Server, serve } from './server.js'

const PROJECT = {
  'basewright.yaml': `
auth: { signup: { confirm_email: false } }
channels:
  'room:{room}':
    read: [{ role: authenticated }]
    write: [{ role: authenticated, when: room != 'closed' }]
`,
}

let server: Server
before(async () => {
  server = await serve(PROJECT)
})
after(() => server.stop())

async function somebody() {
  const core = connect(server.url, server.publishable)
  const json = { email: `${randomUUID()}@example.test`, password: 'correct horse battery' }
  await core.session.set(await core.json({ method: 'POST', path: '/auth/v1/signup', json }), 'signed_in')
  return core
}

const joined = (channel: Channel) =>
  eventually(`${channel.topic} is joined`, () => channel.status === 'live' || undefined)
const names = (channel: Channel) =>
  [...channel.present].map(([key, states]) => [key, states.map(({ name }) => name)]).sort()

test('what one says the others hear, and oneself if one wants to', async (context) => {
  const [ada, bob] = [
    channel(connect(server.url, server.publishable), 'lobby'),
    channel(connect(server.url, server.publishable), 'lobby', { self: true, ack: true }),
  ]
  context.after(() => [ada, bob].map((one) => one.close()))
  const heard: string[] = []
  ada.on('say', ({ text }) => heard.push(`ada ${text}`))
  const stop = ada.on('*', (_, event) => heard.push(`any ${event}`))
  bob.on('say', ({ text }) => heard.push(`bob ${text}`))
  await joined(ada)
  // Sent before it is joined, and acknowledged.
  await bob.send('say', { text: 'hi' })
  await eventually('both hear it', () => heard.length === 3 || undefined)
  assert.deepEqual(heard.sort(), ['ada hi', 'any say', 'bob hi'])
  stop()
  await ada.send('say', { text: 'ho' })
  await eventually('bob hears it', () => heard.includes('bob ho') || undefined)
  assert.equal(heard.length, 4, 'ada does not hear herself')
})

test('a loop hears all that is said until the channel is closed', async () => {
  const [ada, bob] = [
    channel(connect(server.url, server.publishable), 'loop'),
    channel(connect(server.url, server.publishable), 'loop', { ack: true }),
  ]
  await joined(ada)
  const heard: unknown[] = []
  const loop = (async () => {
    for await (const { event, payload } of ada) heard.push([event, payload])
  })()
  await joined(bob)
  for (const text of ['a', 'b', 'c']) await bob.send('say', { text })
  await bob.send('empty')
  await eventually('all is heard', () => heard.length === 4 || undefined)
  ada.close()
  await loop
  assert.deepEqual(heard, [
    ['say', { text: 'a' }],
    ['say', { text: 'b' }],
    ['say', { text: 'c' }],
    ['empty', {}],
  ])
  bob.close()
  await assert.rejects(bob.send('late'), { name: 'BasewrightError', code: 'closed' })
})

test('who is there is known to all, also after the server was restarted', async (context) => {
  const [ada, bob] = [
    channel(connect(server.url, server.publishable), 'there', { presence: 'ada' }),
    channel(connect(server.url, server.publishable), 'there', { presence: { name: 'Bob' } }),
  ]
  context.after(() => [ada, bob].map((one) => one.close()))
  let told = 0
  bob.onPresence(() => told++)
  await joined(ada)
  await ada.track({ name: 'Ada' })
  const all = async (expected: string[][]) => {
    for (const one of [ada, bob]) {
      await eventually(
        `all of ${expected} are there`,
        () =>
          JSON.stringify(
            names(one)
              .map(([, names]) => names)
              .sort(),
          ) === JSON.stringify(expected) || undefined,
      )
    }
  }
  await all([['Ada'], ['Bob']])
  assert.ok(ada.present.get('ada'))
  await ada.track({ name: 'Ada L.' })
  await all([['Ada L.'], ['Bob']])
  const other = channel(connect(server.url, server.publishable), 'there', { presence: 'ada' })
  await other.track({ name: 'phone' })
  await all([['Ada L.', 'phone'], ['Bob']])
  other.close()
  await all([['Ada L.'], ['Bob']])
  await server.stop()
  for (const one of [ada, bob]) await eventually('it is offline', () => one.status === 'offline' || undefined)
  await assert.rejects(ada.send('say', {}), { code: 'offline' })
  await server.start()
  await all([['Ada L.'], ['Bob']])
  await ada.untrack()
  await all([['Bob']])
  assert.ok(told > 3)
})

test('a declared channel is for whom its rules let in', async (context) => {
  const core = connect(server.url, server.publishable)
  const stranger = channel(core, 'room:1')
  context.after(() => stranger.close())
  const statuses: string[] = []
  stranger.onStatus((status) => statuses.push(status))
  await assert.rejects(stranger.send('say', {}), { name: 'BasewrightError', code: 'Unauthorized' })
  assert.deepEqual([stranger.status, stranger.error?.code], ['closed', 'Unauthorized'])
  await assert.rejects(
    async () => {
      for await (const _ of stranger) assert.fail('nothing is heard')
    },
    { code: 'Unauthorized' },
  )
  // He signs in, and is let in; he signs out, and is out.
  const session = (await (await somebody()).session.get())!
  await core.session.set(session, 'signed_in')
  await joined(stranger)
  assert.equal(stranger.error, null)
  await core.session.set(null, 'signed_out')
  await eventually('he is out', () => stranger.status === 'closed' || undefined)
  // Who may not write is not heard.
  const silent = channel(await somebody(), 'room:closed')
  context.after(() => silent.close())
  await joined(silent)
  await assert.rejects(silent.track({ name: 'x' }), { code: 'Unauthorized' })
})

test('a connection that is cut comes back, and so do those who were there', async (context) => {
  const wire = await line(server.url)
  const [ada, bob] = [
    channel(connect(wire.url, server.publishable), 'cut', { presence: { name: 'Ada' } }),
    channel(connect(server.url, server.publishable), 'cut', { ack: true }),
  ]
  context.after(() => {
    for (const one of [ada, bob]) one.close()
    wire.close()
  })
  const heard: unknown[] = []
  ada.on('say', (payload) => heard.push(payload))
  await joined(bob)
  await eventually('she is there', () => names(bob).length === 1 || undefined)
  wire.down()
  await eventually('she is gone', () => names(bob).length === 0 || undefined)
  assert.equal(ada.status, 'offline')
  await bob.send('say', 'unheard')
  wire.up()
  await eventually('she is back', () => names(bob).length === 1 || undefined)
  await joined(ada)
  await bob.send('say', 'heard')
  await eventually('she hears', () => heard.length > 0 || undefined)
  assert.deepEqual(heard, ['heard'])
})
