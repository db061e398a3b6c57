import type { Core } from './core.js'
import { BasewrightError } from './error.js'

/**
 * How fresh something is. `live`: as the server has it. `catching_up`: the connection is there again, and what was
 * missed is on its way. `offline`: there is no connection; it is tried again and again. `closed`: it has ended.
 */
export type Status = 'connecting' | 'live' | 'catching_up' | 'offline' | 'closed'

/** An object of a message, of which nothing is known. */
export type Members = Record<string, unknown>

/** What wants to be on a topic. */
export interface Party {
  readonly topic: string
  /** What a join asks for. */
  config(): Members
  joined(response: Members): void
  /** Something was said on the topic. */
  hear(event: string, payload: Members): void
  /** It is not joined any more, or not yet: the socket is there, or is not. It comes back by itself. */
  lost(why: 'connecting' | 'offline'): void
  /** It cannot be joined as things stand. */
  refused(error: BasewrightError): void
  /** Somebody else is signed in now, or nobody; before that it was somebody, or nobody. It is joined again. */
  moved(somebody: boolean): void
}

/** A place on the socket. */
export interface Place {
  /** Says something. False if nothing can be said now. */
  say(event: string, payload: unknown, answer?: Answer): boolean
  /** Joins again, after a moment if that was asked before. */
  rejoin(later?: boolean): void
  /** It cannot go on. */
  refuse(error: BasewrightError): void
  leave(): void
}

/** What is said about what was said. */
export interface Reply {
  status?: unknown
  response?: unknown
}

/** Gets the reply, or null if none will come. */
type Answer = (reply: Reply | null) => void

interface Member extends Party {
  /** The reference of its join. */
  ref: string | undefined
  on: boolean
  /** Nothing is tried for it. */
  off: boolean
  /** When it was joined. */
  since: number
  tries: number
  timer: ReturnType<typeof setTimeout> | undefined
  token: string | undefined
  /** What the server said before it closed the channel. */
  why: string
}

/** Milliseconds between two signs of life, and how long an answer may take. */
const BEAT = 25_000
const ANSWER = 10_000
/** A socket that nobody uses stays so long for the next one. */
const LINGER = 1000
/** What was joined for so long was not refused. */
const LASTING = 5000

export const isObject = (value: unknown): value is Members => typeof value === 'object' && value !== null

/** What is text, and of anything else none. */
export const text = (value: unknown): string => (typeof value === 'string' ? value : '')

/** Calls all of them, whatever one does: what it throws is its owner's, and seen as any rejection that nobody handles. */
export function tell<A extends unknown[]>(listeners: Iterable<(...args: A) => void>, ...args: A): void {
  for (const listener of [...listeners]) {
    try {
      listener(...args)
    } catch (error) {
      void Promise.reject(error)
    }
  }
}

/** Half of the time and up to all of it: those who were cut off together do not come back together. */
const delay = (tries: number): number => Math.min(2 ** tries * 250, 8000) * (0.5 + Math.random() / 2)

/** A reason of the wire, `Code: text`, as the two. */
export function reasonOf({ reason }: Members): [code: string, text: string] {
  const [, code = 'refused', said = ''] = /^(?:(\w+): )?(.*)/s.exec(text(reason)) ?? []
  return [code, said]
}

const lines = /* @__PURE__ */ new WeakMap<object, (party: Party) => Place>()

/** Takes part in a topic, over the one socket of its core. */
export function join(core: Core, party: Party): Place {
  const { url, key, session } = core
  let line = lines.get(session)
  if (!line) lines.set(session, (line = open()))
  return line(party)

  function open(): (party: Party) => Place {
    const members = new Set<Member>()
    const waiting = new Map<string, (reply: Reply | null) => void>()
    let ws: WebSocket | undefined
    let refs = 0
    let tries = 0
    let user: string | undefined
    let again: ReturnType<typeof setTimeout> | undefined
    let late: ReturnType<typeof setTimeout> | undefined
    let beats: ReturnType<typeof setInterval> | undefined
    let closing: ReturnType<typeof setTimeout> | undefined
    let unhear: (() => void) | undefined

    const isOpen = (): boolean => ws?.readyState === 1
    const isUsed = (): boolean => [...members].some(({ off }) => !off)

    function send(join: string | undefined, topic: string, event: string, payload: unknown, answer?: Answer, ref = `${++refs}`): void {
      if (answer) {
        const given: Answer = (reply) => {
          clearTimeout(timer)
          if (waiting.delete(ref)) answer(reply)
        }
        const timer = setTimeout(given, ANSWER, null)
        waiting.set(ref, given)
      }
      ws?.send(JSON.stringify([join, ref, topic, event, payload]))
    }

    const speak = ({ ref, topic }: Member, event: string, payload: unknown, answer?: Answer): void =>
      send(ref, `realtime:${topic}`, event, payload, answer)

    function connect(): void {
      clearTimeout(again)
      again = undefined
      if (ws || !isUsed()) return
      const Socket = core.options.WebSocket ?? globalThis.WebSocket
      if (!Socket) {
        const error = new BasewrightError('no_websocket', 'There is no WebSocket here: give one as options.WebSocket')
        for (const member of members) refuse(member, error)
        return
      }
      let made: WebSocket
      try {
        made = ws = new Socket(`${url.replace(/^http/, 'ws')}/realtime/v1/websocket?vsn=2.0.0&apikey=${encodeURIComponent(key)}`)
      } catch {
        return retry()
      }
      late = setTimeout(drop, ANSWER, made)
      made.onopen = () => {
        clearTimeout(late)
        late = undefined
        beats = setInterval(beat, BEAT)
        for (const member of members) {
          if (!member.off) member.lost('connecting')
          enter(member)
        }
      }
      made.onmessage = ({ data }) => {
        clearTimeout(late)
        late = undefined
        hear(data)
      }
      made.onclose = ({ code }) => drop(made, code)
      made.onerror = () => drop(made)
    }

    /** Says that it is there, and finds out whether the server is. */
    function beat(): void {
      const made = ws
      if (made?.readyState !== 1 || late) return
      late = setTimeout(drop, ANSWER, made)
      send(undefined, 'phoenix', 'heartbeat', {})
      // A token that is about to run out is renewed, and then told by `onChange`.
      session.get().catch(() => {})
    }

    function drop(made: WebSocket, code?: number): void {
      if (ws !== made) return
      ws = undefined
      clearTimeout(late)
      late = undefined
      clearInterval(beats)
      made.onopen = made.onmessage = made.onclose = made.onerror = null
      made.close()
      for (const given of [...waiting.values()]) given(null)
      for (const member of members) fall(member, 'offline')
      if (!isUsed()) return
      // The key or the session is not good any more: not at once again with the same.
      if (code === 1008) {
        tries = Math.max(tries, 3)
        for (const member of members) renew(member)
      }
      retry()
    }

    function retry(): void {
      again ??= setTimeout(connect, delay(tries++))
    }

    /** The page is looked at again, or the network is there. */
    function wake(): void {
      if (isOpen()) beat()
      else if (again && globalThis.document?.visibilityState !== 'hidden') {
        tries = 0
        connect()
      }
    }

    function fall(member: Member, why: 'connecting' | 'offline'): void {
      clearTimeout(member.timer)
      member.ref = member.timer = undefined
      member.on = false
      if (!member.off) member.lost(why)
    }

    function refuse(member: Member, error: BasewrightError): void {
      leave(member)
      member.off = true
      member.refused(error)
      idle()
    }

    function later(member: Member): void {
      if (Date.now() - member.since > LASTING) member.tries = 0
      clearTimeout(member.timer)
      member.timer = setTimeout(enter, delay(member.tries++), member)
    }

    async function enter(member: Member): Promise<void> {
      clearTimeout(member.timer)
      if (!isOpen() || member.off) return
      // Whatever was asked before, its answer is for nobody.
      const ref = (member.ref = `${++refs}`)
      member.on = false
      member.why = ''
      let token: string | undefined
      try {
        const known = await session.get()
        user = known?.user?.id
        token = known?.access_token
      } catch {
        if (member.ref === ref) later(member)
        return
      }
      if (member.ref !== ref || !isOpen()) return
      member.token = token
      const payload = { config: member.config(), ...(token && { access_token: token }) }
      const answer: Answer = (reply) => {
        if (member.ref !== ref) return
        const response = isObject(reply?.response) ? reply.response : {}
        if (reply?.status === 'ok') {
          tries = 0
          member.on = true
          member.since = Date.now()
          return member.joined(response)
        }
        const [code, reason] = reasonOf(response)
        if (/^(Unauthorized|PrivateOnly|InvalidJoinPayload|TopicName)/.test(code)) {
          return refuse(member, new BasewrightError(code, reason, { status: 403 }))
        }
        if (/JWT|Jwt/.test(code)) renew(member)
        later(member)
      }
      send(ref, `realtime:${member.topic}`, 'phx_join', payload, answer, ref)
    }

    function renew({ token }: Member): void {
      if (token) session.renew(token).catch(() => {})
    }

    function hear(data: unknown): void {
      let message: unknown
      try {
        message = JSON.parse(data as string)
      } catch {
        return
      }
      if (!Array.isArray(message)) return
      const [join, ref, topic, event, given] = message as unknown[]
      const payload = isObject(given) ? given : {}
      if (event === 'phx_reply') return waiting.get(ref as string)?.(payload)
      for (const member of members) {
        if (topic !== `realtime:${member.topic}` || (join != null && join !== member.ref)) continue
        if (event === 'phx_close' || event === 'phx_error') {
          const { why } = member
          fall(member, 'connecting')
          // What it has lost is not the token's fault.
          if (!why.startsWith('Unauthorized')) renew(member)
          later(member)
        } else if (member.on) {
          if (event === 'system' && payload['extension'] === 'system') member.why = text(payload['message'])
          member.hear(event as string, payload)
        }
      }
    }

    function leave(member: Member): void {
      if (member.ref && isOpen()) speak(member, 'phx_leave', {})
      clearTimeout(member.timer)
      member.ref = undefined
      member.on = false
    }

    /** Closes the socket if nobody comes back to it. */
    function idle(): void {
      if (isUsed()) return
      clearTimeout(again)
      again = undefined
      clearTimeout(closing)
      closing = setTimeout(() => {
        if (ws && !isUsed()) drop(ws)
      }, LINGER)
    }

    function listen(): void {
      const world = globalThis as Partial<Pick<typeof globalThis, 'addEventListener' | 'removeEventListener'>>
      const page = globalThis.document as Document | undefined
      const end = session.onChange((_, now) => {
        const [before, other] = [user, now?.user?.id !== user]
        user = now?.user?.id
        for (const member of members) {
          if (other) {
            member.off = false
            member.moved(before !== undefined)
            enter(member)
          } else if (now && member.on && now.access_token !== member.token) {
            member.token = now.access_token
            speak(member, 'access_token', { access_token: now.access_token })
          }
        }
        if (other) connect()
      })
      world.addEventListener?.('online', wake)
      world.addEventListener?.('offline', beat)
      page?.addEventListener('visibilitychange', wake)
      unhear = () => {
        end()
        world.removeEventListener?.('online', wake)
        world.removeEventListener?.('offline', beat)
        page?.removeEventListener('visibilitychange', wake)
        unhear = undefined
      }
    }

    return (party) => {
      const member: Member = Object.assign(party as Member, { on: false, off: false, since: 0, tries: 0, ref: undefined, timer: undefined, why: '' })
      members.add(member)
      if (!unhear) listen()
      // What it begins with is asked when whoever makes it has it.
      queueMicrotask(() => {
        if (isOpen()) enter(member)
        else if (!ws) connect()
      })
      return {
        say: (event, payload, answer) => {
          if (!member.on || !isOpen()) return false
          speak(member, event, payload, answer)
          return true
        },
        rejoin: (after) => (after ? later(member) : void enter(member)),
        refuse: (error) => refuse(member, error),
        leave: () => {
          leave(member)
          members.delete(member)
          if (members.size === 0) unhear?.()
          idle()
        },
      }
    }
  }
}
