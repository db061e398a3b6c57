import { type Call, asError, calls } from './call.js'
import type { Answer, Ask, Core } from './core.js'
import { type BasewrightError, bad } from './error.js'
import {
  type AnyQuery,
  type Key,
  type Query,
  type Result,
  type Strict,
  type Where,
  invalid,
  parameters,
  path,
  some,
  sorted,
  terms,
} from './query.js'
import type { AnySchema, Name, New, Patch, Schema } from './schema.js'
import { isObject } from './shape.js'

/** How something is asked. */
export interface Asking {
  /** Gives it up. */
  signal?: AbortSignal | undefined
}

/** Which part of the record is answered. */
export interface Selecting<S extends Schema, N extends Name<S>> extends Pick<Query<S, N>, 'fields' | 'with'> {
  signal?: AbortSignal | undefined
}

/** What a write answers. */
export interface Writing<S extends Schema, N extends Name<S>> extends Selecting<S, N> {
  /** `false`: nothing is answered, which is cheaper. */
  returning?: boolean
}

/** How an upsert decides. */
export interface Upserting<S extends Schema, N extends Name<S>> extends Writing<S, N> {
  /** The fields by which a record is the same: those of one `unique`. The key without it. */
  on?: keyof S['collections'][N]['Row'] | readonly (keyof S['collections'][N]['Row'])[]
  /** Leaves a record alone that is there already; it is not answered. */
  ignore?: boolean
}

/** How many are written. */
export interface WritingAll<S extends Schema, N extends Name<S>> extends Writing<S, N> {
  /** `true`: an empty condition means all records, and no mistake. */
  all?: boolean
}

/** How pages are walked through. */
export interface Paging<S extends Schema, N extends Name<S>> extends Asking {
  /** The fields of the collection's key, where that is not `id`. */
  key?: readonly (keyof S['collections'][N]['Row'])[]
}

/** Some of the records, and how many there are. */
export interface Counted<T> {
  records: T[]
  total: number
}

type Selected<S extends Schema, N extends Name<S>, Q, O> = Strict<S, N, Q, keyof O>
type Written<S extends Schema, N extends Name<S>, Q> = Q extends { readonly returning: false }
  ? null
  : Result<S, N, Q>

/** The records of a collection, as far as the policies show them to who is signed in. */
export interface Records<S extends Schema, N extends Name<S>> {
  /** The records that a query names: one page of them, of as many as the server gives at once (1,000). */
  list<const Q extends Query<S, N> = {}>(query?: Strict<S, N, Q>, asking?: Asking): Call<Result<S, N, Q>[]>
  /** The first of them, or null. */
  first<const Q extends Query<S, N> = {}>(query?: Strict<S, N, Q>, asking?: Asking): Call<Result<S, N, Q> | null>
  /** A page, and how many records there are on all pages. */
  page<const Q extends Query<S, N> = {}>(query?: Strict<S, N, Q>, asking?: Asking): Call<Counted<Result<S, N, Q>>>
  /**
   * All records, page by page, of `limit` records each (100). Every page begins behind the last record of the one before,
   * so none is left out or comes twice while others write, as long as the fields of `order` stay as they are. Without an
   * `order` that is the order of the key.
   */
  pages<const Q extends Query<S, N> = {}>(
    query?: Strict<S, N, Q>,
    paging?: Paging<S, N>,
  ): AsyncIterable<Result<S, N, Q>[]>
  /** All records, one by one, read as by `pages`. */
  each<const Q extends Query<S, N> = {}>(
    query?: Strict<S, N, Q>,
    paging?: Paging<S, N>,
  ): AsyncIterable<Result<S, N, Q>>
  /** How many records there are. */
  count(where?: Where<S, N>, asking?: Asking): Call<number>
  /** The record with this key. Rejects with `PGRST116` if there is none that may be read. */
  get<const Q extends Selecting<S, N> = {}>(
    key: Key<S, N>,
    options?: Selected<S, N, Q, Selecting<S, N>>,
  ): Call<Result<S, N, Q>>
  /**
   * Creates records, all or none. Fields that a record does not name take their defaults.
   *
   * Answers them as they are now; whoever may create a record and not read it gets null (of several: those that he may
   * read), and `returning: false` spares the server the attempt.
   */
  create<const Q extends Writing<S, N> = {}>(
    records: readonly New<S, N>[],
    options?: Selected<S, N, Q, Writing<S, N>>,
  ): Call<Written<S, N, Q>[]>
  create<const Q extends Writing<S, N> = {}>(
    record: New<S, N>,
    options?: Selected<S, N, Q, Writing<S, N>>,
  ): Call<Written<S, N, Q> | null>
  /**
   * Changes the record with this key and answers it; null if the change took it out of sight. Rejects with `PGRST116` if
   * there is none that may be read and changed.
   */
  update<const Q extends Writing<S, N> = {}>(
    key: Key<S, N>,
    patch: Patch<S, N>,
    options?: Selected<S, N, Q, Writing<S, N>>,
  ): Call<Written<S, N, Q> | null>
  /** Creates records, or changes those that are there already. Answers as `create` does. */
  upsert<const Q extends Upserting<S, N> = {}>(
    records: readonly New<S, N>[],
    options?: Selected<S, N, Q, Upserting<S, N>>,
  ): Call<Written<S, N, Q>[]>
  upsert<const Q extends Upserting<S, N> = {}>(
    record: New<S, N>,
    options?: Selected<S, N, Q, Upserting<S, N>>,
  ): Call<Written<S, N, Q> | null>
  /** Removes the record with this key and answers it. Rejects with `PGRST116` if there is none that may be removed. */
  remove<const Q extends Writing<S, N> = {}>(
    key: Key<S, N>,
    options?: Selected<S, N, Q, Writing<S, N>>,
  ): Call<Written<S, N, Q>>
  /** Changes all records of a condition that may be read and changed, and answers them. */
  updateAll<const Q extends WritingAll<S, N> = {}>(
    where: Where<S, N>,
    patch: Patch<S, N>,
    options?: Selected<S, N, Q, WritingAll<S, N>>,
  ): Call<Written<S, N, Q>[]>
  /** Removes all records of a condition that may be read and removed, and answers them. */
  removeAll<const Q extends WritingAll<S, N> = {}>(
    where: Where<S, N>,
    options?: Selected<S, N, Q, WritingAll<S, N>>,
  ): Call<Written<S, N, Q>[]>
}

/** All that any of the options has. */
interface Any {
  fields?: readonly string[]
  with?: AnyQuery['with']
  signal?: AbortSignal | undefined
  returning?: boolean
  on?: string | readonly string[]
  ignore?: boolean
  all?: boolean
  key?: readonly string[]
}

const ONE = { accept: 'application/vnd.pgrst.object+json' }

/** The condition that a key names. What stands in it is a value, whatever it looks like. */
const keyed = (key: unknown): object =>
  Object.fromEntries(
    some(Object.entries(isObject(key) ? key : { id: key }), 'key').map(([name, value]) => [
      name,
      { eq: value ?? invalid('the key is not complete') },
    ]),
  )

/** The records of a collection: `records(core, 'posts').list({ where: { status: 'published' } })`. */
export function records<S extends Schema = AnySchema, N extends Name<S> = Name<S>>(
  core: Core<S>,
  name: N,
): Records<S, N> {
  // A dot would be a step in the address, however it is written.
  const place = /^\.{0,2}$/.test(name) ? invalid('this is no name') : `/rest/v1/${encodeURIComponent(name)}`
  const ask = (query: URLSearchParams, { signal }: Any, more?: Omit<Ask, 'path'>): Promise<Answer<unknown>> =>
    core.ask({ path: place, query, signal, ...more })

  const list = async (query: AnyQuery = {}, options: Any = {}): Promise<Row[]> =>
    rows((await ask(parameters(query), options)).body)

  const one = async (key: unknown, options: Any = {}): Promise<Row> => {
    const query = parameters({ fields: options.fields, with: options.with, where: keyed(key) })
    return record((await ask(query, options, { headers: ONE })).body)
  }

  async function page(query: AnyQuery = {}, options: Any = {}): Promise<Counted<unknown>> {
    try {
      const { body, headers } = await ask(parameters(query), options, { headers: { prefer: 'count=exact' } })
      const total = /\/(\d+)$/.exec(headers.get('content-range') ?? '')
      return { records: rows(body), total: total ? Number(total[1]) : strange() }
    } catch (error) {
      // Behind the last record there is a page, too: an empty one.
      if ((error as BasewrightError).code !== 'PGRST103' || !query.offset) throw error
      return page({ ...query, limit: 0, offset: 0 }, options)
    }
  }

  async function* pages(query: AnyQuery = {}, options: Any = {}): AsyncGenerator<Row[]> {
    const { where = {}, limit = 100 } = query
    const { key = ['id'] } = options
    let last: unknown[] | undefined
    let most = 0
    try {
      const order = sorted(query.order)
      for (const field of key) if (!order.some((term) => term.field === field)) order.push({ field })
      for (;;) {
        const more = last && { where: { and: [where, behind(order, last, key)] }, offset: 0 }
        const asked = parameters({ ...query, limit, order, ...more })
        // By their text: numbers of many digits are not the same any more as JavaScript has them.
        const marks = order.map(({ field }, at) => `"~${at}":${path(field)}::text`)
        asked.set('select', [asked.get('select') || '*', ...marks].join())
        const found = rows((await ask(asked, options)).body)
        for (const row of found) {
          last = order.map((_, at) => row[`~${at}`])
          order.forEach((_, at) => delete row[`~${at}`])
        }
        if (found.length > 0) yield found
        // The server's own limit may be lower; then all pages are as short.
        most = Math.max(most, found.length)
        if (found.length === 0 || (found.length < limit && found.length < most)) return
      }
    } catch (error) {
      throw asError(error)
    }
  }

  async function write(
    method: string,
    where: object | undefined,
    json: unknown,
    options: Any = {},
    many = Array.isArray(json),
    resolution = '',
  ): Promise<unknown> {
    const { fields, with: joined, returning, on, ignore } = options
    const asked = parameters({ fields, with: joined, where })
    const set = (name: string, names: readonly string[]): void => {
      if (names.length > 0) asked.set(name, names.map(path).join())
    }
    set('on_conflict', [on ?? []].flat())
    // Records need not all have the same fields: what one does not name takes its default.
    if (Array.isArray(json)) set('columns', [...new Set(json.flatMap((given) => Object.keys(given)))])
    const prefer = (answer: string): Promise<Answer<unknown>> =>
      ask(asked, options, {
        method,
        json,
        headers: { prefer: `return=${answer},missing=default${resolution}`, ...(many || ignore ? {} : ONE) },
      })
    if (returning !== false) {
      try {
        const { body } = await prefer('representation')
        return many ? rows(body) : ignore ? (rows(body)[0] ?? null) : record(body)
      } catch (error) {
        // Refused, so nothing was done. If it is the answer alone that may not be read, it is done without one.
        if ((error as BasewrightError).code !== '42501') throw error
      }
    }
    await prefer('minimal')
    return many ? [] : null
  }

  const every = (where: object, { all }: Any = {}): object => {
    if (!all) some(terms(where), 'where (all: true means all)')
    return where
  }

  return {
    ...calls<object>({
      list,
      first: async (query?: AnyQuery, options?: Any) => (await list({ ...query, limit: 1 }, options))[0] ?? null,
      page,
      count: async (where?: object, options?: Any) => (await page({ where, limit: 0 }, options)).total,
      get: one,
      create: (given: unknown, options?: Any) => write('POST', undefined, given, options),
      upsert: (given: unknown, options?: Any) => {
        const resolution = `,resolution=${options?.ignore ? 'ignore' : 'merge'}-duplicates`
        return write('POST', undefined, given, options, undefined, resolution)
      },
      async update(key: unknown, patch: unknown, options?: Any) {
        // The server takes no change for no record. For a form that was saved as it was, that would be a strange answer.
        if (JSON.stringify(patch) !== '{}') return write('PATCH', keyed(key), patch, options, false)
        const same = await one(key, options)
        return options?.returning === false ? null : same
      },
      remove: (key: unknown, options?: Any) => write('DELETE', keyed(key), undefined, options),
      updateAll: (where: object, patch: unknown, options?: Any) =>
        write('PATCH', every(where, options), patch, options, true),
      removeAll: (where: object, options?: Any) => write('DELETE', every(where, options), undefined, options, true),
    }),
    pages,
    async *each(query?: AnyQuery, options?: Any) {
      for await (const found of pages(query, options)) yield* found
    },
  } as unknown as Records<S, N>
}

/** What comes after a record in an order whose fields have these values in it. */
const behind = (order: ReturnType<typeof sorted>, last: unknown[], key: readonly string[]): object => ({
  or: order.flatMap(({ field, desc = false, nulls = desc ? 'first' : 'last' }, at) => {
    const same = order.slice(0, at).map((term, before) => ({ [term.field]: { eq: last[before] } }))
    const value = last[at]
    if (value === null) return nulls === 'first' ? { and: [...same, { [field]: { not: null } }] } : []
    const beyond = { [field]: { [desc ? 'lt' : 'gt']: value } }
    return { and: [...same, nulls === 'first' || key.includes(field) ? beyond : { or: [beyond, { [field]: null }] }] }
  }),
})

type Row = Record<string, unknown>

const strange = (): never => {
  throw bad()
}
const record = (body: unknown): Row => (isObject(body) && !Array.isArray(body) ? body : strange())
const rows = (body: unknown): Row[] => (Array.isArray(body) ? body.map(record) : strange())
