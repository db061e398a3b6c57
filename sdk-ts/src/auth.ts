import { type Call, call } from './call.js'
import type { Ask, Core } from './core.js'
import { BasewrightError } from './error.js'
import type { Schema } from './schema.js'
import { type Factor, type Identity, type Session, type SessionEvent, type User } from './session.js'
import { OVER, attempt, granted, isToken, soundUser } from './session.js'

/** Where a link in a letter leads. */
export interface Returning {
  /** Where the browser comes back to, if the project allows it. The page that asks, unless said otherwise. */
  redirectTo?: string
}

/** What came of signing up: a session, or, where the address is to be confirmed first, a letter under way. */
export type SignedUp = { user: User; session: Session } | { user: User; session: null }

/** What a letter asks of its reader. `email` is a sign-up or a sign-in, whichever it was. */
export type CodeType = 'signup' | 'email' | 'magiclink' | 'recovery' | 'invite' | 'email_change'

/** What a letter brought: its code with the address that it came to, or the token of its link. */
export type Shown<T extends CodeType = CodeType> =
  | { type: T; email: string; code: string }
  | { type: T; tokenHash: string }

/** What a user changes of himself. */
export interface UserChange extends Returning {
  /** Counts once it is confirmed: at the address so far too, if the project says so. */
  email?: string
  password?: string
  currentPassword?: string
  /** The code that `reauthenticate` has mailed. */
  nonce?: string
  /** Put together with what is there; null takes away. */
  data?: Record<string, unknown>
}

/** How somebody goes to a provider. */
export interface Departure extends Returning {
  /** What to ask the provider for besides the usual. */
  scopes?: string
  /** Further parameters for the provider: `{ login_hint: 'ada' }`. */
  query?: Record<string, string>
  /** Goes to the provider's address. In a page the default leaves the page; elsewhere there is none. */
  open?: (address: string) => unknown
}

/** A second factor that is to be set up. */
export interface EnrolledFactor {
  id: string
  /** For whoever cannot scan the picture. */
  secret: string
  /** What the picture says: `otpauth://…`. */
  uri: string
  /** The picture, for the `src` of an image. */
  qr_code: string
}

/** How far a session has proven who its user is. */
export interface AssuranceLevel {
  current: 'aal1' | 'aal2'
  /** What it is with a second factor, if the user has one. */
  next: 'aal1' | 'aal2'
  /** By what, newest first: `password`, `otp`, `recovery`, `totp`, … */
  methods: string[]
}

/** One of the places where the user is signed in. */
export interface KnownSession {
  id: string
  is_current: boolean
  aal: 'aal1' | 'aal2'
  created_at: string
  refreshed_at?: string
  ip?: string
  user_agent?: string
}

/** What the session is to whoever listens; `initial` is the state at the beginning. */
export type AuthEvent = SessionEvent | 'initial'

/** Signing in, and whatever a user does about himself. */
export interface Auth {
  /** Makes an account. The password counts once the address is confirmed, unless the project asks for no proof. */
  signUp(options: { email: string; password: string; data?: Record<string, unknown> } & Returning): Call<SignedUp>
  /** Signs in by a password. */
  signIn(options: { email: string; password: string }): Call<Session>
  /** Signs in as nobody in particular. `update({ email })` makes him somebody. */
  signInAnonymously(options?: { data?: Record<string, unknown> }): Call<Session>
  /** Leaves for a provider, whose users come back with a code for `completeRedirect`. Gives the provider's address. */
  signInWith(provider: string, options?: Departure): Call<string>
  /** Signs in by an ID token that the app has got itself, or links it to whoever is signed in. */
  signInWithIdToken(options: {
    provider: string
    token: string
    accessToken?: string
    nonce?: string
    link?: boolean
  }): Call<Session>
  /** Mails a code, and a link, that sign in. An account is made if there is none, unless `create` is false. */
  sendCode(options: { email: string; create?: boolean; data?: Record<string, unknown> } & Returning): Call<void>
  /** Shows what a letter brought. Null where a change of address waits for the other address. */
  verify(shown: Shown<Exclude<CodeType, 'email_change'>>): Call<Session>
  verify(shown: Shown): Call<Session | null>
  /**
   * Takes over what a link or a provider has put into the page's address, and clears it from there: call it when the page
   * begins. Null if there is nothing.
   *
   * A link counts in the browser that asked for it: elsewhere the error is `bad_code_verifier`, and the letter's code
   * helps. Links that the operator made, invitations above all, carry a session that nobody here has asked for: `tokens`
   * takes it over. Say so at the address for invitations only, since whoever sends such a link to others has them signed
   * in as himself.
   */
  completeRedirect(options?: { address?: string | URL; tokens?: boolean }): Call<Session | null>
  /** Mails a code, and a link, to somebody who forgot his password. They sign in, and `update` sets another. */
  recover(options: { email: string } & Returning): Call<void>
  /** Changes what the user is, and gives him as he then is. */
  update(change: UserChange): Call<User>
  /** Mails a code that proves presence: the `nonce` of a change of password. */
  reauthenticate(): Call<void>
  /** Mails once more what was mailed. */
  resend(options: { type: 'signup' | 'email_change'; email: string } & Returning): Call<void>
  /** Who is signed in, as the server says now; null if nobody is. */
  user(): Call<User | null>
  /** The session, refreshed if it is about to run out; null if nobody is signed in. */
  session(): Call<Session | null>
  /**
   * Signs out: this session, all of the user's (`global`) or all but this one (`others`). Here the session is forgotten
   * at once and in any case; an error says that the server has not heard of it.
   */
  signOut(options?: { scope?: 'local' | 'global' | 'others' }): Call<void>
  /** Calls back with the state, and whenever it changes, in other tabs too. Gives back what ends that. */
  onChange(listener: (event: AuthEvent, session: Session | null) => void): () => void

  /** In which ways the user signs in. */
  identities: {
    list(): Call<Identity[]>
    /** Leaves for a provider, whose account then signs in here too. As `signInWith`. */
    link(provider: string, options?: Departure): Call<string>
    /** By its `identity_id`. */
    unlink(id: string): Call<void>
  }
  /** What proves more than a password. */
  factors: {
    list(): Call<Factor[]>
    /** Begins to set one up: it counts once a code of it was verified. */
    enroll(options?: { name?: string; issuer?: string }): Call<EnrolledFactor>
    challenge(id: string): Call<{ id: string; expires_at: number }>
    /** Shows the code of the moment. Asks for a challenge itself unless it has one. */
    verify(options: { id: string; code: string; challengeId?: string }): Call<Session>
    remove(id: string): Call<void>
    /** Makes ten codes that each replace a factor once, instead of those before. They are told this once. */
    recoveryCodes(): Call<string[]>
    /** Shows one of these. */
    recover(code: string): Call<Session>
    aal(): Call<AssuranceLevel>
  }
  /** Where the user is signed in. */
  sessions: {
    list(): Call<KnownSession[]>
    end(id: string): Call<void>
  }
}

/** What the server puts into an address. */
const WORDS = ['code', 'error', 'error_code', 'error_description', 'message', 'sb']

const base64url = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '')

/** What an access token says. It is the server's to judge; here it only tells what the session is. */
function claims(token: string): Record<string, unknown> {
  try {
    return JSON.parse(atob((token.split('.')[1] ?? '').replace(/-/g, '+').replace(/_/g, '/'))) as Record<string, unknown>
  } catch {
    return {}
  }
}

const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : [])

/** Signing in at a server. */
export function auth<S extends Schema>(core: Core<S>): Auth {
  const { session } = core
  const { store } = session
  const page = (): Document | undefined => globalThis.document

  const ask = <T = unknown>(method: string, path: string, more?: Partial<Ask>): Promise<T> =>
    core.json<T>({ method, path: `/auth/v1/${path}`, ...more })

  /** Asks as whoever has the key: who is signed in so far does not matter, and he may be so no more. */
  const post = (path: string, json: object, options?: Returning): Promise<unknown> =>
    ask('POST', path, { json, token: null, query: new URLSearchParams(returning(options)) })

  function returning({ redirectTo }: Returning = {}): { redirect_to?: string } {
    const place = page()?.location
    const back = redirectTo ?? (place && place.origin + place.pathname)
    return back === undefined ? {} : { redirect_to: back }
  }

  async function enter(answer: unknown, event: SessionEvent = 'signed_in'): Promise<Session> {
    const now = granted(answer)
    await session.set(now, event)
    return now
  }

  /** Keeps what is new of the user with his session. */
  async function known(answer: unknown): Promise<User> {
    const user = soundUser(answer)
    const now = await session.peek()
    if (now?.user.id === user.id && JSON.stringify(now.user) !== JSON.stringify(user)) {
      await session.set({ ...now, user }, 'updated')
    }
    return user
  }

  // The secret of the flows that are under way in this browser (PKCE, RFC 7636): one, since a letter may be followed in
  // another tab, and there may be several letters. It goes when one of them has arrived.
  const name = `${session.key}:verifier`
  let made = ''
  const kept = async (): Promise<string> => (await attempt(() => store.getItem(name))) || made

  async function challenge(): Promise<{ code_challenge: string; code_challenge_method: string }> {
    let verifier = await kept()
    if (!/^[\w-]{43}$/.test(verifier)) {
      verifier = made ||= base64url(crypto.getRandomValues(new Uint8Array(32)))
    }
    await attempt(() => store.setItem(name, verifier))
    // Browsers hash on secure pages only. On any other, whoever could see the one could see the other as well.
    const hash = await crypto.subtle?.digest('SHA-256', new TextEncoder().encode(verifier))
    return hash
      ? { code_challenge: base64url(new Uint8Array(hash)), code_challenge_method: 's256' }
      : { code_challenge: verifier, code_challenge_method: 'plain' }
  }

  async function depart(path: string, provider: string, options: Departure = {}): Promise<string> {
    const { scopes, query, open = (to: string): void => page()?.location.assign(to) } = options
    const { url } = await ask<{ url: string }>('GET', path, {
      query: new URLSearchParams({
        ...query,
        ...(scopes && { scopes }),
        ...returning(options),
        ...(await challenge()),
        provider,
        skip_http_redirect: 'true',
      }),
    })
    // Another scheme could run in this page.
    if (!/^https?:\/\//i.test(url)) throw new BasewrightError('bad_answer', 'The provider has no address')
    open(url)
    return url
  }

  async function completed(options: { address?: string | URL; tokens?: boolean } = {}): Promise<Session | null> {
    const place = page()?.location
    if (!(options.address ?? place)) return null
    const address = new URL(options.address ?? String(place))
    const query = address.searchParams
    const fragment = new URLSearchParams(address.hash.slice(1))
    const said = (name: string): string | null => query.get(name) ?? fragment.get(name)
    const [code, refused, token] = [query.get('code'), said('error_code') ?? said('error'), fragment.get('access_token')]
    if (!code && !refused && !token && !fragment.has('sb')) return null
    if (!options.address) {
      // At once, so that nobody sees, copies or uses it again.
      for (const word of WORDS) query.delete(word)
      if (refused || token || fragment.has('sb')) address.hash = ''
      history.replaceState(history.state, '', address)
    }
    if (refused) throw new BasewrightError(refused, said('error_description') ?? 'The sign-in was refused')
    if (code) {
      const code_verifier = await kept()
      if (!code_verifier) {
        throw new BasewrightError('bad_code_verifier', 'This link is for the browser in which it was asked for')
      }
      const now = await enter(await post('token?grant_type=pkce', { auth_code: code, code_verifier }))
      made = ''
      await attempt(() => store.removeItem(name))
      return now
    }
    if (!token) return null
    if (!options.tokens) throw new BasewrightError('unasked_session', 'The address carries a session that nobody asked for')
    const user = isToken(token) ? await ask('GET', 'user', { token }) : null
    return enter({ ...Object.fromEntries(fragment), expires_in: Number(fragment.get('expires_in')), user })
  }

  async function left(scope: string): Promise<void> {
    const before = await session.peek()
    if (!before) return
    const leave = (token?: string): Promise<unknown> =>
      ask('POST', `logout?scope=${scope}`, token === undefined ? {} : { token })
    if (scope === 'others') return void (await leave())
    await session.set(null, 'signed_out')
    const { access_token, refresh_token } = before
    try {
      await leave(access_token).catch(async (fault: BasewrightError) => {
        if (fault.code !== 'bad_jwt') throw fault
        // It had run out.
        await leave(granted(await post('token?grant_type=refresh_token', { refresh_token })).access_token)
      })
    } catch (fault) {
      if (!(fault instanceof BasewrightError) || !OVER.test(fault.code)) throw fault
    }
  }

  const user = async (): Promise<User | null> => ((await session.get()) ? known(await ask('GET', 'user')) : null)

  /** Several members of an answer or of a user. */
  const told = <T>(work: Promise<unknown>, name: string): Call<T[]> =>
    call(work.then((answer) => list((Object(answer) as Record<string, unknown>)[name]) as T[]))

  const done = (work: Promise<unknown>): Call<void> => call(work.then(() => undefined))

  return {
    signUp: ({ email, password, data, ...options }) =>
      call(
        (async () => {
          const answer = await post('signup', { email, password, data, ...(await challenge()) }, options)
          if (!Object.hasOwn(Object(answer), 'access_token')) return { user: soundUser(answer), session: null }
          const session = await enter(answer)
          return { user: session.user, session }
        })(),
      ),
    signIn: ({ email, password }) => call(post('token?grant_type=password', { email, password }).then((it) => enter(it))),
    signInAnonymously: ({ data } = {}) => call(post('signup', { data }).then((it) => enter(it))),
    signInWith: (provider, options) => call(depart('authorize', provider, options)),
    signInWithIdToken: ({ provider, token, accessToken, nonce, link }) =>
      call(
        ask('POST', 'token?grant_type=id_token', {
          json: { provider, id_token: token, access_token: accessToken, nonce, link_identity: link },
          ...(link ? {} : { token: null }),
        }).then((it) => enter(it)),
      ),
    sendCode: ({ email, create, data, ...options }) =>
      done(challenge().then((it) => post('otp', { email, create_user: create, data, ...it }, options))),
    verify: ((shown: Shown) => {
      const { type } = shown
      const json = 'code' in shown ? { type, email: shown.email, token: shown.code } : { type, token_hash: shown.tokenHash }
      return call(
        post('verify', json).then((it) => {
          // One of the two addresses has agreed.
          const half = type === 'email_change' && !Object.hasOwn(Object(it), 'access_token')
          return half ? null : enter(it)
        }),
      )
    }) as Auth['verify'],
    completeRedirect: (options) => call(completed(options)),
    recover: ({ email, ...options }) => done(challenge().then((it) => post('recover', { email, ...it }, options))),
    update: ({ email, password, currentPassword, nonce, data, ...options }) =>
      call(
        (async () => {
          const json = { email, password, current_password: currentPassword, nonce, data }
          const proof = email === undefined ? {} : await challenge()
          const query = new URLSearchParams(returning(options))
          return known(await ask('PUT', 'user', { json: { ...json, ...proof }, query }))
        })(),
      ),
    reauthenticate: () => done(ask('GET', 'reauthenticate')),
    resend: ({ type, email, ...options }) =>
      done(challenge().then((it) => post('resend', { type, email, ...it }, options))),
    user: () => call(user()),
    session: () => call(session.get()),
    signOut: ({ scope = 'local' } = {}) => done(left(scope)),
    onChange: (listener) => {
      let begun = false
      const end = session.onChange((event, now) => {
        begun = true
        listener(event, now)
      })
      void session.peek().then((now) => {
        if (!begun) listener('initial', now)
      })
      return () => {
        begun = true
        end()
      }
    },
    identities: {
      list: () => told(user(), 'identities'),
      link: (provider, options) => call(depart('user/identities/authorize', provider, options)),
      unlink: (id) => done(ask('DELETE', `user/identities/${encodeURIComponent(id)}`).then(user)),
    },
    factors: {
      list: () => told(user(), 'factors'),
      enroll: ({ name, issuer } = {}) =>
        call(
          (async () => {
            const json = { factor_type: 'totp', friendly_name: name, issuer }
            const { id, totp } = await ask<{ id: string; totp: EnrolledFactor }>('POST', 'factors', { json })
            const { secret, uri, qr_code } = totp
            return { id, secret, uri, qr_code: `data:image/svg+xml,${encodeURIComponent(qr_code)}` }
          })(),
        ),
      challenge: (id) => call(ask('POST', `factors/${encodeURIComponent(id)}/challenge`)),
      verify: ({ id, code, challengeId }) =>
        call(
          (async () => {
            const path = `factors/${encodeURIComponent(id)}/`
            const challenge_id = challengeId ?? (await ask<{ id: string }>('POST', `${path}challenge`)).id
            return enter(await ask('POST', `${path}verify`, { json: { challenge_id, code } }), 'updated')
          })(),
        ),
      remove: (id) => done(ask('DELETE', `factors/${encodeURIComponent(id)}`).then(user)),
      recoveryCodes: () => told(ask('POST', 'factors/recovery-codes'), 'codes'),
      recover: (code) =>
        call(ask('POST', 'factors/recovery-codes/verify', { json: { code } }).then((it) => enter(it, 'updated'))),
      aal: () =>
        call(
          (async () => {
            const factors = list((await user())?.factors) as Factor[]
            const { aal, amr } = claims((await session.token()) ?? '')
            const current = aal === 'aal2' ? aal : 'aal1'
            const next = factors.some(({ status }) => status === 'verified') ? 'aal2' : current
            return { current, next, methods: list(amr).map((it) => String((it as { method: unknown }).method)) }
          })(),
        ),
    },
    sessions: {
      list: () => told(ask('GET', 'user/sessions'), 'sessions'),
      end: (id) =>
        done(
          (async () => {
            await ask('DELETE', `user/sessions/${encodeURIComponent(id)}`)
            const now = await session.peek()
            if (now && claims(now.access_token)['session_id'] === id) await session.set(null, 'signed_out')
          })(),
        ),
    },
  }
}
