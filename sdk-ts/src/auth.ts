import { type Call, type Flows, calls } from './call.js'
import type { Core } from './core.js'
import { BasewrightError, bad } from './error.js'
import type { Schema } from './schema.js'
import type { Factor, Identity, Session, SessionEvent, User } from './session.js'
import { OVER, granted, isToken, soundUser } from './session.js'
import { type Members, attempt, base64, given, list, text, utf8 } from './shape.js'

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
   * A link counts in the browser that asked for it: elsewhere the error is `bad_code_verifier`, and the letter is used
   * up. Links that the operator made, invitations above all, carry a session that nobody here has asked for: `tokens`
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
   * Signs out: this session, all of the user's (`global`) or all but this one (`others`). Here the session is forgotten in
   * any case; an error says that the server has not heard of it.
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
    /** Shows the code of the moment. */
    verify(options: { id: string; code: string }): Call<Session>
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

/** What the server puts into an address that nobody is signed in by. */
const REFUSED = ['error', 'error_code', 'error_description']

const TOKEN = 'token?grant_type='

/** The secret does not go with the code. */
const ALIEN = 'bad_code_verifier'

/** Flows of a browser that may be under way at a time. */
const FLOWS = 5

const base64url = (bytes: Uint8Array): string =>
  base64(bytes).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '')

/** Signing in at a server. */
export function auth<S extends Schema>(core: Core<S>): Auth {
  const { session } = core
  const { store } = session

  const ask = (method: string, path: string, json?: object, query = {}, token?: string | null): Promise<Members> =>
    core
      .json<unknown>({ method, path: `/auth/v1/${path}`, json, query: new URLSearchParams(given(query)), token })
      .then(Object)

  /** Asks as whoever has the key: who is signed in so far does not matter, and he may be so no more. */
  const post = (path: string, json: object, query?: object): Promise<Members> => ask('POST', path, json, query, null)

  const place = (): Location | undefined => globalThis.document?.location

  const returning = (redirect_to = place()?.href.replace(/[?#].*/s, '')): object => ({ redirect_to })

  /** Asks for a letter whose link comes back here. */
  const mail = async (path: string, { redirectTo, ...json }: Returning): Promise<Members> =>
    post(path, { ...json, ...(await challenge()) }, returning(redirectTo))

  async function enter(answer: unknown, event: SessionEvent = 'signed_in'): Promise<Session> {
    const now = granted(answer)
    await session.set(now, event)
    return now
  }

  /** Keeps what is new of the user with his session. */
  async function known(answer: unknown): Promise<User> {
    const user = soundUser(answer)
    const now = await session.peek()
    if (now?.user.id === user.id) await session.set({ ...now, user })
    return user
  }

  const user = async (): Promise<User | null> =>
    (await session.get())
      ? ask('GET', 'user').then(known, async (fault) => {
          // That the session is over may have come out only now.
          if (await session.peek()) throw fault
          return null
        })
      : null

  // The secrets of the flows that are under way in this browser (PKCE, RFC 7636). They are kept where other tabs find them,
  // since a letter may be followed there. What comes back does not say to which of them it belongs.
  const name = `${session.key}:verifier`
  /** Those that no store takes. */
  let made = ''
  let keeping = Promise.resolve()
  const kept = async (): Promise<string[]> =>
    text((await attempt(() => store.getItem(name))) || made).match(/[\w-]{43}/g) ?? []

  const keep = (change: (all: string[]) => string[]): Promise<void> =>
    (keeping = keeping.then(async () => {
      made = change(await kept()).slice(0, FLOWS).join()
      await attempt(async () => {
        // One that is full still forgets.
        await store.removeItem(name)
        if (made) await store.setItem(name, made)
        made = ''
      })
    }))

  async function challenge(): Promise<{ code_challenge: string; code_challenge_method: string }> {
    const verifier = base64url(crypto.getRandomValues(new Uint8Array(32)))
    await keep((all) => [verifier, ...all])
    // Browsers hash on secure pages only. On any other, whoever could see the one could see the other as well.
    const hash = await crypto.subtle?.digest('SHA-256', utf8(verifier))
    return {
      code_challenge: hash ? base64url(new Uint8Array(hash)) : verifier,
      code_challenge_method: hash ? 's256' : 'plain',
    }
  }

  async function depart(path: string, provider: string, options: Departure = {}): Promise<string> {
    const { scopes, redirectTo, open = (to: string): void => place()?.assign(to) } = options
    const query = {
      ...returning(redirectTo),
      ...options.query,
      ...given({ scopes }),
      ...(await challenge()),
      provider,
      skip_http_redirect: true,
    }
    const url = String((await ask('GET', path, undefined, query))['url'])
    // Another scheme could run in this page.
    if (!/^https?:/i.test(url)) throw bad()
    open(url)
    return url
  }

  async function remove(path: string, id: string): Promise<void> {
    await ask('DELETE', `${path}/${encodeURIComponent(id)}`)
    // He is another, or no more.
    await attempt(user)
  }

  const factor = async (id: string, what: string, json?: object): Promise<Members> =>
    ask('POST', `factors/${encodeURIComponent(id)}/${what}`, json)

  const sessions = async (): Promise<KnownSession[]> =>
    list((await ask('GET', 'user/sessions'))['sessions']) as KnownSession[]

  const flows: Flows<Omit<Auth, 'onChange'>> = {
    async signUp(options) {
      const answer = await mail('signup', options)
      if (!answer['access_token']) return { user: soundUser(answer), session: null }
      const session = await enter(answer)
      return { user: session.user, session }
    },
    signIn: (options) => post(`${TOKEN}password`, options).then(enter),
    signInAnonymously: (options = {}) => post('signup', options).then(enter),
    signInWith: (provider, options) => depart('authorize', provider, options),
    signInWithIdToken: ({ token: id_token, accessToken: access_token, link: link_identity, ...json }) =>
      ask(
        'POST',
        `${TOKEN}id_token`,
        { ...json, id_token, access_token, link_identity },
        undefined,
        link_identity ? undefined : null,
      ).then(enter),
    async sendCode({ create, ...options }) {
      await mail('otp', { ...options, create_user: create } as Returning)
    },
    async verify(shown: Shown) {
      const { code: token, tokenHash: token_hash, ...json } = shown as { type: CodeType; code?: string; tokenHash?: string }
      const answer = await post('verify', { ...json, token, token_hash })
      // One of the two addresses has agreed.
      return (json.type === 'email_change' && !answer['access_token'] ? null : enter(answer)) as Promise<Session>
    },
    async completeRedirect({ address, tokens } = {}) {
      const url = new URL(address ?? place()?.href ?? 'app:')
      const fragment = new URLSearchParams(url.hash.slice(1))
      const said = Object.fromEntries([...url.searchParams, ...fragment]) as { [name: string]: string | undefined }
      const { access_token: token } = said
      // An app may have words of its own that are the same. The server's codes have one shape, and its fragments a mark.
      const [code] = /^[\w-]{43}$/.exec(said['code'] ?? '') ?? []
      const refused = said['error'] && said['error_code']
      const isOurs = fragment.has('sb')
      if (!code && !refused && !isOurs) return null
      if (!address) {
        // At once, so that nobody sees, copies or uses it again.
        for (const word of refused ? REFUSED : code ? ['code'] : []) url.searchParams.delete(word)
        if (isOurs) url.hash = ''
        history.replaceState(history.state, '', url)
      }
      if (refused) throw new BasewrightError(refused, said['error_description'] ?? refused)
      if (code) {
        for (const code_verifier of await kept()) {
          const answer = await post(`${TOKEN}pkce`, { auth_code: code, code_verifier }).catch((fault) => {
            // It is that of another flow, which goes on.
            if (fault.code !== ALIEN) throw fault
          })
          if (!answer) continue
          await keep((all) => all.filter((one) => one !== code_verifier))
          const { provider_token, provider_refresh_token } = answer
          return { ...(await enter(answer)), provider_token, provider_refresh_token } as Session
        }
        throw new BasewrightError(ALIEN, 'Another browser asked for this')
      }
      if (!token) return null
      if (!tokens) throw new BasewrightError('unasked_session', 'Nobody here asked for this session')
      const user = isToken(token) && (await ask('GET', 'user', undefined, undefined, token))
      return enter({ ...said, expires_in: Number(said['expires_in']), user })
    },
    async recover(options) {
      await mail('recover', options)
    },
    async update({ currentPassword, redirectTo, ...json }) {
      const proof = json.email ? await challenge() : {}
      const change = { ...json, current_password: currentPassword, ...proof }
      return known(await ask('PUT', 'user', change, returning(redirectTo)))
    },
    async reauthenticate() {
      await ask('GET', 'reauthenticate')
    },
    async resend(options) {
      await mail('resend', options)
    },
    user,
    session: session.get,
    async signOut({ scope = 'local' } = {}) {
      const isHere = scope !== 'others'
      if (isHere) await keep(() => [])
      // One that has run out is refreshed, so that the server knows of whom this is.
      const before = (await attempt(session.get)) ?? (await session.peek())
      if (!before) return
      if (isHere) await session.set(null)
      await ask('POST', 'logout', undefined, { scope }, before.access_token).catch((fault) => {
        // It is over already.
        if (!OVER.test(fault.code)) throw fault
      })
    },
    identities: {
      list: async () => list((await user())?.identities) as Identity[],
      link: (provider, options) => depart('user/identities/authorize', provider, options),
      unlink: (id) => remove('user/identities', id),
    },
    factors: {
      list: async () => list((await user())?.factors) as Factor[],
      async enroll({ name, issuer } = {}) {
        const { id, totp } = await ask('POST', 'factors', { factor_type: 'totp', friendly_name: name, issuer })
        const { secret, uri, qr_code } = Object(totp) as EnrolledFactor
        return { id: id as string, secret, uri, qr_code: `data:image/svg+xml,${encodeURIComponent(qr_code)}` }
      },
      async verify({ id, code }) {
        const { id: challenge_id } = await factor(id, 'challenge')
        return enter(await factor(id, 'verify', { challenge_id, code }), 'updated')
      },
      remove: (id) => remove('factors', id),
      recoveryCodes: async () => list((await ask('POST', 'factors/recovery-codes'))['codes']) as string[],
      recover: async (code) => enter(await factor('recovery-codes', 'verify', { code }), 'updated'),
      async aal() {
        const current = (await sessions()).find(({ is_current }) => is_current)?.aal ?? 'aal1'
        const hasFactor = ((await user())?.factors ?? []).some(({ status }) => status === 'verified')
        return { current, next: hasFactor ? 'aal2' : current }
      },
    },
    sessions: {
      list: sessions,
      end: (id) => remove('user/sessions', id),
    },
  }

  return {
    ...calls<Omit<Auth, 'onChange'>>(flows),
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
  }
}
