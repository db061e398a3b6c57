import { BasewrightError } from './error.js'

/** Somebody who signed in. */
export interface User {
  id: string
  email?: string
  is_anonymous?: boolean
  app_metadata: Record<string, unknown>
  user_metadata: Record<string, unknown>
  [more: string]: unknown
}

/** That somebody is signed in. */
export interface Session {
  access_token: string
  refresh_token: string
  /** In seconds since 1970. */
  expires_at: number
  user: User
}

/** What became of the session. */
export type SessionEvent = 'signed_in' | 'signed_out' | 'refreshed' | 'updated'

/** Where a session is kept: `localStorage`, or anything with these three. */
export interface Store {
  getItem(key: string): string | null | Promise<string | null>
  setItem(key: string, value: string): void | Promise<void>
  removeItem(key: string): void | Promise<void>
}

/** Who is signed in, and that he stays so. */
export interface Sessions {
  /** The session, refreshed if it is about to run out; null if nobody is signed in. */
  get(): Promise<Session | null>
  /** The token of the session, or null. */
  token(): Promise<string | null>
  /** A session other than that of this refused token: refreshed now unless somebody else did. Null if there is none. */
  renew(refused: string): Promise<Session | null>
  /** Keeps a session, or forgets it. */
  set(session: Session | null, event: SessionEvent): Promise<void>
  /** Calls back whenever it changes, in other tabs too. Gives back what ends that. */
  onChange(listener: (event: SessionEvent, session: Session | null) => void): () => void
}

/** Milliseconds before a token's end from which it is not used any more. */
const MARGIN = 30_000

const memory = (): Store => {
  const kept = new Map<string, string>()
  return {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  }
}

/** The session with a server. */
export function sessions(
  url: string,
  store: Store = globalThis.localStorage ?? memory(),
  refresh: (token: string) => Promise<Session>,
): Sessions {
  const key = `basewright:${url}`
  const listeners = new Set<(event: SessionEvent, session: Session | null) => void>()
  let known: Promise<Session | null> | undefined
  let refreshing: Promise<Session | null> | undefined

  const read = (): Promise<Session | null> =>
    (known ??= Promise.resolve(store.getItem(key)).then((text) => {
      try {
        const session = JSON.parse(text ?? 'null') as Session | null
        return typeof session?.access_token === 'string' ? session : null
      } catch {
        return null
      }
    }))

  async function set(session: Session | null, event: SessionEvent): Promise<void> {
    known = Promise.resolve(session)
    if (session === null) await store.removeItem(key)
    else await store.setItem(key, JSON.stringify(session))
    for (const listener of [...listeners]) listener(event, session)
  }

  const renewed = (session: Session): Promise<Session | null> =>
    (refreshing ??= refresh(session.refresh_token)
      .then(
        async (next): Promise<Session | null> => {
          await set(next, 'refreshed')
          return next
        },
        async (error: unknown): Promise<Session | null> => {
          // Refused for good: the session is over. Without an answer it may still be there.
          const over = error instanceof BasewrightError && error.status >= 400 && error.status < 500 && error.status !== 429
          if (!over) throw error
          await set(null, 'signed_out')
          return null
        },
      )
      .finally(() => {
        refreshing = undefined
      }))

  async function get(): Promise<Session | null> {
    const session = await read()
    return session !== null && session.expires_at * 1000 - Date.now() < MARGIN ? renewed(session) : session
  }

  return {
    get,
    token: async () => (await get())?.access_token ?? null,
    renew: async (refused) => {
      const session = await read()
      return session === null || session.access_token !== refused ? session : renewed(session)
    },
    set,
    onChange: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}
