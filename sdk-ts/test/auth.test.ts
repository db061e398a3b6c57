// Every way of signing in, against the real server, its mail and a real OpenID provider.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type Auth, BasewrightError, type Core, type Session, type Store, auth, connect } from '../src/index.js'
import { REPOSITORY, type Server, eventually, serve } from './server.js'

const PASSWORD = 'correct horse battery'
const BACK = 'http://localhost:5173/back'
/** By what name letters and the provider know the server, before its port is known. */
const PUBLIC = 'http://server.test'

let server: Server
let provider: ChildProcess
let issuer: string

before(async () => {
  const clients = join(REPOSITORY, 'tests/clients')
  assert.ok(existsSync(join(clients, 'node_modules/oidc-provider')), 'the provider is missing: run `bash tests/setup.sh`')
  const env = { ...process.env, BW_CALLBACK: `${PUBLIC}/auth/v1/callback` }
  provider = spawn('node', ['idp.mjs'], { cwd: clients, env, stdio: ['pipe', 'pipe', 'inherit'] })
  const [line] = (await once(provider.stdout!.setEncoding('utf8'), 'data')) as [string]
  issuer = (JSON.parse(line) as { issuer: string }).issuer
  const project = readFileSync(join(clients, 'auth/basewright.yaml'), 'utf8')
  const yaml = project.replace('https://issuer.example', issuer).replace(/^ *smtp:.*\n/m, '')
  server = await serve({ 'basewright.yaml': yaml }, { BASEWRIGHT_PUBLIC_URL: PUBLIC })
})
after(async () => {
  provider.kill()
  await server.stop()
})

/** One browser: a connection with a store of its own. */
function browser(store?: Store): Auth & { core: Core } {
  const core = connect(server.url, server.publishable, store ? { store } : {})
  return Object.assign(auth(core), { core })
}

/** An address nobody has used. */
const address = (name: string): string => `${name}-${randomBytes(4).toString('hex')}@example.test`

interface Letter {
  code: string
  link: string
}

/** The newest letter to an address, once there are so many. */
const letter = (to: string, count = 1): Promise<Letter> =>
  eventually(`${count} letters to ${to}`, async () => {
    const all = (await (await fetch(`${server.url}/_/mail.json?to=${encodeURIComponent(to)}`)).json()) as Letter[]
    return all.length >= count ? all[0] : undefined
  })

/** Follows a link as a browser does, with its cookies, until it is at the app. */
async function browse(link: string): Promise<string> {
  const jar = new Map<string, Map<string, string>>()
  let at = new URL(link)
  for (let steps = 0; steps < 20; steps++) {
    const cookies = jar.get(at.origin) ?? new Map<string, string>()
    jar.set(at.origin, cookies)
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const answer = await fetch(at.href.replace(PUBLIC, server.url), { redirect: 'manual', headers: cookie ? { cookie } : {} })
    for (const line of answer.headers.getSetCookie()) {
      const [name, ...value] = (line.split(';')[0] ?? '').split('=')
      cookies.set(name ?? '', value.join('='))
    }
    const to = answer.headers.get('location')
    assert.ok(to, `${answer.status} at ${at.href}: ${await answer.text()}`)
    at = new URL(to, at)
    if (at.hostname === 'localhost') return at.href
  }
  return assert.fail('round and round')
}

/** The code that an authenticator shows (RFC 6238). */
function totp(secret: string, at = Date.now()): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
  let bits = ''
  for (const one of secret.replace(/=+$/, '')) bits += alphabet.indexOf(one).toString(2).padStart(5, '0')
  const key = Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)))
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)))
  const hash = createHmac('sha1', key).update(counter).digest()
  const offset = (hash[19] ?? 0) & 15
  return String((hash.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, '0')
}

/** Somebody who has signed up and confirmed. */
async function signedUp(name: string): Promise<{ it: ReturnType<typeof browser>; email: string; session: Session }> {
  const email = address(name)
  const it = browser()
  await it.signUp({ email, password: PASSWORD })
  const session = await it.verify({ type: 'signup', email, code: (await letter(email)).code })
  return { it, email, session }
}

/** The code of the error that something ends with. */
async function refusal(work: { safe(): Promise<{ error: BasewrightError | null }> }): Promise<string> {
  const { error } = await work.safe()
  assert.ok(error, 'it was not refused')
  return error.code
}

test('who signs up is nobody yet, and is signed in by the code of the letter', async () => {
  const email = address('ada')
  const it = browser()
  const up = await it.signUp({ email, password: PASSWORD, data: { name: 'Ada' } })
  assert.equal(up.session, null)
  assert.equal(up.user.email, email)
  assert.equal(await it.session(), null)
  assert.equal(await it.user(), null)
  assert.equal(await refusal(it.signIn({ email, password: PASSWORD })), 'email_not_confirmed')
  const { code } = await letter(email)
  const wrong = code === '000000' ? '111111' : '000000'
  assert.equal(await refusal(it.verify({ type: 'signup', email, code: wrong })), 'otp_expired')
  const session = await it.verify({ type: 'signup', email, code })
  assert.equal(session.user.user_metadata['name'], 'Ada')
  assert.equal((await it.session())?.access_token, session.access_token)
  assert.equal((await it.user())?.id, session.user.id)
  const again = await browser().signIn({ email, password: PASSWORD })
  assert.equal(again.user.id, session.user.id)
  assert.equal(await refusal(browser().signIn({ email, password: 'another password' })), 'invalid_credentials')
})

test('records are read and written as whoever signed in', async () => {
  const { it, session } = await signedUp('writer')
  const headers = { prefer: 'return=representation' }
  const [note] = await it.core.json<{ owner: string }[]>({
    method: 'POST',
    path: '/rest/v1/notes',
    json: { title: 'mine' },
    headers,
  })
  assert.equal(note?.owner, session.user.id)
})

test('whose session is found to be over is nobody, and no error', async () => {
  const { it, email } = await signedUp('over')
  const elsewhere = browser()
  await elsewhere.signIn({ email, password: PASSWORD })
  await it.signOut({ scope: 'others' })
  assert.deepEqual([await elsewhere.user(), await elsewhere.session()], [null, null])
  assert.equal((await it.user())?.email, email)
})

test('a weak password is refused with its reasons', async () => {
  const { error } = await browser().signUp({ email: address('weak'), password: 'short' }).safe()
  assert.equal(error?.code, 'weak_password')
  assert.deepEqual(error?.details, { reasons: ['length'] })
})

test('nobody in particular signs in, and becomes somebody by an address', async () => {
  const it = browser()
  const { user } = await it.signInAnonymously({ data: { theme: 'dark' } })
  assert.equal(user.is_anonymous, true)
  const email = address('somebody')
  assert.equal((await it.update({ email })).id, user.id)
  const session = await it.verify({ type: 'email_change', email, code: (await letter(email)).code })
  assert.equal(session?.user.id, user.id)
  assert.equal(session?.user.is_anonymous, false)
  assert.equal(session?.user.user_metadata['theme'], 'dark')
  await it.update({ password: PASSWORD })
  assert.equal((await browser().signIn({ email, password: PASSWORD })).user.id, user.id)
})

test('a code by mail signs in, and makes an account only if it may', async () => {
  const email = address('otto')
  assert.equal(await refusal(browser().sendCode({ email, create: false })), 'otp_disabled')
  const it = browser()
  await it.sendCode({ email, data: { name: 'Otto' } })
  const { user } = await it.verify({ type: 'email', email, code: (await letter(email)).code })
  assert.equal(user.user_metadata['name'], 'Otto')
  await it.sendCode({ email })
  const tokenHash = new URL((await letter(email, 2)).link).searchParams.get('token')
  assert.ok(tokenHash)
  assert.equal((await browser().verify({ type: 'magiclink', tokenHash })).user.id, user.id)
})

test('a link signs in the browser that asked for it, and no other', async () => {
  const email = address('linked')
  const it = browser()
  await it.sendCode({ email, redirectTo: BACK })
  const arrived = await browse((await letter(email)).link)
  assert.ok(arrived.startsWith(`${BACK}?code=`) && !arrived.includes('token'))
  assert.equal(await refusal(browser().completeRedirect({ address: arrived })), 'bad_code_verifier')
  const other = browser()
  await other.sendCode({ email: address('other') })
  assert.equal(await refusal(other.completeRedirect({ address: arrived })), 'bad_code_verifier')
  const session = await it.completeRedirect({ address: arrived })
  assert.equal(session?.user.email, email)
  // Good once.
  assert.equal(await refusal(it.completeRedirect({ address: arrived })), 'bad_code_verifier')
  const late = await browse((await letter(email)).link)
  assert.equal(await refusal(it.completeRedirect({ address: late })), 'otp_expired')
})

test('of several letters that are under way each link is good', async () => {
  const [one, two] = [address('one'), address('two')]
  const it = browser()
  await Promise.all([it.sendCode({ email: one, redirectTo: BACK }), it.sendCode({ email: two, redirectTo: BACK })])
  const arrived = await browse((await letter(one)).link)
  assert.equal((await it.completeRedirect({ address: arrived }))?.user.email, one)
})

test('each flow has a secret of its own: gone once it was used, the oldest of many, and all when somebody signs out', async () => {
  const items = new Map<string, string>()
  const it = browser({
    getItem: (name) => items.get(name) ?? null,
    setItem: (name, value) => void items.set(name, value),
    removeItem: (name) => void items.delete(name),
  })
  const secrets = () => items.get(`${it.core.session.key}:verifier`)?.split(',').filter(Boolean) ?? []
  const arrive = async (email: string) => it.completeRedirect({ address: await browse((await letter(email)).link) })
  const [one, two] = [address('one'), address('two')]
  await it.sendCode({ email: one, redirectTo: BACK })
  const [first] = secrets()
  await it.sendCode({ email: two, redirectTo: BACK })
  const [second] = secrets()
  assert.deepEqual(secrets(), [second, first])
  assert.notEqual(first, second)
  await arrive(one)
  assert.deepEqual(secrets(), [second])
  await arrive(two)
  assert.deepEqual(secrets(), [])

  const begun: (string | undefined)[] = []
  for (let flows = 0; flows < 7; flows++) {
    await it.signInWith('acme', { redirectTo: BACK, open: () => {} })
    begun.unshift(secrets()[0])
  }
  assert.deepEqual(secrets(), begun.slice(0, 5))
  await it.signOut({ scope: 'others' })
  assert.equal(secrets().length, 5)
  await it.signOut()
  assert.deepEqual(secrets(), [])
})

test('a flow goes on in a browser whose store is full', async () => {
  const email = address('full')
  const it = browser({
    getItem: () => null,
    setItem: () => {
      throw new Error('it is full')
    },
    removeItem: () => {},
  })
  await it.sendCode({ email, redirectTo: BACK })
  const arrived = await browse((await letter(email)).link)
  assert.equal((await it.completeRedirect({ address: arrived }))?.user.email, email)
})

test('an address without anything of sign-in is left to the app', async () => {
  const it = browser()
  assert.equal(await it.completeRedirect(), null)
  for (const own of ['?page=2#part', '?error=404#/inbox/7', '?message=hi&code=SAVE20', '?error_code=5', '?sb=1#/list?error=no']) {
    assert.equal(await it.completeRedirect({ address: `http://localhost:3000/${own}` }), null, own)
  }
})

test('a session in an address is taken over only where that was asked for', async () => {
  const { it: operator, email } = await signedUp('invited')
  const admin = connect(server.url, server.secret)
  const made = await admin.json<{ action_link: string }>({
    method: 'POST',
    path: '/auth/v1/admin/generate_link',
    json: { type: 'magiclink', email, redirect_to: BACK },
  })
  const arrived = await browse(made.action_link)
  assert.match(arrived, /#access_token=/)
  const it = browser()
  assert.equal(await refusal(it.completeRedirect({ address: arrived })), 'unasked_session')
  assert.equal(await it.session(), null)
  const session = await it.completeRedirect({ address: arrived, tokens: true })
  assert.equal(session?.user.email, email)
  assert.equal((await it.user())?.id, (await operator.user())?.id)
  const forged = arrived.replace(/access_token=[^&]+/, 'access_token=a%0Ab')
  assert.equal(await refusal(browser().completeRedirect({ address: forged, tokens: true })), 'bad_answer')
})

test('a forgotten password is replaced, and the old sessions are over', async () => {
  const { it: old, email } = await signedUp('forgot')
  const it = browser()
  await it.recover({ email, redirectTo: BACK })
  await it.recover({ email: address('nobody') })
  await it.completeRedirect({ address: await browse((await letter(email, 2)).link) })
  assert.equal(await refusal(it.update({ password: PASSWORD })), 'same_password')
  await it.update({ password: 'another horse battery' })
  assert.equal(await refusal(old.update({ data: { here: true } })), 'session_not_found')
  assert.equal(await old.session(), null)
  await browser().signIn({ email, password: 'another horse battery' })
})

test('a letter that got lost is sent again', async () => {
  const email = address('lost')
  const it = browser()
  await it.signUp({ email, password: PASSWORD })
  await it.resend({ type: 'signup', email })
  await it.verify({ type: 'signup', email, code: (await letter(email, 2)).code })
  assert.ok(await it.session())
})

test('a user changes what he says of himself, and hears of it', async () => {
  const { it } = await signedUp('self')
  const heard: string[] = []
  const end = it.onChange((event, session) => heard.push(`${event} ${String(session?.user.user_metadata['name'])}`))
  await eventually('the state', () => heard[0])
  assert.equal((await it.update({ data: { name: 'Sela', color: 'red' } })).user_metadata['name'], 'Sela')
  const { user_metadata } = await it.update({ data: { color: null } })
  assert.deepEqual(user_metadata, { name: 'Sela' })
  await it.signOut()
  assert.deepEqual(heard, ['initial undefined', 'updated Sela', 'updated Sela', 'signed_out undefined'])
  end()
})

test('a change of address waits until both addresses agree', async () => {
  const { it, email } = await signedUp('move')
  const next = address('moved')
  assert.equal((await it.update({ email: next })).new_email, next)
  const [old, fresh] = [await letter(email, 2), await letter(next)]
  assert.equal(await it.verify({ type: 'email_change', email, code: old.code }), null)
  assert.equal((await it.verify({ type: 'email_change', email: next, code: fresh.code }))?.user.email, next)
  assert.equal((await it.session())?.user.email, next)
})

test('presence is proven by a code', async () => {
  const { it, email } = await signedUp('here')
  await it.reauthenticate()
  const { code } = await letter(email, 2)
  await it.update({ password: 'another horse battery', nonce: code })
  await browser().signIn({ email, password: 'another horse battery' })
})

test('a second factor is set up, asked for and taken away', async () => {
  const { it, email } = await signedUp('factor')
  const factor = await it.factors.enroll({ name: 'Phone' })
  assert.match(factor.qr_code, /^data:image\/svg\+xml,%3C/)
  assert.match(factor.uri, /^otpauth:\/\/totp\//)
  assert.equal(await refusal(it.factors.enroll({ name: 'Phone' })), 'mfa_factor_name_conflict')
  const wrong = totp(factor.secret, Date.now() - 3_600_000)
  assert.equal(await refusal(it.factors.verify({ id: factor.id, code: wrong })), 'mfa_verification_failed')
  assert.deepEqual(await it.factors.aal(), { current: 'aal1', next: 'aal1' })
  await it.factors.verify({ id: factor.id, code: totp(factor.secret) })
  assert.equal((await it.factors.aal()).current, 'aal2')
  assert.deepEqual((await it.factors.list()).map(({ status }) => status), ['verified'])
  const codes = await it.factors.recoveryCodes()
  assert.equal(codes.length, 10)

  const other = browser()
  await other.signIn({ email, password: PASSWORD })
  const level = await other.factors.aal()
  assert.deepEqual([level.current, level.next], ['aal1', 'aal2'])
  assert.deepEqual(await other.core.json({ path: '/rest/v1/secrets' }), [])
  assert.equal(await refusal(other.update({ password: 'yet another battery' })), 'insufficient_aal')
  await other.factors.recover(codes[0] ?? '')
  assert.equal((await other.factors.aal()).current, 'aal2')
  assert.equal(await refusal(other.factors.recover(codes[0] ?? '')), 'mfa_verification_failed')
  await other.factors.remove(factor.id)
  assert.deepEqual(await other.factors.list(), [])
})

test('a user sees where he is signed in, and ends that', async () => {
  const { it, email } = await signedUp('places')
  const elsewhere = browser()
  await elsewhere.signIn({ email, password: PASSWORD })
  const known = await it.sessions.list()
  assert.equal(known.length, 2)
  const other = known.find(({ is_current }) => !is_current)
  await it.sessions.end(other?.id ?? '')
  assert.equal(await elsewhere.user(), null)
  assert.equal(await elsewhere.session(), null)
  const own = known.find(({ is_current }) => is_current)
  await it.sessions.end(own?.id ?? '')
  assert.equal(await it.session(), null)
})

test('signing out ends this session, or all, or all but this', async () => {
  const { it, email } = await signedUp('leave')
  const [second, third] = [browser(), browser()]
  await second.signIn({ email, password: PASSWORD })
  await third.signIn({ email, password: PASSWORD })
  await second.signOut()
  assert.equal((await it.sessions.list()).length, 2)
  await it.signOut({ scope: 'others' })
  assert.equal(await refusal(third.sessions.list()), 'session_not_found')
  assert.equal((await it.sessions.list()).length, 1)
  await second.signIn({ email, password: PASSWORD })
  await it.signOut({ scope: 'global' })
  assert.equal(await it.session(), null)
  assert.equal(await refusal(second.sessions.list()), 'session_not_found')
  // Nobody is there to sign out.
  await it.signOut()
})

test('signing out forgets the session even if nobody hears it', async () => {
  const { session } = await signedUp('unheard')
  const core = connect(server.url, server.publishable, {
    fetch: () => Promise.reject(new TypeError('no network')),
  })
  await core.session.set(session, 'signed_in')
  const it = auth(core)
  assert.equal(await refusal(it.signOut()), 'network')
  assert.equal(await it.session(), null)
})

/** At the provider, as somebody. */
const as = (login_hint: string): { redirectTo: string; query: Record<string, string> } => ({
  redirectTo: BACK,
  query: { login_hint },
})

test('a provider signs in, and its own tokens are told once and not kept', async () => {
  const kept = new Map<string, string>()
  const store: Store = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  }
  const it = browser(store)
  const gone: string[] = []
  const departed = await it.signInWith('acme', { ...as('ada'), scopes: 'offline_access', open: (to) => gone.push(to) })
  assert.deepEqual(gone, [departed])
  assert.ok(departed.startsWith(issuer))
  const arrived = await browse(departed)
  const session = await it.completeRedirect({ address: arrived })
  assert.equal(session?.user.email, 'ada@example.test')
  assert.ok(session?.provider_token)
  assert.ok(![...kept.values()].join().includes(session.provider_token))
  // The secret of the flow went with it.
  assert.deepEqual([...kept.keys()], [it.core.session.key])
  assert.equal(await refusal(it.signInWith('nobody')), 'validation_failed')
})

test('an identity is linked by whoever is signed in, and unlinked', async () => {
  const { it, email } = await signedUp('linking')
  const arrived = await browse(await it.identities.link('acme', as('bob')))
  assert.equal((await it.completeRedirect({ address: arrived }))?.user.email, email)
  const known = await it.identities.list()
  assert.deepEqual(known.map(({ provider }) => provider).sort(), ['acme', 'email'])
  await it.identities.unlink(known.find(({ provider }) => provider === 'acme')?.identity_id ?? '')
  const [last, ...more] = await it.identities.list()
  assert.deepEqual(more, [])
  assert.equal(await refusal(it.identities.unlink(last?.identity_id ?? '')), 'single_identity_not_deletable')
})

test('an ID token that the app has signs in', async () => {
  const [verifier, nonce] = [randomBytes(32).toString('base64url'), randomBytes(16).toString('hex')]
  const callback = `${PUBLIC}/auth/v1/callback`
  const wish = new URLSearchParams({
    client_id: 'app',
    response_type: 'code',
    scope: 'openid email profile',
    redirect_uri: callback,
    login_hint: 'ada',
    nonce: createHash('sha256').update(nonce).digest('hex'),
    code_challenge_method: 'S256',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
  })
  const jar = new Map<string, string>()
  let at = new URL(`${issuer}/auth?${wish.toString()}`)
  while (!at.href.startsWith(callback)) {
    const answer = await fetch(at, { redirect: 'manual', headers: { cookie: [...jar.values()].join('; ') } })
    for (const line of answer.headers.getSetCookie()) jar.set(line.split('=')[0] ?? '', line.split(';')[0] ?? '')
    at = new URL(answer.headers.get('location') ?? assert.fail(`${answer.status} at ${at.href}`), at)
  }
  const body = new URLSearchParams({
    grant_type: 'authorization_code',
    code: at.searchParams.get('code') ?? '',
    redirect_uri: callback,
    client_id: 'app',
    code_verifier: verifier,
  })
  const answer = await fetch(`${issuer}/token`, { method: 'POST', body })
  const { id_token: token } = (await answer.json()) as { id_token: string }
  await assert.rejects(browser().signInWithIdToken({ provider: 'acme', token, nonce: 'another' }), BasewrightError)
  const { user } = await browser().signInWithIdToken({ provider: 'acme', token, nonce })
  assert.equal(user.email, 'ada@example.test')
})
