import { BasewrightError, bad } from './error.js'
import { attend, tell, watch } from './listen.js'
import { type Members, attempt, isObject } from './shape.js'

/** Somebody who has an account. Times are in ISO 8601. */
export interface User {
  id: string
  /** Empty for somebody without an address. */
  email: string
  /** Whether he signed in as nobody in particular. */
  is_anonymous: boolean
  /** What the server says of him. */
  app_metadata: { provider?: string; providers?: string[]; [more: string]: unknown }
  /** What he says of himself: proof of nothing. */
  user_metadata: Record<string, unknown>
  /** By what he may sign in. */
  identities?: Identity[]
  /** His second factors. */
  factors?: Factor[]
  /** The address that is to be his, once it is confirmed. */
  new_email?: string
  created_at: string
  updated_at: string
  email_confirmed_at?: string
  last_sign_in_at?: string
}

/** One of the ways in which somebody signs in: a mail address, or an account at a provider. */
export interface Identity {
  identity_id: string
  provider: string
  /** What the provider says of him. */
  identity_data: Record<string, unknown>
  email?: string
  created_at: string
  last_sign_in_at?: string
}

/** A second factor: an app that shows codes. */
export interface Factor {
  id: string
  factor_type: string
  /** One that is not verified asks for nothing yet. */
  status: 'verified' | 'unverified'
  friendly_name?: string
  created_at: string
}

/** That somebody is signed in. */
export interface Session {
  access_token: string
  refresh_token: string
  /** Seconds for which the access token was good when it came. */
  expires_in?: number
  /** When that ends: in seconds since 1970, by the clock of this machine. */
  expires_at: number
  user: User
  /** A provider's own token, where `completeRedirect` comes back from one. It is not kept. */
  provider_token?: string
  /** As `provider_token`. */
  provider_refresh_token?: string
}

/**
 * What became of the session. `refreshed`: it goes on with another token. `updated`: the user is not what he was, or what
 * was proven of him; the token may be another too.
 */
export type SessionEvent = 'signed_in' | 'signed_out' | 'refreshed' | 'updated'

/** Where a session is kept: `localStorage`, or anything with these three. */
export interface Store {
  getItem(key: string): string | null | Promise<string | null>
  setItem(key: string, value: string): void | Promise<void>
  removeItem(key: string): void | Promise<void>
}

/** Hears of changes of the session. */
export type SessionListener = (event: SessionEvent, session: Session | null) => void

/** Who is signed in, and that he stays so. */
export interface Sessions {
  /** Under what name it is kept in the store. */
  readonly key: string
  readonly store: Store
  /** The id of who is signed in, as far as it is known without a look into the store. */
  user(): string | undefined
  /** The session as it is, even if it has run out. Never throws. */
  peek(): Promise<Session | null>
  /** The session, refreshed if it is about to run out; null if nobody is signed in. */
  get(): Promise<Session | null>
  /** The token of the session, or null. */
  token(): Promise<string | null>
  /** A session other than that of this refused token: refreshed now unless somebody else did. Null if there is none. */
  renew(refused: string): Promise<Session | null>
  /**
   * Keeps a session, or forgets it, and tells so; of what, unless said, shows in what has changed. Does not fail: a
   * session that no store takes is kept in memory.
   */
  set(session: Session | null, event?: SessionEvent): Promise<void>
  /** Calls back whenever it changes, in other tabs too. Gives back what ends that. */
  onChange(listener: SessionListener): () => void
}

/** Codes that say of a session that it is no more. */
export const OVER = /^(session|user|refresh_token)_/

/** Longest wait for another tab that refreshes the session, in milliseconds. */
const PATIENCE = 10_000
/** Milliseconds in which what one tab has written can be read by all. */
const SETTLING = 100

/** What may stand in a header. */
export const isToken = (value: unknown): value is string =>
  typeof value === 'string' && /^[\w.~+/=-]{1,16384}$/.test(value)

/** A user, if this is one, and nothing in it that changes what objects are. */
export function soundUser(value: unknown): User {
  const { id, app_metadata, user_metadata } = Object(value) as Members
  if (typeof id !== 'string' || !isObject(app_metadata) || !isObject(user_metadata)) throw bad()
  try {
    return JSON.parse(JSON.stringify(value), (name, member) => (name === '__proto__' ? undefined : member)) as User
  } catch {
    // Nested deeper than anything that means something.
    throw bad()
  }
}

/** A session, if this is one. */
function sound(value: unknown): Session {
  const { access_token, refresh_token, expires_in, expires_at, user } = Object(value) as Members
  if (!isToken(access_token) || !isToken(refresh_token) || !Number.isFinite(expires_at)) throw bad()
  return { access_token, refresh_token, expires_in, expires_at, user: soundUser(user) } as Session
}

/** The session that an answer carries. How long it is good counts from now: the server's clock may be another. */
export function granted(answer: unknown): Session {
  const given = Object(answer) as Members
  return sound({ ...given, expires_at: Math.floor(Date.now() / 1000) + (given['expires_in'] as number) })
}

/** What a store holds. Whatever is no session is nobody's. */
function restored(text: string | null): Session | null {
  try {
    return text && sound(JSON.parse(text)) || null
  } catch {
    return null
  }
}

const memory = (): Store => {
  const kept = new Map<string, string>()
  return {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  }
}

/** The store that the tabs of a browser share. Other platforms have something of that name too, which is not the same. */
function pageStore(): Store | undefined {
  try {
    return (globalThis.document && globalThis.localStorage) ?? undefined
  } catch {
    // The browser forbids it to this page.
    return undefined
  }
}

/** What has happened, by what was there before. */
function difference(before: Session | null, after: Session | null): SessionEvent | null {
  if (after === null) return before && 'signed_out'
  if (before?.user.id !== after.user.id) return 'signed_in'
  if (JSON.stringify(before.user) !== JSON.stringify(after.user)) return 'updated'
  return before.access_token === after.access_token ? null : 'refreshed'
}

/** Milliseconds for which a session's token is good. */
const left = (session: Session): number => session.expires_at * 1000 - Date.now()
/** Milliseconds before a token's end from which it is not used any more. */
const margin = ({ expires_in = 120 }: Session): number => (Math.min(30, expires_in / 4) || 30) * 1000

/** The session with a server. `refresh` shows it a refresh token and gives its answer. */
export function sessions(
  url: string,
  given: Store | undefined,
  refresh: (token: string) => Promise<unknown>,
): Sessions {
  const key = `basewright:${url}`
  const shared = given ?? pageStore()
  const store = shared ?? memory()
  const listeners = new Set<SessionListener>()
  let session: Session | null = null
  // What the store holds, as far as is known. Nothing was read yet: undefined.
  let text: string | null | undefined
  let writing = Promise.resolve()
  let writes = 0
  let renewing: Promise<Session | null> | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  let unattend: (() => void) | undefined

  const read = (): Promise<string | null | undefined> => attempt(async () => (await store.getItem(key)) ?? null)

  function report(event: SessionEvent, now: Session | null): void {
    plan()
    tell(listeners, event, now)
  }

  /** Reads what other tabs may have written. */
  async function peek(): Promise<Session | null> {
    for (let waited; waited !== writing; ) await (waited = writing)
    const seen = writes
    const found = await read()
    if (found !== undefined && found !== text && seen === writes) {
      const now = restored(found)
      const event = text === undefined ? null : difference(session, now)
      text = found
      session = now
      if (event) report(event, now)
    }
    return session
  }

  function set(next: Session | null, event = difference(session, next)): Promise<void> {
    const written = next && JSON.stringify(next)
    writes++
    session = next
    text = written
    return (writing = writing.then(async () => {
      const done = await attempt(async () => {
        await (written ? store.setItem(key, written) : store.removeItem(key))
        return true
      })
      if (!done) {
        // It is full, or forbidden. The session before this one does not come back from it.
        await attempt(() => store.removeItem(key))
        const found = await read()
        if (found !== undefined && text === written) text = found
      }
      if (event) report(event, next)
    }))
  }

  /** Does something while no other tab does it. Where tabs cannot agree, the server bears with two that come at once. */
  async function alone<T>(user: string, work: () => Promise<T>): Promise<T> {
    const locks = shared && globalThis.navigator?.locks
    if (!locks) return work()
    return new Promise((resolve, reject) => {
      let begun = false
      const begin = async (): Promise<void> => {
        begun = true
        await work().then(resolve, reject)
        // What one tab has written the next one reads a moment later: a lock does not wait for it.
        await new Promise((settled) => setTimeout(settled, SETTLING))
      }
      const options = { signal: AbortSignal.timeout(PATIENCE) }
      // No lock is to be had, or somebody keeps it.
      locks.request(`${key}:${user}`, options, begin).catch(() => (begun ? undefined : begin()))
    })
  }

  async function renewed(refused: string): Promise<Session | null> {
    const now = await peek()
    if (now?.access_token !== refused) return now
    let next: Session | null = null
    try {
      next = granted(await refresh(now.refresh_token))
    } catch (fault) {
      // Only the server itself says that a session is over. Without an answer, or with one of somebody between, it may live.
      if (!(fault instanceof BasewrightError) || !OVER.test(fault.code) || fault.status >= 500) throw fault
    }
    // Somebody has signed out, or in, meanwhile.
    if ((await peek())?.access_token !== refused) return session
    await set(next)
    return next
  }

  const renew = (refused: string): Promise<Session | null> =>
    (renewing ??= peek()
      .then((now) => alone(now?.user.id ?? '', () => renewed(refused)))
      .finally(() => {
        renewing = undefined
      }))

  async function get(): Promise<Session | null> {
    const now = await peek()
    if (now === null || left(now) > margin(now)) return now
    try {
      return await renew(now.access_token)
    } catch (fault) {
      if (left(now) > 0) return now
      throw fault
    }
  }

  /** Refreshes ahead of the end, for those who listen: a socket stays open without asking for anything. */
  function plan(least = 1000): void {
    clearTimeout(timer)
    if (!session || !listeners.size) return
    const { access_token } = session
    const wait = Math.min(Math.max(left(session) - 2 * margin(session), least), 2 ** 31 - 1)
    timer = setTimeout(() => void renew(access_token).catch(() => plan(PATIENCE)), wait)
    // Nothing of this keeps a process running that has nothing else to do.
    ;(timer as { unref?: () => void }).unref?.()
  }

  const hear = (): void => void peek().then(() => plan())

  function onChange(listener: SessionListener): () => void {
    // What other tabs write; a page that was put aside has heard nothing until it is shown again.
    unattend ??= attend('storage focus pageshow', hear)
    const end = watch(listeners, listener)
    hear()
    return () => {
      end()
      if (listeners.size > 0) return
      unattend?.()
      unattend = undefined
      plan()
    }
  }

  return {
    key,
    store,
    user: () => session?.user.id,
    peek,
    get,
    token: async () => (await get())?.access_token ?? null,
    renew,
    set,
    onChange,
  }
}
