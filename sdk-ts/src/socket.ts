import { type Core, backoff } from './core.js'
import { BasewrightError } from './error.js'
import type { Session } from './session.js'
import { attend, tell, watch } from './listen.js'
import { type Members, attempt, isObject, text } from './shape.js'

/**
 * How fresh something is. `live`: as the server has it. `catching_up`: the connection is there again, and what was
 * missed is on its way. `offline`: there is no connection; it is tried again and again. `closed`: it has ended.
 */
export type Status = 'connecting' | 'live' | 'catching_up' | 'offline' | 'closed'

/** Gets the reply, or null if none will come. */
export type Answer = (reply: Members | null) => void

/** What wants to be on a topic. */
export interface Party {
  /** As it stands on the wire. */
  readonly topic: string
  /** The id of whoever was signed in when it was last joined. */
  user?: string | undefined
  /** What a join asks for. `renewed`: the token is not the one that the server was last told. */
  config(renewed: boolean): Members
  joined?(): void
  /** Something was said on the topic. */
  hear(event: unknown, payload: Members): void
  /** It is not joined any more, or not yet: the socket is there, or is not. It comes back by itself. */
  lost(why: 'connecting' | 'offline'): void
  /** It cannot be joined as things stand. */
  refused(error: BasewrightError): void
  /** Another user is signed in now, or nobody; before that it was somebody, or nobody. It is joined again. */
  moved(somebody: boolean): void
}

/** A place on the socket. */
export interface Place {
  /** Says something. False if nothing can be said now. */
  say(event: string, payload: unknown, answer?: Answer): boolean
  /** Joins again, at once or in a moment. */
  rejoin(later?: boolean): void
  /** It cannot go on. */
  refuse(error: BasewrightError): void
  leave(): void
}

type Timer = ReturnType<typeof setTimeout> | undefined

interface Member extends Party {
  /** The reference of its join. */
  ref?: string | undefined
  on?: boolean
  /** Nothing is tried for it. */
  off?: boolean
  /** When it was joined. */
  since: number
  tries: number
  timer?: Timer
  token?: string | undefined
}

/** Milliseconds between two signs of life, and how long an answer may take. */
const BEAT = 25_000
const ANSWER = 10_000
/** A socket that nobody uses stays so long for the next one. */
const LINGER = 1000
/** What was joined for so long was not refused. */
const LASTING = 5000

/** A reason of the wire, `Code: text`, as an error. */
export function refusal(response: unknown): BasewrightError {
  const { reason } = Object(response) as Members
  const [, code = 'refused', said = ''] = /^(?:(\w+): )?(.*)/s.exec(text(reason)) as string[]
  return new BasewrightError(code, said, { status: 403 })
}

const lines = /* @__PURE__ */ new WeakMap<object, (party: Party) => Place>()

/** Takes part in a topic, over the one socket of its core. */
export function join(core: Core, party: Party): Place {
  const line = lines.get(core.session) ?? open(core)
  lines.set(core.session, line)
  return line(party)
}

function open({ url, key, session, options }: Core): (party: Party) => Place {
  const members = new Set<Member>()
  const waiting = new Map<unknown, Answer>()
  let ws: WebSocket | undefined
  let refs = 0
  let tries = 0
  let user: string | undefined
  let again: Timer
  let late: Timer
  let beats: ReturnType<typeof setInterval> | undefined
  let unhear: (() => void) | undefined

  const isOpen = (): boolean => ws?.readyState === 1
  const isUsed = (): boolean => [...members].some(({ off }) => !off)
  const renew = ({ token }: Member): unknown => token && attempt(() => session.renew(token))

  function say(
    { topic, ref: join }: { topic: string; ref?: string | undefined },
    event: string,
    payload: unknown,
    answer?: Answer,
    ref = `${++refs}`,
  ): void {
    if (answer) {
      const timer = setTimeout(() => given(null), ANSWER)
      const given: Answer = (reply) => {
        clearTimeout(timer)
        if (waiting.delete(ref)) answer(reply)
      }
      waiting.set(ref, given)
    }
    ws?.send(JSON.stringify([join, ref, topic, event, payload]))
  }

  /** Makes a socket where one is needed, and closes one that is not. */
  function settle(): void {
    clearTimeout(again)
    again = undefined
    if (!isUsed()) return ws && drop(ws)
    if (ws) return
    const Socket = options.WebSocket ?? globalThis.WebSocket
    if (!Socket) {
      for (const member of members)
        refuse(member, new BasewrightError('no_websocket', 'There is no WebSocket'))
      return
    }
    try {
      // A browser sends no header of ours, and addresses are kept in logs: the key is offered beside the protocol.
      const made = (ws = new Socket(`${url.replace('http', 'ws')}/realtime/v1/websocket?vsn=2.0.0`, [
        'phoenix',
        `apikey.${key}`,
      ]))
      expect()
      made.onopen = () => {
        heard()
        beats = setInterval(beat, BEAT)
        for (const member of members) {
          if (!member.off) member.lost('connecting')
          enter(member)
        }
      }
      made.onmessage = ({ data }) => {
        heard()
        // Whatever else comes, it is not for us.
        void attempt(() => hear(JSON.parse(data as string)))
      }
      made.onclose = ({ code }) => drop(made, code)
      made.onerror = () => drop(made)
    } catch {
      retry()
    }
  }

  function retry(): void {
    again ??= setTimeout(settle, backoff(tries++))
  }

  /** Leaves a socket from which nothing comes. */
  function expect(): void {
    const made = ws
    if (made) late = setTimeout(() => drop(made), ANSWER)
  }

  function heard(): void {
    clearTimeout(late)
    late = undefined
  }

  /** Says that it is there, and finds out whether the server is. */
  function beat(): void {
    if (!isOpen() || late) return
    expect()
    say({ topic: 'phoenix' }, 'heartbeat', {})
    // A token that is about to run out is renewed, and then told by `onChange`.
    void attempt(session.get)
  }

  function drop(made: WebSocket, code?: number): void {
    if (ws !== made) return
    ws = undefined
    heard()
    clearInterval(beats)
    made.onmessage = null
    made.close()
    for (const member of members) fall(member, 'offline')
    for (const given of [...waiting.values()]) given(null)
    // The key or the session is not good any more: not at once again with the same.
    if (code === 1008) {
      tries = Math.max(tries, 3)
      members.forEach(renew)
    }
    if (isUsed()) retry()
  }

  /** The page is looked at again, or the network is there, or gone. */
  function wake(): void {
    if (isOpen()) beat()
    else if (again) {
      tries = 0
      settle()
    }
  }

  /** It is not joined any more. */
  function part(member: Member): void {
    clearTimeout(member.timer)
    member.ref = undefined
    member.on = false
  }

  function fall(member: Member, why: 'connecting' | 'offline'): void {
    part(member)
    if (!member.off) member.lost(why)
  }

  function leave(member: Member): void {
    if (member.ref && isOpen()) say(member, 'phx_leave', {})
    part(member)
    if (!isUsed()) {
      clearTimeout(again)
      again = setTimeout(settle, LINGER)
    }
  }

  function refuse(member: Member, error: BasewrightError): void {
    member.off = true
    leave(member)
    member.refused(error)
  }

  function later(member: Member): void {
    if (Date.now() - member.since > LASTING) member.tries = 0
    clearTimeout(member.timer)
    member.timer = setTimeout(() => enter(member), backoff(member.tries++))
  }

  async function enter(member: Member): Promise<void> {
    part(member)
    if (!isOpen() || member.off) return
    // Whatever was asked before, its answer is for nobody.
    const ref = (member.ref = `${++refs}`)
    const known = await attempt(session.get)
    if (member.ref !== ref || !isOpen()) return
    if (known === undefined) return later(member)
    user = member.user = known?.user?.id
    const renewed = member.token !== known?.access_token
    member.token = known?.access_token
    const answer: Answer = (reply) => {
      if (member.ref !== ref) return
      if (reply?.['status'] === 'ok') {
        tries = 0
        member.on = true
        member.since = Date.now()
        return member.joined?.()
      }
      const fault = refusal(reply?.['response'])
      if (/^(Unauth|Private|InvalidJoin|Topic)/.test(fault.code)) return refuse(member, fault)
      if (/jwt/i.test(fault.code)) renew(member)
      later(member)
    }
    say(member, 'phx_join', { config: member.config(renewed), access_token: member.token }, answer, ref)
  }

  function hear([join, ref, topic, event, given]: unknown[]): void {
    const payload = isObject(given) ? given : {}
    if (event === 'phx_reply') return waiting.get(ref)?.(payload)
    for (const member of members) {
      if (topic !== member.topic || (join ?? member.ref) !== member.ref) continue
      if (/^phx_(close|error)$/.test(text(event))) {
        fall(member, 'connecting')
        renew(member)
        later(member)
      } else if (member.on) member.hear(event, payload)
    }
  }

  function changed(_: unknown, now: Session | null): void {
    const before = user
    user = now?.user?.id
    for (const member of members) {
      if (user !== before) {
        member.off = false
        member.moved(before !== undefined)
        enter(member)
      } else if (now && member.on && now.access_token !== member.token) {
        member.token = now.access_token
        say(member, 'access_token', { access_token: member.token })
      }
    }
    if (user !== before) settle()
  }

  function listen(): () => void {
    const unhear = session.onChange(changed)
    const unattend = attend('online offline visibilitychange', wake)
    return () => {
      unhear()
      unattend()
    }
  }

  return (party) => {
    const member: Member = Object.assign(party, { since: 0, tries: 0, off: false })
    members.add(member)
    unhear ??= listen()
    // What it begins with is asked when whoever makes it has it.
    queueMicrotask(() => (isOpen() ? void enter(member) : settle()))
    return {
      say: (event, payload, answer) => {
        const can = member.on && isOpen()
        if (can) say(member, event, payload, answer)
        return !!can
      },
      rejoin: (after) => (after ? later(member) : void enter(member)),
      refuse: (error) => refuse(member, error),
      leave: () => {
        members.delete(member)
        leave(member)
        if (members.size > 0) return
        unhear?.()
        unhear = undefined
      },
    }
  }
}

type Observer = (status: Status, error: BasewrightError | null) => void

/** What lists and channels both are: something with a status, an end, and loops that wait for what comes. */
export function source<O extends object>(own: O, close: () => void, signal: AbortSignal | undefined) {
  const observers = new Set<Observer>()
  const waiters = new Set<() => void>()
  const wake = (): void => {
    for (const waiter of waiters) waiter()
    waiters.clear()
  }
  /** The next time that there is something to take, or another status. */
  const change = (): Promise<void> => new Promise((resolve) => waiters.add(resolve))
  const self = Object.assign(own, {
    status: 'connecting' as Status,
    error: null as BasewrightError | null,
    onStatus: (listener: Observer): (() => void) => watch(observers, listener),
    close: (): void => {
      signal?.removeEventListener('abort', self.close)
      close()
      turn('closed')
    },
  })
  function turn(next: Status, error = next === 'closed' ? self.error : null): void {
    const was = self.status
    self.status = next
    self.error = error
    if (next !== was) tell(observers, next, error)
    wake()
  }
  /** A loop over what is there to take. It ends with the source, by throwing why, or by an error that it takes. */
  function loop<V extends object>(take: () => V | BasewrightError | undefined, end: () => void): AsyncIterator<V> {
    let done = false
    const finish = async (): Promise<IteratorResult<V>> => {
      done = true
      end()
      wake()
      return { done, value: undefined }
    }
    return {
      next: async () => {
        while (!done) {
          const isOver = self.status === 'closed'
          const value = take() ?? (isOver && self.error)
          if (value instanceof BasewrightError) {
            void finish()
            throw value
          }
          if (value) return { done: false, value }
          if (isOver) break
          await change()
        }
        return finish()
      },
      return: finish,
    }
  }
  if (signal?.aborted) self.status = 'closed'
  else signal?.addEventListener('abort', self.close)
  return { self, turn, wake, loop, change }
}
