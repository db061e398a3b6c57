// The session: kept, refreshed once, and shared by tabs. A tab is a connection; tabs of one browser have one store.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { type Core, type Options, type Session, type Store, auth, connect } from '../src/index.js'
import { REPOSITORY, type Server, eventually, serve } from './server.js'

const PROJECT = `
auth:
  signup: { confirm_email: false, anonymous: true }
  rate_limits: { sign_up: false, sign_in: false, anonymous: false, refresh: false, mail: false, mail_to: false }
collections:
  notes:
    fields:
      title: { type: text }
      owner: { type: uuid, references: auth.users, default: auth.id, on_delete: cascade }
policies:
  notes:
    read: [{ role: authenticated, when: owner == auth.id }]
    create: [{ role: authenticated, fields: [title], set: { owner: auth.id } }]
`

let server: Server
before(async () => {
  server = await serve({ 'basewright.yaml': PROJECT })
})
after(() => server.stop())

/** Requests by their paths, as they left. */
let sent: string[] = []
beforeEach(() => {
  sent = []
})
const refreshes = (): number => sent.filter((path) => path.includes('grant_type=refresh_token')).length

const counted: typeof fetch = (input, init) => {
  sent.push(String(input).replace(server.url, ''))
  return fetch(input, init)
}

/** A store as tabs share it. */
function shared(): Store & { kept: Map<string, string> } {
  const kept = new Map<string, string>()
  return {
    kept,
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  }
}

const tab = (options: Options = {}): Core => connect(server.url, server.publishable, { fetch: counted, ...options })
const notes = (core: Core): Promise<unknown> => core.json({ path: '/rest/v1/notes' })

/** Signs somebody in and lets his token run out, as far as this machine's clock can tell. */
async function expired(core: Core): Promise<Session> {
  const session = await auth(core).signInAnonymously()
  const over = { ...session, expires_at: Math.floor(Date.now() / 1000) - 10 }
  await core.session.set(over, 'refreshed')
  return over
}

/** Locks as browsers have them (Web Locks), of which this version of Node.js knows nothing. */
function withLocks(request = queued()): () => void {
  const found = Object.getOwnPropertyDescriptor(globalThis, 'navigator')
  Object.defineProperty(globalThis, 'navigator', { value: { locks: { request } }, configurable: true })
  return () => {
    if (found) Object.defineProperty(globalThis, 'navigator', found)
    else Reflect.deleteProperty(globalThis, 'navigator')
  }
}

type Request = (name: string, options: LockOptions, work: () => Promise<unknown>) => Promise<unknown>

function queued(): Request {
  const queues = new Map<string, Promise<unknown>>()
  return (name, _, work) => {
    const turn = (queues.get(name) ?? Promise.resolve()).then(work)
    queues.set(name, turn.catch(() => undefined))
    return turn
  }
}

test('fifty requests with a token that ran out refresh it once', async () => {
  const core = tab()
  await expired(core)
  await Promise.all(Array.from({ length: 50 }, () => notes(core)))
  assert.equal(refreshes(), 1)
  assert.equal(sent.filter((path) => path.startsWith('/rest/')).length, 50)
})

test('two tabs that come at once refresh once, where they can agree', async () => {
  const undo = withLocks()
  try {
    const store = shared()
    const [one, two] = [tab({ store }), tab({ store })]
    await expired(one)
    await Promise.all([one, two].flatMap((core) => Array.from({ length: 25 }, () => notes(core))))
    assert.equal(refreshes(), 1)
    assert.deepEqual(await one.session.peek(), await two.session.peek())
  } finally {
    undo()
  }
})

test('a lock that is not to be had keeps nobody out', async () => {
  const undo = withLocks(() => Promise.reject(new DOMException('too long', 'TimeoutError')))
  try {
    const core = tab({ store: shared() })
    await expired(core)
    await notes(core)
    assert.equal(refreshes(), 1)
  } finally {
    undo()
  }
})

test('a token that is refused at whatever door is replaced, and the request made again', async () => {
  const core = tab()
  const doors = [
    { path: '/rest/v1/notes' },
    { method: 'POST', path: '/rest/v1/notes?select=id', json: { title: 'x' }, headers: { prefer: 'return=representation' } },
    { path: '/auth/v1/user' },
    { path: '/storage/v1/bucket' },
  ]
  const session = await auth(core).signInAnonymously()
  let count = 0
  for (const door of doors) {
    const now = (await core.session.peek()) ?? session
    await core.session.set({ ...now, access_token: `${now.access_token.slice(0, -4)}AAAA` })
    assert.ok(await core.json(door), door.path)
    count++
    assert.equal(refreshes(), count, door.path)
  }
  // One that the server does not know either: it is asked once, and no more.
  await core.session.set({ ...session, access_token: 'a.b.c', refresh_token: 'made-up-and-long-enough' })
  await assert.rejects(notes(core), { name: 'BasewrightError', status: 401 })
  assert.equal(refreshes(), count + 1)
  assert.equal(await core.session.peek(), null)
})

test('what one has asked is not asked again as whoever is signed in then', async () => {
  const store = shared()
  const [here, there] = [tab({ store }), tab({ store })]
  const mae = await auth(tab()).signInAnonymously()
  const ada = await auth(here).signInAnonymously()
  for (const next of [mae, null]) {
    await here.session.set({ ...ada, access_token: `${ada.access_token.slice(0, -4)}AAAA` })
    // Another tab is faster than the answer.
    const core = tab({
      store,
      fetch: async (input, init) => {
        const answer = await counted(input, init)
        await there.session.set(next)
        return answer
      },
    })
    const create = { method: 'POST', path: '/rest/v1/notes', json: { title: 'of Ada' } }
    await assert.rejects(core.json(create), { name: 'BasewrightError', status: 401 })
    assert.equal(sent.filter((path) => path === '/rest/v1/notes').length, 1)
    sent = []
  }
  await there.session.set(mae)
  assert.deepEqual(await notes(there), [])
})

test('two tabs that cannot agree both stay signed in', async () => {
  const store = shared()
  const [one, two] = [tab({ store }), tab({ store })]
  const { user } = await expired(one)
  await Promise.all([notes(one), notes(two)])
  for (const core of [one, two]) assert.equal((await core.session.get())?.user.id, user.id)
  await Promise.all([notes(one), notes(two)])
  assert.ok(refreshes() <= 2)
})

test('a tab adopts what another has refreshed', async () => {
  const store = shared()
  const [one, two] = [tab({ store }), tab({ store })]
  await expired(one)
  assert.ok(await two.session.peek())
  await notes(one)
  await notes(two)
  assert.equal(refreshes(), 1)
})

test('a tab notices what another did when it next asks, and tells', async () => {
  const store = shared()
  const [one, two] = [tab({ store }), tab({ store })]
  const heard: string[] = []
  const end = two.session.onChange((event, session) => heard.push(`${event} ${session?.user.id ?? 'nobody'}`))
  await two.session.peek()
  const { user } = await auth(one).signInAnonymously()
  await notes(two)
  await auth(one).update({ data: { name: 'Ada' } })
  await notes(two)
  await one.session.renew((await one.session.token()) ?? '')
  await notes(two)
  await auth(one).signOut()
  // Nobody may read them.
  await assert.rejects(notes(two), { status: 404 })
  assert.deepEqual(heard, [`signed_in ${user.id}`, `updated ${user.id}`, `refreshed ${user.id}`, 'signed_out nobody'])
  assert.equal(await two.session.token(), null)
  end()
})

test('who is refused for a revoked session is signed out', async () => {
  const core = tab()
  const session = await auth(core).signInAnonymously()
  const heard: string[] = []
  const end = core.session.onChange((event) => heard.push(event))
  const elsewhere = connect(server.url, server.publishable)
  await elsewhere.session.set(session, 'signed_in')
  await auth(elsewhere).signOut({ scope: 'global' })
  await assert.rejects(notes(core), { name: 'BasewrightError', status: 401 })
  assert.equal(await core.session.get(), null)
  assert.deepEqual(heard, ['signed_out'])
  end()
})

test('whoever cannot reach the server stays signed in', async () => {
  let down = true
  const core = tab({
    fetch: (input, init) => {
      if (!down) return counted(input, init)
      const captive = new Response('<h1>Pay first</h1>', { status: 403, headers: { 'content-type': 'text/html' } })
      return sent.length % 2 === 0 ? Promise.reject(new TypeError('no network')) : Promise.resolve(captive)
    },
  })
  down = false
  const { user } = await expired(core)
  down = true
  sent = []
  await assert.rejects(notes(core), { name: 'BasewrightError', code: 'network' })
  sent = ['as if something had been sent']
  await assert.rejects(notes(core), { name: 'BasewrightError', code: 'bad_answer' })
  assert.equal((await core.session.peek())?.user.id, user.id)
  down = false
  await notes(core)
  assert.equal((await core.session.get())?.user.id, user.id)
})

test('a token that is still good is used while the server does not refresh it', async () => {
  const core = tab({
    fetch: (input, init) => (String(input).includes('refresh') ? Promise.reject(new TypeError('cut')) : counted(input, init)),
  })
  const session = await auth(core).signInAnonymously()
  await core.session.set({ ...session, expires_at: Math.floor(Date.now() / 1000) + 10 }, 'refreshed')
  assert.deepEqual(await notes(core), [])
})

test('a clock that is wrong does not matter', async () => {
  const now = Date.now
  for (const skew of [-7_200_000, 7_200_000]) {
    Date.now = () => now() + skew
    try {
      const core = tab()
      sent = []
      const session = await auth(core).signInAnonymously()
      assert.ok(Math.abs(session.expires_at * 1000 - Date.now() - 900_000) < 5_000)
      await notes(core)
      assert.equal(refreshes(), 0)
      // It is put right meanwhile: the token is refused, or believed to be over.
      Date.now = now
      await notes(core)
    } finally {
      Date.now = now
    }
  }
})

test('what is no session in a store is nobody, and is replaced', async () => {
  const store = shared()
  const { key } = tab({ store }).session
  const user = '{"id":"x","app_metadata":{},"user_metadata":{}}'
  const garbled = [
    '',
    '{',
    'null',
    '[]',
    '"text"',
    '{"access_token":"a"}',
    `{"access_token":1,"refresh_token":"b","expires_at":1,"user":${user}}`,
    `{"access_token":"a","refresh_token":"b","expires_at":"soon","user":${user}}`,
    `{"access_token":"a\\nx: y","refresh_token":"b","expires_at":1,"user":${user}}`,
    '{"access_token":"a","refresh_token":"b","expires_at":1,"user":null}',
    `{"__proto__":{"access_token":"a","refresh_token":"b","expires_at":1,"user":${user}}}`,
  ]
  for (const text of garbled) {
    store.kept.set(key, text)
    const core = tab({ store })
    assert.equal(await core.session.get(), null, text)
  }
  const core = tab({ store })
  await auth(core).signInAnonymously()
  assert.ok(await tab({ store }).session.get())
})

test('a store may take its time', async () => {
  const kept = shared()
  const later = <T>(value: () => T): Promise<T> => new Promise((done) => setTimeout(() => done(value()), 5))
  const store: Store = {
    getItem: (key) => later(() => kept.kept.get(key) ?? null),
    setItem: (key, value) => later(() => void kept.kept.set(key, value)),
    removeItem: (key) => later(() => void kept.kept.delete(key)),
  }
  const core = tab({ store })
  await expired(core)
  await Promise.all(Array.from({ length: 10 }, () => notes(core)))
  assert.equal(refreshes(), 1)
  // Asked while it is being written, it is who signed in, and not who was there before.
  const signing = auth(core).signInAnonymously()
  const seen = await Promise.all([core.session.get(), signing, signing.then(() => core.session.get())])
  assert.equal(seen[2]?.user.id, seen[1]?.user.id)
  const leaving = core.session.set(null, 'signed_out')
  assert.equal(await core.session.get(), null)
  await leaving
  assert.equal(kept.kept.size, 0)
})

test('what was read before somebody signed in does not undo it', async () => {
  const kept = shared()
  let slow: Promise<unknown> | undefined
  const store: Store = {
    ...kept,
    getItem: async (key) => {
      const text = kept.getItem(key)
      await slow
      return text
    },
  }
  const core = tab({ store })
  const session = await auth(core).signInAnonymously()
  await core.session.set(null)
  let go = (): void => undefined
  slow = new Promise<void>((done) => {
    go = done
  })
  const asked = core.session.peek()
  // It is under way by now.
  await Promise.resolve()
  const heard: string[] = []
  const end = core.session.onChange((event) => heard.push(event))
  await core.session.set(session)
  go()
  assert.equal((await asked)?.user.id, session.user.id)
  assert.equal((await core.session.peek())?.user.id, session.user.id)
  assert.deepEqual(heard, ['signed_in'])
  end()
})

test('a store that is full or forbidden does not keep anybody out', async () => {
  const refuse = (): never => {
    throw new DOMException('The quota has been exceeded.', 'QuotaExceededError')
  }
  const stale = JSON.stringify({ access_token: 'old', refresh_token: 'old', expires_at: 1, user: {} })
  const full = shared()
  const stores: Store[] = [
    { ...full, setItem: refuse },
    { getItem: refuse, setItem: refuse, removeItem: refuse },
    { getItem: () => stale, setItem: refuse, removeItem: refuse },
  ]
  for (const store of stores) {
    const core = tab({ store })
    const { user } = await auth(core).signInAnonymously()
    await notes(core)
    assert.equal((await core.session.get())?.user.id, user.id)
    await auth(core).sendCode({ email: 'somebody@example.test' })
    await auth(core).signOut()
    assert.equal(await core.session.get(), null)
  }
})

test('the sessions of two servers are two', async () => {
  const store = shared()
  await auth(tab({ store })).signInAnonymously()
  const other = connect(`${server.url}/elsewhere`, server.publishable, { store })
  assert.equal(await other.session.get(), null)
  assert.equal([...store.kept.keys()].join(), `basewright:${server.url}`)
})

test('who signs out while the session is refreshed stays signed out', async () => {
  let open = (): void => undefined
  const gate = new Promise<void>((done) => {
    open = done
  })
  const core = tab({
    fetch: async (input, init) => {
      const answer = await counted(input, init)
      if (String(input).includes('refresh_token')) await gate
      return answer
    },
  })
  await expired(core)
  const asked = notes(core).catch(() => undefined)
  await eventually('the refresh to be under way', () => (refreshes() > 0 ? true : undefined))
  await core.session.set(null, 'signed_out')
  open()
  await asked
  assert.equal(await core.session.get(), null)
})

test('whoever listens is refreshed ahead of the end', async () => {
  const core = tab()
  const session = await auth(core).signInAnonymously()
  const heard: string[] = []
  const end = core.session.onChange((event) => heard.push(event))
  await core.session.set({ ...session, expires_at: Math.floor(Date.now() / 1000) + 40 }, 'updated')
  await eventually('the refresh', () => heard[1])
  assert.equal(refreshes(), 1)
  end()
})

test('a listener that fails harms nobody but its owner', () => {
  const { status, stdout, stderr } = run(`
    core.session.onChange(() => { throw new Error('mine') })
    core.session.onChange((event) => console.log(event))
    await core.session.set(session, 'signed_in')
    console.log('set')
  `)
  assert.deepEqual([status, stdout], [1, 'signed_in\nset\n'])
  assert.match(stderr, /Error: mine/)
})

test('an answer that is no session signs nobody in', async () => {
  const user = { id: 'x', app_metadata: {}, user_metadata: {} }
  const good = { access_token: 'a.b.c', refresh_token: 'r', expires_in: 900, user }
  const answers: unknown[] = [
    null,
    'text',
    [],
    {},
    { ...good, access_token: 5 },
    { ...good, access_token: 'a\r\nx: y' },
    { ...good, access_token: 'a'.repeat(1 << 20) },
    { ...good, refresh_token: null },
    { ...good, refresh_token: {} },
    { ...good, expires_in: '900' },
    { ...good, expires_in: undefined },
    { ...good, user: null },
    { ...good, user: { ...user, id: 7 } },
    { ...good, user: { ...user, app_metadata: 'admin' } },
    JSON.parse(`{"__proto__":${JSON.stringify(good)}}`),
    { ...good, user: JSON.parse(`{"__proto__":${JSON.stringify(user)}}`) },
  ]
  const texts = [...answers.map((answer) => JSON.stringify(answer)), '<html>', '['.repeat(100_000)]
  for (const text of texts) {
    const store = shared()
    const it = auth(tab({ store, fetch: () => Promise.resolve(new Response(text)) }))
    const { error } = await it.signIn({ email: 'a@example.test', password: 'x' }).safe()
    assert.equal(error?.code, 'bad_answer', text.slice(0, 100))
    assert.equal(store.kept.size, 0)
  }
})

test('what an answer says beside the session is not kept, and changes no object', async () => {
  const evil = '{"access_token":"a","refresh_token":"b","expires_in":900,"__proto__":{"polluted":1},"more":"x","user":'
    + '{"id":"x","app_metadata":{},"user_metadata":{"__proto__":{"polluted":1},"name":"Ada"},"__proto__":{"polluted":1}}}'
  const store = shared()
  const it = auth(tab({ store, fetch: () => Promise.resolve(new Response(evil)) }))
  const session = await it.signIn({ email: 'a@example.test', password: 'x' })
  assert.deepEqual(session.user.user_metadata, { name: 'Ada' })
  assert.doesNotMatch([...store.kept.values()].join(), /__proto__|more/)
  assert.equal((Object.assign({}, session.user.user_metadata) as Record<string, unknown>)['polluted'], undefined)
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined)
})

test('a provider whose address would run in the page is refused', async () => {
  const gone: string[] = []
  const open = (to: string): number => gone.push(to)
  for (const url of ['javascript:alert(1)', ' javascript:alert(1)', 'data:text/html,x', 5, undefined]) {
    const it = auth(tab({ fetch: () => Promise.resolve(Response.json({ url })) }))
    assert.equal((await it.signInWith('x', { open }).safe()).error?.code, 'bad_answer')
  }
  assert.deepEqual(gone, [])
})

test('no error says a token', async () => {
  const core = tab()
  const session = await expired(core)
  const deaf = tab({ fetch: () => Promise.reject(new TypeError('no network')) })
  await deaf.session.set(session, 'signed_in')
  const credentials = { email: 'x', password: 'a secret word' }
  for (const ask of [() => notes(deaf), () => auth(deaf).signIn(credentials), () => auth(deaf).signOut()]) {
    const error = await ask().then(() => assert.fail('it was not refused'), (error: Error) => error)
    const told = JSON.stringify([error, error.message, error.stack, String(error.cause)])
    for (const secret of [session.access_token, session.refresh_token, 'a secret word']) assert.ok(!told.includes(secret))
  }
})

test('listening keeps no process running', () => {
  const { status, stdout } = run(`
    core.session.onChange((event) => console.log(event))
    await core.session.set(session, 'signed_in')
  `)
  assert.deepEqual([status, stdout], [0, 'signed_in\n'])
})

/** Runs a program in a process of its own, which has a connection and a session that nobody has. */
function run(program: string): { status: number | null; stdout: string; stderr: string } {
  const library = join(REPOSITORY, 'sdk-ts/build/src/index.js')
  const begin = `
    import { connect } from ${JSON.stringify(library)}
    const kept = new Map()
    const store = { getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => void kept.set(k, v), removeItem: (k) => void kept.delete(k) }
    const core = connect('http://127.0.0.1:9', 'key', { store })
    const user = { id: 'x', app_metadata: {}, user_metadata: {} }
    const session = { access_token: 'a', refresh_token: 'b', expires_at: Math.floor(Date.now() / 1000) + 900, user }
  `
  return spawnSync(process.execPath, ['--input-type=module', '-e', begin + program], { timeout: 20_000, encoding: 'utf8' })
}
