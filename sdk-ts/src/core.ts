import { asError } from './call.js'
import { BasewrightError, bad, errorOf } from './error.js'
import { heed } from './listen.js'
import type { AnySchema, Schema } from './schema.js'
import { type Sessions, type Store, sessions } from './session.js'

/** The part of a `WebSocket` class that is used. */
export type Socketing = new (url: string, protocols: string[]) => WebSocket

export interface Options {
  /** Instead of the platform's own. */
  fetch?: typeof fetch
  /** Instead of the platform's own. Node 20 has none unless started with `--experimental-websocket`. */
  WebSocket?: Socketing
  /** Where the session is kept. In a browser `localStorage`, elsewhere memory. */
  store?: Store
  /** Sent with every request. */
  headers?: Record<string, string>
  /** Milliseconds after which a request without an answer is given up. 30,000; 0 waits for ever. */
  timeout?: number
}

/** One request. */
export interface Ask {
  method?: string
  /** From the server's root, with one slash at its beginning: `/rest/v1/posts`. */
  path: string
  query?: URLSearchParams | undefined
  headers?: Record<string, string>
  /** Sent as JSON. */
  json?: unknown
  /** Sent as it is. */
  body?: BodyInit | undefined
  signal?: AbortSignal | undefined
  /** Instead of that of the options. */
  timeout?: number
  /** Instead of the session's; `null` sends the key alone. */
  token?: string | null | undefined
}

/** What came back. */
export interface Answer<T> {
  /** What the JSON says; null of an empty answer. */
  body: T
  headers: Headers
}

/** A connection to a server: what records, sign-in, files and live queries are made of. */
export interface Core<S extends Schema = AnySchema> {
  /** Without a slash at its end. */
  readonly url: string
  readonly key: string
  readonly options: Options
  readonly session: Sessions
  /** Asks and gives back the answer, whose body is unread. Throws a `BasewrightError` unless it is a success. */
  send(ask: Ask): Promise<Response>
  /** Asks and gives back the JSON of the answer, or null of an empty one. */
  json<T>(ask: Ask): Promise<T>
  /** The same, and the headers of the answer. */
  ask<T>(ask: Ask): Promise<Answer<T>>
  /** Of which project: known to the compiler alone. */
  readonly schema?: S
}

/** Times that a reading request is tried again after no answer, or one that says so. */
const RETRIES = 2

/**
 * Connects to a server. Nothing is sent yet.
 *
 * `key` is the publishable key in whatever others can read, a page above all. The secret key may do everything.
 */
export function connect<S extends Schema = AnySchema>(
  url: string | URL,
  key: string,
  options: Options = {},
): Core<S> {
  const root = String(url).replace(/\/+$/, '')
  const session: Sessions = sessions(root, options.store, refresh)

  function refresh(token: string): Promise<unknown> {
    return json({
      method: 'POST',
      path: '/auth/v1/token?grant_type=refresh_token',
      json: { refresh_token: token },
      token: null,
    })
  }

  /** One request. The time limit and the signal hold until `read` is done with the answer. */
  async function once<T>(ask: Ask, token: string | null, read: (response: Response) => T | Promise<T>): Promise<T> {
    const ending = new AbortController()
    const { signal, timeout: limit = options.timeout ?? 30_000 } = ask
    const unheed = heed(signal, () => ending.abort(aborted()))
    const late = (): void => ending.abort(new BasewrightError('timeout', `No answer within ${limit} ms`))
    const timer = limit > 0 ? setTimeout(late, limit) : undefined
    let told: (cause: unknown) => BasewrightError = asError
    let unread = false
    try {
      // With anything else at its beginning the address could be another server's.
      if (!/^\/(?![/\\])/.test(ask.path)) throw new BasewrightError('invalid_request', 'A path begins with one slash')
      const search = `${ask.query ?? ''}`
      const json = JSON.stringify(ask.json)
      const headers = new Headers({ ...options.headers, ...ask.headers })
      headers.set('apikey', key)
      if (json && !headers.has('content-type')) headers.set('content-type', 'application/json')
      if (token) headers.set('authorization', `Bearer ${token}`)
      const request = {
        method: ask.method ?? 'GET',
        headers,
        signal: ending.signal,
        body: json ?? ask.body,
        // Streams go out in one direction while nothing comes back yet.
        duplex: 'half',
        // Another place would be given the key and what is sent.
        redirect: 'error',
      }
      told = unreachable
      const response = await (options.fetch ?? fetch)(root + ask.path + (search && `?${search}`), request as RequestInit)
      if (!response.ok) throw await errorOf(response)
      unread = read === whole
      return await read(response)
    } catch (cause) {
      if (ending.signal.aborted) throw ending.signal.reason
      throw told(cause)
    } finally {
      clearTimeout(timer)
      // Who reads the answer himself may still give it up.
      if (!unread) unheed()
    }
  }

  async function exchange<T>(ask: Ask, read: (response: Response) => T | Promise<T>): Promise<T> {
    let renewed = false
    let user: string | undefined
    let fault: BasewrightError | undefined
    for (let tried = 0; ; tried++) {
      const now = ask.token === undefined ? await session.get() : null
      // It was asked as somebody. Whoever is signed in meanwhile has not asked it.
      if (fault && now?.user.id !== user) throw fault
      user = now?.user.id
      const token = now?.access_token ?? ask.token ?? null
      try {
        return await once(ask, token, read)
      } catch (error) {
        fault = error as BasewrightError
        const { status, code } = fault
        // Refused before anything was done, in any of the server's dialects: the token ran out on its way, or its key was
        // rotated.
        const refused = status === 401 || (status === 403 && /jwt|^(session|user)_/i.test(code))
        if (refused && !renewed && now && !(ask.body as ReadableStream | undefined)?.getReader) {
          renewed = true
          await session.renew(now.access_token)
          continue
        }
        const wait = backoff(tried, fault)
        const again = status === 503 || status === 429 || code === 'network'
        if (!/^(GET|HEAD)$/.test(ask.method ?? 'GET') || !again || tried >= RETRIES || wait > 5000) throw fault
        await pause(wait, ask.signal)
      }
    }
  }

  const ask = <T>(asked: Ask): Promise<Answer<T>> =>
    exchange(asked, async (response) => {
      const { status, headers } = response
      const text = await response.text()
      try {
        return { body: text === '' ? null : JSON.parse(text), headers }
      } catch (cause) {
        throw bad({ status, cause })
      }
    })
  const json = async <T>(asked: Ask): Promise<T> => (await ask<T>(asked)).body

  return { url: root, key, options, session, send: (asked) => exchange(asked, whole), ask, json }
}

const whole = (response: Response): Response => response

const aborted = (): BasewrightError => new BasewrightError('aborted', 'The request was given up')

/** What was thrown where nothing came. */
export const unreachable = (cause: unknown, signal?: AbortSignal): BasewrightError =>
  signal?.aborted
    ? aborted()
    : cause instanceof BasewrightError
      ? cause
      : new BasewrightError('network', 'The server cannot be reached', { cause })

/**
 * Milliseconds to wait before something is tried again: half of the time and up to all of it, so that those who were cut
 * off together do not come back together; and as long as the server says.
 */
export const backoff = (tries: number, fault?: BasewrightError): number =>
  Math.max((fault?.retryAfter ?? 0) * 1000, Math.min(2 ** tries * 250, 8000) * (0.5 + Math.random() / 2))

/** Waits, unless the signal says that nobody does any more. */
export const pause = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      unheed()
      resolve()
    }, ms)
    const unheed = heed(signal, () => {
      clearTimeout(timer)
      reject(aborted())
    })
  })
