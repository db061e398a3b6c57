// The published client signs up, in and out in every way it knows, against the real server and real mail.
import test from 'node:test'
import assert from 'node:assert/strict'
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { createClient } from '@supabase/supabase-js'

const { BW_URL, BW_PUBLISHABLE, BW_SECRET, BW_MAILS, BW_PUBLIC, BW_ISSUER } = process.env
const PASSWORD = 'correct horse battery'
const BACK = 'http://localhost:5173/back'

let calls = 0
const counted = (input, init) => {
  calls += 1
  return fetch(input, init)
}

const make = (key, auth = {}) =>
  createClient(BW_URL, key, {
    global: { fetch: counted },
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false, ...auth },
  })
const client = (auth) => make(BW_PUBLISHABLE, auth)
const admin = make(BW_SECRET).auth.admin

/** An address nobody has used. */
const address = (name) => `${name}-${randomBytes(4).toString('hex')}@example.test`

/** The value of an answer that is no error. */
function ok({ data, error }) {
  assert.ifError(error)
  return data
}

/** The code of an answer that is an error. */
function refused({ data, error }, status) {
  assert.ok(error, `not refused: ${JSON.stringify(data)}`)
  if (status) assert.equal(error.status, status, error.message)
  return error.code
}

/** The mails that have come to an address, once there are so many. */
async function mails(to, count = 1) {
  const deadline = Date.now() + 20_000
  for (;;) {
    const all = await (await fetch(`${BW_MAILS}/?to=${encodeURIComponent(to)}`)).json()
    if (all.length >= count) return all
    assert.ok(Date.now() < deadline, `${all.length} of ${count} mails to ${to}`)
    await new Promise((done) => setTimeout(done, 20))
  }
}
const mail = async (to, count = 1) => (await mails(to, count)).at(-1)

/** Where a link leads, and with what. */
async function follow(link) {
  // The server is known to others by a name that this machine does not know.
  const answer = await fetch(link.replace(BW_PUBLIC, BW_URL), { redirect: 'manual' })
  assert.ok([302, 303].includes(answer.status), `${answer.status} for ${link}`)
  const to = new URL(answer.headers.get('location'))
  return { to: to.origin + to.pathname, query: Object.fromEntries(to.searchParams), fragment: Object.fromEntries(new URLSearchParams(to.hash.slice(1))) }
}

/** The code that an authenticator shows (RFC 6238). */
function totp(secret, at = Date.now()) {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
  let bits = ''
  for (const letter of secret.replace(/=+$/, '')) bits += alphabet.indexOf(letter).toString(2).padStart(5, '0')
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)))
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)))
  const hash = createHmac('sha1', key).update(counter).digest()
  const offset = hash[19] & 15
  return String((hash.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, '0')
}

/** Somebody who has signed up and confirmed. */
async function signedUp(name, auth) {
  const email = address(name)
  const it = client(auth)
  ok(await it.auth.signUp({ email, password: PASSWORD }))
  ok(await it.auth.verifyOtp({ email, token: (await mail(email)).code, type: 'signup' }))
  return { it, email }
}

test('who signs up confirms the address by a code and is known from then on', async () => {
  const email = address('ada')
  const it = client()
  const up = ok(await it.auth.signUp({ email, password: PASSWORD, options: { data: { name: 'Ada' } } }))
  assert.equal(up.session, null)
  assert.equal(up.user.email, email)
  assert.deepEqual(up.user.identities, [])
  assert.equal(refused(await it.auth.signInWithPassword({ email, password: PASSWORD }), 400), 'email_not_confirmed')
  assert.equal(refused(await it.auth.signInWithPassword({ email, password: 'another password' }), 400), 'invalid_credentials')
  const { code, html, from, subject } = await mail(email)
  assert.match(from, /Notes/)
  assert.ok(subject && html.includes(code))
  assert.equal(refused(await it.auth.verifyOtp({ email, token: code === '000000' ? '111111' : '000000', type: 'signup' }), 403), 'otp_expired')
  const { session, user } = ok(await it.auth.verifyOtp({ email, token: code, type: 'signup' }))
  assert.equal(session.token_type, 'bearer')
  assert.equal(user.user_metadata.name, 'Ada')
  assert.equal(user.identities.length, 1)
  assert.equal(user.identities[0].provider, 'email')
  assert.equal(user.app_metadata.provider, 'email')
  assert.equal(refused(await it.auth.verifyOtp({ email, token: code, type: 'signup' }), 403), 'otp_expired')
  const again = ok(await client().auth.signInWithPassword({ email, password: PASSWORD }))
  assert.equal(again.user.id, user.id)
  const note = ok(await it.from('notes').insert({ title: 'mine' }).select().single())
  assert.equal(note.owner, user.id)
})

test('who signs up with a taken address learns nothing and its owner is told', async () => {
  const { email } = await signedUp('taken')
  const known = ok(await client().auth.signUp({ email, password: 'somebody elses words' }))
  const unknown = ok(await client().auth.signUp({ email: address('new'), password: 'somebody elses words' }))
  assert.deepEqual(Object.keys(known.user).sort(), Object.keys(unknown.user).sort())
  assert.deepEqual(known.user.identities, unknown.user.identities)
  const notice = await mail(email, 2)
  assert.equal(notice.link?.includes('type=signup') ?? false, false)
  // Nor by trying what he signed up with: it waits for a proof in both cases.
  for (const tried of [email, unknown.user.email]) {
    const answer = await client().auth.signInWithPassword({ email: tried, password: 'somebody elses words' })
    assert.equal(refused(answer, 400), 'email_not_confirmed')
  }
})

test('a weak password is refused with its reasons', async () => {
  const { error } = await client().auth.signUp({ email: address('weak'), password: 'short' })
  assert.equal(error.name, 'AuthWeakPasswordError')
  assert.deepEqual(error.reasons, ['length'])
  const common = await client().auth.signUp({ email: address('weak'), password: '1234567890' })
  assert.deepEqual(common.error.reasons, ['pwned'])
})

test('a confirmation link signs in where it was asked for, and nowhere else', async () => {
  for (const [wished, expected] of [[BACK, BACK], ['https://evil.example/x', 'http://localhost:3000/'], [undefined, 'http://localhost:3000/']]) {
    const email = address('link')
    ok(await client().auth.signUp({ email, password: PASSWORD, options: { emailRedirectTo: wished } }))
    const { to, fragment } = await follow((await mail(email)).link)
    assert.equal(to, expected)
    assert.equal(fragment.token_type, 'bearer')
    assert.equal(fragment.type, 'signup')
    const it = client()
    const { user } = ok(await it.auth.setSession({ access_token: fragment.access_token, refresh_token: fragment.refresh_token }))
    assert.equal(user.email, email)
    const again = await follow((await mail(email)).link)
    assert.equal(again.fragment.error_code, 'otp_expired')
  }
})

test('a link of the PKCE flow answers with a code for whoever asked', async () => {
  const email = address('pkce')
  const it = client({ flowType: 'pkce' })
  ok(await it.auth.signInWithOtp({ email, options: { emailRedirectTo: BACK } }))
  const { to, query, fragment } = await follow((await mail(email)).link)
  assert.equal(to, BACK)
  assert.equal(fragment.access_token, undefined)
  assert.ok(query.code)
  const stranger = client({ flowType: 'pkce' })
  ok(await stranger.auth.signInWithOtp({ email: address('stranger') }))
  assert.equal(refused(await stranger.auth.exchangeCodeForSession(query.code)), 'bad_code_verifier')
  const { session } = ok(await it.auth.exchangeCodeForSession(query.code))
  assert.equal(session.user.email, email)
  const failed = await follow((await mail(email)).link)
  assert.equal(failed.query.error_code, 'otp_expired')
})

test('a session is refreshed, carried over and left', async () => {
  const { it, email } = await signedUp('stay')
  const events = []
  it.auth.onAuthStateChange((event) => events.push(event))
  const first = ok(await it.auth.getSession()).session
  const { session: second } = ok(await it.auth.refreshSession())
  assert.notEqual(second.refresh_token, first.refresh_token)
  const tab = client()
  const { session: third } = ok(await tab.auth.refreshSession({ refresh_token: first.refresh_token }))
  assert.equal(third.refresh_token, second.refresh_token)
  const claims = ok(await it.auth.getClaims()).claims
  assert.equal(claims.email, email)
  assert.equal(claims.role, 'authenticated')
  assert.equal(claims.aal, 'aal1')
  assert.equal(claims.amr[0].method, 'otp')
  const elsewhere = client()
  ok(await elsewhere.auth.signInWithPassword({ email, password: PASSWORD }))
  ok(await it.auth.getUser())
  assert.ifError((await it.auth.signOut({ scope: 'others' })).error)
  assert.equal((await elsewhere.auth.getUser()).error.name, 'AuthSessionMissingError')
  ok(await it.auth.getUser())
  assert.ifError((await it.auth.signOut({ scope: 'global' })).error)
  assert.ok((await tab.auth.getUser()).error)
  assert.ok((await tab.auth.refreshSession()).error)
  assert.ok(events.includes('TOKEN_REFRESHED') && events.includes('SIGNED_OUT'))
})

test('a code or a link by mail signs in, and makes a user only if it may', async () => {
  const email = address('otp')
  assert.equal(refused(await client().auth.signInWithOtp({ email, options: { shouldCreateUser: false } }), 422), 'otp_disabled')
  const it = client()
  ok(await it.auth.signInWithOtp({ email, options: { data: { name: 'Otto' } } }))
  const { user } = ok(await it.auth.verifyOtp({ email, token: (await mail(email)).code, type: 'email' }))
  assert.equal(user.user_metadata.name, 'Otto')
  ok(await it.auth.signInWithOtp({ email }))
  const token_hash = new URL((await mail(email, 2)).link).searchParams.get('token')
  const second = ok(await client().auth.verifyOtp({ token_hash, type: 'magiclink' }))
  assert.equal(second.user.id, user.id)
})

test('a forgotten password is replaced and the old sessions are over', async () => {
  const { it: before, email } = await signedUp('forgot')
  const it = client()
  ok(await it.auth.resetPasswordForEmail(email, { redirectTo: BACK }))
  ok(await it.auth.resetPasswordForEmail(address('nobody')))
  const { fragment } = await follow((await mail(email, 2)).link)
  assert.equal(fragment.type, 'recovery')
  ok(await it.auth.setSession({ access_token: fragment.access_token, refresh_token: fragment.refresh_token }))
  assert.equal(refused(await it.auth.updateUser({ password: PASSWORD }), 422), 'same_password')
  ok(await it.auth.updateUser({ password: 'another horse battery' }))
  assert.ok((await before.auth.getUser()).error)
  assert.equal(refused(await client().auth.signInWithPassword({ email, password: PASSWORD }), 400), 'invalid_credentials')
  ok(await client().auth.signInWithPassword({ email, password: 'another horse battery' }))
})

test('a confirmation that got lost is sent again', async () => {
  const email = address('lost')
  ok(await client().auth.signUp({ email, password: PASSWORD }))
  ok(await client().auth.resend({ type: 'signup', email }))
  ok(await client().auth.resend({ type: 'signup', email: address('nobody') }))
  const it = client()
  ok(await it.auth.verifyOtp({ email, token: (await mail(email, 2)).code, type: 'signup' }))
})

test('a user changes what he says of himself, and not what others say of him', async () => {
  const { it } = await signedUp('self')
  const { user } = ok(await it.auth.updateUser({ data: { name: 'Sela', color: 'red' } }))
  assert.deepEqual([user.user_metadata.name, user.user_metadata.color], ['Sela', 'red'])
  const changed = ok(await it.auth.updateUser({ data: { color: null }, app_metadata: { admin: true }, role: 'service_role' }))
  assert.equal(changed.user.user_metadata.name, 'Sela')
  assert.equal('color' in changed.user.user_metadata, false)
  assert.equal(changed.user.app_metadata.admin, undefined)
  assert.equal(changed.user.role, 'authenticated')
})

test('a change of address is confirmed at both', async () => {
  const { it, email } = await signedUp('move')
  const next = address('moved')
  const { user } = ok(await it.auth.updateUser({ email: next }))
  assert.equal(user.email, email)
  assert.equal(user.new_email, next)
  const [old, fresh] = [await mail(email, 2), await mail(next)]
  const half = await client().auth.verifyOtp({ email, token: old.code, type: 'email_change' })
  assert.ifError(half.error)
  assert.equal(half.data.session ?? null, null)
  ok(await client().auth.verifyOtp({ email: next, token: fresh.code, type: 'email_change' }))
  assert.equal(ok(await it.auth.getUser()).user.email, next)
  ok(await client().auth.signInWithPassword({ email: next, password: PASSWORD }))
})

test('presence is proven by a code', async () => {
  const { it, email } = await signedUp('here')
  ok(await it.auth.reauthenticate())
  const { code } = await mail(email, 2)
  ok(await it.auth.updateUser({ password: 'another horse battery', nonce: code }))
})

test('nobody in particular signs in and becomes somebody', async () => {
  const it = client()
  const { user } = ok(await it.auth.signInAnonymously({ options: { data: { theme: 'dark' } } }))
  assert.equal(user.is_anonymous, true)
  assert.equal(user.email ?? '', '')
  const note = ok(await it.from('notes').insert({ title: 'kept' }).select().single())
  const email = address('somebody')
  ok(await it.auth.updateUser({ email }))
  const { user: now } = ok(await it.auth.verifyOtp({ email, token: (await mail(email)).code, type: 'email_change' }))
  assert.equal(now.id, user.id)
  assert.equal(now.is_anonymous, false)
  assert.equal(now.user_metadata.theme, 'dark')
  ok(await it.auth.updateUser({ password: PASSWORD }))
  const again = client()
  ok(await again.auth.signInWithPassword({ email, password: PASSWORD }))
  assert.equal(ok(await again.from('notes').select()).at(0).id, note.id)
})

test('a second factor is enrolled, asked for and taken away', async () => {
  const { it, email } = await signedUp('factor')
  const factor = ok(await it.auth.mfa.enroll({ factorType: 'totp', friendlyName: 'Phone' }))
  assert.match(factor.totp.qr_code, /^data:image\/svg\+xml;utf-8,</)
  assert.match(factor.totp.uri, /^otpauth:\/\/totp\//)
  assert.equal(refused(await it.auth.mfa.enroll({ factorType: 'totp', friendlyName: 'Phone' }), 422), 'mfa_factor_name_conflict')
  const challenge = ok(await it.auth.mfa.challenge({ factorId: factor.id }))
  const wrong = totp(factor.totp.secret, Date.now() - 3_600_000)
  assert.equal(refused(await it.auth.mfa.verify({ factorId: factor.id, challengeId: challenge.id, code: wrong }), 422), 'mfa_verification_failed')
  // The step after this one is taken too, and leaves this one for nobody.
  const code = totp(factor.totp.secret)
  ok(await it.auth.mfa.verify({ factorId: factor.id, challengeId: challenge.id, code }))
  assert.equal(ok(await it.auth.mfa.getAuthenticatorAssuranceLevel()).currentLevel, 'aal2')
  assert.equal(refused(await it.auth.mfa.challengeAndVerify({ factorId: factor.id, code }), 422), 'mfa_verification_failed')
  assert.equal(ok(await it.auth.mfa.listFactors()).totp.length, 1)
  const other = client()
  ok(await other.auth.signInWithPassword({ email, password: PASSWORD }))
  const level = ok(await other.auth.mfa.getAuthenticatorAssuranceLevel())
  assert.deepEqual([level.currentLevel, level.nextLevel], ['aal1', 'aal2'])
  assert.equal(refused(await other.auth.updateUser({ password: 'yet another battery' }), 401), 'insufficient_aal')
  assert.equal(refused(await other.auth.mfa.unenroll({ factorId: factor.id }), 422), 'insufficient_aal')
  assert.deepEqual(ok(await other.from('secrets').select()), [])
  ok(await it.from('secrets').select())
  ok(await other.auth.mfa.challengeAndVerify({ factorId: factor.id, code: totp(factor.totp.secret, Date.now() + 30_000) }))
  ok(await other.auth.mfa.unenroll({ factorId: factor.id }))
  assert.equal(ok(await other.auth.mfa.listFactors()).all.length, 0)
})

test('the operator makes, finds, changes, bans and deletes users', async () => {
  const email = address('made')
  const { user } = ok(await admin.createUser({ email, password: PASSWORD, email_confirm: true, user_metadata: { name: 'Made' }, app_metadata: { plan: 'pro' } }))
  assert.equal(user.app_metadata.plan, 'pro')
  assert.equal(refused(await admin.createUser({ email, password: PASSWORD }), 422), 'email_exists')
  assert.equal(ok(await admin.getUserById(user.id)).user.email, email)
  const page = ok(await admin.listUsers({ page: 1, perPage: 2 }))
  assert.equal(page.users.length, 2)
  assert.ok(page.total >= 2 && page.nextPage === 2)
  const it = client()
  ok(await it.auth.signInWithPassword({ email, password: PASSWORD }))
  assert.equal(ok(await admin.updateUserById(user.id, { user_metadata: { name: 'Other' } })).user.user_metadata.name, 'Other')
  ok(await admin.updateUserById(user.id, { ban_duration: '1h' }))
  assert.ok((await it.auth.getUser()).error)
  assert.equal(refused(await client().auth.signInWithPassword({ email, password: PASSWORD })), 'user_banned')
  ok(await admin.updateUserById(user.id, { ban_duration: 'none' }))
  ok(await it.auth.signInWithPassword({ email, password: PASSWORD }))
  ok(await admin.deleteUser(user.id))
  assert.ok((await it.auth.getUser()).error)
  assert.equal(refused(await admin.getUserById(user.id), 404), 'user_not_found')
  assert.equal(refused(await client().auth.admin.listUsers(), 403), 'not_admin')
})

test('the operator invites, and makes links without mail', async () => {
  const email = address('guest')
  const { user } = ok(await admin.inviteUserByEmail(email, { data: { team: 'a' }, redirectTo: BACK }))
  assert.ok(user.invited_at)
  const { to, fragment } = await follow((await mail(email)).link)
  assert.equal(to, BACK)
  assert.equal(fragment.type, 'invite')
  const it = client()
  const set = ok(await it.auth.setSession({ access_token: fragment.access_token, refresh_token: fragment.refresh_token }))
  assert.equal(set.user.user_metadata.team, 'a')
  ok(await it.auth.updateUser({ password: PASSWORD }))
  for (const type of ['magiclink', 'recovery']) {
    const { properties, user } = ok(await admin.generateLink({ type, email }))
    assert.equal(user.email, email)
    assert.equal(properties.verification_type, type)
    ok(await client().auth.verifyOtp({ token_hash: properties.hashed_token, type }))
  }
  const fresh = address('linked')
  const made = ok(await admin.generateLink({ type: 'signup', email: fresh, password: PASSWORD }))
  ok(await client().auth.verifyOtp({ email: fresh, token: made.properties.email_otp, type: 'signup' }))
})

/** What a browser does with a link: follows it with cookies until it is at the app, or where `stop` says. */
async function browse(link, stop = 'http://localhost') {
  const jar = new Map()
  for (let at = new URL(link), steps = 0; steps < 20; steps += 1) {
    const cookies = jar.get(at.origin) ?? new Map()
    jar.set(at.origin, cookies)
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const answer = await fetch(at.href.replace(BW_PUBLIC, BW_URL), { redirect: 'manual', headers: cookie ? { cookie } : {} })
    for (const line of answer.headers.getSetCookie()) {
      const [name, ...value] = line.split(';')[0].split('=')
      cookies.set(name, value.join('='))
    }
    const to = answer.headers.get('location')
    assert.ok(to, `${answer.status} at ${at}: ${await answer.text()}`)
    at = new URL(to, at)
    if (at.href.startsWith(stop)) {
      return { to: at.origin + at.pathname, query: Object.fromEntries(at.searchParams), fragment: Object.fromEntries(new URLSearchParams(at.hash.slice(1))) }
    }
  }
  assert.fail('round and round')
}

/** At the provider, as somebody. */
const as = (login_hint) => ({ redirectTo: BACK, skipBrowserRedirect: true, queryParams: { login_hint } })

test('a provider signs in, by a code and by a fragment', async () => {
  const it = client({ flowType: 'pkce' })
  const { url } = ok(await it.auth.signInWithOAuth({ provider: 'acme', options: as('ada') }))
  const { to, query } = await browse(url)
  assert.equal(to, BACK)
  const { session, user } = ok(await it.auth.exchangeCodeForSession(query.code))
  assert.equal(user.email, 'ada@example.test')
  assert.equal(user.app_metadata.provider, 'acme')
  assert.ok(session.provider_token)
  assert.equal(refused(await it.auth.exchangeCodeForSession(query.code)) !== undefined, true)
  const implicit = client()
  const { url: again } = ok(await implicit.auth.signInWithOAuth({ provider: 'acme', options: as('ada') }))
  const { fragment } = await browse(again)
  assert.ok(fragment.provider_token)
  const { user: same } = ok(await implicit.auth.setSession({ access_token: fragment.access_token, refresh_token: fragment.refresh_token }))
  assert.equal(same.id, user.id)
})

test('an ID token that the app has signs in', async () => {
  const [verifier, nonce] = [randomBytes(32).toString('base64url'), randomBytes(16).toString('hex')]
  const callback = `${BW_PUBLIC}/auth/v1/callback`
  const wish = {
    client_id: 'app', response_type: 'code', scope: 'openid email profile', redirect_uri: callback, login_hint: 'ada',
    nonce: createHash('sha256').update(nonce).digest('hex'), code_challenge_method: 'S256',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
  }
  const { query } = await browse(`${BW_ISSUER}/auth?${new URLSearchParams(wish)}`, callback)
  const body = new URLSearchParams({ grant_type: 'authorization_code', code: query.code, redirect_uri: callback, client_id: 'app', code_verifier: verifier })
  const { id_token } = await (await fetch(`${BW_ISSUER}/token`, { method: 'POST', body })).json()
  assert.ok(refused(await client().auth.signInWithIdToken({ provider: 'acme', token: id_token, nonce: 'another' })))
  const { user } = ok(await client().auth.signInWithIdToken({ provider: 'acme', token: id_token, nonce }))
  assert.equal(user.email, 'ada@example.test')
})

test('an identity is linked by whoever is signed in, and unlinked', async () => {
  const { email } = await signedUp('linking')
  assert.equal(refused(await (await signedUp('implicit')).it.auth.linkIdentity({ provider: 'acme', options: as('bob') }), 400), 'validation_failed')
  const it = client({ flowType: 'pkce' })
  ok(await it.auth.signInWithPassword({ email, password: PASSWORD }))
  const { url } = ok(await it.auth.linkIdentity({ provider: 'acme', options: as('bob') }))
  const { query } = await browse(url)
  assert.equal(ok(await it.auth.exchangeCodeForSession(query.code)).user.email, email)
  const { identities } = ok(await it.auth.getUserIdentities())
  assert.deepEqual(identities.map(({ provider }) => provider).sort(), ['acme', 'email'])
  ok(await it.auth.unlinkIdentity(identities.find(({ provider }) => provider === 'acme')))
  const [last] = ok(await it.auth.getUserIdentities()).identities
  assert.equal(refused(await it.auth.unlinkIdentity(last), 422), 'single_identity_not_deletable')
})

test('what is not built says so', async () => {
  const { error } = await client().auth.signInWithSSO({ domain: 'example.test' })
  assert.equal(error.code, 'feature_disabled')
  const phone = await client().auth.signInWithPassword({ phone: '+15550100', password: PASSWORD })
  assert.equal(phone.error.code, 'phone_provider_disabled')
})

test.after(() => console.log(`auth calls: ${calls}`))
