import type { Core } from './core.js'
import { BasewrightError, bad } from './error.js'
import {
  type Field,
  type LiveWhere,
  type Order,
  type Result,
  type Strict,
  type With,
  filterOf,
  parameters,
  sorted,
} from './query.js'
import { tell, watch } from './listen.js'
import type { Name, Schema } from './schema.js'
import { type Members, isObject, text } from './shape.js'
import { join, type Party, type Place, type Status, source } from './socket.js'

/** What is followed: a condition that a change can be judged by, and how its records are shown. */
export interface LiveQuery<S extends Schema, N extends Name<S>> {
  where?: LiveWhere<S, N>
  /**
   * The fields of each record; those of the key and of the order come along. Where a relation stands in the place of
   * a field of the key, the field's own value is there behind a `_`.
   */
  fields?: readonly Field<S, N>[]
  /**
   * Related records that are shown with each. They are read again when the record itself changes, not when a related
   * one does: follow those by a query of their own where that matters.
   */
  with?: With<S, N>
  /** By the key if nothing is said. Text is ordered by code point. */
  order?: Order<S, N>
  /**
   * The first so many, always exactly these: as many as the server gives at once (1,000) at most. Without one, a list that
   * outgrows that is closed.
   */
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
  /** The first state. Rejects if there will be none. It does not keep the list going behind it. */
  readonly ready: Promise<readonly T[]>
  /** Calls back with each state and each status. Gives back what ends that. */
  subscribe(listener: (records: readonly T[], status: Status) => void): () => void
  /** Calls back with each status. Gives back what ends that. It does not keep the list going. */
  onStatus(listener: (status: Status, error: BasewrightError | null) => void): () => void
  /**
   * What happens to the list, one by one, after its first state. What happened while there was no connection, or while
   * the list was read again, comes as what is other than before: a record that changed twice may be told of once.
   * None is left out: a loop that is behind by more than 10,000 ends with the error `closed`.
   */
  changes(): AsyncIterable<Change<T>>
  /** Ends it. It also ends by itself with the last of its loops and subscriptions, and begins again with the next. */
  close(): void
}

type Term = { field: string; desc?: boolean; nulls?: string }

/** Milliseconds in which what happens is shown at once. */
const FRAME = 16
/** Milliseconds in which reasons to read again are put together. */
const TOGETHER = 20
/** Records that are read again by one request, and how often that is tried before it is left at what came. */
const BATCH = 50
const TRIES = 6
/** Changes that wait for a loop at most. */
const WAITING = 10_000

/** Numbers the topics. */
let topics = 0

/**
 * Follows a query: the records that it has, and then whatever happens to them. It begins with the first loop or
 * subscription, and goes on over lost connections and restarts of the server: what was missed comes later, once.
 *
 *     for await (const posts of live(core, 'posts', { where: { status: 'live' }, limit: 20 })) show(posts)
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
  let {
    where,
    order = [],
    limit,
    with: related = {},
    fields,
  } = (query ?? {}) as LiveQuery<S, N> & { fields?: string[] }
  const asked: Term[] = sorted(order)
  const nested = Object.keys(related)
  const select = fields && [...new Set([...fields, ...asked.map(({ field }) => field.split('->')[0] as string)])]
  const filter = where && filterOf(where)
  const beginning = `${parameters({ with: related, fields: select, order, limit: limit || undefined })}`

  type Listener = (records: readonly T[], status: Status) => void
  const listeners = new Set<Listener>()
  const queues = new Set<(Change<T> | BasewrightError)[]>()
  let first: Promise<readonly T[]> | undefined
  const { self, turn, wake, loop } = source(
    {
      records: [] as readonly T[],
      get ready() {
        forget()
        return (first ??= (async () => {
          for await (const records of this) return records
          throw new BasewrightError('closed', 'It was closed')
        })())
      },
      subscribe(listener: Listener) {
        const release = hold()
        const unhear = watch(listeners, listener)
        if (version > 0) listener(self.records, self.status)
        return () => {
          unhear()
          release()
        }
      },
      changes: () => ({
        [Symbol.asyncIterator]() {
          const queue: (Change<T> | BasewrightError)[] = []
          const release = hold()
          queues.add(queue)
          return loop(
            () => queue.shift(),
            () => {
              queues.delete(queue)
              release()
            },
          )
        },
      }),
      [Symbol.asyncIterator]: states,
    },
    () => {
      over = true
      stop()
    },
    options.signal,
  )
  let over = self.status === 'closed'
  let place: Place | undefined
  let users = 0

  /** Of the key, and as they stand in what was read; empty until they are known. */
  let key: string[] = []
  let own = key
  let terms = asked
  let rows = new Map<string, Members>()
  /** Counts the states. */
  let version = 0
  /** The next join asks for a snapshot. */
  let fresh = true
  /** It was asked for. */
  let awaited = false
  /** The last cursor that was seen. */
  let last = ''
  /** Behind this one there are records that are not known: the last of a list that is full. */
  let edge: Members | undefined
  /** Whether records can be ordered here as they are there. */
  let ordered = asked.every(({ field }) => !field.includes('->') && !nested.includes(field))
  /** Records that changed and are to be read again, with what they must show then. */
  const pending = new Map<string, { record: Members; tries: number }>()
  let reading = false
  let shown = 0
  let timer: ReturnType<typeof setTimeout> | undefined
  let rejoining: ReturnType<typeof setTimeout> | undefined

  const id = (record: Members, names: string[]): string => JSON.stringify(names.map((field) => record[field]))

  function compare(a: Members, b: Members): number {
    for (const { field, desc = false, nulls = desc ? 'first' : 'last' } of terms) {
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

  function note(type: Change<T>['type'], record: Members, old?: Members): void {
    const change = { type, record: record as T, old: (old ?? null) as T | null, cursor: last }
    for (const queue of queues)
      if (queue.push(change) > WAITING) {
        queues.delete(queue)
        queue.splice(0, WAITING + 1, new BasewrightError('closed', 'Too many changes wait'))
      }
  }

  /** Shows what has happened, soon. */
  function soon(): void {
    timer ??= setTimeout(flush, shown + FRAME - Date.now())
  }

  function flush(): void {
    clearTimeout(timer)
    timer = undefined
    shown = Date.now()
    const all = [...rows]
    if (ordered) all.sort(([, a], [, b]) => compare(a, b))
    for (const [id, row] of all.splice(limit || all.length)) {
      rows.delete(id)
      note('delete', row)
      edge = all.at(-1)?.[1]
    }
    const { records } = self
    if (version === 0 || all.length !== records.length || all.some(([, row], at) => row !== records[at])) {
      version++
      self.records = all.map(([, row]) => row as T)
      tell(listeners, self.records, self.status)
    }
    wake()
  }

  // ---- what happens to records ----

  function put(id: string, row: Members): void {
    if (ordered && edge && compare(row, edge) > 0) return drop(id)
    const had = rows.get(id)
    if (had && same(had, row)) return
    rows.set(id, row)
    note(had ? 'update' : 'insert', row, had)
    if (!ordered) again()
    soon()
  }

  function drop(id: string): void {
    pending.delete(id)
    const had = rows.get(id)
    if (!had) return
    rows.delete(id)
    note('delete', had)
    // There may be others to take its place.
    if (edge) again()
    soon()
  }

  function clear(): void {
    edge = undefined
    for (const id of [...rows.keys()]) drop(id)
    pending.clear()
    if (version > 0) flush()
    first = undefined
  }

  function change({ cursor, record, old_record: old, columns, errors }: Members): void {
    if (key.length === 0 || text(cursor) <= last) return
    last = text(cursor)
    if (ordered && Array.isArray(columns)) {
      // Of these kinds the text says nothing about the order.
      ordered = !columns.some(
        (column) =>
          asked.some(({ field }) => field === column?.name) && /^_|json|interval|inet/.test(text(column.type)),
      )
    }
    const now = isObject(record) && id(record, key)
    const before = isObject(old) && id(old, key)
    if (before && before !== now) drop(before)
    if (!now) return
    if (nested.length === 0 && !errors) return put(now, record as Members)
    pending.set(now, { record: record as Members, tries: 0 })
    if (!reading) void read()
  }

  /** Reads what changed, with what belongs to it. */
  async function read(): Promise<void> {
    reading = true
    for (let wait = TOGETHER; pending.size > 0 && place; ) {
      await new Promise((resolve) => setTimeout(resolve, wait))
      wait = TOGETHER
      const batch = [...pending].slice(0, BATCH)
      const [field = '', more] = key
      const keys = batch.map(([, { record }]) => Object.fromEntries(key.map((field) => [field, record[field]])))
      const query = parameters({
        with: related,
        fields: select && [...new Set([...select, ...key])],
        where: more === undefined ? { [field]: { in: keys.map((of) => of[field]) } } : { or: keys },
      })
      // The key's own value, where a relation stands in its place.
      for (const name of own)
        if (!key.includes(name)) query.set('select', `${query.get('select')},${name}:${name.slice(1)}`)
      const found = new Map<string, Members>()
      try {
        const answer = batch.length > 0 && (await core.json({ path: `/rest/v1/${encodeURIComponent(name)}`, query }))
        if (Array.isArray(answer)) for (const row of answer) if (isObject(row)) found.set(id(row, own), row)
      } catch (fault) {
        const { status } = fault as BasewrightError
        // The server says what is wrong when all is read again.
        if (status >= 400 && status < 500) again()
        wait = 1000
        continue
      }
      for (const [its, wish] of batch) {
        // Something newer is known of it, or of everything.
        if (pending.get(its) !== wish) continue
        const { record } = wish
        const row = found.get(its)
        // A change may be told of a moment before it can be read.
        const agrees =
          row && Object.keys(record).every((field) => nested.includes(field) || same(row[field], record[field]))
        if (!agrees && wish.tries++ < TRIES) {
          wait = Math.max(wait, TOGETHER * 2 ** wish.tries)
          continue
        }
        pending.delete(its)
        if (row) put(its, row)
        else drop(its)
      }
    }
    reading = false
  }

  /** The records as of now. */
  function begin({ records, key: names, cursor, limit: most }: Members): void {
    if (!Array.isArray(records) || !Array.isArray(names) || names.length === 0) {
      return place?.refuse(bad())
    }
    const before = rows
    key = names.map(text)
    own = key.map((field) => (nested.includes(field) ? `_${field}` : field))
    terms = [...asked, ...own.map((field) => ({ field }))]
    last = text(cursor)
    rows = new Map()
    pending.clear()
    for (const row of records) {
      if (!isObject(row)) continue
      const its = id(row, own)
      const had = before.get(its)
      const unchanged = had && same(had, row)
      if (version > 0 && !unchanged) note(had ? 'update' : 'insert', row, had)
      rows.set(its, unchanged ? had : row)
    }
    for (const [id, row] of before) if (!rows.has(id)) note('delete', row)
    // The server's own may be lower.
    limit = Number(most) || limit
    edge = limit ? [...rows.values()][limit - 1] : undefined
    awaited = false
    // It may be wanted again meanwhile.
    fresh = rejoining !== undefined
    flush()
    turn('live')
  }

  /** Takes a new snapshot. */
  function again(): void {
    fresh = true
    rejoining ??= setTimeout(() => {
      rejoining = undefined
      if (awaited) again()
      else place?.rejoin()
    }, TOGETHER)
  }

  function lost(why: Status): void {
    awaited = false
    turn(why === 'connecting' && version > 0 ? 'catching_up' : why)
  }

  const party: Party = {
    // An empty part is in no topic that a project declares.
    topic: `realtime:live::${++topics}`,
    config: (renewed: boolean) => {
      // Of what was missed the server tells much, but not what another token says of its holder.
      awaited = fresh ||= renewed
      return {
        presence: { enabled: false },
        ...(fresh ? { snapshot: true } : { resume: last }),
        // What is undefined is not sent.
        postgres_changes: [{ table: name, filter, select, snapshot: fresh ? beginning : undefined }],
      }
    },
    hear: (event: unknown, payload: Members) => {
      const { data, extension, status: what, cursor, code, statusCode: status = 400, message } = payload
      if (event === 'snapshot') begin(payload)
      else if (event === 'postgres_changes' && isObject(data)) change(data)
      else if (event !== 'system' || extension !== 'postgres_changes') return
      else if (what === 'position' && !awaited) {
        if (text(cursor) > last) last = text(cursor)
        // It has all that it missed.
        if (!fresh && self.status !== 'live') {
          flush()
          turn('live')
        }
      } else if (what === 'access_changed' || what === 'resync_required') {
        again()
        turn('catching_up')
      } else if (what === 'error') {
        fresh = true
        if (typeof status === 'number' && (status >= 500 || status === 429)) place?.rejoin(true)
        else place?.refuse(new BasewrightError(text(code) || 'refused', text(message), { status: status as number }))
      }
    },
    lost,
    moved: (somebody: boolean) => {
      fresh = true
      // What one may see is not shown to another, not even for a moment.
      if (somebody) clear()
      lost('connecting')
    },
    refused: (fault: BasewrightError) => {
      clear()
      turn('closed', fault)
    },
  }

  // ---- who wants it ----

  /** What somebody was shown before it ended is not shown to whoever is signed in now. */
  function forget(): void {
    if (place || party.user === core.session.user()) return
    clear()
    version = 0
  }

  /** Keeps it going until what it gives back is called. */
  function hold(): () => void {
    let held = ++users
    forget()
    if (!place && !over) {
      fresh = true
      turn('connecting')
      place = join(core as unknown as Core, party)
    }
    return () => {
      if (held && --users === 0) stop()
      held = 0
    }
  }

  function stop(): void {
    place?.leave()
    place = undefined
    clearTimeout(timer)
    clearTimeout(rejoining)
    timer = rejoining = undefined
    pending.clear()
    lost('closed')
  }

  function states(): AsyncIterator<readonly T[]> {
    let seen = 0
    return loop(() => {
      // One that has ended is not told as a state.
      if (version === seen || self.error) return undefined
      seen = version
      return self.records
    }, hold())
  }

  self.onStatus((status) => tell(listeners, self.records, status))
  return self
}

const same = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b)

/** Text so that it orders by code point: surrogates stand for what comes after all others. */
const sortable = (value: unknown): unknown =>
  typeof value === 'string' ? value.replace(/[\ue000-\uffff]/g, '\ud7ff$&') : isObject(value) ? 0 : value

/** Which of two values of one field comes first, as Postgres has it. */
function among(a: unknown, b: unknown): number {
  // Infinities and what is no number are text among numbers, and the latter comes last.
  const [x, y] = (typeof a === typeof b ? [a, b].map(sortable) : [a, b].map((one) => Number(sortable(one)))) as [
    number,
    number,
  ]
  return x === y ? 0 : x < y || y !== y ? -1 : 1
}
