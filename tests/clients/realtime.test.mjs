// Realtime through the published client, both versions of its wire, against a server that is also restarted.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import net from 'node:net'
import { after, before, describe, test } from 'node:test'
import { RealtimeClient } from '@supabase/realtime-js'
import { createClient } from '@supabase/supabase-js'

const need = (name) => process.env[name] ?? assert.fail(`${name} is not set: run this by \`cargo test published_clients\``)
const PATIENCE = 15_000

// The server is at another port after its restart, and its clients keep their address.
const target = () => new URL(fs.readFileSync(need('BW_ADDRESS'), 'utf8').trim())
const through = net.createServer(async (near) => {
  near.on('error', () => {})
  // Whoever comes during a restart waits for its end: the WebSocket of Node 20 does not say that it could not be opened.
  while (fs.existsSync(need('BW_RESTART'))) await new Promise((resolve) => setTimeout(resolve, 20))
  const { hostname, port } = target()
  const far = net.connect(Number(port), hostname)
  near.pipe(far).pipe(near)
  for (const [one, other] of [[near, far], [far, near]]) {
    one.on('error', () => other.destroy())
    one.on('close', () => other.destroy())
  }
})
let url
before(async () => {
  await new Promise((resolve) => through.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${through.address().port}`
})

let subscriptions = 0
const clients = []
after(async () => {
  await Promise.all(clients.map((client) => client.realtime.disconnect()))
  through.close()
  through.closeAllConnections?.()
  console.log(`subscriptions: ${subscriptions}`)
  setTimeout(() => process.exit(process.exitCode), 1000).unref()
})

/** A client of somebody: `who` is a token, or nothing for nobody in particular. */
function client(vsn, who, options = {}) {
  const realtime = { vsn, reconnectAfterMs: () => 100, ...options }
  const accessToken = who && (async () => who)
  const made = createClient(url, need('BW_PUBLISHABLE'), { realtime, ...(accessToken && { accessToken }) })
  clients.push(made)
  return made
}

/** What comes, in order; waiting for more than comes is a failure. */
function inbox() {
  const items = []
  let wake = () => {}
  const put = (item) => {
    items.push(item)
    wake()
  }
  const next = async (wanted = () => true) => {
    const deadline = Date.now() + PATIENCE
    for (;;) {
      const at = items.findIndex(wanted)
      if (at >= 0) return items.splice(at, 1)[0]
      const left = deadline - Date.now()
      assert.ok(left > 0, `nothing more came; there are ${JSON.stringify(items)}`)
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, left)
        wake = () => (clearTimeout(timer), resolve())
      })
    }
  }
  return { items, put, next }
}

/** Subscribes, and with `changes` waits until changes come. */
async function joined(channel, { changes = false } = {}) {
  const states = inbox()
  const told = inbox()
  channel.on('system', {}, told.put)
  // As whoever has his token from somewhere else does before he joins what is not for everybody.
  await channel.socket.setAuth()
  channel.subscribe((status, error) => states.put({ status, error }))
  const first = await states.next()
  assert.equal(first.status, 'SUBSCRIBED', String(first.error))
  subscriptions += 1
  if (changes) {
    const word = await told.next((message) => message.extension === 'postgres_changes')
    assert.deepEqual([word.status, word.message], ['ok', 'Subscribed to PostgreSQL'])
  }
  return { states, told }
}

/** How a subscription is refused. */
async function refused(channel) {
  const states = inbox()
  await channel.socket.setAuth()
  channel.subscribe((status, error) => states.put({ status, error }))
  const first = await states.next()
  assert.equal(first.status, 'CHANNEL_ERROR')
  return first.error.message
}

/** The rows of a call that must succeed. */
async function rows(call) {
  const { data, error } = await call
  assert.equal(error, null, JSON.stringify(error))
  return data
}

let next_id = 1
const ada = (vsn = '2.0.0') => client(vsn, need('BW_TOKEN_ADA'))
const anon = (vsn = '2.0.0') => client(vsn)
const make = (by, values) => {
  next_id += 1
  return rows(by.from('tickets').insert({ id: next_id, title: `ticket ${next_id}`, ...values }).select().single())
}
const change = (by, id, values) => rows(by.from('tickets').update(values).eq('id', id))
const remove = (by, id) => rows(by.from('tickets').delete().eq('id', id))
const all = { event: '*', schema: 'public', table: 'tickets' }
let topics = 0
const topic = () => `topic-${(topics += 1)}`
const about = (id) => (event) => (event.new.id ?? event.old.id) === id

for (const vsn of ['1.0.0', '2.0.0']) {
  describe(`version ${vsn}`, () => {
    test('a row is made, changed and deleted, and each is told with its values', async () => {
      const [writer, listener] = [ada(vsn), anon(vsn)]
      const got = inbox()
      await joined(listener.channel(topic()).on('postgres_changes', all, got.put), { changes: true })
      const made = await make(writer, {
        price: 12.5, big: 7, tags: ['a', 'b "c"'], meta: { deep: [1, null] }, at: '2026-01-02T03:04:05+00:00', note: 'mine',
      })
      const inserted = await got.next()
      const { note, ...open } = made
      assert.equal(note, 'mine')
      assert.deepEqual([inserted.eventType, inserted.schema, inserted.table, inserted.errors], ['INSERT', 'public', 'tickets', null])
      // The client makes its own of timestamps.
      for (const name of ['at', 'created_at', 'updated_at']) {
        assert.equal(new Date(inserted.new[name]).getTime(), new Date(open[name]).getTime(), name)
        delete inserted.new[name]
        delete open[name]
      }
      assert.deepEqual(inserted.new, open)
      assert.deepEqual(inserted.old, {})
      assert.ok(Math.abs(new Date(inserted.commit_timestamp) - Date.now()) < 60_000)
      await change(writer, made.id, { title: 'renamed' })
      const updated = await got.next()
      assert.deepEqual(
        [updated.eventType, updated.new.title, updated.old.title],
        ['UPDATE', 'renamed', made.title],
      )
      await remove(writer, made.id)
      const deleted = await got.next()
      assert.deepEqual([deleted.eventType, deleted.old.id, deleted.new], ['DELETE', made.id, {}])
      assert.equal('note' in deleted.old, false)
      await listener.removeAllChannels()
    })

    test('bindings of one channel are told what each asked for', async () => {
      const [writer, listener] = [ada(vsn), anon(vsn)]
      const bindings = [
        ['inserts', { event: 'INSERT', schema: 'public', table: 'tickets' }],
        ['updates', { event: 'UPDATE', schema: 'public', table: 'tickets' }],
        ['deletes', { event: 'DELETE', schema: 'public', table: 'tickets' }],
        ['dear', { ...all, filter: 'price=gte.100' }],
        ['either', { ...all, filter: 'title=in.(left,right)' }],
        ['like', { ...all, filter: 'title=like.le%' }],
        ['not', { ...all, filter: 'title=neq.left' }],
        ['whatever', { event: '*', schema: 'public' }],
      ]
      const got = Object.fromEntries(bindings.map(([name]) => [name, []]))
      const last = inbox()
      let channel = listener.channel(topic())
      for (const [name, filter] of bindings) {
        channel = channel.on('postgres_changes', filter, (event) => got[name].push([event.eventType, event.new.id ?? event.old.id]))
      }
      channel = channel.on('postgres_changes', { ...all, filter: 'title=eq.last' }, last.put)
      await joined(channel, { changes: true })
      const one = await make(writer, { title: 'left', price: 5 })
      const two = await make(writer, { title: 'other', price: 500 })
      await change(writer, one.id, { price: 200 })
      await remove(writer, two.id)
      const end = await make(writer, { title: 'last' })
      await last.next()
      const [insert, update, gone] = [['INSERT', one.id], ['UPDATE', one.id], ['DELETE', two.id]]
      assert.deepEqual(got, {
        inserts: [insert, ['INSERT', two.id], ['INSERT', end.id]],
        updates: [update],
        deletes: [gone],
        // It enters the view of whoever asked for dear ones.
        dear: [['INSERT', two.id], ['INSERT', one.id], gone],
        either: [insert, update],
        like: [insert, update],
        not: [['INSERT', two.id], gone, ['INSERT', end.id]],
        whatever: [insert, ['INSERT', two.id], update, gone, ['INSERT', end.id]],
      })
      await listener.removeAllChannels()
    })

    test('chosen fields come alone, with the key', async () => {
      const [writer, listener] = [ada(vsn), anon(vsn)]
      const got = inbox()
      await joined(listener.channel(topic()).on('postgres_changes', { ...all, select: ['title'] }, got.put), { changes: true })
      const made = await make(writer, {})
      const event = await got.next(about(made.id))
      assert.deepEqual(event.new, { id: made.id, title: made.title })
      await listener.removeAllChannels()
    })

    test('a row that leaves what one sees is deleted, and one that enters is made', async () => {
      const [writer, listener] = [ada(vsn), anon(vsn)]
      const got = inbox()
      await joined(listener.channel(topic()).on('postgres_changes', all, got.put), { changes: true })
      const made = await make(writer, { state: 'closed' })
      await change(writer, made.id, { state: 'open' })
      await change(writer, made.id, { state: 'closed', title: 'unseen' })
      const [entered, left] = [await got.next(about(made.id)), await got.next(about(made.id))]
      assert.deepEqual([entered.eventType, left.eventType], ['INSERT', 'DELETE'])
      assert.deepEqual([entered.new.state, left.old.state, left.old.title], ['open', 'open', made.title])
      await listener.removeAllChannels()
    })

    test('two channels of one client are told the same, and who they are decides what', async () => {
      const [owner, stranger] = [ada(vsn), client(vsn, need('BW_TOKEN_BOB'))]
      const [first, second, other] = [inbox(), inbox(), inbox()]
      await joined(owner.channel(topic()).on('postgres_changes', all, first.put), { changes: true })
      await joined(owner.channel(topic()).on('postgres_changes', all, second.put), { changes: true })
      await joined(stranger.channel(topic()).on('postgres_changes', all, other.put), { changes: true })
      const shut = await make(owner, { state: 'closed', note: 'private' })
      const open = await make(owner, { note: 'masked' })
      for (const got of [first, second]) {
        assert.equal((await got.next(about(shut.id))).new.note, 'private')
        assert.equal((await got.next(about(open.id))).new.note, 'masked')
      }
      // He knows the field, and may not see it on this row.
      const seen = await other.next()
      assert.deepEqual([seen.new.id, seen.new.note], [open.id, null])
      await Promise.all([owner.removeAllChannels(), stranger.removeAllChannels()])
    })

    test('a new token makes somebody else of the caller of an open channel', async () => {
      const [writer, listener] = [ada(vsn), anon(vsn)]
      const got = inbox()
      await joined(listener.channel(topic()).on('postgres_changes', all, got.put), { changes: true })
      await make(writer, { state: 'closed' })
      const open = await make(writer, {})
      assert.equal((await got.next()).new.id, open.id)
      await listener.realtime.setAuth(need('BW_TOKEN_ADA'))
      // The order of what is sent over REST and over the socket is anybody's.
      let seen
      for (let tries = 0; tries < 100 && !seen; tries += 1) {
        const shut = await make(writer, { state: 'closed', note: 'n' })
        const mark = await make(writer, {})
        const event = await got.next((event) => [shut.id, mark.id].includes(event.new.id))
        if (event.new.id === shut.id) seen = event
      }
      assert.equal(seen?.new.note, 'n')
      await listener.removeAllChannels()
    })

    test('a broadcast reaches the others, oneself where one wants it, and is acknowledged', async () => {
      const [one, two] = [anon(vsn), anon(vsn)]
      const name = topic()
      const [near, far] = [inbox(), inbox()]
      const here = one.channel(name, { config: { broadcast: { self: true, ack: true } } }).on('broadcast', { event: 'said' }, near.put)
      const there = two.channel(name).on('broadcast', { event: 'said' }, far.put)
      await joined(here)
      await joined(there)
      const payload = { text: 'hello ✓', list: [1, { a: null }] }
      assert.equal(await here.send({ type: 'broadcast', event: 'said', payload }), 'ok')
      assert.deepEqual((await near.next()).payload, payload)
      assert.deepEqual((await far.next()).payload, payload)
      // Without `self` he hears only the others.
      assert.equal(await there.send({ type: 'broadcast', event: 'said', payload: { from: 'there' } }), 'ok')
      assert.deepEqual((await near.next()).payload, { from: 'there' })
      assert.equal(await here.send({ type: 'broadcast', event: 'said', payload: { last: true } }), 'ok')
      assert.deepEqual((await far.next()).payload, { last: true })
      // Not joined yet: the client takes the way over REST.
      const unjoined = anon(vsn).channel(name)
      assert.equal(await unjoined.send({ type: 'broadcast', event: 'said', payload: { over: 'REST' } }), 'ok')
      assert.deepEqual((await far.next()).payload, { over: 'REST' })
      assert.deepEqual(await unjoined.httpSend('said', { over: 'the newer way' }), { success: true })
      assert.deepEqual((await far.next()).payload, { over: 'the newer way' })
      await Promise.all([one.removeAllChannels(), two.removeAllChannels()])
    })

    test('presence is known to all, changes, and ends with the channel', async () => {
      const [one, two] = [anon(vsn), anon(vsn)]
      const name = topic()
      const [joins, leaves, syncs] = [inbox(), inbox(), inbox()]
      const watcher = one
        .channel(name, { config: { presence: { key: 'watcher' } } })
        .on('presence', { event: 'join' }, joins.put)
        .on('presence', { event: 'leave' }, leaves.put)
        .on('presence', { event: 'sync' }, () => syncs.put(watcher.presenceState()))
      await joined(watcher)
      const visitor = two.channel(name, { config: { presence: { key: 'visitor' } } }).on('presence', { event: 'sync' }, () => {})
      await joined(visitor)
      assert.equal(await visitor.track({ mood: 'curious' }), 'ok')
      const join = await joins.next()
      assert.deepEqual([join.key, join.newPresences[0].mood], ['visitor', 'curious'])
      assert.equal(await watcher.track({ mood: 'calm' }), 'ok')
      const both = await syncs.next((state) => state.watcher && state.visitor)
      assert.deepEqual([both.watcher[0].mood, both.visitor[0].mood], ['calm', 'curious'])
      assert.equal(await visitor.untrack(), 'ok')
      await syncs.next((state) => state.watcher && !state.visitor)
      assert.equal(await visitor.track({ mood: 'back' }), 'ok')
      await syncs.next((state) => state.visitor?.[0].mood === 'back')
      await two.removeAllChannels()
      await leaves.next((left) => left.key === 'visitor' && left.leftPresences[0].mood === 'back')
      await syncs.next((state) => state.watcher && !state.visitor)
      // Who comes later is told who is there.
      const late = inbox()
      const latecomer = two.channel(name).on('presence', { event: 'sync' }, () => late.put(latecomer.presenceState()))
      await joined(latecomer)
      await late.next((state) => state.watcher?.[0].mood === 'calm')
      // A change is a join and a leave. (What this version of the client makes of them in its state is another matter.)
      assert.equal(await watcher.track({ mood: 'glad' }), 'ok')
      await joins.next((join) => join.key === 'watcher' && join.newPresences[0].mood === 'glad')
      await leaves.next((left) => left.key === 'watcher' && left.leftPresences[0].mood === 'calm')
      await Promise.all([one.removeAllChannels(), two.removeAllChannels()])
    })

    test('a channel that was left is joined again', async () => {
      const [writer, listener] = [ada(vsn), anon(vsn)]
      const name = topic()
      for (let round = 0; round < 3; round += 1) {
        const got = inbox()
        const channel = listener.channel(name).on('postgres_changes', all, got.put)
        await joined(channel, { changes: true })
        const made = await make(writer, {})
        await got.next(about(made.id))
        assert.equal(await listener.removeChannel(channel), 'ok')
        await make(writer, {})
        assert.deepEqual(got.items, [])
      }
    })

    test('private channels are for those whom the project names', async () => {
      const name = `room:${vsn[0]}`
      const [nobody, reader, editor] = [anon(vsn), ada(vsn), client(vsn, need('BW_TOKEN_EDITOR'))]
      const secret = { config: { private: true, broadcast: { ack: true } } }
      assert.match(await refused(nobody.channel(name, secret)), /Unauthorized/)
      assert.match(await refused(reader.channel(`unheard-of:${vsn[0]}`, secret)), /Unauthorized/)
      const got = inbox()
      await joined(reader.channel(name, secret).on('broadcast', { event: '*' }, got.put))
      const desk = editor.channel(name, secret)
      await joined(desk)
      // The reader may not write: nobody hears it, and it is not acknowledged.
      const short = { timeout: 500 }
      const mute = reader.getChannels()[0].send({ type: 'broadcast', event: 'e', payload: { from: 'reader' } }, short)
      assert.notEqual(await mute, 'ok')
      assert.equal(await desk.send({ type: 'broadcast', event: 'e', payload: { from: 'editor' } }), 'ok')
      assert.deepEqual((await got.next()).payload, { from: 'editor' })
      // Declared is private, whatever the client asks.
      assert.match(await refused(anon(vsn).channel(name)), /Unauthorized/)
      await Promise.all([nobody, reader, editor].map((client) => client.removeAllChannels()))
    })

    test('what cannot be listened to is said', async () => {
      const listener = anon(vsn)
      for (const [binding, words] of [
        [{ ...all, filter: 'nothing=eq.1' }, /nothing/],
        // A hidden field is one that does not exist.
        [{ ...all, filter: 'note=eq.1' }, /note/],
        [{ ...all, filter: 'price=eq.cheap' }, /cheap|price/],
        [{ ...all, filter: 'price=near.1' }, /near|filter/],
        [{ ...all, table: 'unheard_of' }, /unheard_of/],
        [{ ...all, table: 'drafts' }, /drafts/],
      ]) {
        const told = inbox()
        const channel = listener.channel(topic()).on('postgres_changes', binding, () => {}).on('system', {}, told.put)
        channel.subscribe()
        const word = await told.next((message) => message.extension === 'postgres_changes')
        assert.equal(word.status, 'error', JSON.stringify(binding))
        assert.match(word.message, words)
        await listener.removeChannel(channel)
      }
    })

    test('heartbeats are answered', async () => {
      const socket = new RealtimeClient(`${url.replace('http', 'ws')}/realtime/v1`, {
        params: { apikey: need('BW_PUBLISHABLE') }, vsn, heartbeatIntervalMs: 200,
      })
      const beats = inbox()
      socket.onHeartbeat(beats.put)
      socket.connect()
      for (let n = 0; n < 3; n += 1) await beats.next((status) => status === 'ok')
      await socket.disconnect()
    })

    test('after the restart of the server its clients are back', async () => {
      const [writer, listener] = [ada(vsn), anon(vsn)]
      const got = inbox()
      const { told, states } = await joined(listener.channel(topic()).on('postgres_changes', all, got.put), { changes: true })
      const first = await make(writer, {})
      await got.next(about(first.id))
      fs.writeFileSync(need('BW_RESTART'), 'please')
      const deadline = Date.now() + 60_000
      while (fs.existsSync(need('BW_RESTART'))) {
        assert.ok(Date.now() < deadline, 'the server was not restarted')
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      await states.next(({ status }) => status === 'SUBSCRIBED')
      await told.next((message) => message.extension === 'postgres_changes' && message.status === 'ok')
      const second = await make(writer, {})
      assert.equal((await got.next(about(second.id))).eventType, 'INSERT')
      await listener.removeAllChannels()
    })
  })
}

test('bytes are broadcast as bytes', async () => {
  const [one, two, old] = [anon(), anon(), anon('1.0.0')]
  const name = topic()
  const [far, late] = [inbox(), inbox()]
  const here = one.channel(name, { config: { broadcast: { ack: true } } })
  await joined(here)
  await joined(two.channel(name).on('broadcast', { event: '*' }, far.put))
  await joined(old.channel(name).on('broadcast', { event: '*' }, late.put))
  const bytes = Uint8Array.from([0, 1, 254, 255])
  assert.equal(await here.send({ type: 'broadcast', event: 'raw', payload: bytes.buffer }), 'ok')
  assert.deepEqual(new Uint8Array((await far.next()).payload), bytes)
  assert.deepEqual(await here.httpSend('raw', bytes), { success: true })
  assert.deepEqual(new Uint8Array((await far.next()).payload), bytes)
  // An old client gets JSON, and nothing of what is none.
  assert.equal(await here.send({ type: 'broadcast', event: 'text', payload: { a: 1 } }), 'ok')
  assert.deepEqual((await late.next()).payload, { a: 1 })
  await Promise.all([one, two, old].map((client) => client.removeAllChannels()))
})

test('the secret key listens where the publishable one stands in the address', async () => {
  const realtime = { params: { apikey: need('BW_PUBLISHABLE') }, reconnectAfterMs: () => 100 }
  const desk = createClient(url, need('BW_SECRET'), { realtime })
  clients.push(desk)
  const got = inbox()
  // No rule opens this to anybody: the join was sent with the secret key.
  const channel = desk.channel('unheard-of', { config: { private: true } }).on('postgres_changes', all, got.put)
  await joined(channel, { changes: true })
  const made = await make(ada(), {})
  assert.equal((await got.next(about(made.id))).new.id, made.id)
  await desk.removeAllChannels()
})
