import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Core, type Json, connect, records } from '../src/index.js'
import { type Server, serve } from './server.js'
import { type Schema, type Thing, things } from './things.js'

const ROUNDS = process.env['BASEWRIGHT_LONG'] ? 10_000 : 1_000

/** True, false, or unknown as SQL has it. */
type Truth = boolean | null

const not = (truth: Truth): Truth => (truth === null ? null : !truth)
const and = (truths: Truth[]): Truth => (truths.includes(false) ? false : truths.includes(null) ? null : true)
const or = (truths: Truth[]): Truth => not(and(truths.map(not)))

/** The same numbers for the same seed, whatever the machine. */
function chance(seed: number) {
  let state = seed
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (most: number): number => Math.floor(next() * most)
  return {
    below,
    one: <T>(of: readonly T[]): T => of[below(of.length)] as T,
    some: <T>(of: readonly T[], most: number): T[] =>
      Array.from({ length: below(most + 1) }, () => of[below(of.length)] as T),
    odds: (of: number): boolean => next() < of,
  }
}
type Chance = ReturnType<typeof chance>

/** A condition on one value and what it comes to, said once more in JavaScript. */
interface Judged<V> {
  test: unknown
  holds: (value: V) => Truth
}

const LETTERS = ['a', 'b', 'B', '"', '\\', ',', '.', '(', ')', '{', '}', '%', '_', '*', ':', ';', '&', '=', '+', '#', '?', '/', ' ', "'",
  '`', '<', '>', '-', '!', '|', '~', '[', ']', '$', '^', '\n', '\t', '\u00a0', 'é', '本', '🦀', '\u202e', '0', '7'] // prettier-ignore
const WORDS = ['', 'null', 'NULL', 'true', 'not.eq.1', 'eq.a', 'is.null', '__proto__', 'constructor', '(a,b)', '{a,b}', '"a"', 'a,b', ')',
  '*', '%', 'order', 'and', 'or(a.eq.1)', '1', '-1', 'NaN', ' a ', '\\', '\\"', '->>', '::text', ',id.neq.0', '),or(id.neq.0'] // prettier-ignore
const text = (by: Chance): string =>
  by.odds(0.4) ? by.one(WORDS) : Array.from({ length: by.below(5) }, () => by.one(LETTERS)).join('')

const byPoint = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))
const byValue = <T>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0)

const ORDERS: Record<string, (sign: number) => boolean> = {
  eq: (sign) => sign === 0,
  neq: (sign) => sign !== 0,
  gt: (sign) => sign > 0,
  gte: (sign) => sign >= 0,
  lt: (sign) => sign < 0,
  lte: (sign) => sign <= 0,
}

/** What every kind can be asked whose values have an order. */
function ordered<V>(
  compare: (a: V, b: V) => number,
  operand: (by: Chance) => V,
  sent: (value: V, by: Chance) => unknown = (value) => value,
) {
  return (by: Chance): Judged<V | null> => {
    const asked = operand(by)
    const as = sent(asked, by)
    const pick = by.below(12)
    if (pick === 0) return { test: by.one([null, { is: null }, { eq: null }]), holds: (value) => value === null }
    if (pick === 1)
      return {
        test: by.one([{ not: null }, { is: 'not_null' }, { neq: null }, { isdistinct: null }]),
        holds: (value) => value !== null,
      }
    if (pick === 2)
      return { test: { isdistinct: as }, holds: (value) => value === null || compare(value, asked) !== 0 }
    if (pick === 3) return { test: as, holds: (value) => (value === null ? null : compare(value, asked) === 0) }
    if (pick === 4)
      return { test: { not: as }, holds: (value) => (value === null ? null : compare(value, asked) !== 0) }
    if (pick <= 6) {
      const list = Array.from({ length: by.below(4) }, () => operand(by))
      return {
        test: { in: list.map((one) => sent(one, by)) },
        holds: (value) =>
          value === null ? (list.length > 0 ? null : false) : list.some((one) => compare(value, one) === 0),
      }
    }
    if (pick === 7) {
      const other = operand(by)
      return {
        test: { gte: as, lt: sent(other, by) },
        holds: (value) => (value === null ? null : compare(value, asked) >= 0 && compare(value, other) < 0),
      }
    }
    const op = by.one(Object.keys(ORDERS))
    return {
      test: { [op]: as },
      holds: (value) => (value === null ? null : (ORDERS[op]?.(compare(value, asked)) ?? null)),
    }
  }
}

/** LIKE as Postgres has it, with `*` for `%`. */
function like(pattern: string, value: string): boolean {
  const wanted = [...pattern.replaceAll('*', '%')]
  const found = [...value]
  const from = (p: number, v: number): boolean => {
    if (p === wanted.length) return v === found.length
    if (wanted[p] === '%') return from(p + 1, v) || (v < found.length && from(p, v + 1))
    if (v === found.length) return false
    if (wanted[p] === '\\') return wanted[p + 1] === found[v] && from(p + 2, v + 1)
    return (wanted[p] === '_' || wanted[p] === found[v]) && from(p + 1, v + 1)
  }
  return from(0, 0)
}
const lower = (value: string): string => value.replace(/[A-Z]/g, (letter) => letter.toLowerCase())

const texts = (operand: (by: Chance) => string) => {
  const plain = ordered<string>(byPoint, operand)
  return (by: Chance): Judged<string | null> => {
    if (by.odds(0.7)) return plain(by)
    const some = operand(by)
    if (by.odds(0.3)) {
      // As a regular expression that means these letters.
      const exact = some.replace(/[\\^$.|?*+()[\]{}]/g, '\\$&')
      const [pattern, holds] = by.one([
        [`^${exact}$`, (value: string) => value === some],
        [exact, (value: string) => value.includes(some)],
        [`^${exact}`, (value: string) => value.startsWith(some)],
      ] as const)
      return { test: { match: pattern }, holds: (value) => (value === null ? null : holds(value)) }
    }
    const around = by.one(['%', '*', '_', '']) + some + by.one(['%', '*', '_', ''])
    // A pattern must not end within an escape.
    const pattern = /(^|[^\\])(\\\\)*\\$/.test(around) ? `${around}\\` : around
    return by.odds(0.5)
      ? { test: { like: pattern }, holds: (value) => (value === null ? null : like(pattern, value)) }
      : { test: { ilike: pattern }, holds: (value) => (value === null ? null : like(lower(pattern), lower(value))) }
  }
}

const booleans = (by: Chance): Judged<boolean | null> => {
  if (by.odds(0.6))
    return ordered<boolean>(
      (a, b) => Number(a) - Number(b),
      (by) => by.odds(0.5),
    )(by)
  if (by.odds(0.2)) return { test: { is: 'unknown' }, holds: (value) => value === null }
  const wanted = by.odds(0.5)
  return { test: { is: wanted }, holds: (value) => value === wanted }
}

const arrays =
  <E extends string | number>(element: (by: Chance) => E) =>
  (by: Chance): Judged<(E | null)[] | null> => {
    const asked = Array.from({ length: by.below(4) }, () => element(by))
    const same = (value: (E | null)[]): boolean =>
      value.length === asked.length && value.every((one, at) => one === asked[at])
    const known =
      (holds: (value: (E | null)[]) => boolean) =>
      (value: (E | null)[] | null): Truth =>
        value === null ? null : holds(value)
    return by.one<() => Judged<(E | null)[] | null>>([
      () => ({ test: asked, holds: known(same) }),
      () => ({ test: { not: asked }, holds: known((value) => !same(value)) }),
      () => ({ test: { neq: asked }, holds: known((value) => !same(value)) }),
      () => ({ test: null, holds: (value) => value === null }),
      () => ({ test: { contains: asked }, holds: known((value) => asked.every((one) => value.includes(one))) }),
      () => ({
        test: { within: asked },
        holds: known((value) => value.every((one) => one !== null && asked.includes(one))),
      }),
      () => ({ test: { overlaps: asked }, holds: known((value) => asked.some((one) => value.includes(one))) }),
    ])()
  }

const isObject = (value: Json): value is Record<string, Json> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
function sameJson(a: Json, b: Json): boolean {
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((one, at) => sameJson(one, b[at] as Json))
  if (!isObject(a) || !isObject(b)) return a === b
  return (
    Object.keys(a).length === Object.keys(b).length &&
    Object.entries(a).every(([name, one]) => Object.hasOwn(b, name) && sameJson(one, b[name] as Json))
  )
}
/** As `@>` has it. */
function holds(whole: Json, part: Json, top = true): boolean {
  if (Array.isArray(whole)) {
    if (Array.isArray(part)) return part.every((one) => whole.some((other) => holds(other, one, false)))
    return top && !isObject(part) && whole.some((other) => other === part)
  }
  if (!isObject(whole)) return whole === part
  return (
    isObject(part) &&
    Object.entries(part).every(([name, one]) => Object.hasOwn(whole, name) && holds(whole[name] as Json, one, false))
  )
}

const NAMES = ['a', 'b', 'a.b', 'a,b', 'a"b', 'a b', '__proto__', 'constructor', 'ü)', '(', '0x']
const json = (by: Chance, depth = 0): Json => {
  const pick = by.below(depth > 1 ? 4 : 8)
  if (pick === 0) return by.below(4)
  if (pick === 1) return by.odds(0.5)
  if (pick === 2) return null
  if (pick === 3) return text(by)
  if (pick < 6) return Array.from({ length: by.below(3) }, () => json(by, depth + 1))
  return Object.fromEntries(Array.from({ length: by.below(4) }, () => [by.one(NAMES), json(by, depth + 1)]))
}
const jsons = (by: Chance): Judged<Json> => {
  // A list is an array's for the library, and JSON's as text.
  const asked = json(by)
  const as = isObject(asked) ? by.one([asked, JSON.stringify(asked)]) : JSON.stringify(asked)
  const known =
    (holds: (value: Json) => boolean) =>
    (value: Json): Truth =>
      value === null ? null : holds(value)
  return by.one<() => Judged<Json>>([
    () => ({ test: { eq: as }, holds: known((value) => sameJson(value, asked)) }),
    () => ({ test: { neq: as }, holds: known((value) => !sameJson(value, asked)) }),
    () => ({ test: { not: { eq: as } }, holds: known((value) => !sameJson(value, asked)) }),
    () => ({ test: { isdistinct: as }, holds: (value) => value === null || !sameJson(value, asked) }),
    () => ({ test: { contains: as }, holds: known((value) => holds(value, asked)) }),
    () => ({ test: { within: as }, holds: known((value) => holds(asked, value)) }),
    () => ({ test: null, holds: (value) => value === null }),
  ])()
}

const NUMBERS = [0, 1, -1, 7, 42, 2 ** 31 - 1, -(2 ** 31), 100]
const FLOATS = [0, 0.1, -0.5, 1e-7, 1e21, 123456.789, 1, -1]
const UUIDS = [
  '00000000-0000-4000-8000-00000000000a',
  '00000000-0000-4000-8000-00000000000b',
  'ffffffff-ffff-4fff-bfff-ffffffffffff',
]
const TIMES = [
  '2026-01-01T00:00:00+00:00',
  '2026-01-01T00:00:00.001+00:00',
  '1999-12-31T23:59:59.999+00:00',
  '2026-06-30T12:30:00+00:00',
]
const DAYS = ['2026-01-01', '2025-12-31', '1970-01-01', '2400-02-29']
const STATES = ['open', 'shut'] as const

const FIELDS: { [F in keyof Thing]?: (by: Chance) => Judged<never> } = {
  title: texts(text),
  code: texts((by) => `${by.one(['', 'x'])}${by.below(50)}`),
  count: ordered<number>(
    byValue,
    (by) => by.one(NUMBERS),
    (value, by) => by.one([value, BigInt(value)]),
  ),
  big: ordered<number>(byValue, (by) => by.one([...NUMBERS, 2 ** 53 - 1])),
  ratio: ordered<number>(byValue, (by) => by.one(FLOATS)),
  price: ordered<number>(byValue, (by) => by.one(FLOATS)),
  done: booleans,
  ref: ordered<string>(byPoint, (by) => by.one(UUIDS)),
  at: ordered<string>(
    (a, b) => Date.parse(a) - Date.parse(b),
    (by) => by.one(TIMES),
    (value, by) => by.one([value, new Date(value)]),
  ),
  day: ordered<string>(byPoint, (by) => by.one(DAYS)),
  state: ordered<string>(byPoint, (by) => by.one(STATES)),
  tags: arrays<string>(text),
  marks: arrays<number>((by) => by.one(NUMBERS)),
  meta: jsons,
} as { [F in keyof Thing]?: (by: Chance) => Judged<never> }

type Condition = { where: object; holds: (thing: Thing) => Truth }

/** `meta->>name` of a record: the text of a member, null where there is none. */
function member(meta: Json, name: string): Json | undefined {
  return isObject(meta) && Object.hasOwn(meta, name) ? meta[name] : undefined
}
/** JSON as Postgres prints it: short names first. */
function printed(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(printed).join(', ')}]`
  if (!isObject(value)) return JSON.stringify(value)
  const bytes = (name: string): number => Buffer.byteLength(name)
  const names = Object.keys(value).sort((a, b) => bytes(a) - bytes(b) || byPoint(a, b))
  return `{${names.map((name) => `${JSON.stringify(name)}: ${printed(value[name] as Json)}`).join(', ')}}`
}

function term(by: Chance): Condition {
  if (by.odds(0.12)) {
    const name = by.one(NAMES)
    const judged = texts(text)(by)
    const found = (meta: Json): string | null => {
      const value = member(meta, name)
      return value === undefined || value === null ? null : typeof value === 'string' ? value : printed(value)
    }
    return { where: { [`meta->>${name}`]: judged.test }, holds: (thing) => judged.holds(found(thing.meta)) }
  }
  const field = by.one(Object.keys(FIELDS)) as keyof Thing
  const judged = FIELDS[field]?.(by) as Judged<unknown>
  return { where: { [field]: judged.test }, holds: (thing) => judged.holds(thing[field]) }
}

function condition(by: Chance, depth = 0): Condition {
  const pick = by.below(depth > 2 ? 5 : 10)
  if (pick < 5) return term(by)
  const parts = Array.from({ length: 1 + by.below(3) }, () => condition(by, depth + 1))
  const wheres = parts.map(({ where }) => where)
  const each = (thing: Thing): Truth[] => parts.map(({ holds }) => holds(thing))
  if (pick < 7) return { where: { or: wheres }, holds: (thing) => or(each(thing)) }
  if (pick < 8) return { where: { and: wheres }, holds: (thing) => and(each(thing)) }
  const first = parts[0] as Condition
  if (pick < 9) return { where: { not: first.where }, holds: (thing) => not(first.holds(thing)) }
  // Side by side: names that stand twice would be one.
  const merged = Object.assign({}, ...wheres) as object
  const kept = parts.filter(({ where }) =>
    Object.keys(where).every(
      (name) => (where as Record<string, unknown>)[name] === (merged as Record<string, unknown>)[name],
    ),
  )
  const whole =
    kept.length === parts.length && new Set(wheres.flatMap(Object.keys)).size === wheres.flatMap(Object.keys).length
  return whole
    ? { where: merged, holds: (thing) => and(each(thing)) }
    : { where: { and: wheres }, holds: (thing) => and(each(thing)) }
}

const written = (where: object): string =>
  JSON.stringify(where, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))

let server: Server
let core: Core<Schema>
before(async () => {
  server = await serve(things)
  // Regular expressions are for whoever is somebody.
  core = connect<Schema>(server.url, server.secret)
})
after(() => server.stop())

test(`${ROUNDS} random conditions select what the same conditions in JavaScript select`, async (context) => {
  const all = records(core, 'things')
  const by = chance(20260101)
  const maybe = <T>(value: T): T | null => (by.odds(0.2) ? null : value)
  await all.create(
    Array.from({ length: 150 }, (_, at) => ({
      title: maybe(at < WORDS.length ? (WORDS[at] as string) : text(by)),
      count: maybe(by.one(NUMBERS)),
      big: maybe(by.one([...NUMBERS, 2 ** 53 - 1])),
      ratio: maybe(by.one(FLOATS)),
      price: maybe(by.one(FLOATS)),
      done: maybe(by.odds(0.5)),
      ref: maybe(by.one(UUIDS)),
      at: maybe(by.one(TIMES)),
      day: maybe(by.one(DAYS)),
      meta: maybe(json(by)),
      tags: maybe(Array.from({ length: by.below(4) }, () => text(by))),
      marks: maybe(by.some(NUMBERS, 3)),
      state: maybe(by.one(STATES)),
      code: maybe(`x${at}`),
    })),
  )
  const rows = (await all.list({ order: 'id' })) as Thing[]
  assert.equal(rows.length, 150)
  let selected = 0
  let next = 0
  let terms = 0
  const work = async (): Promise<void> => {
    while (next < ROUNDS) {
      const seed = next++
      const { where, holds } = condition(chance(seed))
      terms += written(where).split(':').length
      const wanted = rows.filter((thing) => holds(thing) === true).map(({ id }) => id)
      const { data, error } = await all.list({ fields: ['id'], where: where as never, order: 'id' }).safe()
      const shown = (): string => `seed ${seed}: ${written(where)}`
      if (error) throw new Error(`${shown()}\n${error.code} ${error.message} ${String(error.details)}`)
      const found = (data as Thing[]).map(({ id }) => id)
      if (JSON.stringify(found) !== JSON.stringify(wanted)) {
        const odd = rows.find(({ id }) => found.includes(id) !== wanted.includes(id))
        throw new Error(`${shown()}\n${found.length} instead of ${wanted.length}, as with ${JSON.stringify(odd)}`)
      }
      selected += found.length
    }
  }
  await Promise.all(Array.from({ length: 12 }, work))
  const share = (100 * selected) / (ROUNDS * rows.length)
  context.diagnostic(
    `${share.toFixed(1)} % of the records selected, ${(terms / ROUNDS).toFixed(1)} words a condition`,
  )
  // Conditions that select nothing, or everything, would show little.
  assert.ok(share > 20 && share < 80)
})
