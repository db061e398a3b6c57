import { BasewrightError } from './error.js'
import { given } from './shape.js'
import type { Json, Name, Row, Schema } from './schema.js'

/** The name of a field. */
export type Field<S extends Schema, N extends Name<S>> = keyof Row<S, N> & string
/** A place inside a `json` field: `meta->>kind` is text, `meta->kind` is JSON. */
export type Path = `${string}->${string}`

type Related<S extends Schema, N extends Name<S>> = S['collections'][N]['Relations']
type IsAny<T> = 0 extends 1 & T ? true : false
type IsJson<T> = [{ [member: string]: Json }] extends [T] ? true : false
/** What may stand for a value: a `Date` for the text of a point in time, a `bigint` for a number. */
type Operand<T> = T extends null
  ? never
  : T extends string
    ? string extends T
      ? T | Date
      : T
    : T extends number
      ? T | bigint
      : T

interface Equals<T, Is = null | 'not_null'> {
  /** Null as `is: null`. */
  eq?: T
  /** Other than this, and not null. With null: not null. */
  neq?: T
  /** Other than this; null is other than any value. */
  isdistinct?: T
  is?: Is
}

interface Compares<T> extends Equals<
  T | null,
  null | 'not_null' | ([T] extends [boolean] ? boolean | 'unknown' : never)
> {
  gt?: T
  gte?: T
  lt?: T
  lte?: T
  /** One of these. None of an empty list. */
  in?: readonly T[]
}

interface Text {
  /** `%` and `*` stand for any letters, `_` for one. */
  like?: string
  /** As `like`, whatever the case. */
  ilike?: string
  /** A regular expression. For those who signed in. */
  match?: string
  imatch?: string
}

interface Contains<T> {
  /** Holds all of these. */
  contains?: T
  /** Holds nothing but these. */
  within?: T
}

/** A full-text search. */
export interface FullText {
  /** In Postgres' own language: `'fat & (rat | cat)'`. */
  fts?: string
  /** All of the words. */
  plfts?: string
  /** The words in this order. */
  phfts?: string
  /** As people write in search boxes: `'soup -onions "by hand"'`. */
  wfts?: string
}

type Negated<T> = T & { not?: Negated<T> }

/** The operators of a field that holds text, numbers, … */
type Plain<T> = Compares<Operand<T>> & ([Exclude<T, null>] extends [string] ? Text & FullText : unknown)
/** JSON as a value, or as text. */
type OfJson = Equals<Json> & Contains<Json & (string | object)>
type OfArray<T> = Equals<readonly Operand<T>[] | null> &
  Contains<readonly Operand<T>[]> & { overlaps?: readonly Operand<T>[] }

/** What a condition may ask of a field whose values are `T`: a value that it equals, or operators, all of which hold. */
export type Test<T> =
  IsAny<T> extends true
    ? // biome-ignore lint: nothing is known of the field
      any
    : IsJson<T> extends true
      ? null | Negated<OfJson & FullText>
      : [Exclude<T, null>] extends [readonly (infer E)[]]
        ? T | readonly Operand<E>[] | Negated<OfArray<E> & { not?: T }>
        : T | Operand<T> | Negated<Plain<T>> | { not: T | Operand<T> }

/** A condition on the records of a collection. All of its members hold. */
export type Where<S extends Schema, N extends Name<S>> = { [F in Field<S, N>]?: Test<Row<S, N>[F]> } & {
  // Names of relations: whether there is a related record (`not: null`) or none. They stand in `with`.
  [R in Exclude<keyof Related<S, N> & string, Field<S, N>>]?: null | { is: null } | { not: null }
} & {
  // Inside JSON.
  [P in `${Field<S, N>}->${string}`]?: Test<string | null> | Test<Json> | boolean | number
} & (S['collections'][N]['Search'] extends true ? { search?: Negated<FullText> } : unknown) & {
    /** One of these holds. */
    or?: readonly Where<S, N>[]
    /** All of these hold. */
    and?: readonly Where<S, N>[]
    not?: Where<S, N>
  }

type LiveTest<T> =
  IsAny<T> extends true
    ? // biome-ignore lint: nothing is known of the field
      any
    : IsJson<T> extends true
      ? null | LiveNegated<Equals<Json>>
      : [Exclude<T, null>] extends [readonly (infer E)[]]
        ? T | readonly Operand<E>[] | LiveNegated<Equals<readonly Operand<E>[] | null>>
        : | T
          | Operand<T>
          | { not: T | Operand<T> }
          | LiveNegated<Compares<Operand<T>> & ([Exclude<T, null>] extends [string] ? Text : unknown)>

/** Only a single operator can be negated here; that it is one, is not for a type to say. */
type LiveNegated<T> = T & { not?: T }

/** A condition that can be judged on each change by itself: on own fields, all of which hold. */
export type LiveWhere<S extends Schema, N extends Name<S>> = { [F in Field<S, N>]?: LiveTest<Row<S, N>[F]> } & {
  and?: readonly LiveWhere<S, N>[]
}

type Ordered<S extends Schema, N extends Name<S>> = Field<S, N> | `${Field<S, N>}->${string}`

/** By what records are ordered: a field, `-` before it for descending, several of them, or in full. */
export type Order<S extends Schema, N extends Name<S>> = OrderTerm<S, N> | readonly OrderTerm<S, N>[]
/** One field of an order. */
export type OrderTerm<S extends Schema, N extends Name<S>> =
  Ordered<S, N> | `-${Ordered<S, N>}` | { field: Ordered<S, N>; desc?: boolean; nulls?: 'first' | 'last' }

/** Which related records are read with a record: all of their fields, or a query of their own. */
export type With<S extends Schema, N extends Name<S>> = {
  readonly [R in keyof Related<S, N> & string]?: true | Nested<S, Related<S, N>[R]['to'] & Name<S>>
}

/** What is read of a collection, and which of its records. */
export interface Query<S extends Schema, N extends Name<S>> {
  /** The fields that are read; all without it. */
  fields?: readonly Field<S, N>[]
  /** Related records that are read with each. */
  with?: With<S, N>
  where?: Where<S, N>
  order?: Order<S, N>
  /** How many there are at most. The server has a limit of its own, 1,000 unless the project says otherwise. */
  limit?: number
  /** How many are passed over. */
  offset?: number
}

/** A query of related records. */
export interface Nested<S extends Schema, N extends Name<S>> extends Query<S, N> {
  /** Only records that have such a related one are read at all. */
  inner?: boolean
}

/** The value that names a record: of its `id`, or an object of all fields of its key. */
export type Key<S extends Schema, N extends Name<S>> =
  IsAny<Row<S, N>[string & keyof Row<S, N>]> extends true
    ? string | number | { [field: string]: unknown }
    : Pick<Row<S, N>, S['collections'][N]['Key'] & keyof Row<S, N>> extends infer K
      ? K | ([S['collections'][N]['Key']] extends ['id'] ? (K extends { id: infer I } ? I : never) : never)
      : never

/** A member that a query of this kind does not have. */
export interface Unknown<M> {
  readonly 'there is no': M
}

type StrictTest<T> = T extends readonly unknown[] | Date
  ? unknown
  : T extends object
    ? { [O in keyof T]: O extends 'not' ? StrictTest<T[O]> : O extends Operator ? unknown : Unknown<O> }
    : unknown
type StrictList<S extends Schema, N extends Name<S>, L> = { [I in keyof L]: StrictWhere<S, N, L[I]> }
type StrictWhere<S extends Schema, N extends Name<S>, W> = {
  [M in keyof W]: M extends 'or' | 'and'
    ? StrictList<S, N, W[M]>
    : M extends 'not'
      ? StrictWhere<S, N, W[M]>
      : M extends keyof Where<S, N>
        ? StrictTest<W[M]>
        : Unknown<M>
}
type StrictWith<S extends Schema, N extends Name<S>, W> = {
  [R in keyof W]: R extends keyof Related<S, N>
    ? W[R] extends object
      ? StrictQuery<S, Related<S, N>[R]['to'] & Name<S>, W[R], keyof Nested<S, N>>
      : unknown
    : Unknown<R>
}
type StrictQuery<S extends Schema, N extends Name<S>, Q, M> = {
  [K in keyof Q]: K extends 'with'
    ? StrictWith<S, N, Q[K]>
    : K extends 'where'
      ? StrictWhere<S, N, Q[K]>
      : K extends M
        ? unknown
        : Unknown<K>
}

/**
 * The type of a query's argument, that says of each member whether there is such a one:
 * `f<const Q extends Query<S, N>>(query: Strict<S, N, Q>): Result<S, N, Q>`.
 */
export type Strict<S extends Schema, N extends Name<S>, Q, M = keyof Query<S, N>> = Q &
  // Of a query whose members are not known there is nothing to say.
  (Query<S, N> extends Q ? unknown : StrictQuery<S, N, Q, M>)

type Member<Q, K extends string> = Q extends { readonly [M in K]?: infer V } ? Exclude<V, undefined> : never
type Picked<R, Q> = [Member<Q, 'fields'>] extends [never]
  ? R
  : Member<Q, 'fields'> extends readonly (infer F)[]
    ? // A list that is only known while running: any of them may be there.
      number extends Member<Q, 'fields'>['length']
      ? { [K in F & keyof R]?: R[K] }
      : { [K in F & keyof R]: R[K] }
    : R
type Joined<S extends Schema, N extends Name<S>, W> = {
  -readonly [R in keyof W & keyof Related<S, N>]: One<
    Related<S, N>[R]['many'],
    W[R],
    Result<S, Related<S, N>[R]['to'] & Name<S>, W[R]>
  >
}
type One<Many, Q, T> =
  IsAny<Many> extends true ? any : Many extends true ? T[] : Q extends { readonly inner: true } ? T : T | null
type Shown<T> = { [K in keyof T]: T[K] }

/** A record as a query answers it. */
export type Result<S extends Schema, N extends Name<S>, Q> = [Member<Q, 'with'>] extends [never]
  ? Shown<Picked<Row<S, N>, Q>>
  : Shown<Omit<Picked<Row<S, N>, Q>, keyof Member<Q, 'with'>> & Joined<S, N, Member<Q, 'with'>>>

type Operator = keyof Compares<unknown> | keyof Text | keyof Contains<unknown> | keyof FullText | 'overlaps'

/** A query of whatever collection. */
export interface AnyQuery {
  readonly fields?: readonly string[] | undefined
  readonly with?: { readonly [relation: string]: unknown } | undefined
  readonly where?: object | undefined
  readonly order?: unknown
  readonly limit?: number | undefined
  readonly offset?: number | undefined
}

/** A condition on its way to being text: one field's, or several joined by `and` or `or`. */
type Term = { name: string; op: string; text?: string; all?: undefined } | { name: string; all: Term[] }

/** Refuses a query. */
export const invalid = (what: string): never => {
  throw new BasewrightError('invalid_query', what)
}

const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`
const value = (text: string): string => (/^[\w.:-]+$/.test(text) ? text : quoted(text))

// What is no plain name, or would mean something else as a parameter, stands in quotes.
const named = (name: string): string =>
  /^(?!(select|columns|on_conflict|order|limit|offset|and|or|not)$)(\w+|-\d+)$/.test(name) ? name : quoted(name)

/** A field's name as text, with the way into its JSON. */
export const path = (name: string): string =>
  name
    .split(/(->>?)/)
    .map((part, at) => (at % 2 > 0 ? part : named(part)))
    .join('')

const isValue = (given: unknown): boolean =>
  typeof given !== 'object' || given === null || Array.isArray(given) || given instanceof Date

function text(given: unknown, name: string): string {
  const of = given instanceof Date ? given.toJSON() : given
  if (of == null) return invalid(`${name}: nothing compares with ${given}`)
  if (Array.isArray(of)) return `{${of.map((one) => (one === null ? 'NULL' : quoted(text(one, name)))).join()}}`
  return typeof of === 'object' ? JSON.stringify(of) : String(of)
}

function test(name: string, asked: string, operand: unknown): Term {
  const op = asked === 'contains' ? 'cs' : asked === 'within' ? 'cd' : asked === 'overlaps' ? 'ov' : asked
  if (operand === null && /^(eq|is|neq|isdistinct)$/.test(op)) {
    return { name, op: /^(eq|is)$/.test(op) ? 'is.null' : 'not.is.null' }
  }
  if (op === 'is' && /^(not_null|true|false|unknown)$/.test(String(operand))) return { name, op: `is.${operand}` }
  if (op === 'in' && Array.isArray(operand)) {
    return { name, op: `in.(${operand.map((one) => value(text(one, name))).join()})` }
  }
  return /^(n?eq|[gl]te?|i?like|i?match|isdistinct|(p[lh]|w)?fts|c[sd]|ov)$/.test(op)
    ? { name, op: `${op}.`, text: text(operand, name) }
    : invalid(`${name}: no ${asked} of ${operand}`)
}

const flip = (word: string): string => (word.startsWith('not.') ? word.slice(4) : `not.${word}`)

function negated(all: Term[]): Term {
  const [only, more] = all
  if (only === undefined || more !== undefined) return { name: 'not.and', all }
  return only.all ? { ...only, name: flip(only.name) } : { ...only, op: flip(only.op) }
}

/** Refuses a condition that says nothing: it would mean everything. */
export const some = <T>(found: T[], name: string): T[] =>
  found.length > 0 ? found : invalid(`${name}: an empty condition`)

const tests = (name: string, asked: unknown): Term[] =>
  isValue(asked)
    ? [test(name, 'eq', asked)]
    : some(
        Object.entries(asked as object).map(([op, operand]) =>
          op === 'not' ? negated(tests(name, operand)) : test(name, op, operand),
        ),
        name,
      )

/** What a condition consists of; nothing if it is empty. */
export const terms = (where: object): Term[] =>
  Object.entries(where).flatMap(([name, asked]: [string, unknown]): Term[] => {
    if (name === 'not') return [negated(some(terms(asked as object), name))]
    if (name !== 'or' && name !== 'and') return tests(path(name), asked)
    if (!Array.isArray(asked)) return invalid(`${name} takes a list`)
    if (name === 'and') return asked.flatMap(terms)
    const all = asked.map((one): Term => {
      const found = some(terms(one as object), name)
      return found[1] ? { name: 'and', all: found } : (found[0] as Term)
    })
    return [{ name, all: some(all, name) }]
  })

const list = (all: Term[]): string => `(${all.map(inside).join()})`
const asked = (term: Term & { all?: undefined }): string =>
  term.op + (term.text === undefined ? '' : value(term.text))
const inside = (term: Term): string => (term.all ? term.name + list(term.all) : `${term.name}.${asked(term)}`)

/** An order, in full. */
export const sorted = (order: unknown = []): { field: string; desc?: boolean; nulls?: 'first' | 'last' }[] =>
  [order as string]
    .flat()
    .map((term) => (typeof term === 'string' ? { field: term.replace(/^-/, ''), desc: term[0] === '-' } : term))

function select(query: AnyQuery, prefix: string, found: [string, string][]): string {
  const joined = Object.entries(query.with ?? {}).filter(([, nested]) => nested)
  // A related record stands in the place of a field of the same name, which mostly holds its key.
  const own = query.fields?.filter((name) => !joined.some(([relation]) => relation === name)).map(path) ?? ['*']
  for (const term of terms(query.where ?? {})) {
    // Behind the operator of a parameter, everything is its operand, so nothing is quoted.
    found.push([prefix + term.name, term.all ? list(term.all) : term.op + (term.text ?? '')])
  }
  const order = sorted(query.order).map(
    ({ field, desc, nulls }) => path(field) + (desc ? '.desc' : '') + (nulls ? `.nulls${nulls}` : ''),
  )
  const rest = given({ order: order.join() || undefined, limit: query.limit, offset: query.offset })
  for (const [name, of] of Object.entries(rest)) found.push([prefix + name, of])
  const embeds = joined.map(([relation, nested]) => {
    const name = named(relation)
    const more = (nested === true ? {} : nested) as AnyQuery & { inner?: boolean }
    return `${name}${more.inner ? '!inner' : ''}(${select(more, `${prefix}${name}.`, found)})`
  })
  return [...own, ...embeds].join()
}

/** A query as the parameters of a request. The one place where names and values become the text that the server reads. */
export function parameters(query: AnyQuery = {}): URLSearchParams {
  const found: [string, string][] = []
  const fields = select(query, '', found)
  return new URLSearchParams(fields === '*' ? found : [['select', fields], ...found])
}

/** A condition as the filter of row changes. */
export const filterOf = (where: object): string =>
  terms(where)
    .map((term) =>
      term.all || /->/.test(term.name) || /^(not\.)?(c[sd]|ov|\w*fts)\./.test(term.op)
        ? invalid(`${term.name} cannot be judged on changes: only tests of own fields that all hold`)
        : `${term.name}=${asked(term)}`,
    )
    .join()
