import { type Call, call } from './call.js'
import type { Core } from './core.js'
import { BasewrightError } from './error.js'
import type { Schema } from './schema.js'
import { isObject, join, type Members, reasonOf, type Status, tell } from './socket.js'

export interface ChannelOptions {
  /** For topics that the project does not declare: one that only the secret key may join. Declared ones are private anyway. */
  private?: boolean
  /**
   * Under which key one is present, or the state with which one is present from the beginning. False: nothing is
   * heard of who is there. Without a key each channel has one of its own.
   */
  presence?: string | false | object
  /** `send` waits until the server has it. */
  ack?: boolean
  /** One's own messages come back. */
  self?: boolean
  /** Closes the channel. */
  signal?: AbortSignal
}

/** Something that somebody said on a channel. */
export interface Message {
  event: string
  // biome-ignore lint: whatever was sent
  payload: any
}

/** Who is on a channel: the states under each key, one for each channel that is there with it. */
// biome-ignore lint: whatever was said
export type Present = ReadonlyMap<string, readonly any[]>

/** A topic on which others are told things, and who is there. */
export interface Channel extends AsyncIterable<Message> {
  readonly topic: string
  readonly status: Status
  /** Why it is closed, if it may not be joined. */
  readonly error: BasewrightError | null
  /** Who is there. Another map whenever somebody comes, goes or changes. */
  readonly present: Present
  /**
   * Tells the others. Waits for a connection that is being made; rejects with `offline` where there is none, for a
   * message that nobody hears now is of no use later.
   */
  send(event: string, payload?: unknown): Call<void>
  /** Calls back with what others say: on one event, or on each (`*`). Gives back what ends that. */
  on(event: string, listener: (payload: any, event: string) => void): () => void
  /** Says that one is there, and how; again after each lost connection. */
  track(state: object): Call<void>
  /** Is there no more. */
  untrack(): Call<void>
  onPresence(listener: (present: Present) => void): () => void
  onStatus(listener: (status: Status, error: BasewrightError | null) => void): () => void
  close(): void
}

/** Joins a channel, and stays on it over lost connections until it is closed. What is said meanwhile is not heard. */
export function channel<S extends Schema>(core: Core<S>, topic: S['channels'], options: ChannelOptions = {}): Channel {
  const { presence, ack = false, self = false, signal } = options
  const listeners = new Map<string, Set<(payload: any, event: string) => void>>()
  const watchers = new Set<(present: Present) => void>()
  const observers = new Set<(status: Status, error: BasewrightError | null) => void>()
  let status: Status = 'connecting'
  let error: BasewrightError | null = null
  let present: Present = new Map()
  let state: object | null = isObject(presence) ? presence : null

  function turn(next: Status): void {
    if (next === status) return
    status = next
    tell(observers, status, error)
  }

  function see(next: Map<string, readonly Members[]>): void {
    present = next
    tell(watchers, present)
  }

  /** Puts those who came in, and takes those who went out. Each is known by its reference. */
  function differ(joins: unknown, leaves: unknown, before: Present = present): void {
    const next = new Map(before) as Map<string, readonly Members[]>
    for (const [key, gone] of metas(leaves)) {
      const refs = gone.map(({ phx_ref }) => phx_ref)
      const rest = (next.get(key) ?? []).filter(({ phx_ref }) => !refs.includes(phx_ref))
      if (rest.length > 0) next.set(key, rest)
      else next.delete(key)
    }
    for (const [key, came] of metas(joins)) next.set(key, [...(next.get(key) ?? []), ...came])
    see(next)
  }

  const place = join(core as unknown as Core, {
    topic,
    config: () => ({
      private: options.private ?? false,
      broadcast: { ack, self },
      presence: { enabled: presence !== false, ...(typeof presence === 'string' && { key: presence }) },
    }),
    joined: () => {
      turn('live')
      if (state) void say('presence', { type: 'presence', event: 'track', payload: state }, false).safe()
    },
    hear: (event, payload) => {
      if (event === 'presence_state') differ(payload, {}, new Map())
      else if (event === 'presence_diff') differ(payload['joins'], payload['leaves'])
      else if (event === 'broadcast' && typeof payload['event'] === 'string') {
        const { event: name, payload: said } = payload
        for (const of of [name, '*']) tell(listeners.get(of) ?? [], said, name)
      }
    },
    lost: turn,
    moved: () => {
      error = null
      see(new Map())
      turn('connecting')
    },
    refused: (fault) => {
      error = fault
      see(new Map())
      turn('closed')
    },
  })

  /** Says something as soon as it can be said. */
  function say(event: string, payload: unknown, wait: boolean): Call<void> {
    return call(
      new Promise((resolve, reject) => {
        let end: (() => void) | undefined
        const attempt = (): void => {
          const answer = ({ status: what, response }: Members): void => {
            if (what === 'ok') return resolve()
            reject(new BasewrightError(...reasonOf(isObject(response) ? response : {}), { status: 403 }))
          }
          const waits = wait
            ? (reply: object | null) => (reply ? answer(reply as Members) : reject(new BasewrightError('timeout', 'The server did not say that it has it')))
            : undefined
          if (status === 'live' && place.say(event, payload, waits)) {
            if (!wait) resolve()
          } else if (status !== 'connecting') reject(error ?? new BasewrightError(status === 'closed' ? status : 'offline', 'There is no connection'))
          else {
            end ??= watch(observers, () => attempt())
            return
          }
          end?.()
        }
        attempt()
      }),
    )
  }

  const on: Channel['on'] = (event, listener) => {
    const all = listeners.get(event) ?? new Set()
    listeners.set(event, all)
    return watch(all, listener)
  }

  const ends = new Set<() => void>()
  function close(): void {
    signal?.removeEventListener('abort', close)
    place.leave()
    state = null
    turn('closed')
    tell(ends)
  }
  signal?.addEventListener('abort', close)
  if (signal?.aborted) close()

  return {
    topic,
    get status() {
      return status
    },
    get error() {
      return error
    },
    get present() {
      return present
    },
    send: (event, payload = {}) => say('broadcast', { type: 'broadcast', event, payload }, ack),
    on,
    track: (now) => {
      state = now
      // If it is not joined, it says so when it is.
      return status === 'live' ? say('presence', { type: 'presence', event: 'track', payload: now }, true) : call(Promise.resolve())
    },
    untrack: () => {
      state = null
      return status === 'live' ? say('presence', { type: 'presence', event: 'untrack' }, true) : call(Promise.resolve())
    },
    onPresence: (listener) => watch(watchers, listener),
    onStatus: (listener) => watch(observers, listener),
    close,
    [Symbol.asyncIterator]: () => {
      const queue: Message[] = []
      let awake: (() => void) | undefined
      const wake = (): void => awake?.()
      const unhear = on('*', (payload, event) => {
        queue.push({ event, payload })
        wake()
      })
      const forget = watch(ends, wake)
      let done = false
      const finish = async (): Promise<IteratorResult<Message>> => {
        done = true
        unhear()
        forget()
        wake()
        return { done, value: undefined }
      }
      return {
        next: async () => {
          for (;;) {
            const value = queue.shift()
            if (value && !done) return { done: false, value }
            if (done || status === 'closed') {
              await finish()
              if (error) throw error
              return { done: true, value: undefined }
            }
            await new Promise<void>((resolve) => {
              awake = resolve
            })
          }
        },
        return: finish,
      }
    },
  }
}

/** Adds a listener of its own, and gives back what takes it out. */
function watch<F extends (...args: any[]) => void>(all: Set<F>, listener: F): () => void {
  const own = ((...args) => listener(...args)) as F
  all.add(own)
  return () => void all.delete(own)
}

/** What presence says of each key, as far as it has the right shape. */
function metas(of: unknown): [string, Members[]][] {
  if (!isObject(of)) return []
  return Object.entries(of).map(([key, entry]) => [key, isObject(entry) && Array.isArray(entry['metas']) ? entry['metas'].filter(isObject) : []])
}
