import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BasewrightError } from '../src/index.js'
import { type AnyQuery, filterOf, parameters } from '../src/query.js'

/** The parameters as people read them. */
const read = (query: object): string =>
  [...parameters(query as AnyQuery)].map(([name, value]) => `${name}=${value}`).join('&')

const refused = (ask: () => unknown): void => {
  assert.throws(ask, (error: unknown) => error instanceof BasewrightError && error.code === 'invalid_query')
}

test('a query becomes the parameters of the dialect', () => {
  const table: [object, string][] = [
    [{}, ''],
    [{ fields: ['id', 'title'] }, 'select=id,title'],
    [{ limit: 0, offset: 5 }, 'limit=0&offset=5'],
    [{ order: '-created_at' }, 'order=created_at.desc'],
    [
      { order: ['status', '-at', { field: 'x', desc: true, nulls: 'last' }, { field: 'y', nulls: 'first' }] },
      'order=status,at.desc,x.desc.nullslast,y.nullsfirst',
    ],
    [{ order: [] }, ''],
    [{ order: '-meta->>a.b' }, 'order=meta->>"a.b".desc'],
    [{ with: { author: true } }, 'select=*,author(*)'],
    [{ with: { author: { inner: true, fields: ['name'] } } }, 'select=*,author!inner(name)'],
    [{ with: { author: false, comments: undefined } }, ''],
    [{ fields: ['id', 'author'], with: { author: true } }, 'select=id,author(*)'],
    [
      {
        with: {
          comments: {
            limit: 5,
            order: '-at',
            where: { or: [{ a: 1 }, { b: 2 }] },
            with: { author: { where: { name: 'x' } } },
          },
        },
      },
      'select=*,comments(*,author(*))&comments.or=(a.eq.1,b.eq.2)&comments.order=at.desc&comments.limit=5&comments.author.name=eq.x',
    ],
  ]
  for (const [query, text] of table) assert.equal(read(query), text)
})

test('a condition becomes filters', () => {
  const table: [object, string][] = [
    [{ status: 'published', notes: null }, 'status=eq.published&notes=is.null'],
    [{ views: { gt: 10, lte: 20 } }, 'views=gt.10&views=lte.20'],
    [{ a: { not: 1 }, b: { not: null }, c: { not: { in: [1] } } }, 'a=not.eq.1&b=not.is.null&c=not.in.(1)'],
    [{ a: { not: { gt: 1, lt: 2 } } }, 'not.and=(a.gt.1,a.lt.2)'],
    [{ a: { not: { not: 1 } } }, 'a=eq.1'],
    [{ a: { neq: null }, b: { isdistinct: null }, c: { is: true } }, 'a=not.is.null&b=not.is.null&c=is.true'],
    [{ id: { in: [] } }, 'id=in.()'],
    [{ id: { in: [1, 'a,b', '', '"', 'a b'] } }, 'id=in.(1,"a,b","","\\"","a b")'],
    [{ tags: { contains: ['a', 'b"c', null] } }, 'tags=cs.{"a","b\\"c",NULL}'],
    [{ tags: ['a'] }, 'tags=eq.{"a"}'],
    [{ tags: { within: [1], overlaps: [] } }, 'tags=cd.{"1"}&tags=ov.{}'],
    [{ meta: { contains: { a: 1 } } }, 'meta=cs.{"a":1}'],
    [{ at: new Date(0), n: 12n }, 'at=eq.1970-01-01T00:00:00.000Z&n=eq.12'],
    [{ search: { wfts: 'soup -onions' } }, 'search=wfts.soup -onions'],
    [{ 'meta->a.b->>0': 'x' }, 'meta->"a.b"->>0=eq.x'],
    [{ or: [{ a: 1 }, { b: 2, c: 'x,y' }] }, 'or=(a.eq.1,and(b.eq.2,c.eq."x,y"))'],
    [{ and: [{ a: 1 }, { a: 2 }, {}] }, 'a=eq.1&a=eq.2'],
    [{ not: { or: [{ a: 1 }, { not: { b: 1 } }] } }, 'not.or=(a.eq.1,b.not.eq.1)'],
    [{ or: [{ tags: { contains: ['a'] } }, { s: { plfts: 'x y' } }] }, 'or=(tags.cs."{\\"a\\"}",s.plfts."x y")'],
  ]
  for (const [where, text] of table) assert.equal(read({ where }), text)
})

test('a value at the end of a parameter stands as it is, whatever is in it', () => {
  for (const value of ['', '"', 'a,b)', 'eq.1', '%', '\\', 'ä🦀', 'a&b=c#d?+', '\u0000']) {
    assert.deepEqual([...parameters({ where: { a: value } })], [['a', `eq.${value}`]])
    assert.equal(new URL(`http://x/?${parameters({ where: { a: value } })}`).searchParams.get('a'), `eq.${value}`)
  }
})

test('no name becomes anything but a name', () => {
  const table: [string, string][] = [
    ['a.b', '"a.b"=eq.1'],
    ['a,b', '"a,b"=eq.1'],
    ['a"b\\', '"a\\"b\\\\"=eq.1'],
    ['a=b', '"a=b"=eq.1'],
    ['limit', '"limit"=eq.1'],
    ['select', '"select"=eq.1'],
    ['order', '"order"=eq.1'],
    ['on_conflict', '"on_conflict"=eq.1'],
    ['not.and', '"not.and"=eq.1'],
    ['', '""=eq.1'],
    ['__proto__', '__proto__=eq.1'],
    ['constructor', 'constructor=eq.1'],
    ['ünï', '"ünï"=eq.1'],
  ]
  for (const [name, text] of table) assert.equal(read({ where: { [name]: 1 } }), text)
  assert.equal(read({ fields: ['a(b)', 'x:y', '*'] }), 'select="a(b)","x:y","*"')
  assert.equal(read({ with: { 'a!b(c': { where: { d: 1 } } } }), 'select=*,"a!b(c"(*)&"a!b(c".d=eq.1')
  assert.equal(read({ order: ['a.desc', '-b,c'] }), 'order="a.desc","b,c".desc')
  assert.equal(
    read(JSON.parse('{"where":{"__proto__":{"eq":1}},"with":{"__proto__":true}}') as object),
    'select=*,__proto__(*)&__proto__=eq.1',
  )
})

test('what could mean all records by mistake is refused', () => {
  for (const where of [
    { a: undefined },
    { a: {} },
    { a: { eq: undefined } },
    { a: { gt: null } },
    { a: { in: [null] } },
    { a: { in: 'a' } },
    { a: { is: 'null),b.eq.1' } },
    { a: { constructor: 1 } },
    { a: { 'eq.1,b.eq': 1 } },
    { a: { toString: 1 } },
    { a: new Date(Number.NaN) },
    { a: { not: {} } },
    { or: [] },
    { or: [{}] },
    { or: {} },
    { or: 'a.eq.1' },
    { not: {} },
    { not: { and: [] } },
    { and: 'x' },
  ]) {
    refused(() => parameters({ where }))
  }
})

test('a condition on changes says what can be judged on each, and nothing else', () => {
  const table: [object, string][] = [
    [{}, ''],
    [{ room: 'a', n: { gte: 1, lt: 9 } }, 'room=eq.a,n=gte.1,n=lt.9'],
    [{ room: 'a,b', x: '', y: { in: ['a)', 1] } }, 'room=eq."a,b",x=eq."",y=in.("a)",1)'],
    [{ a: null, b: { not: { like: 'x%' } }, and: [{ c: 1 }] }, 'a=is.null,b=not.like."x%",c=eq.1'],
    [{ 'a.b': '"' }, '"a.b"=eq."\\""'],
  ]
  for (const [where, text] of table) assert.equal(filterOf(where), text)
  for (const where of [
    { or: [{ a: 1 }] },
    { not: { a: 1, b: 1 } },
    { a: { not: { gt: 1, lt: 2 } } },
    { a: { contains: ['x'] } },
    { a: { overlaps: ['x'] } },
    { search: { wfts: 'x' } },
    { 'meta->>a': 1 },
  ]) {
    refused(() => filterOf(where))
  }
})
