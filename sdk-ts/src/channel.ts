import { type Call, call } from './call.js'
import type { Core } from './core.js'
import { BasewrightError } from './error.js'
import { tell, watch } from './listen.js'
import type { Schema } from './schema.js'
import { type Members, isObject, list, text } from './shape.js'
import { join, refusal, type Status, source } from './socket.js'

/** Messages that wait for a loop at most. */
const WAITING = 1000

/** How a channel is joined. */
export interface ChannelOptions {
  /** Of topics that the project does not declare, one for the secret key alone. Declared ones are private anyway. */
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

/** A topic on which others are told things, and who is there. A loop over it gets every message; a slow one the newest thousand. */
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
  const { presence, ack = false, self: echo = false } = options
  const listeners = new Set<(payload: unknown, event: string) => void>()
  const watchers = new Set<(present: Present) => void>()
  let state: object | null = isObject(presence) ? presence : null
  const { self, turn, loop, wake, change } = source(
    {
      topic: topic as string,
      present: new Map() as Present,
      send: (event: string, payload: unknown = {}) => say('broadcast', { type: 'broadcast', event, payload }, ack),
      on: (event: string, listener: (payload: any, event: string) => void) =>
        watch(listeners, (payload, name) => {
          if (event === name || event === '*') listener(payload, name)
        }),
      track(now: object) {
        state = now
        return be('track')
      },
      untrack() {
        state = null
        return be('untrack')
      },
      onPresence: (listener: (present: Present) => void) => watch(watchers, listener),
      [Symbol.asyncIterator]() {
        const queue: Message[] = []
        const end = watch(listeners, (payload: unknown, event: string) => {
          // A loop that is slow misses the oldest: what is said here counts when it is said.
          if (queue.push({ event, payload }) > WAITING) queue.shift()
          wake()
        })
        return loop(() => queue.shift(), end)
      },
    },
    () => place.leave(),
    options.signal,
  )

  function see(present: Present): void {
    self.present = present
    tell(watchers, present)
  }

  /** Takes those who went out, and puts those who came in. Each is known by its reference. */
  function differ(joins: unknown, leaves: unknown, before: Present): void {
    const next = new Map(before)
    for (const [key, gone] of metas(leaves)) {
      const rest = (next.get(key) ?? []).filter(({ phx_ref }) => !gone.some((one) => one['phx_ref'] === phx_ref))
      if (rest.length > 0) next.set(key, rest)
      else next.delete(key)
    }
    for (const [key, came] of metas(joins)) next.set(key, [...(next.get(key) ?? []), ...came])
    see(next)
  }

  const gone = (status: Status, error?: BasewrightError): void => {
    if (self.present.size > 0) see(new Map())
    turn(status, error)
  }
  const place = join(core as unknown as Core, {
    topic: `realtime:${topic}`,
    config: () => ({
      private: options.private,
      broadcast: { ack, self: echo },
      presence: { enabled: presence !== false, key: text(presence) || undefined },
    }),
    joined: () => {
      turn('live')
      if (state) void be('track')
    },
    hear: (event, payload) => {
      const { event: name, payload: said, joins, leaves } = payload
      if (event === 'presence_state') differ(payload, {}, new Map())
      else if (event === 'presence_diff') differ(joins, leaves, self.present)
      else if (event === 'broadcast') tell(listeners, said, text(name))
    },
    lost: gone,
    moved: () => gone('connecting'),
    refused: (fault) => gone('closed', fault),
  })
  // Closed before it began.
  if (self.status === 'closed') place.leave()

  /** Says something as soon as it can be said; `waits` for the server's word. */
  function say(event: string, payload: unknown, waits: boolean): Call<void> {
    const sent = async (): Promise<void> => {
      while (self.status === 'connecting') await change()
      const reply = await new Promise<Members | null>((resolve, reject) => {
        if (!place.say(event, payload, waits ? resolve : undefined)) {
          reject(
            self.error ??
              new BasewrightError(self.status === 'closed' ? 'closed' : 'offline', 'There is no connection'),
          )
        } else if (!waits) resolve({ status: 'ok' })
      })
      if (reply === null) throw new BasewrightError('timeout', 'No answer within 10000 ms')
      if (reply['status'] !== 'ok') throw refusal(reply['response'])
    }
    return call(sent())
  }

  /** Says whether one is there. Who is not joined yet says it when he is. */
  const be = (event: string): Call<void> =>
    /live|closed/.test(self.status)
      ? say('presence', { type: 'presence', event, payload: state }, true)
      : call(Promise.resolve())

  return self
}

/** What presence says of each key, as far as it has the right shape. */
function metas(of: unknown): [string, Members[]][] {
  return Object.entries(Object(of)).map(([key, entry]) => [key, list(Object(entry).metas).filter(isObject)])
}
