import type { Core } from './core.js'
import { BasewrightError } from './error.js'
import { type Field, type LiveWhere, type Order, type Result, type Strict, type With, filterOf, parameters } from './query.js'
import type { Name, Schema } from './schema.js'
import { isObject, join, type Members, type Party, type Place, type Status, tell, text } from './socket.js'

/** What is followed: a condition that a change can be judged by, and how its records are shown. */
export interface LiveQuery<S extends Schema, N extends Name<S>> {
  where?: LiveWhere<S, N>
  /** The fields of each record; those of the key and of the order come along. */
  fields?: readonly Field<S, N>[]
  /**
   * Related records that are shown with each. They are read again when the record itself changes, not when a related
   * one does: follow those by a query of their own where that matters.
   */
  with?: With<S, N>
  /** By the key if nothing is said. Text is ordered by code point. */
  order?: Order<S, N>
  /** The first so many, always exactly these. Without one, there may be as many as a page has. */
  limit?: number
}

/** Something that happened to the list. */
export interface Change<T> {
  /** A record came into the list, changed in it, or left it: deleted, or not what is asked for any more. */
  type: 'insert' | 'update' | 'delete'
  /** As it is, or as it was last seen. */
  record: T
  /** Before an update. */
  old: T | null
  /** Where in the stream of changes that was. */
  cursor: string
}

/** A list of records that follows what happens on the server. */
export interface Live<T> extends AsyncIterable<readonly T[]> {
  /** The records now. Another array whenever something has changed; a record that has not is the same object. */
  readonly records: readonly T[]
  readonly status: Status
  /** Why it is closed, if the server does not let it go on. */
  readonly error: BasewrightError | null
  /** The first state. Rejects if there will be none. */
  readonly ready: Promise<readonly T[]>
  /** Calls back with each state and each status. Gives back what ends that. */
  subscribe(listener: (records: readonly T[], status: Status) => void): () => void
  /** Calls back with each status. Gives back what ends that. It does not keep the list going. */
  onStatus(listener: (status: Status, error: BasewrightError | null) => void): () => void
  /** What happens to the list, one by one, after its first state. What was missed meanwhile is told when it is known. */
  changes(): AsyncIterable<Change<T>>
  /** Ends it. It also ends by itself with the last of its loops and subscriptions, and begins again with the next. */
  close(): void
}

type Term = { field: string; desc?: boolean; nulls?: string }
/** A record as it is shown, and as it is compared. */
type Entry = { row: Members; at: Members }

/** Milliseconds in which what happens is shown at once. */
const FRAME = 16
/** Milliseconds in which reasons to read again are put together. */
const TOGETHER = 20
/** Records that are read again by one request, and how often that is tried before it is left at what came. */
const BATCH = 50
const TRIES = 6

/**
 * Follows a query: the records that it has, and then whatever happens to them. It begins with the first loop or
 * subscription, and goes on over lost connections and restarts of the server: what was missed comes later, once.
 *
 *     for await (const posts of live(core, 'posts', { where: { status: 'live' }, order: '-created_at', limit: 20 })) show(posts)
 *
 * A loop gets the newest state whenever it is there for one, and never waits for old ones.
 */
export function live<S extends Schema, N extends Name<S>, const Q extends LiveQuery<S, N> = {}>(
  core: Core<S>,
  name: N,
  query?: Strict<S, N, Q, keyof LiveQuery<S, N>>,
  options: { signal?: AbortSignal } = {},
): Live<Result<S, N, Q>> {
  type T = Result<S, N, Q>
  const { where, order = [], limit, with: related = {}, fields } = (query ?? {}) as LiveQuery<S, N> & { fields?: string[] }
  const terms = [order].flat().map(
    (term): Term =>
      // A dash is no letter of a name.
      typeof term === 'string' ? { field: term.replace('-', ''), desc: term[0] === '-' } : (term as Term),
  )
  const nested = Object.keys(related)
  const select = fields && [...new Set([...fields, ...terms.map(({ field }) => field.split('->')[0] as string)])]
  const filter = where && filterOf(where)
  const beginning = String(parameters({ with: related, ...(select && { fields: select }), order, ...(limit !== undefined && { limit }) }))

  const listeners = new Set<(records: readonly T[], status: Status) => void>()
  const observers = new Set<(status: Status, error: BasewrightError | null) => void>()
  const queues = new Set<Change<T>[]>()
  const waiters = new Set<() => void>()
  let place: Place | undefined
  let users = 0
  let over = false
  let status: Status = 'connecting'
  let error: BasewrightError | null = null

  /** Of the key; empty until that is known. */
  let key: string[] = []
  let rows = new Map<string, Entry>()
  let list: readonly T[] = []
  let told: readonly unknown[] = [list, status]
  let version = 0
  /** There was a snapshot. */
  let begun = false
  /** The next join asks for one. */
  let fresh = true
  /** It was asked for, and what was it asked for again meanwhile. */
  let awaited = false
  let outdated = false
  /** The last cursor that was seen. */
  let last = ''
  /** Behind this one there are records that are not known: the last of a list that is full. */
  let edge: Members | undefined
  /** Whether records can be ordered here as they are there. */
  let ordered = terms.every(({ field }) => !field.includes('->') && !nested.includes(field))
  /** Records that changed and are to be read again, with what they must show then. */
  const pending = new Map<string, { record: Members; tries: number }>()
  let reading = false
  let shown = 0
  let timer: ReturnType<typeof setTimeout> | undefined
  let rejoining: ReturnType<typeof setTimeout> | undefined

  const id = (record: Members): string => JSON.stringify(key.map((field) => record[field]))

  /** A record that was read: a relation stands in the place of a field of the same name. */
  function entry(row: Members): Entry {
    const hidden = key.filter((field) => nested.includes(field))
    const at = { ...row }
    for (const field of hidden) {
      at[field] = row[`_${field}`]
      delete row[`_${field}`]
    }
    return { row, at: hidden.length > 0 ? at : row }
  }

  function compare(a: Members, b: Members): number {
    for (const { field, desc = false, nulls = desc ? 'first' : 'last' } of [...terms, ...key.map((field): Term => ({ field }))]) {
      const x = a[field] ?? null
      const y = b[field] ?? null
      if (x === y) continue
      if (x === null || y === null) return (x === null) === (nulls === 'first') ? -1 : 1
      const found = among(x, y)
      if (found !== 0) return desc ? -found : found
    }
    return 0
  }

  // ---- what others see ----

  function publish(): void {
    const [before, state] = told
    const isFirst = begun && version === 0
    if (list === before && status === state && !isFirst) return
    told = [list, status]
    if (list !== before || isFirst) version++
    if (status !== state) tell(observers, status, error)
    tell(listeners, list, status)
    wake()
  }

  function wake(): void {
    for (const waiter of waiters) waiter()
    waiters.clear()
  }

  function turn(next: Status): void {
    status = next
    publish()
  }

  function note(type: Change<T>['type'], record: Members, old?: Members): void {
    const change = { type, record: record as T, old: (old ?? null) as T | null, cursor: last }
    for (const queue of queues) queue.push(change)
  }

  /** Shows what has happened, soon. */
  function soon(): void {
    timer ??= setTimeout(flush, Math.max(0, shown + FRAME - Date.now()))
  }

  function flush(): void {
    clearTimeout(timer)
    timer = undefined
    shown = Date.now()
    let all = [...rows]
    if (ordered) all.sort(([, a], [, b]) => compare(a.at, b.at))
    if (limit && all.length > limit) {
      for (const [id, { row }] of all.slice(limit)) {
        rows.delete(id)
        note('delete', row)
      }
      all = all.slice(0, limit)
      edge = all[limit - 1]?.[1].at
    }
    if (all.length !== list.length || all.some(([, { row }], at) => row !== list[at])) list = all.map(([, { row }]) => row as T)
    publish()
    wake()
  }

  // ---- what happens to records ----

  function put(id: string, made: Entry): void {
    const had = rows.get(id)
    if (ordered && edge && compare(made.at, edge) > 0) return drop(id)
    if (had && same(had.row, made.row)) return
    rows.set(id, made)
    note(had ? 'update' : 'insert', made.row, had?.row)
    if (!ordered) again()
    soon()
  }

  function drop(id: string): void {
    pending.delete(id)
    const had = rows.get(id)
    if (!had) return
    rows.delete(id)
    note('delete', had.row)
    // There may be others to take its place.
    if (edge) again()
    soon()
  }

  function clear(): void {
    edge = undefined
    for (const id of [...rows.keys()]) drop(id)
    pending.clear()
    flush()
  }

  function change(data: Members): void {
    const { cursor, record, old_record: old, columns } = data
    if (key.length === 0 || typeof cursor !== 'string' || cursor <= last) return
    last = cursor
    // Of these kinds the text says nothing about the order.
    if (ordered && Array.isArray(columns)) {
      ordered = !columns.some((column) => terms.some(({ field }) => field === column?.name) && /^_|json|interval|inet/.test(text(column.type)))
    }
    const now = isObject(record) ? id(record) : undefined
    const before = isObject(old) ? id(old) : undefined
    if (before !== undefined && before !== now) drop(before)
    if (now === undefined) return
    const row = record as Members
    if (nested.length === 0 && !data['errors']) return put(now, { row, at: row })
    // Only what is shown is read; what is not, is not there any more.
    if (ordered && edge && compare(row, edge) > 0) return drop(now)
    pending.set(now, { record: row, tries: 0 })
    if (!reading) void read()
  }

  /** Reads what changed, with what belongs to it. */
  async function read(): Promise<void> {
    reading = true
    for (let wait = TOGETHER; pending.size > 0 && place; ) {
      await new Promise((resolve) => setTimeout(resolve, wait))
      const batch = [...pending].slice(0, BATCH)
      const [field, ...more] = key as [string, ...string[]]
      const keys = batch.map(([, { record }]) => Object.fromEntries(key.map((field) => [field, record[field]])))
      const search = parameters({ with: related, ...(select && { fields: [...select, ...key.filter((field) => !select.includes(field))] }), where: more.length > 0 ? { or: keys } : { [field]: { in: keys.map((of) => of[field]) } } })
      const hidden = key.filter((field) => nested.includes(field)).map((field) => `,_${field}:${field}`)
      if (hidden.length > 0) search.set('select', search.get('select') + hidden.join(''))
      let answer: unknown
      try {
        if (batch.length > 0) answer = await core.json({ path: `/rest/v1/${encodeURIComponent(name)}`, query: search })
      } catch (fault) {
        const { status } = fault as BasewrightError
        // The server says what is wrong when all is read again.
        if (status >= 400 && status < 500) again()
        wait = 1000
        continue
      }
      wait = TOGETHER
      const found = new Map<string, Entry>()
      for (const row of Array.isArray(answer) ? answer : []) {
        if (!isObject(row)) continue
        const made = entry(row)
        found.set(id(made.at), made)
      }
      for (const [id, wish] of batch) {
        // Something newer is known of it, or of everything.
        if (pending.get(id) !== wish) continue
        const made = found.get(id)
        // A change may be told of a moment before it can be read.
        const agrees = made && Object.keys(wish.record).every((field) => nested.includes(field) || same(made.row[field], wish.record[field]))
        if (!agrees && wish.tries++ < TRIES) {
          wait = Math.max(wait, TOGETHER * 2 ** wish.tries)
          continue
        }
        pending.delete(id)
        if (made) put(id, made)
        else drop(id)
      }
    }
    reading = false
  }

  /** The records as of now. */
  function begin(payload: Members): void {
    const { records, key: names, cursor } = payload
    if (!Array.isArray(records) || !Array.isArray(names) || names.length === 0) {
      return place?.refuse(new BasewrightError('bad_answer', 'The server does not say what the key is'))
    }
    const before = rows
    key = names.map(text)
    last = text(cursor)
    rows = new Map()
    pending.clear()
    for (const record of records) {
      if (!isObject(record)) continue
      const made = entry(record)
      const its = id(made.at)
      const had = before.get(its)
      if (had && same(had.row, made.row)) made.row = had.row
      else if (begun) note(had ? 'update' : 'insert', made.row, had?.row)
      rows.set(its, made)
    }
    if (begun) for (const [id, { row }] of before) if (!rows.has(id)) note('delete', row)
    edge = limit && rows.size >= limit ? [...rows.values()][limit - 1]?.at : undefined
    begun = true
    fresh = awaited = false
    status = 'live'
    flush()
    if (outdated) again()
    outdated = false
  }

  /** Takes a new snapshot. */
  function again(): void {
    fresh = true
    if (awaited) outdated = true
    else
      rejoining ??= setTimeout(() => {
        rejoining = undefined
        place?.rejoin()
      }, TOGETHER)
  }

  const party = (): Party => ({
    topic: `live::${++topics}`,
    config: () => {
      awaited = fresh
      const binding = { event: '*', schema: 'public', table: name, ...(filter && { filter }), ...(select && { select }) }
      return {
        presence: { enabled: false },
        ...(fresh ? { snapshot: true } : { resume: last }),
        postgres_changes: [fresh ? { ...binding, snapshot: beginning } : binding],
      }
    },
    joined: () => {},
    hear: (event, payload) => {
      if (event === 'snapshot') return begin(payload)
      if (event === 'postgres_changes') return isObject(payload['data']) ? change(payload['data']) : undefined
      if (event !== 'system' || payload['extension'] !== 'postgres_changes') return
      const { status: what, cursor } = payload
      if (what === 'position' && !awaited) {
        if (text(cursor) > last) last = text(cursor)
        turn('live')
      } else if (what === 'access_changed' || what === 'resync_required') {
        again()
        turn('catching_up')
      } else if (what === 'error') {
        const { code, statusCode, message, hint } = payload
        const status = typeof statusCode === 'number' ? statusCode : 400
        const fault = new BasewrightError(text(code) || 'refused', text(message), { status, hint: text(hint) || null })
        if (status < 500) return place?.refuse(fault)
        fresh = true
        place?.rejoin(true)
      }
    },
    lost: (why) => {
      awaited = outdated = false
      turn(why === 'offline' ? why : begun ? 'catching_up' : why)
    },
    moved: (somebody) => {
      error = null
      fresh = true
      awaited = outdated = false
      // What one may see is not shown to another, not even for a moment.
      if (somebody) clear()
      turn(begun ? 'catching_up' : 'connecting')
    },
    refused: (fault) => {
      error = fault
      clear()
      turn('closed')
    },
  })

  // ---- who wants it ----

  /** Keeps it going until what it gives back is called. */
  function hold(): () => void {
    if (over) return () => {}
    users++
    if (!place) {
      error = null
      fresh = true
      status = 'connecting'
      place = join(core as unknown as Core, party())
    }
    let held = true
    return () => {
      if (held && --users === 0) stop()
      held = false
    }
  }

  function stop(): void {
    place?.leave()
    place = undefined
    clearTimeout(rejoining)
    rejoining = undefined
    awaited = outdated = false
    pending.clear()
    turn('closed')
  }

  function close(): void {
    over = true
    users = 0
    options.signal?.removeEventListener('abort', close)
    stop()
    wake()
  }

  function iterate<V>(take: () => V | undefined, end?: () => void): AsyncIterator<V> {
    const release = hold()
    let done = over
    const finish = (): IteratorResult<V> => {
      done = true
      end?.()
      release()
      return { done, value: undefined }
    }
    return {
      next: async () => {
        for (;;) {
          if (done || over) return finish()
          const value = take()
          if (value !== undefined) return { done: false, value }
          if (error) {
            finish()
            throw error
          }
          await new Promise<void>((resolve) => waiters.add(resolve))
        }
      },
      return: async () => {
        const last = finish()
        wake()
        return last
      },
    }
  }

  const states = (): AsyncIterator<readonly T[]> => {
    let seen = 0
    return iterate(() => {
      // One that has ended is not told as a state.
      if (version === seen || error) return undefined
      seen = version
      return list
    })
  }

  let first: Promise<readonly T[]> | undefined
  options.signal?.addEventListener('abort', close)
  if (options.signal?.aborted) close()
  return {
    get records() {
      return list
    },
    get status() {
      return status
    },
    get error() {
      return error
    },
    get ready() {
      return (first ??= states()
        .next()
        .then(({ value, done }) => {
          if (done) throw new BasewrightError('closed', 'It was closed before there was anything')
          return value
        }))
    },
    subscribe: (listener) => {
      const own: typeof listener = (records, status) => listener(records, status)
      const release = hold()
      listeners.add(own)
      if (begun) tell([own], list, status)
      return () => {
        listeners.delete(own)
        release()
      }
    },
    onStatus: (listener) => {
      observers.add(listener)
      return () => void observers.delete(listener)
    },
    changes: () => ({
      [Symbol.asyncIterator]: () => {
        const queue: Change<T>[] = []
        queues.add(queue)
        return iterate(
          () => queue.shift(),
          () => queues.delete(queue),
        )
      },
    }),
    close,
    [Symbol.asyncIterator]: states,
  }
}

/** Numbers the topics: an empty part is in no topic that a project declares. */
let topics = 0

const same = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b)

/** Which of two values of one field comes first, as Postgres has it. */
function among(a: unknown, b: unknown): number {
  if (typeof a === 'string' && typeof b === 'string') return byCodePoint(a, b)
  if (isObject(a) || isObject(b)) return 0
  // Infinities and what is no number are text, and the latter comes last.
  const [x, y] = [Number(a), Number(b)]
  return x < y ? -1 : x > y ? 1 : Number(x !== x) - Number(y !== y)
}

function byCodePoint(a: string, b: string): number {
  for (let at = 0; at < a.length && at < b.length; at++) {
    const [x, y] = [a.charCodeAt(at), b.charCodeAt(at)]
    // Surrogates stand for what comes after all others.
    if (x !== y) return x > 0xd7ff && y > 0xd7ff ? ((x + 0x2000) & 0xffff) - ((y + 0x2000) & 0xffff) : x - y
  }
  return a.length - b.length
}
